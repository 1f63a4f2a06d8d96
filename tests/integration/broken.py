# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories of real servers, healthy ones and broken ones, for the tests of the validation and of what repairs.

:func:`build` makes a directory with one release; :data:`CASES` break a copy of it in one way each and say what must be found.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickletools
import random
import shutil
import signal
import sqlite3
import struct
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient, Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

DIMENSION = 8
THRESHOLD = 50
TEXTS = ("document number {}", "Große Straße {} ☃ 漢字", 'it\'s "quoted" {}')
ALL = servers.VERSIONS
OLD = tuple(version for version in ALL if version.startswith("0."))
NEW = tuple(version for version in ALL if version.startswith("1."))
PURGING = tuple(version for version in ALL if version != "0.4.24")
LISTS = ("1.5.9",)


def create(client: ChromaClient, name: str, threshold: int = THRESHOLD, **metadata: Any) -> Collection:
    """Create a collection whose index is saved after ``threshold`` entries."""
    if client.legacy:
        return client.create_collection(name, {"hnsw:sync_threshold": threshold, "hnsw:batch_size": min(10, threshold), **metadata})
    return client.create_collection(name, metadata, {"sync_threshold": threshold})


def write(
    client: ChromaClient,
    collection: Collection,
    numbers: Sequence[int],
    dimension: int = DIMENSION,
    lists: bool = False,
    nulls: bool = True,
) -> None:
    """Upsert records ``id-<number>`` with documents, some of them null, and metadata of every type."""
    generator = random.Random(numbers[0])
    client.write(
        collection,
        "upsert",
        json.dumps(
            {
                "ids": [f"id-{number}" for number in numbers],
                "embeddings": [[generator.uniform(-1, 1) for _each in range(dimension)] for _number in numbers],
                "documents": [
                    None if nulls and number % 11 == 7 and number < 50 else TEXTS[number % 3].format(number) for number in numbers
                ],
                "metadatas": [
                    {"number": number, "text": f"s{number}", "real": number / 3, "even": number % 2 == 0}
                    | ({"list": ["a", f"b{number}"], "ints": [number, 1]} if lists else {})
                    for number in numbers
                ],
            }
        ).encode(),
    )


def change(client: ChromaClient, collection: Collection, name: str, **fields: Any) -> None:
    """Update one record; fields are ``documents``, ``metadatas`` or ``embeddings``."""
    client.write(collection, "update", json.dumps({"ids": [name], **{key: [value] for key, value in fields.items()}}).encode())


