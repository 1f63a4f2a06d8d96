# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of data directories against what each release itself returns."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

DIMENSION = 6
Rows = dict[str, dict[str, Any]]

TEXTS = ["", "plain", "Überraschung 🙂 漢字", "line\nand\ttab", "quote ' \" \\", "nul\x00inside", "x" * 300]
NUMBERS = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
REALS = [0.0, 0.1, -2.5, 1e300, 5e-324, 3.0]


def write(client: ChromaClient, collection: Collection, action: str, ids: list[str], **columns: Any) -> None:
    """Send one request as it is: the client itself has no ``add``."""
    client.write(collection, action, json.dumps({"ids": ids, **columns}).encode())


def metadata(numbers: random.Random, lists: bool) -> dict[str, Any] | None:
    """Return metadata of all types, keys that are the names of columns among them; now and then none."""
    if numbers.random() < 0.1:
        return None
    made: dict[str, Any] = {"text": numbers.choice(TEXTS), "id": numbers.choice(NUMBERS), "_hidden": True}
    made["number"] = numbers.choice(NUMBERS)
    made["real"] = numbers.choice(REALS)
    made["flag"] = numbers.random() < 0.5
    made["mixed"] = numbers.choice([1, 2.5, "three", True])
    made["schlüssel 鍵"] = numbers.choice(TEXTS)
    if lists:
        made["strs"] = [numbers.choice(TEXTS[1:]) for _each in range(numbers.randrange(1, 5))]
        made["ints"] = [numbers.choice(NUMBERS) for _each in range(numbers.randrange(1, 5))]
        made["floats"] = [numbers.choice(REALS) for _each in range(numbers.randrange(1, 5))]
        made["bools"] = [numbers.random() < 0.5 for _each in range(numbers.randrange(1, 5))]
    return {key: value for key, value in made.items() if numbers.random() < 0.7} or None


def vectors(numbers: random.Random, count: int) -> list[list[float]]:
    """Return vectors of float32 numbers."""
    return [[float(np.float32(numbers.gauss(0, 3))) for _n in range(DIMENSION)] for _row in range(count)]


def change(client: ChromaClient, collection: Collection, numbers: random.Random, lists: bool, rounds: int) -> None:
    """Add, upsert, update and delete records, existing and absent ones."""
    for number in range(rounds):
        some = [f"id-{numbers.randrange(120)}" for _each in range(12)]
        ids = list(dict.fromkeys([*some, f"{number} {numbers.choice(TEXTS[1:5])}", "long" * 80]))
        count = len(ids)
        action = numbers.choice(["add", "add", "upsert", "update", "update", "delete"])
        if action == "delete":
            client.delete(collection, ids[:4])
            continue
        columns: dict[str, Any] = {}
        if action != "update" or numbers.random() < 0.5:
            columns["embeddings"] = vectors(numbers, count)
        if numbers.random() < 0.8:
            columns["metadatas"] = [metadata(numbers, lists) for _each in ids]
        if numbers.random() < 0.8:
            columns["documents"] = [numbers.choice([*TEXTS, f"document {each}"]) for each in ids]
        if numbers.random() < 0.4:
            columns["uris"] = [f"file:///{numbers.randrange(9)}" for _each in ids]
        write(client, collection, action, ids, **columns)


def create(client: ChromaClient, name: str, space: str, metadata: dict[str, Any] | None = None) -> Collection:
    """Create a collection that is synced to disk after few records."""
    if client.legacy:
        metadata = {**(metadata or {}), "hnsw:batch_size": 10, "hnsw:sync_threshold": 40}
        return client.create_collection(name, metadata, {"space": space})
    return client.create_collection(name, metadata, {"space": space, "sync_threshold": 40, "batch_size": 10})


def fill(client: ChromaClient, seed: int) -> None:
    """Make collections of all spaces, in several tenants and databases, some of them empty, deleted, or never synced."""
    numbers = random.Random(seed)
    lists = client.api == "v2" and not client.legacy and supports_lists(client)
    for space in ("l2", "ip", "cosine"):
        collection = create(client, f"{space}-synced", space, {"a": 1, "b": "two", "c": 2.5})
        change(client, collection, numbers, lists, 40)
    client.create_collection("ip-empty", None, {"space": "ip"})
    change(client, client.create_collection("l2-unsynced", None, {"space": "l2"}), numbers, lists, 12)
    gone = create(client, "gone", "l2")
    change(client, gone, numbers, lists, 12)
    client.delete_collection("gone")
    emptied = create(client, "l2-emptied", "l2")
    change(client, emptied, numbers, lists, 12)
    client.delete(emptied, [row["id"] for row in client.get(emptied, include=())])
    other = client.within(tenant="second", database="other")
    other.create_tenant()
    other.create_database()
    change(other, create(other, "cosine-synced", "cosine", {"here": "too"}), numbers, lists, 20)


