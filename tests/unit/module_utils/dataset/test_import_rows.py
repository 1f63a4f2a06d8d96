# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records between Arrow and requests, and their comparison."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.bringing import mended
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import held, rounded
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import (
    Columns,
    Rows,
    encode,
    plain,
    requests,
    rows_of,
    rows_per_request,
    vectors_of,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.verify import differences
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

ONE = np.array([[1, 2]], np.float32)


def rows(count=1, document=None, metadata=None, uri=None, vectors=None):
    vectors = np.arange(count * 2, dtype=np.float32).reshape(count, 2) if vectors is None else vectors
    return Rows([f"id-{row}" for row in range(count)], vectors, [document] * count, [metadata] * count, [uri] * count)


def as_stored(each):
    columns = zip(each.ids, each.vectors.tolist(), each.documents, each.metadatas, each.uris, strict=True)
    return {row[0]: dict(zip(("id", "embedding", "document", "metadata", "uri"), row, strict=True)) for row in columns}


def test_absent_keys_stay_absent_and_columns_of_one_key_become_one():
    batch = pa.RecordBatch.from_pydict(
        {
            "id": ["a", "b", "c"],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6], pa.float32()), 2),
            "document": [None, "", "x"],
            "_m.str.k": ["", None, None],
            "_m.int.k": [None, 2**63 - 1, None],
            "list": [None, [True, False], None],
        }
    )
    columns = Columns(metadata={"_m.str.k": "k", "_m.int.k": "k", "list": "list", "not there": "x"})
    seen = rows_of(batch.slice(1), columns)
    assert seen.vectors.tolist() == [[3, 4], [5, 6]]
    assert rows_of(batch, columns).metadatas == [{"k": ""}, {"k": 2**63 - 1, "list": [True, False]}, None]
    assert (seen.documents, seen.uris) == (["", "x"], [None, None])


def test_metadata_as_json_keeps_integers_and_floats_apart_and_leaves_nulls_out():
    texts = ['{"a":1,"b":1.0,"c":null,"d":[9223372036854775807]}', None, "{}"]
    batch = pa.RecordBatch.from_pydict({"id": ["a", "b", "c"], "vector": [[1.0], [2.0], [3.0]], "_metadata": texts})
    [first, *others] = rows_of(batch, Columns(json="_metadata")).metadatas
    assert {key: (type(value), value) for key, value in first.items()} == {"a": (int, 1), "b": (float, 1.0), "d": (list, [2**63 - 1])}
    assert others == [None, None]


def test_vectors_of_several_lengths_are_refused():
    with pytest.raises(ChromaError, match="1 to 2 dimensions"):
        vectors_of(pa.array([[1.0], [1.0, 2.0]]))


def test_foreign_values_become_what_chroma_takes():
    array = pa.array([1, None, 3], pa.uint64())
    assert plain(array).to_pylist() == [1, None, 3]
    assert plain(pa.array([2**64 - 1], pa.uint64())).to_pylist() == [str(2**64 - 1)]
    assert plain(pa.array([1.5, float("nan"), float("inf")])).to_pylist() == [1.5, None, None]
    assert plain(pa.array(["x", "y", "x"]).dictionary_encode()).to_pylist() == ["x", "y", "x"]
    assert plain(pa.array([b"\xff"])).to_pylist() == ["\ufffd"]
    assert plain(pa.array([[1, None], [], None])).to_pylist() == [[1], None, None]
    assert plain(pa.array([[[1]]])).to_pylist() == ["[[1]]"]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_both_spellings_of_an_embedding_are_the_same_bits(numbers):
    vectors = np.array([numbers], np.float32)
    one = Rows(["a"], vectors, [None], [None], [None])
    packed = json.loads(encode(one, packed=True))["embeddings"][0]
    assert base64.b64decode(packed) == vectors.tobytes()
    assert np.array(json.loads(encode(one, packed=False))["embeddings"], np.float32).tobytes() == vectors.tobytes()


def test_columns_without_a_value_are_not_sent():
    assert json.loads(encode(rows(), packed=False)).keys() == {"ids", "embeddings"}
    assert json.loads(encode(rows(document=""), packed=False)).keys() == {"ids", "embeddings", "documents"}


