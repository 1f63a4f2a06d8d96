# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which findings are repaired, and how: the plan, from a report alone. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE, Finding

# How a finding is repaired.
FOLDER, ROWS, FULL_TEXT, FILE, LOG = "folder", "rows", "full text", "file", "log"

# What is done, in words, with the finding's segment and subject.
_STEPS: Mapping[str, tuple[str, str]] = {
    "CHR012": (ROWS, "the rows of segment {segment} and its folder go to quarantine"),
    "CHR016": (ROWS, "rows of {subject} that belong to nothing go to quarantine"),
    "CHR017": (FOLDER, "folder {subject} goes to quarantine"),
    "CHR034": (FILE, "data_level0.bin is cut to whole elements"),
    "CHR055": (FILE, "vectors whose ids nobody knows are marked as deleted"),
    "CHR064": (ROWS, "log entries of {subject}, which is no collection, go to quarantine"),
    "CHR066": (LOG, "nulls that stand for no document are taken out of log entries"),
    "CHR080": (ROWS, "records of segment {segment}, which does not exist, go to quarantine"),
    "CHR081": (ROWS, "metadata of no record goes to quarantine"),
    "CHR082": (ROWS, "list metadata of no record goes to quarantine"),
    "CHR084": (FULL_TEXT, "documents are added to the full-text index, which is built anew"),
    "CHR085": (ROWS, "full-text rows of no record go to quarantine"),
    "CHR086": (FULL_TEXT, "the full-text index is made equal to the documents, and built anew"),
}
# Severe, and yet mended without a loss; but only for somebody who says so.
ASKED_FOR = frozenset({"CHR066"})
REPAIRABLE = frozenset(_STEPS) - ASKED_FOR

# While SQLite's file or its schema is not whole, nothing that it says about anything else is believed.
_DATABASE = frozenset({"CHR001", "CHR002", "CHR003", "CHR004", "CHR005", "CHR006"})
# Where these are found, what seems to belong to nobody may be just what is missing there: the index of a segment whose row is lost, the
# records of one, a folder that was renamed, a collection that is younger than a database that was brought back.
_LOSSES = frozenset({"CHR011", "CHR013", "CHR015", "CHR018", "CHR021", "CHR060", "CHR061", "CHR062", "CHR071"})

_OURSELVES: Mapping[str, tuple[str, str]] = {
    "CHR019": ("The server mends it by itself.", "Start Chroma: it builds the index again from the log."),
    "CHR055": ("The server mends it by itself.", "Start Chroma and write to the collection: it applies the log again. Then validate."),
    "CHR063": ("The server mends it by itself.", "Restart Chroma and write once, then validate."),
    "CHR102": ("No repair makes room.", "Grow the volume."),
}


@dataclass(frozen=True)
class Step:
    """What is done about one finding.

    Args:
        finding: identifier.
        what: is done, in words.
        how: one of the constants above.
        needs_stop: whether the server must not run meanwhile.
        key: of the finding, to see whether it is gone afterwards.
        rows: of the finding: some of SQLite's rowids.
    """

    finding: str
    what: str
    how: str
    collection: str = ""
    segment: str = ""
    subject: str = ""
    needs_stop: bool = False
    rows: tuple[int | str, ...] = field(default=(), repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the finding is known by, see :attr:`Finding.key`."""
        return self.finding, self.collection, self.segment, self.subject

    def as_result(self) -> dict[str, Any]:
        """Return the step as the module returns it."""
        return {key: getattr(self, key) for key in ("finding", "what", "collection", "segment", "needs_stop")}


@dataclass(frozen=True)
class Left:
    """A finding that is not touched.

    Args:
        reason: why.
        do: what to do about it.
    """

    finding: str
    severity: str
    collection: str
    segment: str
    reason: str
    do: str

    def as_result(self) -> dict[str, Any]:
        """Return it as the module returns it."""
        return asdict(self)


@dataclass(frozen=True)
class RepairPlan:
    """What is to be done, and what is left."""

    steps: tuple[Step, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True)
class Facts:
    """What a plan has to know beside the findings.

    Args:
        rebuilds_live: whether the full-text index is small enough to be built anew beside a server.
        replayed: segments of whose log entries the index still lacks some.
        stopped: whether the server does not run, or is stopped for the repair.
    """

    rebuilds_live: bool = True
    replayed: frozenset[str] = frozenset()
    stopped: bool = True


def plan_repair(findings: Sequence[Finding], wanted: Collection[str], facts: Facts) -> RepairPlan:
    """Decide what is done about each finding.

    Args:
        findings: of a validation.
        wanted: identifiers; only these are repaired. Empty for all that can be.
    """
    steps: list[Step] = []
    left: list[Left] = []
    for each in findings:
        step = _step(each, facts)
        reason, do = _refusal(each, findings, wanted, facts, step)
        if reason or step is None:
            left.append(Left(each.kind.id, each.kind.severity, each.collection, each.segment, reason, do or each.kind.remedy))
        else:
            steps.append(step)
    return RepairPlan(tuple(steps), tuple(left))


def _step(each: Finding, facts: Facts) -> Step | None:
    if each.kind.id not in _STEPS:
        return None
    how, text = _STEPS[each.kind.id]
    needs_stop = how in (FILE, LOG) or (how == FULL_TEXT and not facts.rebuilds_live)
    what = text.format(segment=each.segment, subject=each.subject)
    return Step(each.kind.id, what, how, each.collection, each.segment, each.subject, needs_stop, each.rows)


def _refusal(each: Finding, findings: Sequence[Finding], wanted: Collection[str], facts: Facts, step: Step | None) -> tuple[str, str]:
    """Return why a finding is left and what to do; empty where it is repaired."""
    if each.kind.severity == SEVERE and not (each.kind.id in ASKED_FOR and each.kind.id in wanted):
        return "It is severe: something is lost, or somebody has to decide.", each.kind.remedy
    if step is None or (each.kind.id == "CHR055" and each.segment in facts.replayed):
        return _OURSELVES.get(each.kind.id, ("No repair is known for it.", ""))
    if wanted and each.kind.id not in wanted:
        return "It was not asked for.", "Name it in `findings`, or leave that out."
    others = _blocking(each, findings, step)
    if others:
        missing = "what seems to belong to nobody may be what is missing there"
        why = missing if set(others) & _LOSSES else "until then nothing else is certain"
        return (
            f"First comes {', '.join(others)}: {why}.",
            "Recover (42_recover) or restore (30_restore) what these are about, then repair again.",
        )
    if step.needs_stop and not facts.stopped:
        return "It needs the server stopped.", "Run the repair with `stop`, or stop the server first."
    return "", ""


def _blocking(each: Finding, findings: Sequence[Finding], step: Step) -> list[str]:
    """Return the identifiers of what must be settled before."""
    if step.how == FILE:
        return sorted(
            {
                other.kind.id
                for other in findings
                if other.kind.severity == SEVERE and (other.kind.id in _DATABASE or (other.segment and other.segment == each.segment))
            }
        )
    kinds = _DATABASE if step.how in (FULL_TEXT, LOG) else _DATABASE | _LOSSES
    return sorted({other.kind.id for other in findings if other.kind.id in kinds})
