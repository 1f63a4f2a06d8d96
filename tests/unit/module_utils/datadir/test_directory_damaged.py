# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that is none, is newer, or is damaged in any way: read or refused, with a reason."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.datadir.directories import database, log, read, segment_of


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


RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@RELAXED
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 200), reach=st.sampled_from([100, 4096, 1 << 30]), cut=st.booleans())
def test_any_bytes_in_any_file_are_read_or_refused(pattern, state, tmp_path, seed, changes, reach, cut):
    """Only ChromaError comes out, and nothing is written."""
    numbers = random.Random(seed)
    directory = tmp_path / str(seed)
    # Of an example that failed; what can't be removed lets the copying fail.
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(pattern, directory)
    files = [each for each in directory.rglob("*") if each.is_file() and each.stat().st_size]
    file = numbers.choice([directory / "chroma.sqlite3", *files])
    content = bytearray(file.read_bytes())
    for _each in range(changes):
        content[numbers.randrange(min(reach, len(content)))] = numbers.choice([0, 255, numbers.randrange(256)])
    file.write_bytes(content[: numbers.randrange(len(content))] if cut else content)
    before = state(directory)
    with contextlib.suppress(ChromaError):
        read(directory)
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
    # Of an example that failed; what can't be removed lets the copying fail.
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
