# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the decision between a full backup and an increment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import Policy, Standing, plan_backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

from .conftest import LINEAGE, NOW, SCHEMA


def plan(
    shelf, wanted="auto", schema=SCHEMA, supported=SCHEMA, now=NOW, verify=True, lineage=LINEAGE, unknown=(), unreadable=False, **policy
):
    begun = {each.backup for each in shelf.snapshots} - set(unknown)
    standing = Standing(schema, supported, lineage, begun)
    return plan_backup(wanted, shelf.catalogue, standing, Policy(**policy), now, verify, unreadable)


def test_the_first_backup_is_a_full_one(shelf):
    made = plan(shelf)
    assert (made.kind, made.parent) == ("full", None)
    assert "no backup yet" in made.reason


def test_an_increment_follows_on_the_newest(shelf):
    names = shelf.chain(3, age=3)
    made = plan(shelf)
    assert (made.kind, made.parent.id) == ("increment", names[-1])


def test_a_full_one_where_a_snapshot_can_not_be_read(shelf):
    shelf.chain(3, age=3)
    for increments in (24, 0):
        made = plan(shelf, unreadable=True, increments=increments)
        assert (made.kind, made.parent) == ("full", None)
    with pytest.raises(ChromaError) as refused:
        plan(shelf, "increment", unreadable=True)
    assert refused.value.code == "no_base"


@pytest.mark.parametrize(("age", "kind"), [(1, "increment"), (23.8, "increment"), (23.95, "full"), (24, "full"), (100, "full")])
def test_a_full_one_is_due_after_the_interval(shelf, age, kind):
    shelf.add(age=age)
    assert plan(shelf).kind == kind


def test_the_age_of_the_base_counts_and_not_that_of_the_increments(shelf):
    shelf.chain(20, age=25)
    made = plan(shelf)
    assert made.kind == "full"
    assert "25.0 hours old" in made.reason


@pytest.mark.parametrize(("length", "kind"), [(5, "increment"), (6, "full")])
def test_a_chain_ends_at_its_longest(shelf, length, kind):
    shelf.chain(length, age=2)
    assert plan(shelf, increments=5).kind == kind


def test_no_increments_at_all(shelf):
    assert plan(shelf, increments=0).kind == "full"
    first = shelf.add(age=1)
    made = plan(shelf, increments=0)
    assert (made.kind, made.parent.id) == ("nothing", first)
    assert "switched off" in made.reason
    assert plan(shelf, increments=0, now=NOW + timedelta(hours=23)).kind == "full"


def test_of_another_schema_a_full_one_is_made_each_interval_and_nothing_between(shelf):
    older, newer = {"sysdb": 9, "metadb": 5, "embeddings_queue": 2}, "9.5.2"
    first = shelf.add(age=1, schema=older)
    made = plan(shelf, schema=newer)
    assert (made.kind, made.parent.id) == ("nothing", first)
    assert SCHEMA in made.reason
    assert plan(shelf, "full", schema=newer).kind == "full"
    assert plan(shelf, schema=newer, now=NOW + timedelta(hours=23)).kind == "full"
    # What was never proven, another schema or a restore makes one due.
    assert plan(shelf, schema="8.5.2").kind == "full"
    shelf.add(age=0.5, schema=older, verified=False)
    assert plan(shelf, schema=newer).kind == "full"
    shelf.add(age=0.4, schema=older)
    assert plan(shelf, schema=newer).kind == "nothing"
    # A restore ends the lineage.
    assert plan(shelf, schema=newer, lineage="").kind == "full"


def test_nothing_follows_on_what_was_never_verified(shelf):
    loose = shelf.add(age=1, verified=False)
    made = plan(shelf)
    assert made.kind == "full"
    assert f"{loose}, or one that it follows on, was never verified" in made.reason
    # Who wants no proof gets increments all the same, and so does who insists.
    assert plan(shelf, verify=False).parent.id == loose
    assert plan(shelf, "increment").parent.id == loose


@pytest.mark.parametrize("before", [LINEAGE, ""])
@pytest.mark.parametrize("now", ["0123456789abcdef", ""])
def test_a_full_one_where_the_newest_is_of_another_lineage(shelf, before, now):
    name = shelf.add(age=3, lineage=before)
    made = plan(shelf, lineage=now)
    assert made.kind == "full"
    assert f"restored since {name}" in made.reason
    with pytest.raises(ChromaError, match="restored since") as refused:
        plan(shelf, "increment", lineage=now)
    assert refused.value.code == "no_base"
    # The one that was made instead begins a chain, whatever is older.
    if now:
        made = shelf.add(age=1, lineage=now)
        assert plan(shelf, lineage=now).parent.id == made


def test_a_full_one_where_the_journal_does_not_know_the_newest(shelf):
    _first, second = shelf.chain(2, age=2)
    made = plan(shelf, unknown=[second])
    assert made.kind == "full"
    assert f"does not know {second}" in made.reason


def test_a_restore_point_by_itself_changes_nothing(shelf):
    # Its restore may have failed before it changed anything; one that did ends the lineage.
    name = shelf.add(age=3)
    shelf.add("restore-point", age=2)
    assert plan(shelf).parent.id == name


def test_a_full_one_after_an_upgrade_and_where_increments_are_not_possible(shelf):
    shelf.add(schema={"sysdb": 9, "metadb": 5, "embeddings_queue": 2})
    assert "upgraded" in plan(shelf).reason
    made = plan(shelf, schema="8.5.2")
    assert made.kind == "full"
    assert SCHEMA in made.reason


def test_a_full_one_where_the_chain_is_broken(shelf):
    names = shelf.chain(3, age=2)
    shelf.without(names[0])
    assert plan(shelf).kind == "full"


def test_increments_follow_on_what_is_whole_where_the_end_of_a_chain_is_not(shelf):
    names = shelf.chain(4, age=4)
    shelf.without(names[2])
    assert plan(shelf).parent.id == names[1]


def test_a_backup_from_the_future_is_the_newest_and_makes_a_full_one_due(shelf):
    shelf.add(age=5)
    ahead = shelf.add(age=-1000)
    assert shelf.catalogue.newest().id == ahead
    made = plan(shelf)
    assert made.kind == "full"
    assert "clock was set back" in made.reason
    # Made by the clock that is right now: the next one follows on it, and not on the one from the future.
    now = shelf.add(age=0)
    assert plan(shelf, now=NOW + timedelta(hours=1)).parent.id == now


def test_a_clock_that_is_a_little_behind_is_none_that_was_set_back(shelf):
    name = shelf.add(age=-0.05)
    assert plan(shelf).parent.id == name


def test_what_was_asked_for_is_made(shelf):
    assert plan(shelf, "full").kind == "full"
    names = shelf.chain(2, age=100)
    assert plan(shelf, "full").kind == "full"
    # An increment that was asked for does not depend on the age.
    assert plan(shelf, "increment").parent.id == names[-1]


def test_an_increment_that_can_not_be_is_refused(shelf):
    with pytest.raises(ChromaError) as refused:
        plan(shelf, "increment")
    assert refused.value.code == "no_base"
    shelf.chain(3)
    with pytest.raises(ChromaError, match="at most 2"):
        plan(shelf, "increment", increments=2)


@pytest.mark.parametrize("policy", [{"interval": 0}, {"interval": -1}, {"interval": float("nan")}, {"increments": -1}])
def test_policies_that_can_not_be_meant_are_refused(policy):
    with pytest.raises(ChromaError) as refused:
        Policy(**policy).check()
    assert refused.value.code == "invalid_value"
