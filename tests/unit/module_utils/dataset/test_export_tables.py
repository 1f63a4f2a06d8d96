# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table form: names and types of columns, and a server's page as a record batch, exactly."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import (
    MOST_COLUMNS,
    Column,
    columns_of,
    metadata_json,
    plan_columns,
    table_schema,
    type_of,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import LARGEST_PAGE, PAGE_BYTES, next_rows


@pytest.mark.parametrize(
    ("types", "nulls", "columns"),
    [
        ({}, False, []),
        ({"k": ["str"]}, False, [("k", "k", "str")]),
        ({"b": ["int"], "a": ["floats"]}, False, [("a", "a", "floats"), ("b", "b", "int")]),
        ({"k": ["int", "float"]}, False, [("_m.float.k", "k", "float"), ("_m.int.k", "k", "int")]),
        ({"id": ["str"], "_x": ["bool"]}, False, [("_m.bool._x", "_x", "bool"), ("_m.str.id", "id", "str")]),
        ({"k": ["str"], "gone": []}, True, [("_nulls", "", "nulls"), ("k", "k", "str")]),
        ({f"k{n}": ["int"] for n in range(MOST_COLUMNS + 1)}, True, [("_metadata", "", "json")]),
    ],
)  # fmt: skip
def test_columns_are_named_as_documented(types, nulls, columns):
    assert [(each.name, each.key, each.type) for each in plan_columns(types, nulls)] == columns


def test_no_two_keys_share_a_column():
    columns = plan_columns({"k": ["int", "str"], "_m.int.k": ["str"], "_nulls": ["int"], "_metadata": ["str"]}, nulls=True)
    assert len({each.name for each in columns}) == len(columns)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("", "str"), (0, "int"), (0.0, "float"), (False, "bool"), (["a"], "strs"), ([1], "ints"), ([1.0], "floats"), ([True], "bools")],
)
def test_a_type_is_told_from_a_value(value, kind):
    assert type_of(value) == kind


@pytest.mark.parametrize("value", [None, {}, [], [None], [{}]])
def test_what_chroma_does_not_keep_has_no_type(value):
    with pytest.raises(TypeError):
        type_of(value)


def test_columns_survive_parquet(tmp_path):
    columns = plan_columns({"k": ["int", "strs"], "ключ": ["bool"]}, nulls=True)
    schema = table_schema(columns, 3, "name", "ip")
    pq.write_table(schema.empty_table(), tmp_path / "t.parquet")
    read = pq.read_schema(tmp_path / "t.parquet")
    assert columns_of(read) == columns
    assert read.metadata[b"chroma:space"] == b"ip"
    assert read.field("vector").type == pa.list_(pa.float32(), 3)


def test_json_keeps_what_python_would_confuse():
    metadata = {"b": 1.0, "a": 1, "t": True, "big": 2**63 - 1, "small": 5e-324, "text": "ü\n", "none": None, "list": [1e308]}
    text = metadata_json(metadata)
    loaded = json.loads(text)
    assert {key: (type(value), value) for key, value in loaded.items()} == {key: (type(value), value) for key, value in metadata.items()}
    assert list(loaded) == sorted(metadata)


METADATAS = [
    {"s": "", "i": -(2**63), "f": 5e-324, "b": False, "mixed": 1, "list": [1, 2**63 - 1], "id": "x", "n": None},
    None,
    {"mixed": 1.0, "list": [0]},
    {"mixed": True, "_m.int.mixed": "taken"},
    {},
]


def page(**changed):
    vectors = np.array([[0.1, 1e-45], [3.4e38, -0.0], [1 / 3, 2**-149], [1, 2], [3, 4]], np.float32)
    whole = {"ids": ["a", "", "ü🦜", "d", "e"], "embeddings": [[float(each) for each in row] for row in vectors],
             "documents": ["", None, "x", None, None], "metadatas": METADATAS, "uris": None}  # fmt: skip
    return {**whole, **changed}, vectors


def batch_of(content, dimension=2):
    types = {}
    nulls = page_types(content["metadatas"], types)
    return page_batch(content, table_schema(plan_columns(types, nulls), dimension, "c", "l2"))


def test_a_page_becomes_exactly_its_records():
    content, vectors = page()
    batch = batch_of(content)
    batch.validate(full=True)
    assert batch.column("id").to_pylist() == content["ids"]
    assert batch.column("vector").flatten().to_numpy().tobytes() == vectors.tobytes()
    assert batch.column("document").to_pylist() == content["documents"]
    assert batch.column("uri").null_count == 5
    columns = [each for each in columns_of(batch.schema) if each.key]
    for row, metadata in enumerate(METADATAS):
        cells = {each.key: batch.column(each.name)[row].as_py() for each in columns if batch.column(each.name)[row].is_valid}
        cells |= dict.fromkeys(batch.column("_nulls")[row].as_py() or ())
        wanted = metadata or {}
        assert {key: (type(value), value) for key, value in cells.items()} == {key: (type(value), value) for key, value in wanted.items()}


def test_a_record_without_a_vector_has_a_null():
    content, _vectors = page(embeddings=[None, [1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]])
    assert batch_of(content).column("vector").to_pylist() == content["embeddings"]


def test_many_keys_become_one_column_and_stay_exact():
    many = {f"k{n}": n for n in range(MOST_COLUMNS)} | {"f": 1.0}
    content, _vectors = page(metadatas=[many, None, {}, {"f": 2.0}, None])
    batch = batch_of(content)
    assert columns_of(batch.schema) == (Column("_metadata", "", "json"),)
    assert json.loads(batch.column("_metadata")[0].as_py()) == many
    assert '"f":1.0' in batch.column("_metadata")[0].as_py()


@pytest.mark.parametrize(
    "changed",
    [
        {"embeddings": [[1.0, 2.0, 3.0]] * 5},
        {"embeddings": [[1.0, 2.0], [1.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]},
        {"embeddings": [[1.0, float("nan")]] * 5},
        {"metadatas": [{"s": 1}, None, None, None, None]},
        {"metadatas": [{"new": "key"}, None, None, None, None]},
    ],
)
def test_what_does_not_fit_the_first_reading_is_refused(changed):
    content, _vectors = page()
    schema = batch_of(content).schema
    with pytest.raises((ValueError, TypeError)):
        page_batch({**content, **changed}, schema)


@pytest.mark.parametrize(
    ("rows", "count", "weight", "wanted"),
    [
        (100, 100, 1, 200),  # light: at most twice as many
        (4000, 4000, 1, LARGEST_PAGE),
        (1000, 1000, 1000 * PAGE_BYTES, 1),
        (1000, 1000, PAGE_BYTES, 1000),
        (1000, 500, PAGE_BYTES, 500),
    ],
)
def test_pages_follow_the_size_of_records(rows, count, weight, wanted):
    assert next_rows(rows, count, weight) == wanted
