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

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import PLACE, SEVERE, Finding

HEALTHY, MINOR_FOUND, SEVERE_FOUND = 0, 3, 4
# Ansible's YAML output breaks lines at 80 columns.
_WIDTH = 72


@dataclass(frozen=True)
class Report:
    """The outcome of a validation.

    Args:
        live: whether it was done beside a server that writes.
        findings: sorted: severe ones first, then by identifier and collection.
        limits: what this way of looking leaves out each time, and why.
        skipped: what could not be looked at, and why.
        unconfirmed: what was seen once, and could not be looked at again while nobody wrote.
        summary: figures: collections, sizes in bytes, seconds, the longest lock in seconds.
    """

    path: str
    live: bool
    findings: Sequence[Finding] = ()
    limits: Sequence[str] = ()
    skipped: Sequence[str] = ()
    unconfirmed: Sequence[str] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_data(self) -> list[Finding]:
        """The findings about what the directory holds: not about the place where it lies, and how full it is there."""
        return [each for each in self.findings if each.kind.id not in PLACE]

    @property
    def complete(self) -> bool:
        """Whether everything was looked at, and every suspicion decided."""
        return not self.limits and self.decided

    @property
    def decided(self) -> bool:
        """Whether everything was looked at that can be looked at in this way, and every suspicion decided."""
        return not self.skipped and not self.unconfirmed

    @property
    def rc(self) -> int:
        """0 nothing found, 3 minor findings or something left undecided, 4 severe findings."""
        if any(each.kind.severity == SEVERE for each in self.findings):
            return SEVERE_FOUND
        return HEALTHY if self.decided and not self.findings else MINOR_FOUND

    def as_result(self) -> dict[str, Any]:
        """Return the report as the module returns it."""
        severities = Counter(each.kind.severity for each in self.findings)
        return {
            "findings": [each.as_result() for each in self.findings],
            "summary": {
                "path": self.path,
                "live": self.live,
                "healthy": self.rc == HEALTHY,
                "complete": self.complete,
                "minor": severities["minor"],
                "severe": severities["severe"],
                "counts": dict(sorted(Counter(each.kind.id for each in self.findings).items())),
                **self.summary,
            },
            "limits": list(self.limits),
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
    """Return lines to read: each finding with what was seen, then what is lost and what to do for each identifier.

    They are short enough for Ansible to print each as one line.
    """
    lines = []
    for each in report.findings:
        lines.append(f"{each.kind.severity:<6}  {each.kind.id}  {each.collection or '-'}")
        lines += _wrapped(each.message)
    for kind in dict.fromkeys(each.kind for each in report.findings):
        lines += ["", f"{kind.id}  {kind.title}", *_wrapped(f"lost  {kind.lost}"), *_wrapped(f"do    {kind.remedy}")]
    for title, texts in (("not confirmed", report.unconfirmed), ("not checked", [*report.skipped, *report.limits])):
        if texts:
            lines += ["", title, *(line for text in texts for line in _wrapped(text))]
    severe = sum(each.kind.severity == SEVERE for each in report.findings)
    verdict = f"{severe} severe and {len(report.findings) - severe} minor findings" if report.findings else "nothing found"
    if not report.complete:
        verdict += ", not all checked"
    figures = f"{report.summary.get('collections', 0)} collections, {report.summary.get('seconds', 0)} s"
    return [*lines, *([""] if lines else []), f"{report.path}: {verdict}; {figures}"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
