# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections: the plan for every combination, and its proof."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import (
    WantedCollection,
    check_name,
    describe_collections,
    ensure_collection,
    plan_present,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SETTINGS = {"space": "cosine", "ef_construction": 100, "ef_search": 10, "max_neighbors": 16}


def books(name="books", metadata=None):
    return Collection("u", name, {"year": 2026} if metadata is None else metadata, 3, SETTINGS, "", "t", "d")


@pytest.mark.parametrize(
    ("current", "target", "wanted", "action", "name", "metadata", "configuration"),
    [
        (None, None, WantedCollection("books"), "create", "books", None, {}),
        (None, None, WantedCollection("books", metadata={"a": 1}), "create", "books", {"a": 1}, {}),
        (books(), None, WantedCollection("books"), "none", None, None, {}),
        (books(), None, WantedCollection("books", metadata={"year": 2026}), "none", None, None, {}),
        (books(), None, WantedCollection("books", metadata={"year": 2026.0}), "update", None, {"year": 2026.0}, {}),
        (books(), None, WantedCollection("books", metadata={"a": 1}), "update", None, {"a": 1}, {}),
        (books(), None, WantedCollection("books", metadata={}), "update", None, {}, {}),
        (books(metadata={"hnsw:space": "cosine"}), None, WantedCollection("books", metadata={}), "none", None, None, {}),
        (
            books(metadata={"hnsw:space": "cosine", "a": 1}),
            None,
            WantedCollection("books", metadata={"b": 2}),
            "update",
            None,
            {"hnsw:space": "cosine", "b": 2},
            {},
        ),
        (books(), None, WantedCollection("books", configuration={"space": "cosine", "max_neighbors": 16}), "none", None, None, {}),
        (books(), None, WantedCollection("books", configuration={"ef_search": 50}), "update", None, None, {"ef_search": 50}),
        (books(), None, WantedCollection("books", "library"), "update", "library", None, {}),
        (books(), None, WantedCollection("books", "library", {"a": 1}), "update", "library", {"a": 1}, {}),
        (books(), books(), WantedCollection("books", "books"), "none", None, None, {}),
        (None, books("library"), WantedCollection("books", "library"), "none", None, None, {}),
        (None, books("library"), WantedCollection("books", "library", {"a": 1}), "update", None, {"a": 1}, {}),
    ],
)
def test_plan(current, target, wanted, action, name, metadata, configuration):
    plan = plan_present(current, target, wanted, legacy=False)
    assert (plan.action, plan.name, plan.metadata, plan.configuration) == (action, name, metadata, configuration)
    assert plan.action != "none" or plan.before == plan.after


@pytest.mark.parametrize(
    ("current", "target", "wanted", "legacy", "code"),
    [
        (books(), books("library"), WantedCollection("books", "library"), False, "conflict"),
        (None, None, WantedCollection("books", "library"), False, "not_found"),
        (books(), None, WantedCollection("books", configuration={"space": "l2"}), False, "immutable"),
        (books(), None, WantedCollection("books", configuration={"max_neighbors": 8}), False, "immutable"),
        (books(), None, WantedCollection("books", configuration={"ef_search": 50}), True, "immutable"),
        (None, None, WantedCollection("books", metadata={"hnsw:space": "l2"}), False, "invalid_metadata"),
    ],
)
def test_plans_that_are_refused(current, target, wanted, legacy, code):
    with pytest.raises(ChromaError) as failed:
        plan_present(current, target, wanted, legacy=legacy)
    assert failed.value.code == code
    assert failed.value.hint


def test_booleans_that_0_4_stores_as_integers_are_no_difference():
    wanted = WantedCollection("books", metadata={"open": True})
    assert plan_present(books(metadata={"open": 1}), None, wanted, legacy=True, booleans=False).action == "none"
    assert plan_present(books(metadata={"open": 1}), None, wanted, legacy=True).action == "update"


