# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL between any two steps of a deletion, a renaming or an undo: the next transaction completes it or takes it back, nothing is half.

A step is whatever reaches the server, restic or the journal: the process is killed before the n-th of them.
"""

from __future__ import annotations

import json

import pytest
import transacting
from transacting import Spot, serving

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection, rename_held
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection
from ansible_collections.thinkube.chroma.plugins.module_utils.robust import RobustManager

# Fixtures.
spot, name = transacting.spot, transacting.name
# So many steps has each of them; the most telling ones are part of every run.
DELETION, RENAMING, UNDOING, NAMING = 29, 26, 26, 14


def steps(count, *telling):
    """Return the steps of an operation, and one beyond its end."""
    others = [pytest.param(each, marks=pytest.mark.thorough) for each in range(1, count + 1) if each not in telling]
    return [*telling, count + 1, *others]


def next_run(spot):
    """Run a transaction that has nothing to do itself, and return what became of the one that died."""
    result = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each.status for each in spot.operations() if each.status == "open"] == []
    leftovers = [each.name for each in spot.client.list_collections() if each.name.startswith("restoring-")]
    assert leftovers == []
    assert all(not each.tag("pending") for each in spot.open().snapshots())
    return [each["status"] for each in result["finished"]]


# 5 before anything, 14 with a restore point that was not read back, 18 before it is written that the deletion begins, 19 before the first
# record is compared, 21 in between, 27 when all are gone, 28 when the collection is, 29 before it is written that it ended.
@pytest.mark.parametrize("kill_at", steps(DELETION, 14, 19, 21, 28))
def test_a_deletion_that_is_killed(spot, name, kill_at):
    before = spot.holds(name)
    killed = spot.killed(kill_at, "delete", name)
    assert killed == (kill_at <= DELETION)
    status = next_run(spot)
    if not killed or kill_at <= 4:
        assert status == []
        assert (spot.holds(name) is None) == (not killed)
        return
    # Once it is written that records are deleted it is completed; until then there is nothing to complete.
    assert status == (["done"] if kill_at > 18 else ["rolled_back"])
    assert spot.last("delete-collection").status == status[0]
    assert spot.holds(name) == (None if kill_at > 18 else before)


@pytest.mark.parametrize("kill_at", steps(RENAMING, 21, 22, 23))
def test_a_renaming_that_is_killed(spot, name, kill_at):
    before, new_name = spot.holds(name), f"{name}-new"
    killed = spot.killed(kill_at, "rename", name, new_name)
    assert killed == (kill_at <= RENAMING)
    status = next_run(spot)
    renamed = kill_at > 21
    assert status == ([] if kill_at <= 6 or kill_at > 25 else ["done"] if renamed else ["rolled_back"])
    assert spot.holds(new_name if renamed else name) == before
    assert spot.holds(name if renamed else new_name) is None


# 22 before the server gives the new name, 24 after.
@pytest.mark.parametrize("kill_at", [22, 24])
def test_the_same_renaming_asked_for_again_is_the_one_that_was_killed(spot, name, kill_at):
    before, new_name = spot.holds(name), f"{name}-new"
    assert spot.killed(kill_at, "rename", name, new_name)
    assert (spot.holds(name) is None) == (kill_at > 22)
    settings = spot.repository
    manager = RobustManager(spot.url, settings.location, settings.password, path=spot.data, restic_path=settings.restic_path)
    again = manager.safe_rename_collection(name, new_name)
    assert (again["changed"], again["collection"]["name"], again["diff"]["before"]["name"]) == (True, new_name, name)
    begun = spot.last("rename-collection")
    assert (again["records"], again["restore_point"], again["entry"]) == (50, begun.facts["restore_point"], begun.n)
    assert [(each["entry"], each["status"]) for each in again["finished"]] == [(begun.n, "done")]
    assert (spot.holds(name), spot.holds(new_name)) == (None, before)
    assert manager.undo(again["entry"])["collection"]["name"] == name


def test_a_renaming_of_a_killed_recovery_is_completed_by_the_same_one_too(spot, name, monkeypatch):
    before, new_name, place = spot.holds(name), f"{name}-new", spot.place()
    journal = Journal.of(spot.data)
    monkeypatch.setattr(Journal, "end", lambda *given, **facts: None)  # killed before it is written that it ended
    rename_held(place.client, journal, place.client.require_collection(name), new_name)
    monkeypatch.undo()
    again = rename_collection(place, name, new_name)
    assert (again["records"], again["restore_point"], [each["status"] for each in again["finished"]]) == (50, "", ["done"])
    assert (spot.holds(name), spot.holds(new_name)) == (None, before)


def test_a_collection_that_got_the_old_name_after_a_kill_is_another_one(spot, name):
    new_name = f"{name}-new"
    assert spot.killed(24, "rename", name, new_name)
    spot.fill(name, 2)
    with pytest.raises(ChromaError) as failed:
        rename_collection(spot.place(), name, new_name)
    assert (failed.value.code, len(spot.holds(name)["rows"]), len(spot.holds(new_name)["rows"])) == ("conflict", 2, 50)


# 14 before its interim collection is made, 16 while that is empty, 21 when it only lacks the name, 22 when it has that.
@pytest.mark.parametrize("kill_at", steps(UNDOING, 16, 22))
def test_the_undo_of_a_deletion_that_is_killed(spot, name, kill_at):
    before = spot.holds(name)
    entry = delete_collection(spot.place(), name)["entry"]
    killed = spot.killed(kill_at, "undo", entry)
    assert killed == (kill_at <= UNDOING)
    status = next_run(spot)
    begun = kill_at > 6
    assert status == ([] if kill_at <= 5 or not killed else ["done"] if begun else ["rolled_back"])
    assert spot.holds(name) == (before if begun else None)


@pytest.mark.parametrize("kill_at", steps(NAMING, 12))
def test_the_undo_of_a_renaming_that_is_killed(spot, name, kill_at):
    before = spot.holds(name)
    entry = rename_collection(spot.place(kept=False, force=True), name, f"{name}-new")["entry"]
    killed = spot.killed(kill_at, "undo", entry)
    assert killed == (kill_at <= NAMING)
    status = next_run(spot)
    begun = kill_at > 7
    assert status == ([] if kill_at <= 6 or not killed else ["done"] if begun else ["rolled_back"])
    assert spot.holds(name if begun else f"{name}-new") == before


def test_the_same_undo_asked_for_again_is_the_one_that_was_killed_and_no_older_one(spot, name):
    other, before = f"{name}-other", spot.holds(name)
    spot.fill(other, 3)
    delete_collection(spot.place(), other)
    entry = delete_collection(spot.place(), name)["entry"]
    assert spot.killed(15, "undo")
    again = undo_collection(spot.place())
    assert (again["undone"], again["records"], again["collection"]["name"]) == (entry, 50, name)
    assert spot.holds(name) == before
    assert spot.holds(other) is None


def test_a_name_that_was_taken_before_a_killed_undo_goes_on_is_left_to_who_has_it(spot, name):
    delete_collection(spot.place(), name)
    assert spot.killed(15, "undo")
    spot.fill(name, 2)
    theirs = spot.holds(name)
    assert next_run(spot) == ["rolled_back"]
    assert spot.holds(name) == theirs


def test_records_that_came_after_a_kill_are_not_deleted_but_the_others_brought_back(spot, name):
    before = spot.holds(name)
    assert spot.killed(21, "delete", name)
    client = spot.client
    client.write(client.require_collection(name), "upsert", b'{"ids": ["late"], "embeddings": [[1, 2, 3]]}')
    assert next_run(spot) == ["rolled_back"]
    after = spot.holds(name)
    assert after["rows"].pop("late")["embedding"] == [1.0, 2.0, 3.0]
    assert after == before


def test_what_was_written_anew_after_a_kill_stays(spot, name):
    before = spot.holds(name)
    assert spot.killed(21, "delete", name)
    # One that had been deleted, and one that had not; with and without another record beside them, the deletion is not gone on with.
    body = {"ids": ["id-0", "id-45"], "embeddings": [[9, 9, 9]] * 2, "documents": ["new"] * 2}
    client = spot.client
    client.write(client.require_collection(name), "upsert", json.dumps(body).encode())
    assert next_run(spot) == ["rolled_back"]
    after = spot.holds(name)
    for each in body["ids"]:
        assert (after["rows"].pop(each)["document"], before["rows"].pop(each)["document"] == "new") == ("new", False)
    assert after == before


def test_a_deletion_without_restore_point_that_was_killed_takes_nothing_more(spot, name):
    before, client = spot.holds(name), spot.client
    found = client.require_collection(name)
    facts = {"collection": f"{found.tenant}/{found.database}/{name}", "id": found.id, "name": name, "records": 60}
    where = {"url": spot.url, "tenant": found.tenant, "database": found.database, "restore_point": "", "repository": ""}
    journal = Journal.of(spot.data)
    journal.step(journal.begin("delete-collection", **facts, **where), "delete")
    assert next_run(spot) == ["interrupted"]
    assert spot.holds(name) == before


def test_what_is_open_is_not_finished_on_another_server(spot, name, tmp_path):
    before, renamed = spot.holds(name), f"{name}-renamed"
    spot.fill(renamed, 2)
    naming = rename_collection(spot.place(kept=False, force=True), renamed, f"{renamed}-new")["entry"]
    entry = delete_collection(spot.place(), name)["entry"]
    assert spot.killed(12, "undo", entry)
    journal = Journal.of(spot.data)
    facts = {**spot.last("rename-collection").facts, "undoes": naming, "undone": "rename-collection"}
    journal.step(journal.begin("undo-collection", **facts), "undo")
    with serving(tmp_path) as other:
        wrong = Spot(other.url, spot.root, spot.data)
        result = delete_collection(wrong.place(), "nothing-of-this-name")
        assert (result["finished"], other.client.list_collections()) == ([], [])
        assert all(f"{other.url} serves another directory" in each for each in result["warnings"])
    assert next_run(spot) == ["done", "done"]
    assert (spot.holds(name), len(spot.holds(renamed)["rows"])) == (before, 2)


def test_an_undo_is_not_asked_of_another_server(spot, name, tmp_path):
    spot.fill(f"{name}-other", 2)
    entry = delete_collection(spot.place(), name)["entry"]
    with serving(tmp_path) as other:
        with pytest.raises(ChromaError) as failed:
            undo_collection(Spot(other.url, spot.root, spot.data).place(), entry)
        assert (failed.value.code, other.client.list_collections()) == ("conflict", [])
    assert undo_collection(spot.place(), entry)["records"] == 50


def test_a_collection_of_others_with_the_same_name_and_size_is_not_taken_for_the_one_that_comes_back(spot, name):
    before = spot.holds(name)
    entry = delete_collection(spot.place(), name)["entry"]
    assert spot.killed(12, "undo", entry)
    spot.fill(name, 50, embeddings=[[7, 7, 7]] * 50)
    assert next_run(spot) == ["rolled_back"]
    spot.client.delete_collection(name)
    undo_collection(spot.place(), entry)
    assert spot.holds(name) == before


def test_a_renaming_whose_collection_is_gone_keeps_nobody_from_working(spot, name):
    entry = rename_collection(spot.place(kept=False, force=True), name, f"{name}-new")["entry"]
    assert spot.killed(10, "undo", entry)
    spot.client.delete_collection(f"{name}-new")
    assert next_run(spot) == ["interrupted"]
    assert next_run(spot) == []


def test_what_needs_the_repository_waits_for_a_run_that_has_it(spot, name):
    assert spot.killed(21, "delete", name)
    result = delete_collection(spot.place(kept=False), "nothing-of-this-name")
    assert (result["finished"], spot.last("delete-collection").status) == ([], "open")
    assert f"{name} is half deleted" in result["warnings"][0]
    assert next_run(spot) == ["done"]
    assert spot.holds(name) is None
