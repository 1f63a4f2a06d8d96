# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_record: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_record

A = {
    "id": "a",
    "embedding": [1, 0, 0.1],
    "document": "first",
    "metadata": {"page": 1, "open": True, "score": 2.0},
    "uri": "file:///a",
}
B = {"id": "b", "embedding": [0.0, 1.0, 0.2]}


def test_present_writes_once(run_module, recorded, version):
    server = recorded(version, "collection_get", "records_none", "records", "upsert")
    result = run_module(chroma_record, {"collection": "books", "records": [A, B]}, server)
    assert (result["changed"], result["created"]) == (True, ["a", "b"])
    again = run_module(chroma_record, {"collection": "books", "records": [A, B]}, server)
    assert (again["changed"], again["unchanged"]) == (False, 2)
    assert server.changes() == [("POST", "upsert")]


def test_check_mode_returns_the_difference_by_id(run_module, recorded, version):
    server = recorded(version, "collection_filled", "records")
    changed = {"collection": "books", "records": [A, {"id": "b", "metadata": {"page": 2}}]}
    result = run_module(chroma_record, changed, server, check_mode=True)
    assert (result["updated"], result["unchanged"], server.changes()) == (["b"], 1, [])
    assert list(result["diff"]["after"]) == ["b"]
    assert result["diff"]["after"]["b"]["metadata"] == {"page": 2}


def test_absent_deletes_by_filter(run_module, recorded, version):
    server = recorded(version, "collection_filled", "records_found", "records_left", "delete")
    result = run_module(chroma_record, {"collection": "books", "state": "absent", "where": {"page": 1}}, server)
    assert (result["changed"], result["deleted"]) == (True, ["a"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "records"),
        ({"state": "absent"}, "ids"),
        ({"records": [{"embedding": [1.0]}]}, "id"),
        ({"records": [{"id": "a", "embedding": ["x"]}]}, "float"),
    ],
)
def test_arguments_that_are_missing_or_wrong_are_named(run_module, arguments, word):
    result = run_module(chroma_record, {"collection": "books", **arguments})
    assert result["failed"] is True
    assert word in result["msg"]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"id": "a", "embedding": [1.0, 2.0]}, "dimension_mismatch"),
        ({"id": "a", "metadata": {"x": {"y": 1}}}, "invalid_metadata"),
        ({"id": ""}, "invalid_record"),
        ({"id": "a", "embedding": []}, "invalid_embedding"),
    ],
)
def test_bad_records_are_refused_without_a_change(run_module, recorded, record, code):
    server = recorded("1.5.9", "collection_filled")
    result = run_module(chroma_record, {"collection": "books", "records": [record]}, server)
    assert (result["failed"], result["code"], server.changes()) == (True, code, [])
