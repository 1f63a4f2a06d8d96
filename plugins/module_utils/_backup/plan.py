# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup comes next: a pure decision from the catalogue, the directory's schema and the clock. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import FULL, INCREMENT

AUTO = "auto"
# No backup is due, and an increment can't be.
NOTHING = "nothing"
_UNREADABLE = "Not all snapshots of the repository can be read."
# A CronJob starts some seconds later than it was planned, now more and now less: a day is over when it nearly is.
_SLACK = timedelta(minutes=5)


@dataclass(frozen=True)
class Policy:
    """When a full backup is due.

    Args:
        interval: hours from one full backup to the next.
        increments: how many may follow one full backup.
    """

    interval: float = 24.0
    increments: int = 24

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``.
        """
        if not self.interval > 0 or self.increments < 0:
            message = f"interval_hours is {self.interval:g} and max_increments {self.increments}."
            raise ChromaError("invalid_value", message, "The interval has to be above 0, the number of increments 0 or more.")


@dataclass(frozen=True)
class BackupPlan:
    """What is made.

    Args:
        kind: ``full`` or ``increment``; :data:`NOTHING` of ``auto`` alone.
        reason: why that, for people.
        parent: the backup that an increment follows on; of :data:`NOTHING` the newest one.
    """

    kind: str
    reason: str
    parent: Backup | None = None


@dataclass(frozen=True)
class Standing:
    """What a data directory is, for what may follow on its backups.

    Args:
        schema: as it is now, see :func:`tags.schema_of`.
        supported: the schema that increments can be replayed with: that of this environment's Chroma.
        lineage: see :mod:`lineage`; empty where it has none.
        begun: ids of the backups that its journal knows.
    """

    schema: str
    supported: str
    lineage: str
    begun: Collection[str]


def plan_backup(
    wanted: str, catalogue: Catalogue, standing: Standing, policy: Policy, now: datetime, verify: bool = True, unreadable: bool = False
) -> BackupPlan:
    """Decide between a full backup and an increment.

    Args:
        wanted: ``auto``, ``full`` or ``increment``.
        catalogue: of this directory's backups.
        standing: of the directory.
        policy: when a full one is due.
        now: the time of day, UTC.
        verify: whether the backup is to be proven; what follows on one that was not would count for nothing.
        unreadable: whether there are snapshots in the repository that can't be read.

    Raises:
        ChromaError: ``no_base`` where an increment is wanted and cannot be.
    """
    if wanted == FULL:
        return BackupPlan(FULL, "A full one was asked for.")
    parent = catalogue.newest()
    if unreadable:
        # The newest one may be among them, and whatever is made of the others stands on a store that loses something.
        if wanted == INCREMENT:
            raise ChromaError("no_base", f"No increment can be made. {_UNREADABLE}", "Make a full backup, or let kind be auto.")
        return BackupPlan(FULL, f"{_UNREADABLE} A full backup needs none of them.")
    if obstacle := _obstacle(catalogue, parent, standing, policy):
        if wanted == INCREMENT:
            raise ChromaError("no_base", f"No increment can be made. {obstacle}", "Make a full backup, or let kind be auto.")
        return _between(catalogue, parent, standing, policy, now, verify) or BackupPlan(FULL, obstacle)
    if parent is None:
        raise AssertionError("without a parent there is an obstacle")
    if wanted == AUTO and (due := _due(catalogue, parent, policy, now, verify)):
        return BackupPlan(FULL, due)
    return BackupPlan(INCREMENT, f"It follows on {parent.id}.", parent)


def _between(
    catalogue: Catalogue, newest: Backup | None, standing: Standing, policy: Policy, now: datetime, verify: bool
) -> BackupPlan | None:
    """Return the plan to make nothing, where there never are increments and the newest full backup is young enough; None otherwise."""
    schema, supported = standing.schema, standing.supported
    never = schema != supported or not policy.increments
    if not never or newest is None or newest.kind != FULL or newest.schema != schema or _parted(newest, standing):
        return None
    if _due(catalogue, newest, policy, now, verify):
        return None
    why = f"need the schema {supported} of this Chroma, and the directory has {schema}" if schema != supported else "are switched off"
    reason = f"Increments {why}; the full backup {newest.id} is younger than {policy.interval:g} hours."
    return BackupPlan(NOTHING, reason, newest)


def _obstacle(catalogue: Catalogue, parent: Backup | None, standing: Standing, policy: Policy) -> str:
    """Return why no increment can follow; empty where one can."""
    schema, supported = standing.schema, standing.supported
    if schema != supported:
        return f"Increments need the schema {supported} of this Chroma, and the directory has {schema}."
    if parent is None:
        return "There is no full backup that one could follow." if catalogue.backups else "There is no backup yet."
    if parent.schema != schema:
        return f"Chroma was upgraded since {parent.id}: its schema is {parent.schema}, the directory's {schema}."
    if parted := _parted(parent, standing):
        return parted
    length = len(catalogue.chain(parent).backups) - 1
    if length >= policy.increments:
        return f"{length} increments follow the full backup {parent.base or parent.id}, and at most {policy.increments} may."
    return ""


def _parted(parent: Backup, standing: Standing) -> str:
    """Return why a backup is not of the directory's own history; empty where it is."""
    if not standing.lineage or parent.lineage != standing.lineage:
        return f"A backup was restored since {parent.id}, or it is of another copy of the directory."
    if parent.id not in standing.begun:
        return f"The directory's journal does not know {parent.id}: the volume was put back to an older state, or is a copy of another."
    return ""


def _due(catalogue: Catalogue, parent: Backup, policy: Policy, now: datetime, verify: bool) -> str:
    """Return why a full backup is due; empty where none is."""
    if verify and not catalogue.chain(parent).verified:
        return f"Backup {parent.id}, or one that it follows on, was never verified."
    base = catalogue.chain(parent).backups[0]
    age = now - base.created
    if age < -_SLACK:
        return f"The full backup {base.id} is of a time that is still to come: the clock was set back."
    if age + _SLACK >= timedelta(hours=policy.interval):
        return f"The full backup {base.id} is {age.total_seconds() / 3600:.1f} hours old, and one is due each {policy.interval:g}."
    return ""
