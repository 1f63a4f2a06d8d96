# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as a user runs them, against real servers of all supported releases."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def books(server):
    """Return the options of a collection that no other test uses."""
    return {"url": server.url}, f"books-{uuid.uuid4().hex[:8]}"


def test_a_playbook_does_each_step_once(server, run_playbook):
    done = run_playbook("playbooks/cycle.yaml", "-e", f"chroma_url={server.url}", "-vvv")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "never-printed-token" not in done.stdout + done.stderr


def test_server_info(server, run_module):
    seen = run_module("chroma_server_info", {"url": server.url})
    assert seen["version"] == (server.version if server.version.startswith("0.") else "1.0.0")
    assert seen["api_version"] == ("v1" if server.version == "0.4.24" else "v2")
    assert seen["auth_enforced"] is False


def test_check_mode_changes_nothing_and_tells_the_truth(books, run_module):
    where, name = books
    wanted = {**where, "name": name, "space": "ip", "metadata": {"a": 1}}
    records = {**where, "collection": name, "records": [{"id": "x", "embedding": [1, 2]}]}
    assert run_module("chroma_collection", wanted, check_mode=True)["changed"] is True
    assert run_module("chroma_record", records, check_mode=True)["created"] == ["x"]
    assert run_module("chroma_collection_info", {**where, "names": [name]})["collections"] == []
    assert run_module("chroma_collection", wanted)["changed"] is True
    assert run_module("chroma_collection", {**wanted, "metadata": {"b": 2}}, check_mode=True)["diff"]["after"]["metadata"] == {"b": 2}
    assert run_module("chroma_collection", wanted, check_mode=True)["changed"] is False
    assert run_module("chroma_record", records, check_mode=True)["changed"] is True
    gone = {**where, "name": name, "state": "absent"}
    assert run_module("chroma_collection", gone, check_mode=True)["changed"] is True
    assert run_module("chroma_collection_info", {**where, "names": [name]})["collections"][0]["count"] == 0
    assert run_module("chroma_collection", gone)["changed"] is True


def test_a_taken_name_is_refused_and_both_stay(books, run_module):
    where, name = books
    for each in (name, f"{name}-2"):
        run_module("chroma_collection", {**where, "name": each})
    refused = run_module("chroma_collection", {**where, "name": name, "new_name": f"{name}-2"})
    assert refused["code"] == "conflict"
    assert len(run_module("chroma_collection_info", {**where, "names": [name, f"{name}-2"]})["collections"]) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "no spaces"}, "invalid_name"),
        ({"name": "名前です"}, "invalid_name"),
        ({"metadata": {"tags": ["a", "b"]}}, "invalid_metadata"),
        ({"name": "absent-here", "new_name": "other"}, "not_found"),
    ],
)
def test_bad_collections_are_refused_and_the_server_lives(newest, run_module, change, code):
    where = {"url": newest.url}
    assert run_module("chroma_collection", {**where, "name": "books", **change})["code"] == code
    assert run_module("chroma_server_info", where)["changed"] is False


def test_the_dimension_is_kept(books, run_module):
    where, name = books
    run_module("chroma_collection", {**where, "name": name})
    record = {**where, "collection": name, "records": [{"id": "a", "embedding": [1, 2, 3]}]}
    assert run_module("chroma_record", record)["changed"] is True
    record["records"] = [{"id": "b", "embedding": [1, 2]}]
    assert run_module("chroma_record", record)["code"] == "dimension_mismatch"
    assert run_module("chroma_query", {**where, "collection": name, "query_embeddings": [[1, 2]]})["code"] == "dimension_mismatch"


def test_databases(server, run_module):
    tenant = f"tenant-{uuid.uuid4().hex[:8]}"
    where = {"url": server.url, "tenant": tenant, "name": "docs"}
    assert run_module("chroma_database", where, check_mode=True)["created"] == ["tenant", "database"]
    assert run_module("chroma_database", where)["created"] == ["tenant", "database"]
    assert run_module("chroma_database", where)["changed"] is False
    run_module("chroma_collection", {"url": server.url, "tenant": tenant, "database": "docs", "name": "books"})
    assert run_module("chroma_database", {**where, "state": "absent"})["code"] == "not_empty"
    removed = run_module("chroma_database", {**where, "state": "absent", "force": True})
    if server.version in ("0.4.24", "0.5.23"):
        assert removed["code"] == "unsupported"
    else:
        assert removed["changed"] is True
        assert run_module("chroma_database", {**where, "state": "absent"})["changed"] is False
