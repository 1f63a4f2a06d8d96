# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery's plan and its outcome, in words. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import BACKUP, LOG, POSTGRES, SALVAGE
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import Tally
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem

_PLACES = {LOG: "the write-ahead log", SALVAGE: "data_level0.bin", BACKUP: "the backup", POSTGRES: "PostgreSQL"}


def said(item: PlanItem, tally: Tally, notes: Sequence[str]) -> str:
    """Return one or two sentences: how much can be recovered from where, and what is lost."""
    given = [f"{count:,} from {_PLACES[name]}" for name, count in tally.vectors.items()]
    parts = [f"{item.recoverable:,} of {item.records:,} records can be recovered"]
    if given:
        parts.append(f"their vectors {' and '.join(given)}")
    if tally.vectors.keys() & {BACKUP, POSTGRES}:
        parts.append("vectors from there are as they were then, also where the record was changed since")
    if item.relabelled:
        parts.append(f"the ids of {item.relabelled:,} are lost: they are called recovered-<label>")
    if item.bare:
        parts.append(f"documents and metadata of {item.bare:,} are lost")
    if item.lost:
        named = ", ".join(repr(each[:40]) for each in tally.first_lost)
        parts.append(f"the vectors of {item.lost:,} are lost{f', of {named} for example' if named else ''}")
    if tally.strangers:
        parts.append(f"{tally.strangers:,} ids of the index are not in SQLite and are left out, as deleted ones are")
    if item.space_from == "guess":
        parts.append("nothing says which distance function it had: l2 is a guess")
    text = "; ".join(parts) + "."
    return f"{text} What is wrong: {'; '.join(notes)}." if notes else text


def table(items: Sequence[PlanItem], details: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the plan, and what became of it, as lines to read."""
    lines: list[str] = []
    for each in items:
        lines.append(f"{each.kind:<8} {each.label} -> {each.target}: {each.recoverable:,} of {each.records:,} records")
        lines.append(f"    {each.said}")
    lines += [f"done     {each['name'] or each['segment']}: recovered before, as {each['target']}" for each in done]
    for detail in details:
        outcome = f"{detail['records']:,} records, read back equal" if detail["success"] else f"failed: {detail['reason']}"
        lines.append(f"{'ok' if detail['success'] else 'FAILED':<8} {detail['target']}: {outcome}")
    return lines or ["There is nothing to recover."]
