# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a backup to S3, the loss of a collection, a restoration from there, and that of one collection under another name."""

from __future__ import annotations

from ...conftest import CLUSTER, Release
from ..state import assert_nothing_is_left_paused, counts, neighbours, pods, records

ASKED = ["fruit-20", "fruit-500", "fruit-2999"]


def test_both_the_lost_collection_and_its_copy_are_there(release: Release) -> None:
    assert counts(release) == {"fruit": 2980, "nothing": 15, "fruit-again": 2980}
    assert_nothing_is_left_paused(release)


def test_the_copy_finds_the_same_neighbours_and_holds_the_same_values(release: Release) -> None:
    assert neighbours(release, "fruit", ASKED) == neighbours(release, "fruit-again", ASKED)
    assert records(release, "fruit", *ASKED) == records(release, "fruit-again", *ASKED)


def test_an_operation_on_s3_has_no_volume_for_backups_and_shows_no_key(release: Release) -> None:
    keys = dict(line.split("=", 1) for line in (CLUSTER / "s3.env").read_text().splitlines())
    pod = pods(release, "backup")[-1]
    assert "backups" not in {volume["name"] for volume in pod["spec"]["volumes"]}
    assert keys["AWS_SECRET_ACCESS_KEY"] not in release.kubectl("logs", pod["metadata"]["name"])
    assert keys["AWS_SECRET_ACCESS_KEY"] not in release.kubectl("get", "pods,jobs,cronjobs", "--output=yaml")
