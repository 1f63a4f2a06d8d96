# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check decides: verdicts, and what is done about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.plan import (
    CheckPlan,
    Fault,
    alert_begun,
    alert_ended,
    alert_recovered,
    baseline_of,
    choose_target,
    plan_check,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.verdict import (
    EMPTY,
    HEALTHY,
    MISSING,
    SERVER_DOWN,
    SHRUNKEN,
    UNREADABLE,
    VECTORS_LOST,
    Baseline,
    Observation,
    Verdict,
    judge,
    pages,
    settled,
)

DOCS = Collection("11111111-0000-4000-8000-000000000000", "docs", {}, 8, {}, "", "default_tenant", "default_database")
EXPORT = Baseline(7, 1000)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (Observation(answers=False, detail="refused"), SERVER_DOWN),
        (Observation(), MISSING),
        (Observation(collection=DOCS, records=0), EMPTY),
        (Observation(collection=DOCS, records=499), SHRUNKEN),
        (Observation(collection=DOCS, records=500), HEALTHY),
        (Observation(collection=DOCS, records=2000), HEALTHY),
        (Observation(collection=DOCS, records=1000, vectors=False), VECTORS_LOST),
        (Observation(collection=DOCS, records=10, vectors=False), VECTORS_LOST),
        (Observation(collection=DOCS, readable=False, vectors=False), UNREADABLE),
        (Observation(readable=False, vectors=False), UNREADABLE),
    ],
)
def test_verdicts_are_told_apart(seen: Observation, kind: str) -> None:
    assert judge(seen, EXPORT, 0.5).kind == kind


@pytest.mark.parametrize(
    ("seen", "baseline", "share", "kind"),
    [
        (Observation(collection=DOCS, records=0), None, 0.5, HEALTHY),
        (Observation(collection=DOCS, records=0), Baseline(7, 0), 0.5, HEALTHY),
        (Observation(), None, 0.5, MISSING),
        (Observation(collection=DOCS, records=999), EXPORT, 0.0, SHRUNKEN),
        (Observation(collection=DOCS, records=1000), EXPORT, 0.0, HEALTHY),
        # Each hour a little less than half: the last export has lost most of it, too.
        (Observation(collection=DOCS, records=900), Baseline(8, 1000, "", Baseline(7, 2000)), 0.5, SHRUNKEN),
        (Observation(collection=DOCS, records=1000), Baseline(8, 1000, "", Baseline(7, 2000)), 0.5, HEALTHY),
    ],
)
def test_a_collection_is_compared_with_its_export(seen: Observation, baseline: Baseline | None, share: float, kind: str) -> None:
    assert judge(seen, baseline, share).kind == kind


@pytest.mark.parametrize(
    ("kinds", "believed", "looks"),
    [
        ([HEALTHY], HEALTHY, 1),
        ([MISSING, MISSING], MISSING, 2),
        ([MISSING, HEALTHY], HEALTHY, 2),
        ([SERVER_DOWN, EMPTY, VECTORS_LOST, VECTORS_LOST], VECTORS_LOST, 4),
        # It never said the same twice: nothing is imported for that.
        ([SERVER_DOWN, EMPTY, SERVER_DOWN, MISSING], SERVER_DOWN, 4),
        ([EMPTY, MISSING, EMPTY, HEALTHY], HEALTHY, 4),
    ],
)
def test_a_fault_is_believed_when_it_is_seen_twice(kinds: list[str], believed: str, looks: int) -> None:
    given = iter(kinds)
    slept: list[float] = []
    confirming: list[bool] = []

    def again(confirms: bool) -> Verdict:
        confirming.append(confirms)
        return Verdict(next(given), "")

    assert settled(again, 5.0, slept.append).kind == believed
    assert slept == [5.0] * (looks - 1)
    assert confirming == [False, *[True] * (looks - 1)]


@pytest.mark.parametrize(
    ("records", "sample"),
    [(0, 100), (1, 100), (99, 1000), (100, 1000), (101, 1000), (181, 1000), (182, 181), (5000, 1000), (5001, 7), (12345, 999)],
)
def test_a_sample_has_the_first_and_the_last_record_and_is_spread(records: int, sample: int) -> None:
    found = pages(records, sample)
    seen = [number for start, rows in found for number in range(start, start + rows)]
    assert all(0 <= each < records for each in seen)
    assert len(set(seen)) == len(seen) == min(records, sample)
    if len(found) > 1:
        assert {0, records - 1} <= set(seen)


def plan(kind: str, *faults: Fault, name: str = "docs", baseline: Baseline | None = EXPORT, recover: bool = True) -> CheckPlan:
    return plan_check(name, Verdict(kind, ""), faults, baseline, recover)


def fault(**fields: Any) -> Fault:
    return Fault(**{"number": 1, "collection": "docs", "verdict": VECTORS_LOST, "generation": 7, **fields})


