# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the lines that people read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention, plan_prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.table import age, render, render_plan, size
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import select

from .conftest import NOW


def test_each_backup_is_a_line_and_the_last_one_says_what_counts(shelf):
    names = shelf.chain(3, age=3)
    shelf.add("collection", age=0, verified=False)
    lines = render(shelf.catalogue, select(shelf.catalogue), NOW)
    assert lines == [
        "backup                   kind              records    added  state",
        f"{shelf.catalogue.backups[-1].id}  collection              3    600 B  not verified",
        f"{names[2]}  increment               3    600 B  verified, full + 2",
        f"{names[1]}  increment               3    600 B  verified, full + 1",
        f"{names[0]}  full                    3    600 B  verified",
        "",
        "4 backups, 3 verified",
        f"newest verified: {names[2]}, 1 hour old",
    ]
    # Ansible breaks longer ones.
    assert max(map(len, lines)) <= 80


def test_what_can_not_be_restored_is_said_aloud(shelf):
    names = shelf.chain(3, age=3)
    damaged = render(shelf.catalogue, select(shelf.catalogue, kind="full"), NOW, {names[0]})
    assert damaged[1].endswith("DAMAGED")
    assert damaged[-2] == "1 of 3 backups, 3 verified"
    shelf.without(names[0])
    lines = render(shelf.catalogue, select(shelf.catalogue), NOW)
    assert lines[1].endswith("CHAIN BROKEN")
    assert f"{names[1]} lacks {names[0]}" in lines
    assert lines[-1] == "none of them is verified and can be restored"


def test_no_backup_at_all(shelf):
    assert render(shelf.catalogue, (), NOW) == ["0 backups, 0 verified"]


def test_a_plan_says_each_reason(shelf):
    old = shelf.add(age=24 * 40)
    new = shelf.add(age=1)
    lines = render_plan(plan_prune(shelf.catalogue, Retention(30, 1), NOW))
    assert lines == [
        f"keep    {new}  the newest one that was verified",
        f"remove  {old}  older than 30 days, and 1 newer ones are there",
        "",
        "1 of 2 backups to remove",
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_960, "10 kB"), (999_600, "1.0 MB"), (365e6, "365 MB")],
)
def test_sizes(count, said):
    assert size(count) == said


@pytest.mark.parametrize(
    ("hours", "said"), [(-3, "of a time that is still to come"), (0.5, "30 minutes old"), (47, "47 hours old"), (72, "3 days old")]
)
def test_ages(shelf, hours, said):
    shelf.add(age=hours)
    assert age(shelf.catalogue.backups[0], NOW) == said
    assert age(shelf.catalogue.backups[0], NOW + timedelta(days=1000)).endswith("days old")
