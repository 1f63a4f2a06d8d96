# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups there are, from the repository's snapshots and their tags. FOR INTERNAL COLLECTION USE ONLY.

The catalogue is one ``restic snapshots``: what is shown, planned with and kept or removed is in the tags, so no manifest has to be read.

Clocks are set back. So each backup has a number, one more than the largest in the repository, and that says which is the newest; its time
is for people, and for the retention in days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup, parse_backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    FULL,
    INCREMENT,
    RESTORE_POINT,
)


@dataclass(frozen=True)
class Chain:
    """What has to be there to restore a backup.

    Args:
        backups: from its base to itself; what is not there is left out.
        missing: id of the nearest one that is not there, or why there can be none; empty where it is whole.
    """

    backups: tuple[Backup, ...]
    missing: str = ""

    @property
    def restorable(self) -> bool:
        """Whether all of it is there."""
        return not self.missing

    @property
    def verified(self) -> bool:
        """Whether all of it is there and each part was read back."""
        return self.restorable and all(each.verified for each in self.backups)


@dataclass(frozen=True)
class Catalogue:
    """All backups of a repository.

    Args:
        backups: oldest first.
    """

    backups: tuple[Backup, ...] = ()
    _by_id: Mapping[str, Backup] = field(default_factory=dict, repr=False, compare=False)

    def find(self, name: str) -> Backup | None:
        """Return the backup of this id."""
        return self._by_id.get(name)

    def require(self, name: str) -> Backup:
        """Return the backup of this id.

        Raises:
            ChromaError: ``not_found``.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(each.id for each in reversed(self.backups[-5:])) or "none"
            raise ChromaError("not_found", f"There is no backup {name} in the repository.", f"The newest ones are: {known}.")
        return found

    def chain(self, backup: Backup) -> Chain:
        """Return the backup's chain, from its base to itself."""
        found = [backup]
        while found[-1].kind == INCREMENT:
            name = found[-1].parent
            parent = self.find(name)
            if parent is None:
                return Chain(tuple(reversed(found)), name or "a parent that its tags do not name")
            if parent in found or parent.kind not in (FULL, INCREMENT):
                return Chain(tuple(reversed(found)), f"{name}, which is no backup that increments can follow")
            found.append(parent)
        return Chain(tuple(reversed(found)))

    def followers(self, backup: Backup) -> tuple[Backup, ...]:
        """Return the increments that cannot be restored without this backup."""
        return tuple(each for each in self.backups if each.id != backup.id and backup in self.chain(each).backups)

    def newest(self, kinds: Sequence[str] = (FULL, INCREMENT), *, verified: bool = False) -> Backup | None:
        """Return the newest backup of these kinds that can be restored and is not at work; None where there is none.

        Args:
            verified: only one of which each part of its chain was read back.
        """
        for each in reversed(self.backups):
            if each.kind in kinds and not each.pending:
                chain = self.chain(each)
                if chain.verified if verified else chain.restorable:
                    return each
        return None

    def of(self, instance: str) -> Catalogue:
        """Return the backups of one data directory, and those of which nobody knows whose they are; all of them where it is empty."""
        kept = tuple(each for each in self.backups if not instance or each.instance in ("", instance))
        return Catalogue(kept, {each.id: each for each in kept})

    def restore_points(self) -> tuple[Backup, ...]:
        """Return the restore points that an undo may need, newest last: those of restores that were done, and what came after them."""
        points = [each for each in self.backups if each.kind == RESTORE_POINT and not each.undone]
        done = [each for each in points if each.swapped]
        return tuple([each for each in points if each.order >= done[-1].order] if done else points[-1:])

    def moments(self, now: datetime) -> Mapping[str, datetime]:
        """Return of each backup the earliest moment in which it can have been made.

        It is not older than those of its directory before it: where its own time is earlier than this one, its clock was behind, and its
        true time is this one or later. Times that are still to come say nothing about the others.

        Args:
            now: the time of day, UTC.
        """
        moments = {}
        latest: dict[str, datetime] = {}
        for each in self.backups:
            known = latest.get(each.instance, each.created)
            if each.created <= now:
                known = latest[each.instance] = max(known, each.created)
            moments[each.id] = known
        return moments

    @property
    def next_number(self) -> int:
        """The number of the next backup."""
        return max((each.number for each in self.backups), default=0) + 1


def catalogue_of(snapshots: Iterable[Snapshot]) -> Catalogue:
    """Return the catalogue that a repository's snapshots are.

    A snapshot without our mark and an id is somebody else's and left out. Two with one id, the same time and the same tree are left of a
    change of tags that was cut short: the one that was verified counts. Another one with that id is no backup of ours: somebody copied
    its tags. The first that was verified counts, or else the first; the others are left alone.
    """
    found: dict[str, Backup] = {}
    trees: dict[str, tuple[str, datetime]] = {}
    for each in sorted(snapshots, key=lambda each: not each.tag("verified")):
        backup = parse_backup(each)
        if backup is None:
            continue
        there = found.get(backup.id)
        if there is None:
            found[backup.id], trees[backup.id] = backup, (each.tree, each.time)
        elif trees[backup.id] == (each.tree, each.time):
            found[backup.id] = replace(there, twins=(*there.twins, backup.snapshot))
    return Catalogue(tuple(sorted(found.values(), key=lambda each: each.order)), found)


def holds(backup: Backup, name: str) -> bool | None:
    """Return whether a backup holds a collection, by its name or ``tenant/database/name``; None where only its manifest knows."""
    if any(name in (each, each.rpartition("/")[2]) for each in backup.collections):
        return True
    return None if backup.collection_count > len(backup.collections) else False


def rfc3339(when: datetime) -> str:
    """Return a moment as text, in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
