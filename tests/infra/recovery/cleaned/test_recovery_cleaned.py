# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the damaged collections were deleted: the server runs with its start check on, and serves what was recovered."""

from __future__ import annotations

from ...backup.state import ask, assert_nothing_is_left_paused
from ...conftest import Release
from ..state import vectors


def test_the_start_check_is_on_and_content(release: Release) -> None:
    pod = release.get("pod", f"{release.names['chroma_statefulset']}-0")
    [check] = pod["status"]["initContainerStatuses"]
    assert check["state"]["terminated"]["exitCode"] == 0
    assert all(each["ready"] for each in pod["status"]["containerStatuses"])
    assert_nothing_is_left_paused(release)


def test_the_damaged_collections_are_gone_and_the_recovered_ones_are_served(release: Release) -> None:
    assert {each["name"] for each in ask(release)} == {"nothing", "fruit-again", "colours-recovered"}
    assert {name: len(vectors(release, name)) for name in ("fruit-again", "colours-recovered")} == {
        "fruit-again": 2990,
        "colours-recovered": 2990,
    }
