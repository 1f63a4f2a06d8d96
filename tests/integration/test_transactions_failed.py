# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletions and renamings on real servers that fail or meet others' changes: rolled back, at once or by the next run."""

from __future__ import annotations

import itertools
import json

import pytest
import transacting
from interference import proxy
from transacting import failure, through

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction import point, removal, rolling
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection

# Fixtures.
spot, name = transacting.spot, transacting.name


@pytest.fixture
def small_pages(monkeypatch):
    """Let fifty records be deleted by three requests."""
    monkeypatch.setattr(point, "PAGE", 20)
    monkeypatch.setattr(removal, "PAGE", 20)


@pytest.fixture
def impatient(monkeypatch):
    """Let nobody wait for a server that is away."""
    for module in (point, removal, rolling):
        if hasattr(module, "_PATIENCE"):
            monkeypatch.setattr(module, "_PATIENCE", 0.0)


# (method, end of the path, how many of these go through first)
FAILURES = [("POST", "/delete", 0), ("POST", "/delete", 1), ("DELETE", "", 0)]


@pytest.mark.parametrize(("method", "end", "after"), FAILURES)
def test_a_deletion_that_fails_is_rolled_back(spot, name, small_pages, impatient, method, end, after):
    before, seen = spot.holds(name), itertools.count()

    def decide(what, path, _number):
        return 500 if what == method and path.endswith(end) and next(seen) >= after else None

    with proxy(spot.url, decide) as between:
        failed = failure(delete_collection, through(spot, between).place(), name)
    assert (failed.code, failed.result["rolled_back"]) == ("server_error", True)
    assert spot.holds(name) == before
    assert spot.last("delete-collection").status == "rolled_back"
    assert not [each for each in spot.operations() if each.status == "open"]


def test_a_deletion_that_the_own_disk_ends_is_rolled_back(spot, name, small_pages, monkeypatch):
    before, seen, compare = spot.holds(name), itertools.count(), removal.compare

    def breaks(*arguments):
        if next(seen) == 1:
            raise OSError(5, "Input/output error")
        return compare(*arguments)

    monkeypatch.setattr(removal, "compare", breaks)
    failed = failure(delete_collection, spot.place(), name)
    assert (failed.code, failed.result["rolled_back"], "Input/output" in failed.message) == ("not_applied", True, True)
    assert (spot.holds(name), spot.last("delete-collection").status) == (before, "rolled_back")


def test_a_renaming_that_fails_leaves_the_old_name(spot, name, impatient):
    before = spot.holds(name)
    with proxy(spot.url, lambda method, _path, _number: 500 if method == "PUT" else None) as between:
        failed = failure(rename_collection, through(spot, between).place(), name, f"{name}-new")
    assert (failed.code, failed.result["rolled_back"]) == ("server_error", True)
    assert (spot.holds(name), spot.holds(f"{name}-new")) == (before, None)
    assert spot.last("rename-collection").status == "rolled_back"


def test_a_deletion_of_which_only_the_answer_is_lost_is_done(spot, name):
    def decide(method, path, _number):
        if method != "DELETE":
            return None
        spot.client.delete_collection(name)
        return 500

    with proxy(spot.url, decide) as between:
        assert delete_collection(through(spot, between).place(), name)["changed"] is True
    assert (spot.holds(name), spot.last("delete-collection").status) == (None, "done")


def test_a_server_that_goes_away_gets_its_records_back_from_the_next_run(spot, name, small_pages, impatient):
    before, deletions = spot.holds(name), itertools.count()
    away = []

    def decide(_method, path, _number):
        if path.endswith("/delete") and next(deletions) == 1:
            away.append(path)
        return 500 if away else None

    with proxy(spot.url, decide) as between:
        failed = failure(delete_collection, through(spot, between).place(), name)
    assert (failed.result["rolled_back"], "The next transaction" in failed.hint) == (False, True)
    assert spot.last("delete-collection").status == "open"
    # Nobody may remove meanwhile what it needs.
    kept = failure(prune, spot.repository, lambda _host: False, Retention(), [failed.result["restore_point"]], spot.data)
    assert kept.code == "in_use"
    result = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each["status"] for each in result["finished"]] == ["rolled_back"]
    assert spot.holds(name) == before


