# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, as data and as a table to read. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE, Finding

HEALTHY, MINOR_FOUND, SEVERE_FOUND = 0, 3, 4
_WIDTH = 140


@dataclass(frozen=True)
class Report:
    """The outcome of a validation.

    Args:
        live: whether it was done beside a server that writes.
        findings: sorted: severe ones first, then by identifier and collection.
        skipped: what was not looked at, and why.
        unconfirmed: what was seen without the lock and could not be seen again under it.
        summary: figures: collections, sizes in bytes, seconds, the longest lock in seconds.
    """

    path: str
    live: bool
    findings: Sequence[Finding] = ()
    skipped: Sequence[str] = ()
    unconfirmed: Sequence[str] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rc(self) -> int:
        """0 healthy, 3 minor findings, 4 severe ones."""
        if any(each.kind.severity == SEVERE for each in self.findings):
            return SEVERE_FOUND
        return MINOR_FOUND if self.findings else HEALTHY

    def as_result(self) -> dict[str, Any]:
        """Return the report as the module returns it."""
        severities = Counter(each.kind.severity for each in self.findings)
        return {
            "findings": [each.as_result() for each in self.findings],
            "summary": {
                "path": self.path,
                "live": self.live,
                "healthy": not self.findings,
                "minor": severities["minor"],
                "severe": severities["severe"],
                "counts": dict(sorted(Counter(each.kind.id for each in self.findings).items())),
                **self.summary,
            },
            "skipped": list(self.skipped),
            "unconfirmed": list(self.unconfirmed),
            "table": render(self),
            "rc": self.rc,
        }


def order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings without repetitions, severe ones first."""
    unique = {each.key: each for each in reversed(findings)}
    return sorted(unique.values(), key=lambda each: (each.kind.severity != SEVERE, each.key))


def render(report: Report) -> list[str]:
    """Return the lines of a table: one row for each finding, then what is lost and what to do for each identifier."""
    lines = []
    if report.findings:
        rows = [(each.kind.severity, each.kind.id, each.collection or "-", each.message) for each in report.findings]
        widths = [min(40, max(len(row[column]) for row in [*rows, ("severity", "id", "collection", "")])) for column in range(3)]
        indent = sum(widths) + 6
        rows = [("severity", "id", "collection", "what was seen"), *rows]
        for row in rows:
            head = "  ".join(text.ljust(width) for text, width in zip(row[:3], widths, strict=True))
            wrapped = textwrap.wrap(row[3], max(40, _WIDTH - indent)) or [""]
            lines += [f"{head}  {wrapped[0]}", *(" " * indent + text for text in wrapped[1:])]
        lines.append("")
        for kind in dict.fromkeys(each.kind for each in report.findings):
            lines.append(f"{kind.id} {kind.title}")
            lines += [f"  lost: {kind.lost}", f"  do:   {kind.remedy} (docs/findings.md#{kind.id.lower()})"]
        lines.append("")
    lines += [f"not confirmed: {text}" for text in report.unconfirmed]
    lines += [f"not checked: {text}" for text in report.skipped]
    severe = sum(each.kind.severity == SEVERE for each in report.findings)
    verdict = f"{severe} severe and {len(report.findings) - severe} minor findings" if report.findings else "nothing found"
    return [*lines, f"{report.path}: {verdict}, {report.summary.get('collections', 0)} collections, {report.summary.get('seconds', 0)} s"]
