# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery's plan: what can be recovered from what, and what is lost. FOR INTERNAL COLLECTION USE ONLY.

A plan is handed out as JSON and may come back: the SHA-256 in it is over all the rest, so that nothing else is done than was read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, known, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

FORMAT, VERSION = "thinkube.chroma/recovery-plan", 1
HIGH, NORMAL, LOW = "high", "normal", "low"
_PRIORITIES = (HIGH, NORMAL, LOW)
_AGAIN = "Make the plan again (check mode), look at it, and give that one."


@dataclass(frozen=True)
class PlanItem:
    """One collection that can be recovered.

    Args:
        id: hash of what it is about and of its state: another one where either has changed.
        kind: ``damaged``, ``orphan`` or ``missing``.
        segment: name of the index's folder; empty where there is none.
        collection: its id; empty where nobody knows.
        name: empty where nobody knows.
        tenant, database: where it was, or where the new one goes.
        target: name of the new collection.
        records: how many it had, as far as anything says.
        recoverable: of these, with vectors.
        lost: the others.
        bare: of the recoverable ones, those of which only id and vector are left.
        relabelled: of the recoverable ones, those whose ids are gone; they are called ``recovered-<label>``.
        dimension: of the vectors; None where there are none.
        space: distance function; ``space_from`` says who knows: ``sqlite``, ``backup``, ``guess``.
        sources: in the order in which they count: ``name``, and what ``Holding.view`` says.
        findings: identifiers of what is wrong with it.
        said: all of that in words.
        priority: ``high``, ``normal`` or ``low``.
    """

    id: str
    kind: str
    segment: str
    collection: str
    name: str
    tenant: str
    database: str
    target: str
    records: int
    recoverable: int
    lost: int
    bare: int
    relabelled: int
    dimension: int | None
    space: str
    space_from: str
    sources: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[str, ...] = ()
    said: str = ""
    priority: str = NORMAL

    @property
    def label(self) -> str:
        """Tenant, database and name, for messages; the folder where nobody knows the name."""
        return f"{self.tenant}/{self.database}/{self.name}" if self.name else f"folder {self.segment}"


@dataclass(frozen=True)
class RecoveryPlan:
    """What a recovery does, in this order; false where nothing can be recovered."""

    items: tuple[PlanItem, ...] = field(default_factory=tuple)

    def __bool__(self) -> bool:
        return any(each.recoverable for each in self.items)

    @property
    def sha256(self) -> str:
        """Over the content."""
        return hashlib.sha256(_canonical(self._content())).hexdigest()

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        content: dict[str, Any] = json.loads(_canonical(self._content()))
        return {**content, "sha256": self.sha256}

    def _content(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, "items": [asdict(each) for each in self.items]}


def parse_plan(document: Mapping[str, Any]) -> RecoveryPlan:
    """Read a plan that was handed out.

    Raises:
        ChromaError: ``stale_plan`` where it is not as it was handed out.
    """
    content = {key: value for key, value in document.items() if key != "sha256"}
    try:
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise ValueError(f"it is {document['format']!r}, version {document['version']!r}")
        if document["sha256"] != hashlib.sha256(_canonical(content)).hexdigest():
            raise ValueError("its checksum is of another content: it was edited")
        return RecoveryPlan(tuple(map(_item, document["items"])))
    except INVALID as error:
        raise stale(f"The plan can't be used: {reason(error)}.") from error


def _item(loaded: Mapping[str, Any]) -> PlanItem:
    return PlanItem(**{**known(PlanItem, loaded), "sources": tuple(loaded["sources"]), "findings": tuple(loaded["findings"])})


def stale(message: str) -> ChromaError:
    """Return the error for a plan that is not done."""
    return ChromaError("stale_plan", f"{message} Nothing was changed.", _AGAIN)


def order(items: Sequence[PlanItem]) -> tuple[PlanItem, ...]:
    """Return items with the most urgent ones first."""
    return tuple(sorted(items, key=lambda each: (_PRIORITIES.index(each.priority), each.label, each.segment)))


def free_name(name: str, segment: str, taken: Collection[str]) -> str:
    """Return the name of a new collection.

    Args:
        name: that it had; empty where nobody knows.
        segment: its folder.
        taken: names that are in use.

    Returns:
        The old name where it is free, else ``<name>-recovered``, ``<name>-recovered-2`` and so on; ``recovered-<segment>``, shortened to
        eight digits, where there is no name.
    """
    if name and name not in taken:
        return name
    return numbered(f"{name}-recovered" if name else f"recovered-{segment[:8]}", taken)


def numbered(name: str, taken: Collection[str], longest: int = 63) -> str:
    """Return a name that is free: itself, or with ``-2``, ``-3`` and so on behind it; shortened where it would be too long for 0.6."""
    number, tail = 1, ""
    while True:
        wanted = name[: longest - len(tail)].rstrip("._-") + tail
        if wanted not in taken:
            return wanted
        number += 1
        tail = f"-{number}"


def priority_of(kind: str, bare: int, recoverable: int) -> str:
    """Return how urgent an item is: what is in use and damaged first, what is vectors without text last."""
    if kind == "damaged":
        return HIGH
    return LOW if bare >= recoverable else NORMAL


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
