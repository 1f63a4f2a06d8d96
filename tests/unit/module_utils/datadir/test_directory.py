# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories as a whole: read, never written; whole and broken ones."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

RECORDS, DIMENSION = 60, 4
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@contextlib.contextmanager
def database(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the SQLite file of a directory for writing, and commit."""
    connection = sqlite3.connect(directory / "chroma.sqlite3")
    with contextlib.closing(connection), connection:
        yield connection


def read(path: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the records of all collections by name; every one is looked at."""
    found = {}
    with open_directory(path) as directory:
        for each in directory.collections():
            rows: list[dict[str, Any]] = []
            for batch in directory.batches(each, **options):
                batch.validate(full=True)
                rows += batch.to_pylist()
            assert len(rows) == directory.count(each)
            found[each.name] = rows
    return found


def folder_of(path: Path, name: str = "synthetic-0") -> Path:
    """Return the folder of a collection's index."""
    with database(path) as connection:
        sql = "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = ? AND s.scope = 'VECTOR'"
        return path / connection.execute(sql, (name,)).fetchone()[0]


def segment_of(path: Path, name: str = "synthetic-0") -> tuple[str, str]:
    """Return the METADATA segment of a collection, and the collection."""
    with database(path) as connection:
        sql = "SELECT s.id, c.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = ? AND s.scope = 'METADATA'"
        segment, collection = connection.execute(sql, (name,)).fetchone()
        return segment, collection


def log(path: Path, seq_id: int, operation: int, name: str, vector: list[float] | None, metadata: dict[str, Any] | None) -> None:
    """Append an entry to the write-ahead log, as a server does before it does anything else."""
    topic = f"persistent://default/default/{segment_of(path)[1]}"
    content = None if vector is None else np.array(vector, "<f4").tobytes()
    encoding = None if vector is None else "FLOAT32"
    row = (seq_id, operation, topic, name, content, encoding, None if metadata is None else json.dumps(metadata))
    with database(path) as connection:
        sql = "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)"
        connection.execute(sql, row)


def test_a_healthy_directory(pattern):
    with open_directory(pattern) as directory:
        assert directory.tenants == ("default_tenant",)
        assert directory.databases == (("default_tenant", "default_database"),)
        assert directory.migrations == {"sysdb": 10, "metadb": 6, "embeddings_queue": 2}
        first, second = directory.collections()
        assert (first.name, first.dimension, first.space, first.tenant) == ("synthetic-0", DIMENSION, "l2", "default_tenant")
        schema = directory.schema(first)
        assert schema.names == ["id", "vector", "document", "uri", "draft", "page", "score", "source"]
        assert schema.metadata == {b"chroma:collection": b"synthetic-0", b"chroma:space": b"l2"}
        assert directory.count(second) == RECORDS
    records = read(pattern)["synthetic-1"]
    assert [each["id"] for each in records] == [f"record-1-{n:08d}" for n in range(RECORDS)]
    with VectorFile(folder_of(pattern, "synthetic-1")) as vectors:
        assert np.array_equal(np.array([each["vector"] for each in records], np.float32), vectors.vectors(np.arange(RECORDS)))
    assert {type(each["draft"]) for each in records} == {bool, type(None)}


@pytest.mark.parametrize("size", [1, 700, 1 << 24])
def test_batches_of_any_size_hold_the_same(pattern, size):
    assert read(pattern, bytes_per_batch=size) == read(pattern)


def test_reading_changes_no_byte_and_no_time_and_creates_no_file(directory, state):
    before = state(directory)
    read(directory)
    with open_directory(directory) as opened, pytest.raises(ChromaError, match="readonly"):
        opened.database.rows("DELETE FROM embeddings")
    assert state(directory) == before


def test_from_a_place_where_nothing_may_be_written(pattern, state):
    """As another user, as root may write everywhere; with a journal that has to be rolled back too."""
    place = Path(tempfile.mkdtemp(prefix="chroma-reader-test-"))
    try:
        for name, source in (("clean", pattern), ("hot", None)):
            shutil.copytree(pattern if source is None else source, place / name)
        leave_hot_journal(place / "hot")
        for each in [place, *place.rglob("*")]:
            each.chmod(0o555 if each.is_dir() else 0o444)
        before = state(place)
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
                ok = not os.access(place / "clean", os.W_OK) and read(place / "clean") == read(place / "hot") != {}
                os._exit(0 if ok else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert state(place) == before
    finally:
        for each in [place, *place.rglob("*")]:
            each.chmod(0o755)
        shutil.rmtree(place)


def leave_hot_journal(directory: Path) -> None:
    """Leave the directory as a server does that is killed in the middle of a transaction."""
    copy = directory.with_name(f"{directory.name}-killed")
    connection = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(connection):
        connection.executescript("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN IMMEDIATE;")
        connection.execute("UPDATE embedding_metadata SET string_value = 'never committed' || string_value")
        connection.execute("DELETE FROM embeddings WHERE id % 2")
        shutil.copytree(directory, copy)
        connection.execute("ROLLBACK")
    shutil.rmtree(directory)
    copy.rename(directory)
    assert (directory / "chroma.sqlite3-journal").stat().st_size > 512


def test_an_interrupted_transaction_is_rolled_back_in_a_copy(directory, state, tmp_path):
    expected = read(directory)
    leave_hot_journal(directory)
    before = state(directory)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with open_directory(directory, scratch=scratch) as opened:
        assert len(list(scratch.iterdir())) == 1
        rows = [row for batch in opened.batches(opened.collections()[0]) for row in batch.to_pylist()]
    assert rows == expected["synthetic-0"]
    assert list(scratch.iterdir()) == []
    assert state(directory) == before


def test_a_transaction_that_goes_on_is_not_taken_for_an_interrupted_one(directory):
    expected = read(directory)
    writer = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(writer):
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM embeddings")
        assert (directory / "chroma.sqlite3-journal").exists()
        child = os.fork()  # locks do not hold against the process that took them
        if not child:
            try:
                os._exit(0 if read(directory) == expected else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        writer.execute("ROLLBACK")


def test_a_database_in_wal_mode_is_read_from_a_copy(directory, state, tmp_path):
    expected = read(directory)
    with database(directory) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = state(directory)
    assert read(directory) == expected
    assert state(directory) == before


def leave_in_wal_mode(directory: Path) -> None:
    """Leave the directory as somebody's sqlite3 does that was killed: the last commit is in the log beside the database only."""
    copy = directory.with_name(f"{directory.name}-killed")
    connection = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE collections SET name = 'renamed' WHERE name = 'synthetic-1'")
        shutil.copytree(directory, copy)
    shutil.rmtree(directory)
    copy.rename(directory)
    assert (directory / "chroma.sqlite3-wal").stat().st_size


@pytest.mark.parametrize("leave", [leave_hot_journal, leave_in_wal_mode])
def test_of_a_copied_database_the_original_is_watched(directory, leave):
    leave(directory)
    with open_directory(directory) as opened:
        first = opened.fingerprint()
    with open_directory(directory) as opened:
        assert opened.fingerprint() == first, "an export that goes on would start afresh"
        collection = next(each for each in opened.collections() if each.name == "synthetic-0")
        batches = opened.batches(collection, bytes_per_batch=1000)
        next(batches)
        writer = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
        with contextlib.closing(writer):
            writer.execute("UPDATE tenants SET id = id || '-changed'")
            with pytest.raises(ChromaError) as told:
                list(batches)
    assert told.value.code == "directory_changed"
    with open_directory(directory) as opened:
        assert opened.fingerprint() != first
        assert opened.tenants == ("default_tenant-changed",)


@pytest.mark.parametrize("leave", [leave_hot_journal, leave_in_wal_mode])
def test_a_server_that_starts_while_the_database_is_copied_is_noticed(directory, leave, monkeypatch, tmp_path):
    leave(directory)
    copyfile = shutil.copyfile

    def interrupted(source: str, target: Path) -> None:
        if not str(source).endswith(".sqlite3"):
            with database(directory) as connection:
                connection.execute("UPDATE tenants SET id = id || '-changed'")
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ChromaError) as told, open_database(directory, scratch):
        pass
    assert told.value.code == "directory_changed"
    assert list(scratch.iterdir()) == []


def test_what_is_written_while_the_catalogue_is_read_is_noticed(directory):
    with open_database(directory) as opened:
        with database(directory) as connection:
            connection.execute("UPDATE collections SET name = 'another' WHERE name = 'synthetic-1'")
        with pytest.raises(ChromaError) as told:
            DataDirectory(directory, opened)
    assert told.value.code == "directory_changed"


def test_what_is_written_meanwhile_is_noticed(directory):
    with open_directory(directory) as opened:
        collection = opened.collections()[0]
        batches = opened.batches(collection, bytes_per_batch=1000)
        next(batches)
        with database(directory) as connection:
            connection.execute("UPDATE collections SET name = 'another' WHERE name = 'synthetic-1'")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"
    with open_directory(directory) as opened:
        batches = opened.batches(opened.collections()[0])
        os.utime(folder_of(directory) / "data_level0.bin")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"


def test_what_is_damaged_because_somebody_writes_is_a_change(directory):
    with open_directory(directory) as opened:
        batches = opened.batches(opened.collections()[0], bytes_per_batch=1000)
        next(batches)
        with database(directory) as connection:
            connection.execute("DELETE FROM embeddings")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"


def test_the_log_goes_before_the_index(directory):
    log(directory, 1000, 2, "record-0-00000000", [9, 9, 9, 9], {})
    log(directory, 1001, 1, "record-0-00000001", [8, 8, 8, 8], None)
    log(directory, 1002, 1, "record-0-00000002", None, None)
    log(directory, 1003, 0, "record-0-00000003", [7, 7, 7, 7], None)
    before = read(directory)["synthetic-0"]
    with database(directory) as connection:
        connection.execute("UPDATE max_seq_id SET seq_id = 1003 WHERE segment_id = ?", (segment_of(directory)[0],))
    rows = read(directory)["synthetic-0"]
    assert [row["vector"] for row in rows[:2]] == [[9, 9, 9, 9], [8, 8, 8, 8]]
    # Where the records lag behind as well, the same ones, changed by the log, come last.
    assert sorted(before, key=lambda row: row["id"]) == rows
    assert [row["id"] for row in before[-4:]] == [f"record-0-{n:08d}" for n in range(4)]


def test_records_that_are_only_in_the_log(directory):
    """The metadata segment lags behind: a server was killed after it had written the log."""
    log(
        directory, 1000, 0, "new", [1, 2, 3, 4], {"chroma:document": "text", "chroma:uri": "file:///x", "page": "three", "tags": ["a", "b"]}
    )
    log(directory, 1001, 1, "new", None, {"page": 3})
    log(directory, 1002, 2, "record-0-00000000", [5, 6, 7, 8], {"source": None, "score": 7.5})
    log(directory, 1003, 3, "record-0-00000001", None, None)
    log(directory, 1004, 1, "absent", [5, 6, 7, 8], {"page": 4})
    log(directory, 1005, 0, "record-0-00000002", [5, 6, 7, 8], {"page": 4})
    log(directory, 1006, 3, "new too", None, None)
    rows = {row["id"]: row for row in read(directory)["synthetic-0"]}
    assert len(rows) == RECORDS
    assert rows["new"] | {"source": None, "score": None, "draft": None} == rows["new"]
    wanted = {"id": "new", "vector": [1, 2, 3, 4], "document": "text", "uri": "file:///x", "page": 3, "tags": ["a", "b"]}
    assert rows["new"] | wanted == rows["new"]
    changed = rows["record-0-00000000"]
    assert (changed["vector"], changed["source"], changed["score"], changed["page"]) == ([5, 6, 7, 8], None, 7.5, 1)
    assert changed["document"]
    assert "record-0-00000001" not in rows
    assert rows["record-0-00000002"]["page"] == 3
    assert "absent" not in rows


def test_without_its_folder_a_collection_has_records_without_vectors(directory):
    shutil.rmtree(folder_of(directory))
    log(directory, 1000, 2, "record-0-00000005", [1, 2, 3, 4], None)
    rows = read(directory)["synthetic-0"]
    assert len(rows) == RECORDS
    assert [row["id"] for row in rows if row["vector"] is not None] == ["record-0-00000005"]
    assert all(row["document"] for row in rows)


def test_nulls_types_and_names_of_columns(directory):
    segment, _collection = segment_of(directory)
    with database(directory) as connection:
        rowid = connection.execute("SELECT min(id) FROM embeddings WHERE segment_id = ?", (segment,)).fetchone()[0]
        values = [
            (rowid, "nothing", None, None, None, None),
            (rowid, "page2", "text", None, None, None),
            (rowid + 1, "page2", None, 2, None, None),
            (rowid, "id", None, 1, None, None),
            (rowid, "_own", "x", None, None, None),
            (rowid, "limit", None, -(2**63), None, None),
            (rowid + 1, "limit", None, 2**63 - 1, None, None),
        ]
        connection.executemany("INSERT INTO embedding_metadata VALUES (?, ?, ?, ?, ?, ?)", values)
        lists = [(rowid + 2, "list", None, each, None, None) for each in (3, 1, 2)] + [(rowid + 2, "bools", None, None, None, 1)]
        connection.executemany("INSERT INTO embedding_metadata_array VALUES (?, ?, ?, ?, ?, ?)", lists)
    first, second, third, *_others = read(directory)["synthetic-0"]
    assert (first["_nulls"], second["_nulls"]) == (["nothing"], None)
    assert (first["_m.str.page2"], first["_m.int.page2"], second["_m.str.page2"], second["_m.int.page2"]) == ("text", None, None, 2)
    assert (first["_m.int.id"], first["_m.str._own"]) == (1, "x")
    assert (first["limit"], second["limit"]) == (-(2**63), 2**63 - 1)
    assert (third["list"], third["bools"], second["list"]) == ([3, 1, 2], [True], None)


def test_a_list_that_was_left_behind_hides_the_value(directory):
    """As the server has it: tried with 1.5.9."""
    with database(directory) as connection:
        rows = [(1, "source", "ghost", None), (1, "page", None, 7), (1, "chroma:document", "ghost", None)]
        connection.executemany("INSERT INTO embedding_metadata_array VALUES (?, ?, ?, ?, NULL, NULL)", rows)
    first, second, *_others = read(directory)["synthetic-0"]
    assert (first["_m.strs.source"], first["_m.str.source"], second["_m.str.source"]) == (["ghost"], None, "file-2.md")
    assert (first["_m.ints.page"], first["_m.int.page"], second["_m.int.page"]) == ([7], None, 2)
    assert first["document"] not in (None, "ghost")
    log(directory, 1000, 1, "record-0-00000000", None, {"new": 1})
    last = read(directory)["synthetic-0"][-1]
    assert {key: value for key, value in first.items() if value is not None}.items() <= last.items()
    assert (last["new"], last["_m.str.source"]) == (1, None)


def test_more_than_256_keys_become_one_column_of_json(directory):
    segment, _collection = segment_of(directory)
    with database(directory) as connection:
        rowid = connection.execute("SELECT min(id) FROM embeddings WHERE segment_id = ?", (segment,)).fetchone()[0]
        values = [(rowid, f"key-{n}", None, None, n / 3, None) for n in range(300)] + [(rowid, "null", None, None, None, None)]
        connection.executemany("INSERT INTO embedding_metadata VALUES (?, ?, ?, ?, ?, ?)", values)
        connection.execute("INSERT INTO embedding_metadata_array VALUES (?, 'list', NULL, NULL, NULL, 1)", (rowid,))
    first = read(directory)["synthetic-0"][0]
    assert list(first) == ["id", "vector", "document", "uri", "_metadata"]
    metadata = json.loads(first["_metadata"])
    assert (metadata["key-2"], metadata["key-3"], metadata["null"], metadata["list"], metadata["page"]) == (2 / 3, 1.0, None, [True], 1)
    assert '"key-3":1.0' in first["_metadata"]
    assert "chroma:document" not in metadata


@pytest.mark.parametrize("spread", [1, 40])
def test_records_among_those_of_many_others_are_found(directory, spread):
    """Rowids far apart are looked up one by one."""
    expected = read(directory)
    with database(directory) as connection:
        for table in ("embeddings", "embedding_metadata"):
            connection.execute(f"UPDATE {table} SET id = -id")
            connection.execute(f"UPDATE {table} SET id = -id * ?", (spread,))
    assert read(directory) == expected


def test_large_documents_make_small_batches(directory):
    """Also where they follow on small ones, by which the next batch would be measured."""
    with database(directory) as connection:
        sql = "UPDATE embedding_metadata SET string_value = ? WHERE key = 'chroma:document' AND id > 30 AND id % 3"
        connection.execute(sql, ("x" * 100_000,))
    with open_directory(directory) as opened:
        collection = opened.collections()[0]
        sizes = [(batch.num_rows, batch.nbytes) for batch in opened.batches(collection, bytes_per_batch=300_000)]
    assert sum(rows for rows, _size in sizes) == RECORDS
    assert max(size for _rows, size in sizes) < 700_000
    assert max(rows for rows, _size in sizes) > 5


@pytest.mark.parametrize("content", [None, b"", b"no database at all", b"SQLite format 3\0" + bytes(4080)])
def test_what_is_no_data_directory(tmp_path, content):
    if content is not None:
        (tmp_path / "chroma.sqlite3").write_bytes(content)
    with pytest.raises(ChromaError) as told:
        read(tmp_path)
    assert told.value.code in ("not_chroma_directory", "damaged")
    assert told.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO migrations VALUES ('metadb', 7, '00007-next.sqlite.sql', '', '')",
        "INSERT INTO migrations VALUES ('otherdb', 1, '00001-other.sqlite.sql', '', '')",
    ],
)
def test_a_newer_version_is_refused(directory, sql):
    with database(directory) as connection:
        connection.execute(sql)
    with pytest.raises(ChromaError, match="newer version of Chroma") as told:
        read(directory)
    assert told.value.code == "newer_chroma"


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("schema", "DROP TABLE embeddings"),
        ("schema", "DROP TABLE max_seq_id; CREATE VIEW max_seq_id AS SELECT 1 AS segment_id, 2 AS seq_id"),
        ("schema", "UPDATE collections SET schema_str = '{'"),
        ("log", "UPDATE max_seq_id SET seq_id = x'0102'"),
        ("sqlite", "UPDATE embedding_metadata SET int_value = 'text' WHERE key = 'page' AND id = 30"),
        ("header", "UPDATE collections SET dimension = 5"),
    ],
)
def test_what_is_damaged_is_told(directory, what, sql):
    with contextlib.closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
        connection.executescript(sql)
    with pytest.raises(Damaged) as told:
        read(directory)
    assert told.value.what == what
    assert (told.value.code, told.value.detail in told.value.message) == ("damaged", True)


