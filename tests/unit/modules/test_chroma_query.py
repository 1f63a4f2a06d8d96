# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_query: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_query

NEAR_A = {"collection": "books", "query_embeddings": [[1.0, 0.0, 0.1]], "n_results": 2}


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_nearest_come_first(run_module, recorded, version, check_mode):
    server = recorded(version, "collection_filled", "query")
    result = run_module(chroma_query, NEAR_A, server, check_mode=check_mode)
    [hits] = result["results"]
    assert (result["changed"], [hit["id"] for hit in hits]) == (False, ["a", "b"])
    assert hits[0]["metadata"] == {"page": 1, "open": True, "score": 2.0}


def test_filters_and_parts_are_passed_on(run_module, recorded):
    server = recorded("1.5.9", "collection_filled", "query")
    run_module(chroma_query, {**NEAR_A, "where": {"page": 1}, "where_document": {"$contains": "x"}, "include": ["uris"]}, server)
    body = server.sent[-1][2]
    assert (body["where"], body["where_document"], body["include"]) == ({"page": 1}, {"$contains": "x"}, ["uris"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"query_embeddings": []}, "invalid_value"),
        ({"query_embeddings": [[1.0]]}, "dimension_mismatch"),
        ({"query_embeddings": [["x", "y", "z"]]}, "invalid_embedding"),
        ({"n_results": 0}, "invalid_value"),
    ],
)
def test_queries_that_cannot_work_are_refused(run_module, recorded, arguments, code):
    result = run_module(chroma_query, {**NEAR_A, **arguments}, recorded("1.5.9", "collection_filled"))
    assert (result["failed"], result["code"]) == (True, code)


def test_an_absent_collection_is_named(run_module, recorded, version):
    result = run_module(chroma_query, NEAR_A, recorded(version, "collection_missing"))
    assert (result["failed"], result["code"]) == (True, "not_found")
    assert "books" in result["msg"]
