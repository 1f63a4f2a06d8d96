# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working in a repository beside others: locks are waited for, dead ones removed. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.creation import refuse
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import LOCKED, NO_REPOSITORY
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import (
    Gone,
    RepositoryLock,
    describe,
    read_locks,
    remove_dead_locks,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Outcome
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot, parse_snapshot

# Of a list that is read whole: 100,000 snapshots.
_LONGEST_LIST = 100 << 20
# Seconds between two tries to get the lock, at most.
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Listing:
    """What is in a repository.

    Args:
        snapshots: those of others among them; none where restic failed.
        unreadable: ids of those that are there, and restic leaves out: damaged, or the store fails. Nobody knows whose they are.
        outcome: how restic ended.
    """

    snapshots: Sequence[Snapshot]
    unreadable: tuple[str, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)


class Workplace:
    """A repository as those find it who work in it.

    Args:
        restic: with its settings.
        place: its files.
        gone: says whether nothing of a host runs any more.
    """

    def __init__(self, restic: Restic, place: Place, gone: Gone) -> None:
        self.restic = restic
        self.place = place
        self.gone = gone
        self.location = restic.settings.location

    def locked(self, attempt: Callable[[], Outcome]) -> Outcome:
        """Run what takes a lock; remove dead ones that are in its way, and wait for living ones.

        Raises:
            ChromaError: ``repository_locked``, naming who holds it.
        """
        end, pause = time.monotonic() + self.restic.settings.lock_wait, 1.0
        while True:
            outcome = attempt()
            if outcome.code != LOCKED:
                return outcome
            if self.unlock():
                continue
            if time.monotonic() + pause > end:
                raise self._locked_by(read_locks(self.restic)) or self.fault("Could not work in the repository", outcome)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def reading(self, attempt: Callable[..., Outcome]) -> Outcome:
        """Run what only reads; without a lock where none can be written, because the place is read-only or full.

        Args:
            attempt: takes further arguments of restic.
        """
        outcome = self.locked(attempt)
        if outcome.code and "unable to create lock" in outcome.text:
            return attempt("--no-lock")
        return outcome

    def unlock(self) -> tuple[RepositoryLock, ...]:
        """Remove the locks that provably nobody holds, and return them."""
        return remove_dead_locks(self.restic, self.place, self.gone)

    def all_snapshots(self) -> Listing:
        """Return what is in the repository."""
        found = self.look()
        if found.outcome.code:
            raise self.fault("Could not list the backups of", found.outcome)
        return found

    def look(self, known: Sequence[Snapshot] = ()) -> Listing:
        """Return what is in the repository, also where restic fails.

        Args:
            known: returned as they are, without restic, where the repository holds just these; some of ours have to be among them.
        """
        if any(each.is_ours for each in known):
            # Under its id a snapshot never changes, so no key is needed. What is wrong with the place is better told by restic.
            with contextlib.suppress(ChromaError):
                if self.place.snapshots() == {each.snapshot for each in known}:
                    return Listing(known)
        found = self._listed()
        if found.outcome.code or not (unseen := self._unseen(found)):
            return found
        # Whoever works beside this one has brought it in since, or the store fails now and then.
        again = self._listed()
        if again.outcome.code:
            return again
        return replace(again, unreadable=tuple(sorted(unseen & self._unseen(again))))

    def _listed(self) -> Listing:
        content, outcome = self.restic.read(_LONGEST_LIST, "snapshots", "--no-lock")
        return Listing([] if outcome.code else [parse_snapshot(each) for each in json.loads(content)], outcome=outcome)

    def _unseen(self, found: Listing) -> set[str]:
        """Return the snapshots that are there and not in a list; restic only warns of what it can't read (cmd/restic/find.go)."""
        return self.place.snapshots() - {each.snapshot for each in found.snapshots}

    def fault(self, action: str, outcome: Outcome) -> ChromaError:
        """Return the typed error for a run that failed."""
        if outcome.code == NO_REPOSITORY:
            # Whether the bucket, the config or all of it is gone is to be seen there.
            try:
                refuse(self.place, self.place.state(), wanted=False)
            except ChromaError as error:
                return error
        return self.restic.fault(action, outcome)

    def _locked_by(self, holders: Sequence[RepositoryLock]) -> ChromaError | None:
        if not holders:
            return None
        message = f"Another process works in the repository {self.location}: {describe(holders)}."
        hint = "Wait for it and try again. If it is dead, its lock counts for 30 minutes; docs/repository.md says how to remove it."
        return ChromaError("repository_locked", message, hint)
