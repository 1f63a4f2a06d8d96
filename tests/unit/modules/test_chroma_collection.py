# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_collection: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Reply
from ansible_collections.thinkube.chroma.plugins.modules import chroma_collection

BOOKS = {"name": "books", "metadata": {"year": 2026}, "space": "cosine"}


def test_present_creates(run_module, recorded, version):
    server = recorded(version, "collection_missing", "collection_create", "collection_get")
    result = run_module(chroma_collection, BOOKS, server)
    assert (result["changed"], result["collection"]["space"]) == (True, "cosine")
    assert run_module(chroma_collection, BOOKS, server)["changed"] is False
    assert server.changes() == [("POST", "collections")]


def test_check_mode_returns_the_plan(run_module, recorded, version):
    server = recorded(version, "collection_get")
    result = run_module(chroma_collection, {**BOOKS, "metadata": {"language": "en"}}, server, check_mode=True)
    assert (result["changed"], server.changes()) == (True, [])
    assert result["diff"]["before"]["metadata"] == {"year": 2026}
    assert result["diff"]["after"]["metadata"] == {"language": "en"}


def test_rename(run_module, recorded, version):
    server = recorded(version, "collection_get", "collection_gone", "rename")
    server.also("count", Reply(200, b"0"), alone=True)
    for name in ("collection_get", "collection_gone") * 2:
        server.also(name)
    server.also("collection_renamed")
    server.also("collection_missing")
    result = run_module(chroma_collection, {"name": "books", "new_name": "library"}, server)
    assert (result["changed"], result["collection"]["name"], result["restore_point"]) == (True, "library", "")
    assert server.changes() == [("PUT", "11111111-1111-4111-8111-111111111111")]


def test_absent_deletes_what_is_empty(run_module, recorded, version):
    server = recorded(version, "collection_renamed", "collection_delete")
    server.also("count", Reply(200, b"0"), alone=True)
    server.also("collection_renamed")
    server.also("collection_gone")
    assert run_module(chroma_collection, {"name": "library", "state": "absent"}, server)["changed"] is True
    assert run_module(chroma_collection, {"name": "library", "state": "absent"}, server)["changed"] is False
    assert server.changes() == [("DELETE", "library")]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("wanted", [{"state": "absent"}, {"new_name": "library"}])
def test_records_are_not_risked_without_a_restore_point(run_module, recorded, version, wanted, check_mode):
    server = recorded(version, "collection_get", "collection_gone", "count")
    result = run_module(chroma_collection, {"name": "books", **wanted}, server, check_mode=check_mode)
    assert (result["failed"], result["code"], server.changes()) == (True, "no_restore_point", [])
    assert "force: true" in result["hint"]


def test_a_collection_that_stays_is_an_error(run_module, recorded):
    server = recorded("1.5.9", "collection_renamed", "collection_delete")
    server.also("count", Reply(200, b"0"), alone=True)
    result = run_module(chroma_collection, {"name": "library", "state": "absent"}, server)
    assert (result["code"], result["rolled_back"]) == ("not_applied", False)


def test_a_restore_point_needs_a_journal(run_module, recorded):
    server = recorded("1.5.9")
    options = {"repository": "/nowhere", "repository_password": "x"}
    result = run_module(chroma_collection, {"name": "books", "state": "absent", **options}, server)
    assert (result["code"], "journal_path" in result["hint"], server.sent) == ("invalid_value", True, [])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"name": "a b"}, "invalid_name"),
        ({"metadata": {"tags": ["a"]}}, "invalid_metadata"),
        ({"space": "l2"}, "immutable"),
        ({"hnsw": {"max_neighbors": 8}}, "immutable"),
    ],
)
def test_what_cannot_be_is_refused_without_a_change(run_module, recorded, version, arguments, code):
    server = recorded(version, "collection_get")
    result = run_module(chroma_collection, {"name": "books", **arguments}, server)
    assert (result["failed"], result["code"], server.changes()) == (True, code, [])


def test_settings_that_are_not_given_do_not_matter(run_module, recorded):
    server = recorded("1.5.9", "collection_get")
    assert run_module(chroma_collection, {"name": "books", "hnsw": {"ef_search": 100}}, server)["changed"] is False
