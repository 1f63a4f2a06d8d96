# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata as jsonb's text: each number comes back with its type and its bits."""

from __future__ import annotations

import json
import math
import struct

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.values import dictionaries, jsonb, metadata_texts, number

FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SCALARS = st.one_of(TEXTS, INTEGERS, FINITE, st.booleans())
LISTS = st.one_of(*(st.lists(each, min_size=1, max_size=3) for each in (TEXTS, INTEGERS, FINITE, st.booleans())))
METADATA = st.dictionaries(TEXTS.filter(bool), st.one_of(SCALARS, LISTS), max_size=6)


@given(FINITE)
def test_a_float_has_a_point_no_exponent_and_the_same_bits(value):
    text = number(value)
    assert "." in text
    assert "e" not in text
    for back in (json.loads(text), orjson.loads(text)):
        assert struct.pack("<d", back) == struct.pack("<d", value or 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_can_not_say_is_null(value):
    assert number(value) == "null"


def test_keys_are_in_postgresqls_order_with_its_blanks():
    assert jsonb({"bb": [1, 2.0], "a": None, "ä": "x\n\u001f", "aa": True}) == '{"a": null, "aa": true, "bb": [1, 2.0], "ä": "x\\n\\u001f"}'


@given(st.lists(METADATA, min_size=1, max_size=5))
def test_whole_columns_give_the_same_text_as_each_record_alone(metadatas):
    types: dict[str, set[str]] = {}
    page_types(metadatas, types)
    schema = table_schema(columns := plan_columns(types), 1, "c", "l2")
    ids = [str(row) for row in range(len(metadatas))]
    batch = page_batch({"ids": ids, "embeddings": [[0.0]] * len(ids), "metadatas": metadatas}, schema)
    assert metadata_texts(batch, columns).to_pylist() == [jsonb(each) if each else None for each in metadatas]
    assert dictionaries(batch, columns) == metadatas


def test_a_null_is_kept_apart_from_an_absent_key():
    metadatas = [{"a": None, "b": 1}, {"b": 2}, {}]
    types: dict[str, set[str]] = {}
    nulls = page_types(metadatas, types)
    columns = plan_columns(types, nulls)
    page = {"ids": ["1", "2", "3"], "embeddings": [[0.0]] * 3, "metadatas": metadatas}
    texts = metadata_texts(page_batch(page, table_schema(columns, 1, "c", "l2")), columns)
    assert texts.to_pylist() == ['{"a": null, "b": 1}', '{"b": 2}', None]
    assert pa.types.is_large_string(texts.type)
