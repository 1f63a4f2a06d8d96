# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a data directory: from its tables, its log and its indexes, in batches of any size."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile
from ansible_collections.thinkube.chroma.tests.unit.module_utils.datadir.directories import (
    DIMENSION,
    RECORDS,
    database,
    folder_of,
    log,
    read,
    segment_of,
)


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