@pytest.mark.parametrize(("most", "limit"), [(7, 10**6), (1000, 600), (3, 500)])
def test_requests_respect_both_limits_and_lose_nothing(most, limit):
    batches = requests(rows(100, document="x" * 30), True, most, limit)
    assert [each for batch, _payload in batches for each in batch.ids] == rows(100).ids
    assert max(len(batch) for batch, _payload in batches) <= most
    assert max(len(payload) for _batch, payload in batches) <= limit


def test_one_large_record_goes_alone_and_a_larger_one_is_refused():
    assert len(requests(rows(2, document="x" * 1000), True, 100, 500)) == 2
    with pytest.raises(ChromaError) as failed:
        requests(rows(1, document="x" * 42_000_000), True, 100)
    assert (failed.value.code, "id-0" in failed.value.message) == ("too_large", True)


def test_a_request_is_planned_by_its_dimension():
    assert rows_per_request(384, True, 5461) == 5041
    assert rows_per_request(8, True, 5461) == 5461
    assert rows_per_request(10**7, True, 5461) == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"embedding": [0.0, 1.0000001]}, "vector"),
        ({"embedding": None}, "vector"),
        ({"embedding": [0.0]}, "vector"),
        ({"document": ""}, "document"),
        ({"metadata": {"k": 1.0}}, "metadata"),
        ({"metadata": {"k": True}}, "metadata"),
        ({"metadata": {"k": 1, "more": 1}}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"uri": "x"}, "uri"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_every_difference_is_seen(change, part, legacy):
    wanted = rows(3, metadata={"k": 1})
    found = as_stored(wanted)
    assert differences(wanted, found, "l2", legacy) == []
    found["id-0"] |= change
    del found["id-2"]
    assert [(each.row, each.id, each.parts) for each in differences(wanted, found, "l2", legacy)] == [
        (0, "id-0", (part,)),
        (2, "id-2", ("missing",)),
    ]


def test_cosine_is_compared_by_the_length_of_the_vector_and_the_others_by_bits():
    wanted = rows(vectors=np.array([[3000.0, 4000.0]], np.float32))
    near, far = as_stored(wanted), as_stored(wanted)
    near["id-0"]["embedding"] = [3000.001, 4000.0]
    far["id-0"]["embedding"] = [3000.01, 4000.0]
    assert differences(wanted, near, "cosine", False) == []
    assert differences(wanted, far, "cosine", False)[0].parts == ("vector",)
    assert differences(wanted, near, "ip", False)[0].parts == ("vector",)
    zero = rows(vectors=np.zeros((1, 2), np.float32))
    negative = as_stored(rows(vectors=np.array([[-0.0, 0.0]], np.float32)))
    assert differences(zero, negative, "l2", False)[0].parts == ("vector",)


def test_1x_may_hold_the_neighbour_that_it_makes_of_a_float_and_no_other():
    value = 0.39201326109401724  # what 1.5.9 was sent, and returned as the next line says
    assert held(value) == 0.3920132610940173
    assert held(-value) == -0.3920132610940173
    wanted = rows(metadata={"f": value, "list": [value]})
    assert rounded(wanted.metadatas[0])
    found = as_stored(rows(metadata={"f": held(value), "list": [held(value)]}))
    assert differences(wanted, found, "l2", legacy=False) == []
    assert differences(wanted, found, "l2", legacy=True)[0].parts == ("metadata",)
    found["id-0"]["metadata"]["f"] = np.nextafter(held(value), 1)
    assert differences(wanted, found, "l2", legacy=False)[0].parts == ("metadata",)


@given(st.integers(-(10**15), 10**15), st.integers(0, 22))
def test_floats_of_few_digits_are_held(digits, places):
    value = float(f"{digits}e-{places}")
    assert held(value) == value


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=1e308, min_value=-1e308))
def test_what_is_held_of_any_float_is_at_most_a_few_units_away(value):
    assert abs(held(value) - value) <= 4 * math.ulp(value)


def test_what_has_to_vanish_is_nulled_and_on_1x_deleted_first():
    wanted = rows(2, metadata={"k": 1})
    found = as_stored(rows(2, document="old", metadata={"k": 2, "stale": 3}, uri="old"))
    for legacy in (True, False):
        upserts, outdated = mended(wanted, differences(wanted, found, "l2", legacy), found, legacy)
        assert upserts.metadatas == [{"stale": None, "k": 1}] * 2
        assert outdated == ([] if legacy else ["id-0", "id-1"])
    assert wanted.metadatas == [{"k": 1}] * 2
