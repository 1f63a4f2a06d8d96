# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long is waited before something is tried again."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backoff import delay


@pytest.mark.parametrize(("failures", "most"), [(1, 2.0), (2, 4.0), (3, 8.0), (10, 60.0), (100_000, 60.0)])
def test_the_pauses_double_up_to_the_longest_and_are_half_random(failures, most):
    pauses = [delay(failures) for _each in range(50)]
    assert all(most / 2 <= each <= most for each in pauses)
    assert len(set(pauses)) > 1


def test_first_and_longest_can_be_chosen():
    assert 0.25 <= delay(1, 0.5, 30.0) <= 0.5
    assert 15.0 <= delay(20, 0.5, 30.0) <= 30.0
