# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a collection was deleted and others changed, and everything restored: the state of the increment, in which nothing is missing."""

from __future__ import annotations

from ...conftest import Release
from ..state import assert_nothing_is_left_paused, counts, neighbours, pods, records


def test_every_collection_has_what_it_had_at_the_last_backup(release: Release) -> None:
    assert counts(release) == {"fruit": 2980, "colours": 2990, "nothing": 10}
    assert records(release, "fruit", "fruit-10", "fruit-19") == {}
    assert records(release, "colours", "colours-20")["colours-20"]["metadata"]["number"] == -1
    assert set(records(release, "nothing", "late-9", "late-10")) == {"late-9"}


def test_what_was_deleted_is_found_again_with_its_values(release: Release) -> None:
    (record,) = records(release, "colours", "colours-15").values()
    assert record["document"] == "document 15"
    assert record["metadata"]["largest"] == 2**63 - 1
    ids, _distances = neighbours(release, "colours", ["colours-15", "colours-2999"])
    assert [each[0] for each in ids] == ["colours-15", "colours-2999"]


def test_the_server_runs_and_no_pause_is_left(release: Release) -> None:
    assert_nothing_is_left_paused(release)


def test_the_drills_passed(release: Release) -> None:
    for operation in ("test-backup", "test-restore", "prune", "backups", "restore"):
        (pod,) = pods(release, operation)
        assert pod["status"]["phase"] == "Succeeded"
