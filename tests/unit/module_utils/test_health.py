# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hourly check decides: what it repairs, whom it tells and when, which reports it keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS, MINOR, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._health.check import HealthRequest, remaining
from ansible_collections.thinkube.chroma.plugins.module_utils._health.news import Troubles, plan_alert, tell, troubles
from ansible_collections.thinkube.chroma.plugins.module_utils._health.plan import AUTOMATIC, ORPHANS, Orphaned, RepairPlan, plan_repair
from ansible_collections.thinkube.chroma.plugins.module_utils._health.reports import (
    list_reports,
    moment_of,
    new_path,
    outdated,
    read_newest,
    write_report,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import REPAIRABLE

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


def findings(*names):
    return [finding(name, "seen", "t/d/books") for name in names]


@pytest.mark.parametrize(
    ("found", "orphaned", "enabled", "kinds", "withheld"),
    [
        ((), Orphaned(), True, (), ""),
        (("CHR081", "CHR085", "CHR081"), Orphaned(), True, ("CHR081", "CHR085"), ""),
        (("CHR081",), Orphaned(), False, (), "auto_repair"),
        # What looks like leftovers may be what a recovery needs.
        (("CHR081", "CHR050"), Orphaned(), True, (), "CHR050"),
        (("CHR017", "CHR081"), Orphaned(50, 100), True, ("CHR017", "CHR081"), ""),
        (("CHR017", "CHR081"), Orphaned(51, 100), True, ("CHR081",), "51 of 100 bytes"),
        (("CHR080",), Orphaned(51, 100), True, (), "51 of 100 bytes"),
        (("CHR081",), Orphaned(51, 100), True, ("CHR081",), ""),
        # Nothing can be done about these, or not beside a running server.
        (("CHR019", "CHR063", "CHR102", "CHR034", "CHR055"), Orphaned(), True, (), ""),
    ],
)
def test_only_minor_findings_are_repaired_and_none_beside_a_severe_one(found, orphaned, enabled, kinds, withheld):
    plan = plan_repair(findings(*found), orphaned, enabled)
    assert plan.kinds == kinds
    assert withheld in plan.withheld
    assert bool(plan.withheld) == bool(withheld)
    assert plan.orphaned == ("bytes" in withheld)


def test_nothing_severe_is_ever_repaired_by_itself():
    assert {KINDS[each].severity for each in AUTOMATIC} == {MINOR}
    assert AUTOMATIC < REPAIRABLE
    assert ORPHANS < AUTOMATIC


@pytest.mark.parametrize(
    ("told", "now", "decided", "reason", "after"),
    [
        ((), (), True, None, ()),
        ((), ("a",), True, "DataUnhealthy", ("a",)),
        (("a",), ("a",), True, None, ("a",)),
        (("a",), ("a", "b"), True, "DataUnhealthy", ("a", "b")),
        (("a", "b"), ("b",), True, "DataUnhealthy", ("b",)),
        (("a",), (), True, "DataHealthy", ()),
        # What could not be looked at may still be there.
        (("a",), (), False, None, ("a",)),
        (("a",), ("b",), False, "DataUnhealthy", ("a", "b")),
        ((), (), False, None, ()),
    ],
)
def test_somebody_is_told_once_again_when_it_changes_and_when_it_is_over(told, now, decided, reason, after):
    alert, keys = plan_alert(told, Troubles({each: f"text of {each}" for each in now}, decided), "/data")
    assert (alert.reason if alert else None, keys) == (reason, after)
    if alert:
        assert alert.warning == (reason == "DataUnhealthy")
        assert all(f"text of {each}" in alert.message for each in now)


def test_an_alert_names_a_few_findings_and_how_many_more():
    found = troubles([finding("CHR050", "seen", f"t/d/{number}") for number in range(9)], True, RepairPlan(), {})
    alert, _keys = plan_alert((), found, "/data")
    assert alert.message.count("CHR050") == 5
    assert "and 4 more" in alert.message


def test_minor_findings_are_told_to_nobody_but_a_disk_that_fills_up():
    assert not troubles(findings("CHR081", "CHR063"), True, RepairPlan(), {}).texts
    assert list(troubles(findings("CHR102"), True, RepairPlan(), {}).texts.values()) == ["CHR102 t/d/books: Little free space"]


class Good:
    def __init__(self):
        self.alerts = []

    def deliver(self, alert):
        self.alerts.append(alert.reason)


class Bad(Good):
    def deliver(self, alert):
        raise ChromaError("unreachable", "It is down.")


def test_each_channel_is_told_what_is_new_to_it():
    good, bad, now = Good(), Bad(), Troubles({"a": "text"})
    told, sent, failures = tell({}, now, "/data", [good, bad])
    assert (told, sent, len(failures)) == ({"Good": ["a"], "Bad": []}, ["DataUnhealthy"], 1)
    told, sent, failures = tell(told, now, "/data", [good, bad])
    assert (told, sent, len(failures), good.alerts) == ({"Good": ["a"], "Bad": []}, [], 1, ["DataUnhealthy"])


def test_what_was_repaired_is_no_longer_there_but_what_the_repair_left():
    found = [finding("CHR017", "one", subject="x"), finding("CHR081", "two"), finding("CHR055", "three", "t/d/books", "s")]
    steps = [{"finding": "CHR017", "collection": "", "segment": ""}, {"finding": "CHR081", "collection": "", "segment": ""}]
    assert remaining(found, {"repaired": steps}) == found[2:]
    assert remaining(found, {"repaired": steps, "left": steps[1:]}) == found[1:]
    assert remaining(found, {}) == found


def test_reports_are_whole_in_order_and_private(tmp_path):
    for number in range(3):
        # The clock was set back between them.
        path = new_path(tmp_path, NOW - timedelta(hours=number))
        write_report(path, {"number": number})
    reports = list_reports(tmp_path)
    assert [json.loads(each.read_text())["number"] for each in reports] == [0, 1, 2]
    assert [moment_of(each) for each in reports] == [NOW + timedelta(microseconds=number) for number in range(3)]
    assert read_newest(tmp_path)["number"] == 2
    reports[2].write_text("{")
    reports[1].write_text("[]")
    assert read_newest(tmp_path)["number"] == 0
    (reports[0].parent / "notes.txt").write_text("somebody's")
    assert list_reports(tmp_path) == reports


def test_what_a_killed_run_left_is_removed_by_the_next_report(tmp_path):
    path = new_path(tmp_path, NOW)
    write_report(path, {})
    left = path.with_name("20261121T080000.000000Z.json.new")
    left.write_text("{")
    write_report(path, {"again": True})
    assert not left.exists()
    assert read_newest(tmp_path)["again"]


def test_a_week_of_reports_is_kept_none_older_than_thirty_days_and_always_the_newest(tmp_path):
    paths = [tmp_path / f"{(NOW - timedelta(hours=hours)).strftime('%Y%m%dT%H%M%S.%fZ')}.json" for hours in range(199, -1, -1)]
    assert outdated(paths, NOW) == paths[:32]
    days = [tmp_path / f"{(NOW - timedelta(days=days)).strftime('%Y%m%dT%H%M%S.%fZ')}.json" for days in range(40, 29, -1)]
    assert outdated(days, NOW) == days[:10]
    assert outdated(days[:3], NOW) == days[:2]
    assert outdated(days, NOW, count=4, days=100) == days[:7]
    assert outdated([], NOW) == []


@pytest.mark.parametrize("options", [{"keep_reports": 0}, {"keep_days": 0}, {"keep_reports": -1}, {"grace_days": -1}])
def test_numbers_that_cannot_be_meant_are_refused(options, tmp_path):
    with pytest.raises(ChromaError) as error:
        HealthRequest(tmp_path, **options).check()
    assert error.value.code == "invalid_value"
