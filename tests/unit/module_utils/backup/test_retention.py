# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the retention: what stays and why, and that nothing that is needed goes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention, plan_prune, plan_removal
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

from .conftest import NOW, Shelf

DAY = 24.0


def kept(shelf, days=30, count=10, now=NOW, in_use=()):
    return {each.backup.id for each in plan_prune(shelf.catalogue, Retention(days, count), now, in_use) if each.keep}


def reason(shelf, name, **wanted):
    verdicts = plan_prune(shelf.catalogue, Retention(**wanted), NOW)
    return next(each.reason for each in verdicts if each.backup.id == name)


def test_young_ones_stay_and_old_ones_go(shelf):
    old, young = shelf.add(age=31 * DAY), shelf.add(age=29 * DAY)
    shelf.add(age=1)
    assert kept(shelf, count=1) == {young, shelf.catalogue.backups[-1].id}
    assert reason(shelf, old, count=1) == "older than 30 days, and 1 newer ones are there"
    assert reason(shelf, young, count=1) == "younger than 30 days"


def test_days_or_count_suffices(shelf):
    names = [shelf.add(age=(100 - number) * DAY) for number in range(5)]
    assert kept(shelf, days=1, count=3) == set(names[2:])
    assert kept(shelf, days=98, count=1) == set(names[3:])
    assert reason(shelf, names[3], days=1, count=3) == "one of the newest 3 of full ones"


def test_the_newest_verified_one_stays_whatever_came_after_it(shelf):
    verified = shelf.add(age=100 * DAY)
    later = [shelf.add(age=(50 - number) * DAY, verified=False) for number in range(4)]
    assert kept(shelf, days=1, count=2) == {verified, *later[2:]}
    assert reason(shelf, verified, days=1, count=2) == "the newest one that was verified"


def test_a_verified_increment_on_what_was_never_verified_is_not_the_newest_verified_one(shelf):
    proven = shelf.add(age=60 * DAY)
    loose = [shelf.add(age=(20 - number) * DAY, verified=False) for number in range(10)]
    shelf.add("increment", age=1, parent=loose[-1])
    assert reason(shelf, proven) == "the newest one that was verified"
    with pytest.raises(ChromaError, match="newest one that was verified"):
        plan_removal(shelf.catalogue, [proven])


def test_directories_that_share_a_repository_do_not_count_for_each_other(shelf):
    one = shelf.add(age=90 * DAY, instance="a" * 16)
    others = [shelf.add(age=(80 - number) * DAY, instance="b" * 16) for number in range(4)]
    assert kept(shelf, days=1, count=2) == {one, *others[2:]}
    with pytest.raises(ChromaError, match="newest one that was verified"):
        plan_removal(shelf.catalogue, [one])


def test_an_increment_that_stays_keeps_its_chain(shelf):
    names = shelf.chain(5, age=30 * DAY + 2)
    shelf.add(age=1)
    # The last two are younger than 30 days.
    assert kept(shelf, count=1) == {*names, shelf.catalogue.backups[-1].id}
    assert "needed by the increment" in reason(shelf, names[0], count=1)


def test_increments_do_not_count_as_full_ones(shelf):
    first = shelf.add(age=60 * DAY)
    chain = shelf.chain(6, age=50 * DAY)
    shelf.add(age=1)
    assert first in kept(shelf, count=3)
    assert kept(shelf, count=3).isdisjoint(chain[1:])


def test_each_collection_has_its_own_count(shelf):
    books = [shelf.add("collection", age=(90 - number) * DAY, names=("books",)) for number in range(3)]
    maps = shelf.add("collection", age=80 * DAY, names=("maps",))
    assert kept(shelf, days=1, count=1) == {books[-1], maps}


def test_the_last_restore_point_stays_until_it_was_used(shelf):
    first = shelf.add("restore-point", age=90 * DAY)
    last = shelf.add("restore-point", age=80 * DAY)
    assert kept(shelf, days=1, count=1) == {last}
    assert kept(shelf, days=1, count=1, in_use=[first]) == {first, last}
    used = Shelf()
    gone = used.add("restore-point", age=80 * DAY, extra=("undone",))
    assert gone not in kept(used, days=1, count=1)


def test_what_a_dead_operation_left_goes_after_a_day_and_not_before(shelf):
    old, new = shelf.add(age=25, pending=True), shelf.add(age=1, pending=True)
    assert kept(shelf) == {new}
    assert "died" in reason(shelf, old)


def test_the_clock_removes_nothing_that_is_not_old(shelf):
    """Backups of all clocks: one that was behind, one that was ahead, and now."""
    first = shelf.add(age=2 * DAY)
    behind = shelf.add(age=50 * 365 * DAY)
    ahead = shelf.add(age=-900 * DAY)
    last = shelf.add(age=1)
    assert kept(shelf, days=30, count=1) == {first, behind, ahead, last}
    # The one that was behind is as old as the one before it, and goes with that.
    later = NOW + timedelta(days=40)
    assert kept(shelf, days=30, count=1, now=later) == {ahead, last}
    # A clock that is set back makes none of the others old.
    assert kept(shelf, days=30, count=1, now=NOW - timedelta(days=4000)) == {first, ahead, last}


@pytest.mark.parametrize("retention", [Retention(0, 10), Retention(30, 0), Retention(-1, 1)])
def test_a_retention_that_keeps_nothing_is_refused(retention):
    with pytest.raises(ChromaError) as refused:
        retention.check()
    assert refused.value.code == "invalid_value"


def test_a_removal_takes_what_was_named_and_refuses_what_is_needed(shelf):
    names = shelf.chain(3, age=10)
    last = shelf.add(age=1)
    assert {each.backup.id for each in plan_removal(shelf.catalogue, names) if not each.keep} == set(names)
    with pytest.raises(ChromaError, match=names[2]) as refused:
        plan_removal(shelf.catalogue, names[:2])
    assert refused.value.code == "in_use"
    with pytest.raises(ChromaError, match="newest one that was verified"):
        plan_removal(shelf.catalogue, [last])
    with pytest.raises(ChromaError) as refused:
        plan_removal(shelf.catalogue, ["20200101T000000Z-abcdef"])
    assert refused.value.code == "not_found"
    point = shelf.add("restore-point")
    with pytest.raises(ChromaError, match="restore point"):
        plan_removal(shelf.catalogue, [point])


made = st.tuples(
    st.sampled_from(["full", "increment", "collection", "restore-point"]),
    st.floats(-100, 3000),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10),
)


@given(st.lists(made, max_size=12), st.integers(1, 90), st.integers(1, 12))
def test_whatever_there_is_what_stays_can_be_restored(backups, days, count):
    shelf = Shelf()
    for kind, age, verified, pending, parent in backups:
        parents = [each.id for each in shelf.catalogue.backups if each.kind in ("full", "increment")]
        if kind == "increment" and not parents:
            continue
        follows = parents[parent % len(parents)] if kind == "increment" else None
        shelf.add(kind, age=age, parent=follows, verified=verified, pending=pending)
    catalogue = shelf.catalogue
    stays = kept(shelf, days, count)
    for each in catalogue.backups:
        if each.id in stays:
            assert {needed.id for needed in catalogue.chain(each).backups} <= stays
    if newest := catalogue.newest(verified=True):
        assert newest.id in stays
    # A second look at what is left removes no more, but for counting anew what the first one's dead ones hid.
    assert all(each.reason for each in plan_prune(catalogue, Retention(days, count), NOW))