def supports_lists(client: ChromaClient) -> bool:
    """Return whether metadata may hold lists; every 1.x calls itself 1.0.0, so it is tried."""
    probe = client.create_collection("probe", None, {})
    try:
        write(client, probe, "add", ["one"], embeddings=[[1.0]], metadatas=[{"list": [1]}])
    except ChromaError:
        return False
    finally:
        client.delete_collection("probe")
    return True


def served(url: str) -> dict[tuple[str, str, str], tuple[str, Rows]]:
    """Return space and records of all collections, as the server tells them.

    The space is the name's: 1.x says l2 of every collection that 0.x made, whatever it searches with.
    """
    found = {}
    for tenant, database in (("default_tenant", "default_database"), ("second", "other")):
        client = ChromaClient(Connection(url, tenant=tenant, database=database))
        if client.tenant_exists() and client.database_exists():
            for each in client.list_collections():
                rows = {row["id"]: row for row in client.get(each, page=50)}
                assert len(rows) == client.count(each)
                found[tenant, database, each.name] = (each.name.partition("-")[0], rows)
    return found


def row_of(record: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Return a record of a table in the form of the client."""
    kept = {}
    for field in schema:
        notes = field.metadata or {}
        if b"chroma:key" in notes and record[field.name] is not None:
            kept[notes[b"chroma:key"].decode()] = record[field.name]
    return {
        "id": record["id"],
        "embedding": record["vector"],
        "document": record["document"],
        "uri": record["uri"],
        "metadata": kept or None,
    }


def read(directory: DataDirectory, collection: StoredCollection, **options: Any) -> Rows:
    """Return the records that the reader finds."""
    schema = directory.schema(collection)
    rows: Rows = {}
    for batch in directory.batches(collection, **options):
        batch.validate(full=True)
        assert batch.schema.equals(schema, check_metadata=True)
        for record in batch.to_pylist():
            assert record["id"] not in rows
            rows[record["id"]] = row_of(record, schema)
    assert len(rows) == directory.count(collection)
    return rows


def exact(value: Any) -> Any:
    """Return a value with the types of its parts: 1, 1.0 and True are equal to Python."""
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return (type(value).__name__, value)


def compare(path: Path, expected: dict[tuple[str, str, str], tuple[str, Rows]]) -> None:
    """Check that the reader finds exactly what the server told."""
    with open_directory(path) as directory:
        found = {(each.tenant, each.database, each.name): each for each in directory.collections()}
        assert set(found) == set(expected)
        for key, (space, rows) in expected.items():
            assert found[key].space == space, key
            stored = read(directory, found[key], bytes_per_batch=4096)
            assert set(stored) == set(rows), key
            for name, row in rows.items():
                told = {part: row.get(part) or None if part == "metadata" else row.get(part) for part in ("document", "uri", "metadata")}
                assert exact({part: stored[name][part] for part in told}) == exact(told), (key, name)
                here, there = (np.array(each["embedding"], np.float32) for each in (stored[name], row))
                if space == "cosine":  # 1.x has divided by the length and multiplied again what we take from the log
                    assert np.allclose(here, there, rtol=5e-7, atol=1e-7), (key, name)
                else:
                    assert here.tobytes() == there.tobytes(), (key, name)


def state(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return size, time and content of everything below a directory."""
    files = {str(each.relative_to(path)): each for each in sorted(path.rglob("*"))}
    return {
        name: (each.stat().st_size, each.stat().st_mtime_ns, each.read_bytes() if each.is_file() else b"") for name, each in files.items()
    }


@contextlib.contextmanager
def filled(version: str, path: Path, seed: int = 1) -> Iterator[servers.Server]:
    """Run a release on a directory that was filled by it."""
    with servers.running(version, data=path) as server:
        fill(ChromaClient(Connection(server.url)), seed)
        yield server


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_the_reader_finds_what_the_server_returns(version, tmp_path):
    """Of the directory of a server that runs and is idle, of a stopped one, and after it was started again."""
    data = tmp_path / "data"
    data.mkdir()
    with filled(version, data) as server:
        expected = served(server.url)
        assert sum(len(rows) for _space, rows in expected.values()) > 300
        shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copy2)
    before = state(tmp_path / "copy")
    compare(tmp_path / "copy", expected)
    assert state(tmp_path / "copy") == before
    compare(data, expected)
    with servers.running(version, data=data) as server:
        assert exact_ids(served(server.url)) == exact_ids(expected)
    compare(data, expected)


