# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata and embeddings: what is refused, and what counts as the same."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import (
    check_embedding,
    check_metadata,
    same_embedding,
    same_metadata,
)


@pytest.mark.parametrize(
    ("metadata", "lists", "nulls", "accepted"),
    [
        ({"a": "x", "b": 1, "c": 1.5, "d": True, "e": "", "f": 2**63 - 1, "g": -(2**63)}, False, False, True),
        ({"a": 2**63}, False, False, False),
        ({"a": float("nan")}, False, False, False),
        ({"a": float("inf")}, False, False, False),
        ({"a": None}, False, False, False),
        ({"a": None}, False, True, True),
        ({"a": {"b": 1}}, True, True, False),
        ({"a": ["x", "y"]}, False, False, False),
        ({"a": ["x", "y"]}, True, False, True),
        ({"a": [1, 2]}, True, False, True),
        ({"a": []}, True, False, False),
        ({"a": [1, "x"]}, True, False, False),
        ({"a": [1, True]}, True, False, False),
        ({"a": [[1]]}, True, False, False),
        ({"a": [None]}, True, True, False),
        ({"": 1}, False, False, False),
        ({1: 1}, False, False, False),
        ({"chroma:document": "x"}, False, False, False),
    ],
)
def test_check_metadata(metadata, lists, nulls, accepted):
    if accepted:
        check_metadata("it", metadata, lists=lists, nulls=nulls)
    else:
        with pytest.raises(ChromaError) as failed:
            check_metadata("it", metadata, lists=lists, nulls=nulls)
        assert failed.value.code == "invalid_metadata"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [1, 2.0]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": 1}, False),
    ],
)
def test_same_metadata_keeps_types_apart(first, second, same):
    assert same_metadata(first, second) is same


@pytest.mark.parametrize(
    ("embedding", "dimension", "code"),
    [
        ([1, 2.5], None, None),
        ([1, 2.5], 2, None),
        ([1, 2.5], 3, "dimension_mismatch"),
        ([], None, "invalid_embedding"),
        ([1, float("nan")], None, "invalid_embedding"),
        ([1, float("-inf")], None, "invalid_embedding"),
        ([1, 1e39], None, "invalid_embedding"),  # finite, but not as float32
        ([1, "2"], None, "invalid_embedding"),
        ([1, None], None, "invalid_embedding"),
    ],
)
def test_check_embedding(embedding, dimension, code):
    if code is None:
        check_embedding("it", embedding, dimension)
    else:
        with pytest.raises(ChromaError) as failed:
            check_embedding("it", embedding, dimension)
        assert failed.value.code == code


@pytest.mark.parametrize(
    ("stored", "wanted", "space", "same"),
    [
        ([0.1], [0.1], "l2", True),
        ([0.10000000149011612], [0.1], "l2", True),  # the same float32
        ([0.099999994], [0.1], "l2", False),  # the next float32
        ([0.099999994], [0.1], "ip", False),
        ([3.0, 4.0, 0.099999994], [3.0, 4.0, 0.1], "cosine", True),  # recorded from 1.5.9
        ([3.0, 4.0, 0.1001], [3.0, 4.0, 0.1], "cosine", False),
        ([3e-5, 4e-5], [3e-5, 4.001e-5], "cosine", False),  # relative to the length, not absolute
        ([3e5, 4e5 + 0.03], [3e5, 4e5], "cosine", True),
        ([1.0], [1.0, 0.0], "cosine", False),
        ([], [1.0], "l2", False),
    ],
)
def test_same_embedding(stored, wanted, space, same):
    assert same_embedding(stored, wanted, space) is same
