# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing quarantines for good, once nobody is to undo them any more. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import (
    DONE,
    KEPT,
    QUARANTINE,
    UNDONE,
    Quarantine,
    place_of,
    quarantines,
    read,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import PURGE
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree, sync

_REMOVED = ".removed-"


def plan_purge(found: Sequence[Quarantine], grace_days: float, now: datetime) -> tuple[str, ...]:
    """Return the ids of the quarantines that are old enough; one that is not settled, or stuck, is never one of them."""
    before = now - timedelta(days=grace_days)
    return tuple(each.id for each in found if each.state in (DONE, UNDONE, KEPT) and datetime.fromisoformat(each.created) < before)


def old(directory: Path, grace_days: float) -> tuple[str, ...]:
    """Return the ids of the quarantines of a directory that are to be removed; one that was changed since is not: somebody has to look."""
    found = []
    for place in quarantines(directory):
        with contextlib.suppress(ChromaError):
            found.append(read(place))
    return plan_purge(found, grace_days, datetime.now(UTC))


def purge(directory: Path, grace_days: float) -> tuple[str, ...]:
    """Remove old quarantines, and what a purge that died has left; return their ids."""
    folder = directory / PRIVATE / QUARANTINE
    if folder.is_dir():
        for each in folder.glob(f"{_REMOVED}*"):
            remove_tree(each)
    goes = old(directory, grace_days)
    if goes:
        with Journal.of(directory).recorded(PURGE, removes=list(goes)):
            for identifier in goes:
                gone = folder / f"{_REMOVED}{identifier}"
                # In one step: half a quarantine would be taken for one that was tampered with.
                place_of(directory, identifier).rename(gone)
                sync(folder)
                remove_tree(gone)
    return goes