def build(version: str, path: Path, early: Path | None = None) -> None:
    """Fill a new directory: saved and unsaved vectors, updates, deletions, an unsaved index, an empty one, another tenant.

    Args:
        early: where a copy is put of the state before the last third was written.
    """
    # 1.x stumbles over null documents in the log that 0.4 keeps for ever: CHR066.
    rows = {"lists": version in LISTS, "nulls": version != "0.4.24"}
    with servers.running(version, data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = create(client, "books", title="Books")
        for first in range(0, 90, 30):
            write(client, books, range(first, first + 30), **rows)
        client.delete(books, [f"id-{number}" for number in range(3, 9)])
        few = create(client, "few")
        write(client, few, range(5), **rows)
        create(client, "empty")
        if early:
            # Nothing is written meanwhile; SQLite's file is whole.
            shutil.copytree(path, early)
        for first in range(90, 180, 30):
            write(client, books, range(first, first + 30), **rows)
        change(client, books, "id-20", documents="")
        change(client, books, "id-21", metadatas={"number": 4711, "new": "key"})
        change(client, books, "id-22", embeddings=[0.5] * DIMENSION)
        client.delete(books, ["id-30", "id-170", "id-171"])
        write(client, books, range(5, 7), **rows)
        write(client, few, range(5, 7))
        other = client.within(tenant="other", database="elsewhere")
        other.create_tenant()
        other.create_database()
        write(other, create(other, "far"), range(60), **rows)


def healthy(version: str, folder: Path) -> None:
    """Make three directories of one release: ``fresh``, ``worn`` and ``many``; the server of ``worn`` is killed."""
    with servers.running(version, data=folder / "worn") as server:
        shutil.copytree(server.data, folder / "fresh")
        client = ChromaClient(Connection(server.url))
        # Deleted and written again, in both orders; all deleted; a long id, and one that looks like a field of the label map.
        for name, space in (("again", "cosine"), ("inner", "ip")):
            collection = create(client, name, **({"hnsw:space": space} if client.legacy else {}))
            for first in (0, 40, 20, 60):
                write(client, collection, range(first, first + 40))
                client.delete(collection, [f"id-{number}" for number in range(first + 10, first + 30)])
        gone = create(client, "all-gone")
        write(client, gone, range(80))
        client.delete(gone, [f"id-{number}" for number in range(80)])
        odd = create(client, "odd-ids", 3)
        ids = ["x" * 5000, "label_to_id", "é\u0000漢", " ", "id_to_label"]
        client.write(odd, "upsert", json.dumps({"ids": ids, "embeddings": [[1.0, 2.0]] * len(ids)}).encode())
        updated = create(client, "updated")
        write(client, updated, range(30))
        for number in range(60):
            change(client, updated, f"id-{number % 30}", metadatas={"number": number})
        os.kill(server.pid, signal.SIGKILL)
    with servers.running(version, data=folder / "many") as server:
        client = ChromaClient(Connection(server.url))
        for number in range(100 if version in ("0.6.3", "1.5.9") else 10):
            collection = create(client, f"collection-{number}", 5)
            if number % 3:
                write(client, collection, range(number % 10 + 1), dimension=4)


def upgrade(source: Path, path: Path) -> None:
    """Let 1.5.9 serve a copy of another release's directory, and write to it."""
    shutil.copytree(source, path)
    # The process that migrates 0.4's schema may panic at its first use afterwards: column bool_value is not found.
    with servers.running("1.5.9", data=path):
        pass
    with servers.running("1.5.9", data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = client.require_collection("books")
        write(client, books, range(150, 260), lists=True)
        client.delete(books, ["id-50", "id-155"])
        change(client, books, "id-60", metadatas={"list": [1, 2]})
        write(client, create(client, "new"), range(70), lists=True)


def torn(version: str, path: Path) -> bool:
    """Kill a server with SIGKILL while it saves an index.

    Returns:
        Whether it was in the middle: the vectors are newer than the label map, which is written last.
    """
    dimension = 512
    with servers.running(version, data=path) as server:
        client = ChromaClient(Connection(server.url, retries=0))
        collection = create(client, "big", 500)
        for first in range(0, 1250, 250):
            write(client, collection, range(first, first + 250), dimension)
        [labels] = path.glob("*/index_metadata.pickle")

        def keep_writing() -> None:
            with contextlib.suppress(ChromaError):  # the server is gone
                for first in range(1250, 6000, 250):
                    write(client, collection, range(first, first + 250), dimension)

        def state(name: str) -> tuple[int, int]:
            about = (labels.parent / name).stat()
            return about.st_mtime_ns, about.st_size

        vectors, saved = state("data_level0.bin"), state(labels.name)
        writer = threading.Thread(target=keep_writing)
        writer.start()
        while writer.is_alive():
            if (now := state("data_level0.bin")) != vectors:
                if state(labels.name) == saved:
                    os.kill(server.pid, signal.SIGKILL)
                    break
                vectors, saved = now, state(labels.name)
        writer.join()
    return state(labels.name) == saved and state("data_level0.bin") != vectors


@dataclass(frozen=True)
class Scene:
    """A directory that is about to be broken, and an earlier state of it."""

    path: Path
    version: str
    early: Path

    @property
    def database(self) -> Path:
        """SQLite's file."""
        return self.path / "chroma.sqlite3"

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute one statement, and commit."""
        connection = sqlite3.connect(self.database)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def one(self, statement: str, *parameters: Any) -> Any:
        """Return the first value of a query."""
        return self.sql(statement, *parameters)[0][0]

    def id(self, name: str = "books") -> str:
        """Return a collection's id."""
        return str(self.one("SELECT id FROM collections WHERE name = ?", name))

    def segment(self, scope: str = "VECTOR", name: str = "books") -> str:
        """Return the id of one of a collection's segments."""
        return str(self.one("SELECT id FROM segments WHERE scope = ? AND collection = ?", scope, self.id(name)))

    def folder(self, name: str = "books") -> Path:
        """Return the folder of a collection's index."""
        return self.path / self.segment(name=name)

    def row(self, record: str = "id-100") -> int:
        """Return the row of a record of ``books``."""
        sql = "SELECT id FROM embeddings WHERE embedding_id = ? AND segment_id = ?"
        return int(self.one(sql, record, self.segment("METADATA")))

    def topic(self, name: str = "books") -> str:
        """Return the topic of a collection's log entries."""
        return str(self.one("SELECT topic FROM embeddings_queue WHERE topic LIKE ?", f"%{self.id(name)}"))

    def patch(self, file: Path, offset: int, content: bytes) -> None:
        """Overwrite bytes of a file."""
        with file.open("r+b") as opened:
            opened.seek(offset)
            opened.write(content)

    def element(self, row: int) -> int:
        """Return where an element of the index of ``books`` begins, in bytes."""
        return row * int(self.header()[4])

    def header(self) -> tuple[Any, ...]:
        """Return the fields of ``header.bin``."""
        return struct.unpack("<i6QiI3QdQ", (self.folder() / "header.bin").read_bytes())

    def position(self, scope: str, value: Any) -> None:
        """Set a position; a number is written as this release writes it."""
        if isinstance(value, int) and self.version in OLD:
            value = value.to_bytes(8, "big")
        self.sql("UPDATE max_seq_id SET seq_id = ? WHERE segment_id = ?", value, self.segment(scope))

    def relabel(self, table: str, nth: int, like: int) -> None:
        """Make the nth label of ``id_to_label`` or ``label_to_id`` the same as another one."""
        file = self.folder() / "index_metadata.pickle"
        content = file.read_bytes()
        inside, places = False, []
        for code, argument, place in pickletools.genops(content):
            if isinstance(argument, str) and argument in ("id_to_label", "label_to_id", "id_to_seq_id"):
                inside = argument == table
            elif inside and code.name in ("BININT1", "BININT"):
                places.append((place + 1, 1 if code.name == "BININT1" else 4))
        (here, size), (there, same) = places[nth], places[like]
        assert size == same
        self.patch(file, here, content[there : there + size])


@dataclass(frozen=True)
class Case:
    """One way to break a directory.

    Args:
        name: of the way.
        versions: of the directories that it applies to.
        expected: identifiers of findings, and the collection's name where one is concerned.
        act: does it.
    """

    name: str
    versions: Sequence[str]
    expected: frozenset[tuple[str, str]]
    act: Callable[[Scene], None]


CASES: list[Case] = []


def case(*expected: str, versions: Sequence[str] = ALL) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a case; ``CHR050 books`` expects the finding in that collection, ``CHR001`` in none."""

    def register(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        found = frozenset((text.partition(" ")[0], text.partition(" ")[2]) for text in expected)
        CASES.append(Case(act.__name__, versions, found, act))
        return act

    return register


# SQLite's file


@case("CHR001")
def page_of_a_table_is_overwritten(scene):
    root = scene.one("SELECT rootpage FROM sqlite_master WHERE name = 'embedding_metadata'")
    scene.patch(scene.database, (root - 1) * 4096, os.urandom(1000))


@case("CHR001")
def sqlite_is_cut_off(scene):
    os.truncate(scene.database, scene.database.stat().st_size // 2 // 4096 * 4096)


@case("CHR002")
def sqlite_is_gone(scene):
    scene.database.unlink()


@case("CHR002")
def sqlite_is_no_database(scene):
    scene.patch(scene.database, 0, b"\0" * 4096)


@case("CHR002")
def sqlite_is_empty(scene):
    os.truncate(scene.database, 0)


@case("CHR003")
def a_newer_chroma_was_here(scene):
    scene.sql("INSERT INTO migrations VALUES ('metadb', 99, '00099-quantum.sqlite.sql', 'SELECT 1', 'x')")


@case("CHR003")
def a_newer_chroma_with_another_kind_of_migrations_was_here(scene):
    scene.sql("INSERT INTO migrations VALUES ('vectordb', 1, '00001-vectors.sqlite.sql', 'SELECT 1', 'x')")


@case("CHR004")
def a_migration_is_missing(scene):
    scene.sql("DELETE FROM migrations WHERE dir = 'metadb' AND version = 2")


@case("CHR004")
def a_migration_was_changed(scene):
    scene.sql("UPDATE migrations SET sql = sql || ' ' WHERE dir = 'sysdb' AND version = 3")


@case("CHR005")
def a_table_is_gone(scene):
    scene.sql("DROP TABLE segment_metadata")


@case("CHR005", versions=LISTS)
def the_table_of_lists_is_gone(scene):
    scene.sql("DROP TABLE embedding_metadata_array")


# Tenants, databases, collections, segments, folders


@case("CHR010")
def a_tenant_is_gone(scene):
    scene.sql("DELETE FROM tenants WHERE id = 'other'")


@case("CHR011 far")
def a_database_is_gone(scene):
    scene.sql("DELETE FROM databases WHERE name = 'elsewhere'")


@case("CHR012", "CHR064", versions=OLD)
def a_collection_is_gone_but_not_its_segments(scene):
    scene.sql("DELETE FROM collections WHERE name = 'books'")


@case("CHR012", "CHR064", "CHR016", versions=NEW)
def a_collection_is_gone_but_not_its_segments_and_metadata(scene):
    scene.sql("DELETE FROM collections WHERE name = 'books'")


@case("CHR013 books", "CHR017")
def the_vector_segment_is_gone(scene):
    scene.sql("DELETE FROM segments WHERE id = ?", scene.segment())


@case("CHR013 books", "CHR080")
def the_metadata_segment_is_gone(scene):
    scene.sql("DELETE FROM segments WHERE id = ?", scene.segment("METADATA"))


@case("CHR014 few")
def two_collections_have_one_name(scene):
    scene.sql("CREATE TABLE other AS SELECT * FROM collections")
    scene.sql("DROP TABLE collections")
    scene.sql("ALTER TABLE other RENAME TO collections")
    scene.sql("UPDATE collections SET name = 'few' WHERE name = 'empty'")


@case("CHR015 books")
def a_collection_has_two_vector_segments(scene):
    columns = [row[1] for row in scene.sql("PRAGMA table_info(segments)")]
    chosen = ", ".join("?" if column == "id" else column for column in columns)
    scene.sql(f"INSERT INTO segments SELECT {chosen} FROM segments WHERE id = ?", str(uuid.uuid4()), scene.segment())


@case("CHR016", versions=NEW)
def metadata_of_no_collection(scene):
    scene.sql("INSERT INTO collection_metadata (collection_id, key, str_value) VALUES (?, 'a', 'b')", str(uuid.uuid4()))


@case("CHR017")
def a_folder_belongs_to_nobody(scene):
    shutil.copytree(scene.folder(), scene.path / str(uuid.uuid4()))


@case("CHR017")
def a_folder_has_the_name_of_a_collection(scene):
    shutil.copytree(scene.folder(), scene.path / scene.id())


@case("CHR021 books")
def the_id_of_a_segment_leads_outside(scene):
    outside, segment = scene.path.parent / "outside", scene.segment()
    shutil.move(scene.folder(), outside)
    (outside / "header.bin").unlink()  # would be found
    for table, column in (("segments", "id"), ("segment_metadata", "segment_id"), ("max_seq_id", "segment_id")):
        scene.sql(f"UPDATE {table} SET {column} = '../outside' WHERE {column} = ?", segment)


@case("CHR018 books", versions=PURGING)
def a_folder_is_gone_and_the_log_was_purged(scene):
    shutil.rmtree(scene.folder())


@case("CHR019 books", versions=("0.4.24",))
def a_folder_is_gone_and_the_log_was_never_purged(scene):
    shutil.rmtree(scene.folder())


@case("CHR019 few")
def the_folder_of_an_index_that_was_never_saved_is_gone(scene):
    shutil.rmtree(scene.folder("few"))


@case("CHR020 books", versions=PURGING)
def a_configuration_is_no_json(scene):
    scene.sql("UPDATE collections SET config_json_str = substr('{\"a\": 1', 1) WHERE name = 'books'")


# Files of an index


@case("CHR030 books")
def the_header_is_gone(scene):
    (scene.folder() / "header.bin").unlink()


@case("CHR030 books")
def the_header_is_torn(scene):
    os.truncate(scene.folder() / "header.bin", 48)


@case("CHR030 books")
def the_header_is_empty(scene):
    os.truncate(scene.folder() / "header.bin", 0)


@case("CHR031 books")
def the_header_counts_more_than_there_is_room_for(scene):
    scene.patch(scene.folder() / "header.bin", 4 + 2 * 8, struct.pack("<Q", 1 << 60))


@case("CHR031 books")
def the_header_is_noise(scene):
    (scene.folder() / "header.bin").write_bytes(random.Random(5).randbytes(100))


@case("CHR032 books", "CHR065 books")
def the_dimension_was_changed(scene):
    scene.sql("UPDATE collections SET dimension = 16 WHERE name = 'books'")


@case("CHR032 books")
def the_dimension_is_unknown(scene):
    scene.sql("UPDATE collections SET dimension = NULL WHERE name = 'books'")


@case("CHR033 books", "CHR054 books")
def the_vectors_are_cut_off(scene):
    os.truncate(scene.folder() / "data_level0.bin", scene.element(60) + 17)


@case("CHR033 books")
def the_vectors_are_gone(scene):
    (scene.folder() / "data_level0.bin").unlink()


@case("CHR033 books", "CHR054 books")
def the_vectors_are_empty(scene):
    os.truncate(scene.folder() / "data_level0.bin", 0)


@case("CHR034 books")
def the_vectors_are_longer(scene):
    file = scene.folder() / "data_level0.bin"
    os.truncate(file, file.stat().st_size + 5)


@case("CHR035 books")
def the_lengths_are_gone(scene):
    (scene.folder() / "length.bin").unlink()


@case("CHR035 books")
def the_lengths_are_cut_off(scene):
    os.truncate(scene.folder() / "length.bin", 40)


@case("CHR036 books")
def the_links_are_gone(scene):
    (scene.folder() / "link_lists.bin").unlink()


@case("CHR036 books")
def the_links_are_cut_off(scene):
    file = scene.folder() / "link_lists.bin"
    os.truncate(file, file.stat().st_size - 3)


@case("CHR037 books")
def the_links_have_grown(scene):
    os.truncate(scene.folder() / "link_lists.bin", 64 << 20)  # sparse


@case("CHR038 books")
def a_vector_holds_nan(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 132 + 8, struct.pack("<f", float("nan")))


@case("CHR038 books")
def a_vector_holds_infinities(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 132, struct.pack("<2f", float("inf"), float("-inf")))


@case("CHR038 books")
def a_vector_in_the_log_holds_nan(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ? AND vector IS NOT NULL", scene.topic())
    scene.sql("UPDATE embeddings_queue SET vector = ? WHERE seq_id = ?", struct.pack("<8f", *[float("nan")] * 8), last)


@case("CHR039 books")
def a_link_points_nowhere(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(9) + 4, struct.pack("<I", 1_000_000))


@case("CHR039 books")
def an_element_has_more_links_than_there_is_room_for(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(9), struct.pack("<H", 60_000))


@case("CHR039 books")
def the_entry_point_is_nowhere(scene):
    scene.patch(scene.folder() / "header.bin", 4 + 6 * 8 + 4, struct.pack("<I", 1_000_000))


# Label map


@case("CHR050 books")
def the_label_map_is_gone(scene):
    (scene.folder() / "index_metadata.pickle").unlink()


@case("CHR051 books")
def the_label_map_is_torn(scene):
    file = scene.folder() / "index_metadata.pickle"
    os.truncate(file, file.stat().st_size // 2)


@case("CHR051 books")
def the_label_map_is_empty(scene):
    os.truncate(scene.folder() / "index_metadata.pickle", 0)


@case("CHR051 books")
def the_label_map_is_noise(scene):
    (scene.folder() / "index_metadata.pickle").write_bytes(b"\x80\x04" + b"\x00" * 500 + b".")


@case("CHR052 books")
def the_label_map_would_run_a_command(scene):
    marker = scene.path.parent / "executed"
    command = f"touch {marker}".encode()
    (scene.folder() / "index_metadata.pickle").write_bytes(b"cposix\nsystem\n(X" + struct.pack("<I", len(command)) + command + b"tR.")


@case("CHR053 books", "CHR055 books")
def two_ids_have_one_label(scene):
    scene.relabel("id_to_label", 3, 4)


@case("CHR053 books")
def the_halves_of_the_label_map_differ(scene):
    scene.relabel("label_to_id", 3, 4)


@case("CHR054 books", "CHR055 books")
def an_element_has_another_label(scene):
    size, offset = scene.header()[4], scene.header()[5]
    assert size == offset + 8
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + offset, struct.pack("<Q", 77_777))


@case("CHR054 books")
def an_element_is_marked_as_deleted(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 2, b"\x01")


# Log and positions


@case("CHR060 books")
def the_position_of_the_records_is_poisoned(scene):
    scene.position("METADATA", 1_229_782_938_247_303_441)


@case("CHR060 books", versions=PURGING)
def the_position_of_the_index_is_poisoned(scene):
    scene.position("VECTOR", 1_229_782_938_247_303_441)


@case("CHR061 books", versions=NEW)
def a_position_is_a_blob(scene):
    scene.position("VECTOR", (100).to_bytes(8, "big"))


@case("CHR061 books", versions=OLD)
def a_position_is_a_number(scene):
    scene.sql("UPDATE max_seq_id SET seq_id = 100 WHERE segment_id = ?", scene.segment("METADATA"))


@case("CHR062 books")
def the_position_of_the_records_is_ahead(scene):
    scene.position("METADATA", 100_000)


@case("CHR062 books", versions=PURGING)
def the_position_of_the_index_is_ahead(scene):
    scene.position("VECTOR", 100_000)


@case("CHR063 books")
def the_index_does_not_follow(scene):
    connection = sqlite3.connect(scene.database)
    entries = [(1, scene.topic(), "id-100", "{}")] * 45_000
    connection.executemany("INSERT INTO embeddings_queue (operation, topic, id, metadata) VALUES (?, ?, ?, ?)", entries)
    connection.commit()
    connection.close()


@case("CHR064")
def a_log_entry_belongs_to_nobody(scene):
    topic = f"persistent://default/default/{uuid.uuid4()}"
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id) VALUES (3, ?, 'x')", topic)


@case("CHR065 books")
def a_log_entry_has_another_length(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ? AND vector IS NOT NULL", scene.topic())
    scene.sql("UPDATE embeddings_queue SET vector = zeroblob(31) WHERE seq_id = ?", last)


@case("CHR065 books")
def a_log_entry_has_an_unknown_operation(scene):
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id) VALUES (9, ?, 'id-100')", scene.topic())


@case("CHR066 books", versions=NEW)
def an_entry_of_0x_waits_for_1x(scene):
    metadata = '{"number": 1, "chroma:document": null}'
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id, metadata) VALUES (1, ?, 'id-100', ?)", scene.topic(), metadata)


# Index, log and records


@case("CHR070 books")
def the_end_of_the_log_is_gone(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ?", scene.topic())
    scene.sql("DELETE FROM embeddings_queue WHERE operation = 2 AND topic = ? AND seq_id > ?", scene.topic(), last - 30)


@case("CHR070 books", "CHR071 books", versions=PURGING)
def the_index_is_older_than_sqlite(scene):
    shutil.rmtree(scene.folder())
    shutil.copytree(scene.early / scene.segment(), scene.folder())


@case("CHR071 books", "CHR017", versions=PURGING)
def sqlite_is_older_than_the_index(scene):
    shutil.copyfile(scene.early / "chroma.sqlite3", scene.database)


@case("CHR062 books", "CHR071 books", "CHR017", versions=("0.4.24",))
def sqlite_is_older_than_the_index_that_knows_its_position(scene):
    shutil.copyfile(scene.early / "chroma.sqlite3", scene.database)


@case("CHR071 books")
def records_are_gone(scene):
    for table in ("embedding_metadata", *(["embedding_metadata_array"] if scene.version in LISTS else [])):
        scene.sql(f"DELETE FROM {table} WHERE id = ?", scene.row("id-40"))
    scene.sql("DELETE FROM embedding_fulltext_search WHERE rowid = ?", scene.row("id-40"))
    scene.sql("DELETE FROM embeddings WHERE id = ?", scene.row("id-40"))


# Rows of records


@case("CHR080")
def records_of_a_segment_that_is_gone(scene):
    scene.sql("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, 'x', 1)", str(uuid.uuid4()))


@case("CHR081")
def metadata_of_no_record(scene):
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")


@case("CHR082", versions=LISTS)
def lists_of_no_record(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (1000000, 'a', 'b')")


@case("CHR083", versions=LISTS)
def a_record_inherited_a_list(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (?, 'number', 'b')", scene.row())


@case("CHR083", versions=LISTS)
def a_list_has_several_types(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (?, 'ints', 'b')", scene.row())


@case("CHR084")
def a_document_is_not_in_the_full_text_index(scene):
    scene.sql("DELETE FROM embedding_fulltext_search WHERE rowid = ?", scene.row())


@case("CHR085", versions=PURGING)
def a_full_text_row_belongs_to_nobody(scene):
    scene.sql("INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (1000000, 'left over')")


@case("CHR086")
def a_full_text_row_has_another_text(scene):
    scene.sql("UPDATE embedding_fulltext_search SET string_value = 'something else' WHERE rowid = ?", scene.row())


@case("CHR086")
def the_full_text_index_is_empty(scene):
    scene.sql("DELETE FROM embedding_fulltext_search_data WHERE id > 10")
    scene.sql("DELETE FROM embedding_fulltext_search_idx")


@case("CHR084")
def the_full_text_index_forgot_the_length_of_a_text(scene):
    scene.sql("DELETE FROM embedding_fulltext_search_docsize WHERE id = ?", scene.row())


@case("CHR087 books")
def a_record_is_there_twice(scene):
    scene.sql("CREATE TABLE other (id INTEGER PRIMARY KEY, segment_id TEXT, embedding_id TEXT, seq_id BLOB, created_at TIMESTAMP)")
    scene.sql("INSERT INTO other SELECT * FROM embeddings")
    scene.sql("INSERT INTO other (segment_id, embedding_id, seq_id) SELECT segment_id, embedding_id, seq_id FROM embeddings WHERE id = 1")
    scene.sql("DROP TABLE embeddings")
    scene.sql("ALTER TABLE other RENAME TO embeddings")