@pytest.mark.parametrize("kind", [MISSING, EMPTY, SHRUNKEN, UNREADABLE, VECTORS_LOST])
def test_lost_data_are_brought_back_once(kind: str) -> None:
    first = plan(kind)
    assert first == CheckPlan(Fault(0, "docs", kind, 7), recover=True)
    assert plan(kind, fault(verdict=kind, target="new", recovered=1000)).recover is False
    # It was chosen, and perhaps half filled: the same one is gone on with.
    half = fault(verdict=kind, target="new")
    assert plan(kind, half) == CheckPlan(half, recover=True)


def test_nothing_is_imported_into_a_server_that_is_down() -> None:
    assert plan(SERVER_DOWN) == CheckPlan(Fault(0, "docs", SERVER_DOWN, 7))
    lasting = fault()
    down = fault(number=2, verdict=SERVER_DOWN)
    assert plan(SERVER_DOWN, lasting, down) == CheckPlan(down)
    # It is there again, and the damage still is.
    assert plan(VECTORS_LOST, lasting, down) == CheckPlan(lasting, recover=True, ends=(down,))


def test_nothing_is_brought_back_where_there_is_no_export_or_nobody_wants_it() -> None:
    assert plan(MISSING, baseline=None) == CheckPlan(Fault(0, "docs", MISSING, None))
    assert plan(MISSING, baseline=Baseline(7, 0)).recover is False
    assert plan(MISSING, recover=False) == CheckPlan(Fault(0, "docs", MISSING, 7))


def test_a_fault_that_shows_otherwise_is_the_same_fault() -> None:
    lasting = fault(target="new", recovered=1000)
    assert plan(MISSING, lasting) == CheckPlan(lasting)


def test_a_fault_lasts_whatever_is_exported_meanwhile() -> None:
    older = fault(generation=6, target="new", recovered=900)
    assert plan(VECTORS_LOST, older) == CheckPlan(older)
    # What it was begun with is completed with the same.
    half = fault(generation=6, target="new")
    assert plan(VECTORS_LOST, half) == CheckPlan(half, recover=True)
    # Nothing was chosen yet: the newest.
    assert plan(VECTORS_LOST, fault(generation=6)) == CheckPlan(fault(generation=7), recover=True)
    assert plan(VECTORS_LOST, fault(generation=None)) == CheckPlan(fault(generation=7), recover=True)
    assert plan(VECTORS_LOST, fault(), baseline=None) == CheckPlan(fault())


def test_a_fault_ends_when_the_collection_is_mended_or_readers_are_switched() -> None:
    lasting = fault(target="new", recovered=1000)
    assert plan(HEALTHY, lasting) == CheckPlan(ends=(lasting,))
    assert plan(HEALTHY, lasting, name="new") == CheckPlan(ends=(lasting,))


def test_a_collection_that_readers_were_switched_away_from_is_left_alone() -> None:
    switched = fault(target="new", recovered=1000, switched=True, ended=NOW)
    assert plan(VECTORS_LOST, switched) == CheckPlan(switched)
    assert plan(HEALTHY, switched, name="new") == CheckPlan()
    # Mended: it is one like any other again.
    assert plan(HEALTHY, switched) == CheckPlan(ends=(switched,))


def test_until_it_is_exported_itself_a_new_collection_is_compared_with_what_was_brought_back() -> None:
    switched = fault(target="new", recovered=990)
    assert baseline_of("new", [switched], None) == Baseline(7, 990)
    assert baseline_of("new", [switched], EXPORT) == EXPORT
    assert baseline_of("docs", [switched], None) is None


def test_a_name_that_is_taken_is_numbered_and_the_damaged_one_is_never_chosen() -> None:
    assert choose_target("new", "docs", {"docs"}, False) == "new"
    assert choose_target("new", "docs", {"docs", "new", "new-2"}, False) == "new-3"
    assert choose_target("docs", "docs", set(), False) == "docs-2"
    # As long as the release takes it.
    assert choose_target("n" * 63, "docs", {"n" * 63}, True) == "n" * 61 + "-2"
    assert choose_target("n" * 63, "docs", {"n" * 63}, False) == "n" * 63 + "-2"


def test_alerts_say_what_to_do() -> None:
    lost = Verdict(VECTORS_LOST, "Vectors are lost.")
    back = fault(target="new", recovered=1000)
    assert "brought back into a new collection" in alert_begun(fault(), lost, EXPORT, True).message
    assert "44_import_postgres" in alert_begun(fault(), lost, EXPORT, False).message
    assert "30_restore" in alert_begun(fault(), lost, None, True).message
    assert "set CHROMA_COLLECTION_NAME" in alert_recovered(back, lost, EXPORT).message
    assert alert_recovered(back, lost, EXPORT).facts["target"] == "new"
    down = alert_begun(fault(verdict=SERVER_DOWN), Verdict(SERVER_DOWN, "It does not answer."), EXPORT, True)
    assert (down.reason, "Nothing is imported" in down.message) == ("ChromaDown", True)
    ended = alert_ended(back, "new", Verdict(HEALTHY, "It has 1,000 records."))
    assert (ended.warning, "Once readers and writers use that" in ended.message) == (False, True)
    assert "An earlier check saw that, at 2026-11-21T00:00:00Z" in alert_ended(fault(ended=NOW), "docs", None).message
    assert "the current one, 8, is newer" in alert_recovered(back, lost, Baseline(8, 1000, "now")).message
