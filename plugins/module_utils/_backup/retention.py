# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are kept and which go, each with its reason: a pure decision. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import COLLECTION, FULL, INCREMENT

# What was never read back belongs to an operation that is at work or died. None works for so long.
_ABANDONED = timedelta(days=1)


@dataclass(frozen=True)
class Retention:
    """What is kept: a backup that is young enough, or one of the newest ones.

    Args:
        days: so young.
        count: so many of the newest full backups, and of the newest ones of each collection that was backed up alone.
    """

    days: int = 30
    count: int = 10

    def check(self) -> None:
        """Refuse what would keep next to nothing.

        Raises:
            ChromaError: ``invalid_value``.
        """
        if self.days < 1 or self.count < 1:
            message = f"retention_days is {self.days} and retention_count {self.count}; both have to be at least 1."
            raise ChromaError("invalid_value", message, "Raise it. To remove one backup, name it: `backups`.")


@dataclass(frozen=True)
class Verdict:
    """What becomes of a backup.

    Args:
        keep: whether it stays.
        reason: why, for people.
    """

    backup: Backup
    keep: bool
    reason: str


def plan_prune(catalogue: Catalogue, retention: Retention, now: datetime, in_use: Collection[str] = ()) -> tuple[Verdict, ...]:
    """Decide about each backup, those of each data directory by themselves; the order is that of the catalogue.

    Args:
        now: the time of day, UTC.
        in_use: ids that an operation which has not ended needs.
    """
    verdicts: dict[str, Verdict] = {}
    for instance in {each.instance for each in catalogue.backups}:
        mine = tuple(each for each in catalogue.backups if each.instance == instance)
        for each in _plan(Catalogue(mine, {one.id: one for one in mine}), retention, now, in_use):
            verdicts[each.backup.id] = each
    return tuple(verdicts[each.id] for each in catalogue.backups)


def _plan(catalogue: Catalogue, retention: Retention, now: datetime, in_use: Collection[str]) -> tuple[Verdict, ...]:
    kept: dict[str, str] = {}
    newest = catalogue.newest(verified=True)
    points = catalogue.restore_points()
    moments = catalogue.moments(now)
    ranks = _ranks(catalogue)
    for each in catalogue.backups:
        reason = ""
        if each.id in in_use:
            reason = "an operation that has not ended needs it"
        elif newest and each.id == newest.id:
            reason = "the newest one that was verified"
        elif points and each in (points[0], points[-1]):
            reason = "the restore point of the last restore"
        elif each.pending:
            reason = "" if now - moments[each.id] >= _ABANDONED else "it is being made"
        elif each.created > now:
            reason = "its time is still to come: the clock was set back"
        elif now - moments[each.id] < timedelta(days=retention.days):
            reason = f"younger than {retention.days} days"
        elif ranks.get(each.id, retention.count) < retention.count:
            series = "full ones" if each.kind == FULL else "those of this collection"
            reason = f"one of the newest {retention.count} of {series}"
        if reason:
            kept[each.id] = reason
    # What is kept brings what it cannot be restored without.
    for each in reversed(catalogue.backups):
        if each.id in kept and each.kind == INCREMENT:
            for needed in catalogue.chain(each).backups:
                kept.setdefault(needed.id, f"needed by the increment {each.id}")
    return tuple(Verdict(each, each.id in kept, kept.get(each.id) or _gone(each, retention)) for each in catalogue.backups)


def plan_removal(catalogue: Catalogue, names: Collection[str], in_use: Collection[str] = ()) -> tuple[Verdict, ...]:
    """Decide about backups that somebody wants to be rid of; what cannot be restored without them goes with them only if it is named too.

    Raises:
        ChromaError: ``not_found``; ``in_use`` where one is the newest verified one, a restore point that is needed, or the base of one that
            stays.
    """
    wanted = {name: catalogue.require(name) for name in names}
    for backup in wanted.values():
        mine = catalogue.of(backup.instance)
        newest, points = mine.newest(verified=True), mine.restore_points()
        left = [each.id for each in catalogue.followers(backup) if each.id not in wanted]
        if left:
            hint = "Name these as well, or wait until retention takes them."
            raise ChromaError("in_use", f"Backup {backup.id} stays: without it {', '.join(left)} cannot be restored.", hint)
        if newest and backup.id == newest.id:
            raise ChromaError("in_use", f"Backup {backup.id} stays: it is the newest one that was verified.", "Make another one first.")
        if backup.id in in_use or (points and backup in (points[0], points[-1])):
            hint = "Make sure that nobody wants to undo the last restore; the next restore's point takes its place."
            raise ChromaError("in_use", f"Backup {backup.id} stays: it is the restore point of the last restore, or in use.", hint)
    return tuple(
        Verdict(each, each.id not in wanted, "it was named" if each.id in wanted else "it was not named") for each in catalogue.backups
    )


def _ranks(catalogue: Catalogue) -> Mapping[str, int]:
    """Return how many newer ones of the same series there are; increments and restore points are in none."""
    seen: Counter[str] = Counter()
    ranks = {}
    for each in reversed(catalogue.backups):
        if each.kind not in (FULL, COLLECTION) or each.pending:
            continue
        series = each.kind if each.kind == FULL else f"collection {' '.join(each.collections)}"
        ranks[each.id] = seen[series]
        seen[series] += 1
    return ranks


def _gone(backup: Backup, retention: Retention) -> str:
    if backup.pending:
        return "it was never verified: the operation that made it died"
    if backup.kind in (FULL, COLLECTION):
        return f"older than {retention.days} days, and {retention.count} newer ones are there"
    return f"older than {retention.days} days"