def test_what_is_written_meanwhile_is_not_lost(spot, name, small_pages):
    before = spot.holds(name)
    client = spot.client

    def write(record):
        body = {"ids": [record], "embeddings": [[9, 9, 9]], "documents": ["late"]}
        client.write(client.require_collection(name), "upsert", json.dumps(body).encode())

    def add_while_deleting(_method, path, _number):
        if path.endswith("/delete"):
            write("late")

    with proxy(spot.url, add_while_deleting) as between:
        failed = failure(delete_collection, through(spot, between).place(), name)
    assert (failed.code, failed.result["rolled_back"]) == ("collection_changed", True)
    after = spot.holds(name)
    assert after["rows"].pop("late")["document"] == "late"
    assert after == before
    spot.client.delete(spot.client.require_collection(name), ["late"])

    def change_while_deleting(_method, path, _number):
        if path.endswith("/delete"):
            write("id-45")

    with proxy(spot.url, change_while_deleting) as between:
        failed = failure(delete_collection, through(spot, between).place(), name)
    # It was in a page that was not deleted yet.
    assert (failed.code, failed.result["rolled_back"], "id-45" in failed.message) == ("collection_changed", True, True)
    after = spot.holds(name)
    assert (after["rows"].pop("id-45")["document"], before["rows"].pop("id-45")["document"]) == ("late", "document 45")
    assert after == before

    def change_after_reading(_method, path, number):
        if path.endswith("/get") and "first" not in done:
            done["first"] = number
        elif path.endswith("/count") and "first" in done and "changed" not in done:
            done["changed"] = True
            write("id-1")

    done = {}
    with proxy(spot.url, change_after_reading) as between:
        failed = failure(delete_collection, through(spot, between).place(), name)
    # What replaces a record is seen in SQLite, before anything is deleted.
    assert (failed.code, "rolled_back" in failed.result) == ("collection_changed", False)
    assert spot.holds(name)["rows"]["id-1"]["document"] == "late"


def test_records_that_come_into_an_empty_collection_are_not_deleted(spot):
    spot.fill("empty", 0)

    def write(method, path, _number):
        if method == "GET" and path.endswith("/count"):
            counts.append(path)
            if len(counts) == 3:  # as the last look before the collection goes
                spot.client.write(made, "upsert", b'{"ids": ["late"], "embeddings": [[1, 2, 3]]}')

    made, counts = spot.client.require_collection("empty"), []
    with proxy(spot.url, write) as between:
        failed = failure(delete_collection, through(spot, between).place(kept=False), "empty")
    assert (failed.code, failed.result["rolled_back"]) == ("collection_changed", True)
    assert set(spot.holds("empty")["rows"]) == {"late"}
    delete_collection(spot.place(kept=False, force=True), "empty")


def test_a_half_deleted_collection_that_somebody_renamed_is_made_whole(spot, name):
    before = spot.holds(name)
    assert spot.killed(21, "delete", name)
    client = spot.client
    client.update_collection(client.require_collection(name), name=f"{name}-renamed")
    result = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each["status"] for each in result["finished"]] == ["rolled_back"]
    assert spot.holds(f"{name}-renamed") == before


def test_a_deletion_that_was_interrupted_before_the_directory_was_restored_is_not_gone_on_with(spot, name):
    before = spot.holds(name)
    assert spot.killed(21, "delete", name)
    journal = Journal.of(spot.data)
    restore = journal.begin("restore", backup="20260831T120000Z-1f3a9c")
    journal.end(restore, "done")
    result = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each["status"] for each in result["finished"]] == ["interrupted"]
    # It stays half deleted, as the restored directory has it.
    left = spot.holds(name)["rows"]
    assert left.keys() < before["rows"].keys()
    assert left == {each: before["rows"][each] for each in left}
    entry = spot.last("delete-collection").n
    delete_collection(spot.place(kept=False, force=True), name)
    undo_collection(spot.place(), entry)
    assert spot.holds(name) == before