@pytest.mark.parametrize(
    ("name", "legacy", "accepted"),
    [
        ("abc", True, True),
        ("A_b-c.9", True, True),
        ("a" * 63, True, True),
        ("a" * 64, True, False),
        ("a" * 64, False, True),
        ("a" * 512, False, True),
        ("a" * 513, False, False),
        ("ab", False, False),
        ("", False, False),
        ("a b", False, False),
        ("a/b", False, False),
        ("_abc", False, False),
        ("abc-", False, False),
        ("a..b", False, False),
        ("192.168.1.1", False, False),
        ("192.168.1.256", False, True),
        ("bücher", False, False),
        ("图书馆", False, False),
        ("abc\n", False, False),
    ],
)
def test_check_name(name, legacy, accepted):
    if accepted:
        check_name(name, legacy)
    else:
        with pytest.raises(ChromaError) as failed:
            check_name(name, legacy)
        assert failed.value.code == "invalid_name"


def test_create_is_read_back(recorded, version):
    server = recorded(version, "collection_missing", "collection_create", "collection_get")
    result = ensure_collection(server.client(), WantedCollection("books", None, {"year": 2026}, {"space": "cosine"}))
    assert result["changed"] is True
    assert result["diff"]["before"] == {}
    assert result["collection"]["metadata"] == {"year": 2026}
    assert result["collection"]["space"] == "cosine"
    assert server.changes() == [("POST", "collections")]
    assert server.sent[-1][0] == "GET"


def test_a_change_that_does_not_read_back_is_an_error(recorded):
    server = recorded("1.5.9", "collection_get", "metadata_replace")
    with pytest.raises(ChromaError) as failed:
        ensure_collection(server.client(), WantedCollection("books", metadata={"language": "en"}))
    assert failed.value.code == "not_applied"
    assert failed.value.result["collection"]["metadata"] == {"year": 2026}


def test_metadata_is_replaced_and_the_space_kept(recorded, version):
    server = recorded(version, "collection_get", "collection_replaced", "metadata_replace")
    result = ensure_collection(server.client(), WantedCollection("books", metadata={"language": "en"}))
    assert result["collection"]["metadata"] == {"language": "en"}
    kept = {"hnsw:space": "cosine"} if version.startswith("0.") else {}
    assert next(body for method, _path, body in server.sent if method == "PUT") == {"new_metadata": {**kept, "language": "en"}}


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_sent_where_nothing_differs_or_in_check_mode(recorded, version, check):
    server = recorded(version, "collection_get")
    wanted = WantedCollection("books", metadata={"new": 1} if check else {"year": 2026})
    assert ensure_collection(server.client(), wanted, check=check)["changed"] is check
    assert server.changes() == []


def test_a_list_in_metadata_is_refused_before_anything_is_sent(recorded, version):
    server = recorded(version)
    for value in (["a"], {"a": 1}, None):
        with pytest.raises(ChromaError) as failed:
            ensure_collection(server.client(), WantedCollection("books", metadata={"tags": value}))
        assert failed.value.code == "invalid_metadata"
    with pytest.raises(ChromaError) as failed:
        ensure_collection(server.client(), WantedCollection("a b"))
    assert failed.value.code == "invalid_name"
    assert server.sent == []


def test_a_new_name_is_given_before_anything_else_is_changed(recorded):
    server = recorded("1.5.9", "collection_get", "collection_gone", "metadata_replace", "collection_renamed")
    given = []

    def rename(name, new_name):
        given.append((name, new_name, server.changes()))
        return {"entry": 7}

    result = ensure_collection(server.client(), WantedCollection("books", "library", {"language": "en"}), rename)
    assert (result["changed"], result["entry"], result["collection"]["name"]) == (True, 7, "library")
    assert given == [("books", "library", [])]
    assert server.changes() == [("PUT", "11111111-1111-4111-8111-111111111111")]
    assert [list(body) for method, _path, body in server.sent if method == "PUT"] == [["new_metadata"]]


def test_describe_counts_and_leaves_out_absent_ones(recorded, version):
    first_record = ["records_page"] if version == "0.4.24" else []  # which describes no dimension
    server = recorded(version, "collection_filled", "collection_gone", "count", *first_record)
    [seen] = describe_collections(server.client(), ["library", "books"])
    assert (seen["name"], seen["count"], seen["dimension"]) == ("books", 2, 3)
