# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repair and its undo as lines to read. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import Quarantine
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import Left, RepairPlan

# Ansible's YAML output breaks lines at 80 columns.
_WIDTH = 72


def render(
    plan: RepairPlan, left: Sequence[Left], quarantine: Quarantine | None, completed: Sequence[str], purged: Sequence[str]
) -> list[str]:
    """Return a repair, or the plan of one where there is no quarantine, as lines to read."""
    lines: list[str] = []
    kept = {(each.finding, each.collection, each.segment) for each in left}
    for step in plan.steps:
        if (step.finding, step.collection, step.segment) not in kept:
            lines += _wrapped("repaired" if quarantine else "repair", step.finding, step.collection, step.what)
    for each in left:
        lines += _wrapped("left", each.finding, each.collection, f"{each.reason} {each.do}")
    lines += [f"completed  the repair or undo {each} that was interrupted" for each in completed]
    lines += [f"removed    quarantine {each}" for each in purged]
    if quarantine:
        lines += came(quarantine.rows, (), quarantine.changed, "quarantined")
        lines.append(f"quarantine {quarantine.id}")
    elif not plan.steps:
        lines.append("nothing to repair")
    return lines


def came(rows: Mapping[str, int], folders: Iterable[str], files: Iterable[str], word: str) -> list[str]:
    """Return rows, folders and files as lines."""
    return [
        *(f"{word}  {number} rows of {table}" for table, number in rows.items()),
        *(f"{word}  folder {name}" for name in folders),
        *(f"{word}  file {name}" for name in files),
    ]


def diff(report: Report, plan: RepairPlan) -> dict[str, Any]:
    """Return how many findings there are before and after, by identifier."""
    before = Counter(each.kind.id for each in report.findings)
    after = before - Counter(each.finding for each in plan.steps)
    return {"before": {"findings": dict(sorted(before.items()))}, "after": {"findings": dict(sorted(after.items()))}}


def _wrapped(word: str, finding: str, collection: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return [f"{word:<8}  {finding}  {collection or '-'}", *lines]
