# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the restoration was undone: what was there before it, the loss included."""

from __future__ import annotations

from ...conftest import Release
from ..state import assert_nothing_is_left_paused, counts, records


def test_the_data_are_those_before_the_restoration(release: Release) -> None:
    assert counts(release) == {"fruit": 2980, "nothing": 15}
    assert set(records(release, "nothing", "late-9", "late-14")) == {"late-9", "late-14"}
    assert_nothing_is_left_paused(release)
