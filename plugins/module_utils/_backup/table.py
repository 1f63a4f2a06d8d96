# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups as lines to read. FOR INTERNAL COLLECTION USE ONLY.

They are short enough for Ansible to print each as one line.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Verdict
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup

_UNITS = ("B", "kB", "MB", "GB", "TB")


def render(catalogue: Catalogue, backups: Sequence[Backup], now: datetime, damaged: Collection[str] = ()) -> list[str]:
    """Return a line for each backup, and one that says what counts: whether the newest is young and was proven.

    Args:
        backups: of the catalogue, in the order of the lines.
        now: the time of day, UTC.
        damaged: ids of those that a check found damaged.
    """
    lines = [f"{'backup':<23}  {'kind':<13} {'records':>11} {'added':>8}  state"] if backups else []
    for each in backups:
        state = ", ".join(_state(catalogue, each, damaged))
        lines.append(f"{each.id:<23}  {each.kind:<13} {each.records:>11,} {size(each.added_bytes):>8}  {state}")
    lines += [f"{each.id} lacks {missing}" for each in backups if (missing := catalogue.chain(each).missing)]
    newest = catalogue.newest(verified=True)
    proven = sum(each.verified is not None for each in catalogue.backups)
    hidden = f"{len(backups)} of " if len(backups) < len(catalogue.backups) else ""
    said = [f"{hidden}{_counted(len(catalogue.backups), 'backup')}, {proven} verified"]
    if catalogue.backups:
        said.append(f"newest verified: {newest.id}, {age(newest, now)}" if newest else "none of them is verified and can be restored")
    return [*lines, *([""] if lines else []), *said]


def render_plan(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each backup that goes or stays, with the reason; newest first."""
    lines = [f"{'keep' if each.keep else 'remove':<6}  {each.backup.id}  {each.reason}" for each in reversed(verdicts)]
    gone = sum(not each.keep for each in verdicts)
    return [*lines, *([""] if lines else []), f"{gone} of {_counted(len(verdicts), 'backup')} to remove"]


def size(count: int | None) -> str:
    """Return a number of bytes with three digits and a unit; empty where it is not known."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{0 if unit == 0 or value >= 9.95 else 1}f} {_UNITS[unit]}"


def age(backup: Backup, now: datetime) -> str:
    """Return how old a backup is."""
    hours = (now - backup.created).total_seconds() / 3600
    if hours < 0:
        return "of a time that is still to come"
    if hours < 1:
        return f"{_counted(round(hours * 60), 'minute')} old"
    return f"{_counted(round(hours), 'hour')} old" if hours < 48 else f"{_counted(round(hours / 24), 'day')} old"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _state(catalogue: Catalogue, backup: Backup, damaged: Collection[str]) -> list[str]:
    chain = catalogue.chain(backup)
    state = ["pending" if backup.pending else "verified" if backup.verified else "not verified"]
    if backup.id in damaged:
        state = ["DAMAGED"]
    elif not chain.restorable:
        state = ["CHAIN BROKEN"]
    elif len(chain.backups) > 1:
        state.append(f"full + {len(chain.backups) - 1}")
        if backup.verified and not chain.verified:
            state.append("its chain is not verified")
    if backup.undone:
        state.append("undone")
    return state
