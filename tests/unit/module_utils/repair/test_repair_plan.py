# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is repaired, what is left and why: decided from findings alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS, MINOR, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import BEGUN, DONE, UNDONE, Quarantine
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import ASKED_FOR, REPAIRABLE, Facts, plan_repair
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.purge import plan_purge
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rules import ARRAYS, CONTENT, NOBODY, fills

LABEL = "default_tenant/default_database/books"
FOLDER = finding("CHR017", "m", subject="folder")
ROWS = finding("CHR082", "m", subject=ARRAYS)
TEXT = finding("CHR086", "m", subject="search")
FILE = finding("CHR034", "m", LABEL, "segment")


def ids(steps):
    return [each.finding for each in steps]


def test_each_minor_finding_is_repaired_or_left_with_what_to_do():
    for kind in KINDS.values():
        plan = plan_repair([finding(kind.id, "m", LABEL, "segment", "subject")], (), Facts())
        assert ids(plan.steps) == ([kind.id] if kind.id in REPAIRABLE else [])
        for each in plan.left:
            assert each.reason
            assert each.do
        if kind.id in REPAIRABLE:
            assert kind.severity == MINOR


def test_a_severe_finding_is_repaired_for_nobody_but_who_names_it():
    for kind in KINDS.values():
        if kind.severity != MINOR:
            plan = plan_repair([finding(kind.id, "m", LABEL, "segment")], [kind.id], Facts())
            assert ids(plan.steps) == ([kind.id] if kind.id in ASKED_FOR else [])


@pytest.mark.parametrize(
    ("other", "repaired"),
    [
        # What says that something is missing, or that nothing is certain.
        ("CHR001", []),
        ("CHR005", []),
        ("CHR013", ["CHR086", "CHR034"]),
        ("CHR018", ["CHR086", "CHR034"]),
        ("CHR071", ["CHR086", "CHR034"]),
        # What is about something else.
        ("CHR033", ["CHR017", "CHR082", "CHR086", "CHR034"]),
        ("CHR038", ["CHR017", "CHR082", "CHR086", "CHR034"]),
        ("CHR102", ["CHR017", "CHR082", "CHR086", "CHR034"]),
    ],
)
def test_what_may_be_what_is_missing_is_left(other, repaired):
    plan = plan_repair([finding(other, "m", LABEL, "another"), FOLDER, ROWS, TEXT, FILE], (), Facts())
    assert ids(plan.steps) == repaired
    assert all(other in each.reason for each in plan.left if each.finding != other)


def test_files_of_an_index_that_is_damaged_otherwise_are_left():
    plan = plan_repair([finding("CHR053", "m", LABEL, "segment"), FILE], (), Facts())
    assert (ids(plan.steps), [each.finding for each in plan.left]) == ([], ["CHR053", "CHR034"])


def test_what_needs_a_stopped_server_is_left_beside_one():
    plan = plan_repair([FOLDER, ROWS, TEXT, FILE], (), Facts(rebuilds_live=False, stopped=False))
    assert ids(plan.steps) == ["CHR017", "CHR082"]
    assert {each.reason for each in plan.left} == {"It needs the server stopped."}
    assert ids(plan_repair([FOLDER, ROWS, TEXT, FILE], (), Facts(stopped=False)).steps) == ["CHR017", "CHR082", "CHR086"]


def test_vectors_whose_entries_are_still_in_the_log_are_left_to_the_server():
    unlabelled = finding("CHR055", "m", LABEL, "segment")
    assert ids(plan_repair([unlabelled], (), Facts(replayed=frozenset({"segment"}))).steps) == []
    assert ids(plan_repair([unlabelled], (), Facts(replayed=frozenset({"other"}))).steps) == ["CHR055"]


def test_what_was_not_asked_for_is_left():
    plan = plan_repair([FOLDER, ROWS], ["CHR082"], Facts())
    assert (ids(plan.steps), [each.reason for each in plan.left]) == (["CHR082"], ["It was not asked for."])


def test_records_that_go_take_their_rows_with_them():
    records = plan_repair([finding("CHR080", "m", segment="gone")], (), Facts()).steps
    assert [each.table for each in fills(records, list(NOBODY))] == ["embeddings", "embedding_metadata", ARRAYS, CONTENT]
    assert [each.table for each in fills(records, ["embeddings", "embedding_metadata", CONTENT])] == [
        "embeddings",
        "embedding_metadata",
        CONTENT,
    ]
    lists = plan_repair([ROWS, ROWS], (), Facts()).steps
    assert [each.table for each in fills(lists, list(NOBODY))] == [ARRAYS]
    settings = plan_repair([finding("CHR016", "m", subject="segment_metadata")], (), Facts()).steps
    assert [each.table for each in fills(settings, list(NOBODY))] == ["segment_metadata"]


def test_what_is_old_enough_and_settled_is_purged():
    now = datetime(2026, 11, 21, tzinfo=UTC)
    found = [
        Quarantine("old", "2026-11-13T23:59:59.000000Z", DONE),
        Quarantine("undone", "2026-11-01T00:00:00.000000Z", UNDONE),
        Quarantine("begun", "2026-11-01T00:00:00.000000Z", BEGUN),
        Quarantine("young", "2026-11-14T00:00:01.000000Z", DONE),
    ]
    assert plan_purge(found, 7, now) == ("old", "undone")
    assert plan_purge(found, 0, now) == ("old", "undone", "young")
