# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of COPY's binary format as records again."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import frames
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.reading import _batch
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import Layout

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
SCALARS = (TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans())
VALUES = st.one_of(*SCALARS, *(st.lists(each, min_size=1, max_size=3) for each in SCALARS), st.none())
FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
RECORD = st.tuples(
    TEXTS.filter(bool),
    st.tuples(FLOAT, FLOAT),
    st.none() | TEXTS,
    st.none() | st.dictionaries(TEXTS.filter(bool), VALUES, max_size=5),
    st.none() | TEXTS,
)


def prepared(records):
    names = ("ids", "embeddings", "documents", "metadatas", "uris")
    page = dict(zip(names, map(list, zip(*records, strict=True)), strict=True))
    types: dict[str, set[str]] = {}
    nulls = page_types(page["metadatas"], types)
    columns = plan_columns(types, nulls)
    generation = Generation(1, "t", "d", "c", "server", "id", None, "", len(records), 2, "l2", {}, {}, None, None, columns, "", True)
    return page_batch(page, table_schema(columns, 2, "c", "l2")), columns, generation


def single(batch, columns, embedding):
    return [bytes(frames(batch.slice(row, 1), columns, embedding, "c").data) for row in range(batch.num_rows)]


def plain(batch):
    """Return the records of a batch with what can be compared: NaN, bits of vectors, zeros without sign, keys of nulls in any order."""

    def value(each):
        if isinstance(each, list):
            return [value(inner) for inner in each]
        return ("float", "nan" if math.isnan(each) else each) if isinstance(each, float) else (type(each), each)

    found = []
    for row in batch.to_pylist():
        vector = struct.pack("<2f", *row.pop("vector"))
        nulls = sorted(row.pop("_nulls", None) or [])
        found.append((vector, nulls, {key: value(each) for key, each in row.items()}))
    return found


@pytest.mark.parametrize("embedding", ["vector", "real[]"])
@settings(deadline=None)
@given(records=st.lists(RECORD, min_size=1, max_size=6))
def test_whatever_a_record_holds_is_read_again(embedding, records):
    batch, columns, generation = prepared(records)
    assert plain(_batch(single(batch, columns, embedding), Layout(True, embedding), generation)) == plain(batch)


def test_more_keys_than_columns_are_read_again():
    records = [("i", (0.0, 1.0), None, {f"k{number}": [1.0, math.inf] for number in range(300)}, None), ("j", (0.0, 1.0), None, None, None)]
    batch, columns, generation = prepared(records)
    assert [each.type for each in columns] == ["json"]
    assert _batch(single(batch, columns, "vector"), Layout(True, "vector"), generation).to_pylist() == batch.to_pylist()


@pytest.mark.parametrize("change", [lambda row: row[:-1], lambda row: b"\0\5" + row[2:], lambda row: row + b"\0", lambda row: row[:8]])
def test_rows_of_another_form_are_refused(change):
    batch, columns, generation = prepared([("i", (0.5, 1.0), "d", {"k": 1}, None)])
    [row] = single(batch, columns, "vector")
    with pytest.raises((ValueError, struct.error, IndexError)):
        _batch([change(row)], Layout(True, "vector"), generation)
    with pytest.raises(ValueError, match="dimension"):
        _batch([row], Layout(True, "vector"), replace(generation, dimension=3))