def exact_ids(found: dict[tuple[str, str, str], tuple[str, Rows]]) -> dict[Any, Any]:
    """Return which ids each collection has."""
    return {key: sorted(rows) for key, (_space, rows) in found.items()}


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_after_a_kill_the_reader_finds_what_the_next_start_returns(version, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    with filled(version, data, seed=2) as server:
        os.kill(server.pid, signal.SIGKILL)
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copy2)
    with servers.running(version, data=data) as server:
        expected = served(server.url)
    compare(tmp_path / "copy", expected)


@pytest.mark.parametrize("version", servers.VERSIONS[1:])  # 0.4.24 answers such a directory with 500
def test_entries_of_the_log_that_nothing_else_has_seen(version, tmp_path):
    """As after a kill between the log and the rest; what they mean is what the next start makes of them."""
    data = tmp_path / "data"
    data.mkdir()
    with filled(version, data, seed=5) as server:
        before = served(server.url)
    for key, (_space, rows) in before.items():
        with open_directory(data) as directory:
            collection = next(each for each in directory.collections() if (each.tenant, each.database, each.name) == key)
        if collection.dimension is not None:  # it is set before anything is written to the log
            append(data, collection, list(rows), lists=version == servers.VERSIONS[-1])
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copy2)
    with servers.running(version, data=data) as server:
        expected = served(server.url)
    assert expected != before
    compare(tmp_path / "copy", expected)
    compare(data, expected)


def append(data: Path, collection: StoredCollection, names: list[str], lists: bool) -> None:
    """Write entries of all kinds to the log and nowhere else."""
    numbers = random.Random(collection.name)

    def vector() -> bytes:
        return np.array(vectors(numbers, 1)[0], "<f4").tobytes()

    new = {"text": "new", "number": -(2**63), "real": 0.1, "flag": False, "chroma:document": "from the log", "chroma:uri": "file:///log"}
    if lists:
        new["strs"] = ["", "a", "b"]
    entries: list[tuple[int, str, bytes | None, dict[str, Any] | None]] = [
        (0, "log-1", vector(), new),
        (0, "log-2", vector(), None),
        (1, "log-2", vector(), {"added": 1}),
        (1, "log-absent", vector(), {"added": 1}),
        (3, "log-absent", None, None),
        (2, "log-3", vector(), {"chroma:document": ""}),
        (3, "log-3", None, None),
        (0, "log-3", vector(), {"again": True}),
    ]
    for number, name in enumerate(names[:40]):
        entries += [
            [(0, name, vector(), new)],  # exists: ignored
            [(1, name, None, {"text": "changed", "number": 1.5, "id": None})],
            [(1, name, vector(), {"chroma:document": "changed"})],
            [(2, name, vector(), new)],
            [(3, name, None, None)],
            [(3, name, None, None), (0, name, vector(), {"back": "again"})],
        ][number % 6]
    database = sqlite3.connect(data / "chroma.sqlite3")
    with contextlib.closing(database), database:
        # The table may be empty, and sequence numbers never start again.
        tables = ("embeddings_queue", "max_seq_id", "embeddings")
        used = [value for table in tables for (value,) in database.execute(f"SELECT seq_id FROM {table}")]
        first = max((wal.position(value) or 0 for value in used), default=0) + 1
        sql = "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)"
        for seq_id, (operation, name, content, metadata) in enumerate(entries, first):
            text = None if metadata is None else json.dumps(metadata)
            database.execute(sql, (seq_id, operation, collection.topic, name, content, content and "FLOAT32", text))


@pytest.mark.parametrize("version", servers.VERSIONS[:-1])
def test_after_an_upgrade_in_place(version, tmp_path):
    """The newest release opens the directory of an older one and writes to some of its collections."""
    data = tmp_path / "data"
    data.mkdir()
    with filled(version, data, seed=3):
        pass
    for attempt in range(3):
        with servers.running(servers.VERSIONS[-1], data=data) as server:
            client = ChromaClient(Connection(server.url))
            try:
                change(client, client.require_collection("l2-synced"), random.Random(4), True, 20)
                expected = served(server.url)
            except ChromaError as error:
                # It may stumble over what was just migrated: its compactor, and then it takes no write until the next start;
                # or the thread that has the first request, which gets no answer.
                if attempt == 2 or not re.search("compactor|closed connection without response", error.message):
                    raise
                continue
            break
    compare(data, expected)


def test_a_reading_goes_on_where_it_was_interrupted(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    with filled(servers.VERSIONS[-1], data):
        pass
    with open_directory(data) as directory:
        collection = next(each for each in directory.collections() if each.name == "l2-synced" and each.tenant != "second")
        whole = list(read(directory, collection))
        for start in (0, 1, len(whole) // 2, len(whole) - 1, len(whole)):
            rest = [name for batch in directory.batches(collection, 2000, start) for name in batch.column("id").to_pylist()]
            assert rest == whole[start:]