@pytest.mark.parametrize(
    "name", ["../../../escaped", "/etc", "", ".", "..", None, 7, b"\0", f"{uuid.UUID(int=1)}\n", f"{uuid.UUID(int=1)}/.."]
)
@pytest.mark.parametrize("column", ["collection", "index"])
def test_an_id_that_is_no_uuid_never_becomes_a_folder(directory, column, name):
    collection = segment_of(directory)[1]
    with database(directory) as connection:
        if column == "collection":
            connection.execute("UPDATE collections SET id = ? WHERE id = ?", (name, collection))
            connection.execute(
                "UPDATE segments SET collection = ? WHERE collection = ?", (name if name is not None else "None", collection)
            )
        else:
            connection.execute("UPDATE segments SET id = ? WHERE scope = 'VECTOR' AND collection = ?", (name, collection))
    with pytest.raises(Damaged, match="is no UUID") as told, open_directory(directory):
        pass
    assert told.value.what == "schema"
    assert "synthetic-0" in told.value.detail


def test_a_query_that_never_ends_is_ended(directory, monkeypatch):
    monkeypatch.setattr("ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database._STEPS", 2_000_000)
    with open_directory(directory) as opened, pytest.raises(Damaged, match="interrupted"):
        opened.database.rows("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n")


@RELAXED
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 200), reach=st.sampled_from([100, 4096, 1 << 30]), cut=st.booleans())
def test_any_bytes_in_any_file_are_read_or_refused(pattern, state, tmp_path, seed, changes, reach, cut):
    """Only ChromaError comes out, in bounded time, and nothing is written."""
    numbers = random.Random(seed)
    directory = tmp_path / str(seed)
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(pattern, directory)
    files = [each for each in directory.rglob("*") if each.is_file() and each.stat().st_size]
    file = numbers.choice([directory / "chroma.sqlite3", *files])
    content = bytearray(file.read_bytes())
    for _each in range(changes):
        content[numbers.randrange(min(reach, len(content)))] = numbers.choice([0, 255, numbers.randrange(256)])
    file.write_bytes(content[: numbers.randrange(len(content))] if cut else content)
    before, began = state(directory), time.monotonic()
    with contextlib.suppress(ChromaError):
        read(directory)
    assert time.monotonic() - began < 20
    assert state(directory) == before
    shutil.rmtree(directory)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**40, 2**63 - 1]),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["{", "[]", "[1]", '{"a": {}}', '{"a": [1, "b"]}', '{"a": 1e999}', '{"chroma:document": 1}', "NaN"]),
)
CELLS = (
    [("collections", column) for column in ("id", "name", "dimension", "database_id", "config_json_str", "schema_str")]
    + [("segments", column) for column in ("id", "type", "scope", "collection")]
    + [("embeddings", column) for column in ("segment_id", "embedding_id", "seq_id")]
    + [("embedding_metadata", column) for column in ("id", "key", "string_value", "int_value", "float_value", "bool_value")]
    + [("embedding_metadata_array", column) for column in ("id", "key", "string_value", "int_value", "float_value", "bool_value")]
    + [("embeddings_queue", column) for column in ("operation", "topic", "id", "vector", "encoding", "metadata")]
    + [("max_seq_id", "seq_id"), ("max_seq_id", "segment_id"), ("tenants", "id"), ("databases", "name"), ("migrations", "version")]
)


@RELAXED
@given(changes=st.lists(st.tuples(st.sampled_from(CELLS), VALUES, st.integers(0, 100), st.booleans()), min_size=1, max_size=4))
def test_any_value_in_any_column_is_read_or_refused(pattern, tmp_path, changes):
    directory = tmp_path / "data"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(pattern, directory)
    log(directory, 1000, 0, "new", [1, 2, 3, 4], {"a": 1})
    log(directory, 1001, 2, "record-0-00000000", [1, 2, 3, 4], {"a": ["b"]})
    with database(directory) as connection:
        connection.execute("INSERT INTO embedding_metadata_array VALUES (1, 'list', NULL, 1, NULL, NULL), (1, 'list', NULL, 2, NULL, NULL)")
        for (table, column), value, row, every in changes:
            place = "1" if every else f"rowid = (SELECT min(rowid) + {row} % (max(rowid) - min(rowid) + 1) FROM {table})"
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {place}", (value,))
    with contextlib.suppress(ChromaError):
        read(directory)
