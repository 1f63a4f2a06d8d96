# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recoveries in the journal: what was recovered as what, so that nothing is recovered twice. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal, Recording

RECOVER = "recover"
_RECOVERED, _RENAMING = "recovered", "rename"


@dataclass(frozen=True)
class Recovered:
    """A collection that was recovered and read back.

    Args:
        item: of the plan, see :attr:`PlanItem.id`.
        collection: id of the new one.
        name: that it got.
        tenant, database: where it is.
        old_name: of the damaged one, where the new one was to get it; else empty.
        damaged: id of the damaged one; empty for an orphan or a missing one.
        aside: name that the damaged one was to get.
        named: not empty once both have these names: whoever renames them later does so on purpose.
    """

    item: str
    collection: str
    name: str
    tenant: str
    database: str
    old_name: str = ""
    damaged: str = ""
    aside: str = ""
    named: str = ""


def recorded(path: Path, **facts: Any) -> AbstractContextManager[Recording]:
    """Journal a recovery."""
    return Journal.of(path).recorded(RECOVER, **facts)


def end_interrupted(path: Path) -> None:
    """End the entries of recoveries that were killed: under the lock of the directory none is at work."""
    journal = Journal.of(path)
    for entry in journal.open_entries():
        if entry.operation == RECOVER:
            journal.end(entry, "interrupted")


def note(recording: Recording, what: Recovered) -> None:
    """Say that a collection was recovered, or is about to be renamed where ``old_name`` says so, or was."""
    recording.step(_RENAMING if what.old_name else _RECOVERED, **vars(what))


def recovered(path: Path) -> dict[str, Recovered]:
    """Return what was recovered until now, by the item's id; the last word on each."""
    found: dict[str, Recovered] = {}
    for line in Journal.of(path).lines():
        if line.operation == RECOVER and line.event == "step" and line.name in (_RECOVERED, _RENAMING):
            known = {key: str(line.facts[key]) for key in Recovered.__dataclass_fields__ if key in line.facts}
            if {"item", "collection", "name", "tenant", "database"} <= known.keys():
                found[known["item"]] = Recovered(**known)
    return found
