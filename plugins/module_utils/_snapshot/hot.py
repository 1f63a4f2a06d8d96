# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A consistent copy of the directory of a running server. FOR INTERNAL COLLECTION USE ONLY.

SQLite's file and the indexes only fit together while nobody commits and no index is being saved. So the write lock is held, it is waited
until the indexes stand still, and what moved while it was copied is copied again. What stands still before is copied before.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import OutOfTime, write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.copying import Copier, no_space
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import utc
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import Listing, Stamp, Watch

# Stays free on the target's file system, bytes: it may be that of the data, and SQLite needs some for itself.
RESERVE = 64 << 20
# Seconds that are waited for a moment in which nothing moves, before writers are made to wait.
_CALM = 3.0
# Seconds until writers are made to wait again, doubled each time.
_RESPITE = 2.0


@dataclass(frozen=True)
class Copied:
    """A copy.

    Args:
        created: its moment, see ``manifest.utc``.
        pause: the longest time that writers waited, seconds.
        attempts: how often the lock was taken.
        reflink: whether all files share their blocks with the original.
        listing: what was copied.
    """

    created: str
    pause: float
    attempts: int
    reflink: bool
    listing: Listing


def copy_hot(source: Path, target: Path, *, pause: float, tries: int, settle: float, patience: float) -> Copied:
    """Copy a data directory while a server writes to it.

    Args:
        source: the data directory.
        target: an empty directory; what an error leaves in it is for the caller to remove.
        pause: the longest time that writers may have to wait, seconds; then the lock is released and it is tried again.
        tries: how often.
        settle: for so long an index has to stand still, seconds.
        patience: how long the lock is waited for, seconds; nobody else waits then.

    Raises:
        ChromaError: ``pause_exceeded``, ``busy``, ``forbidden``, ``no_space``, ``copy_failed``, ``unsupported``, ``lock_lost``.
        Damaged: ``sqlite``.
    """
    watch = Watch(source, settle)
    there: dict[str, Stamp] = {}
    longest = 0.0
    with Progress("copy", watch.listing.blocks, "bytes") as progress:
        for attempt in range(1, tries + 1):
            with Copier(source, target, progress) as copier:
                if not copier.reflink:
                    check_room(target, watch.look().blocks - sum(each.blocks for each in there.values()))
                _copy_ahead(watch, copier, there)
                # SQLite's file is never right before the lock.
                there.pop(DATABASE, None)
                try:
                    with write_lock(source / DATABASE, pause, patience) as lock:
                        _copy_locked(watch, copier, there, target, lock.until)
                except OutOfTime:
                    longest = max(longest, lock.seconds)
                else:
                    return Copied(utc(lock.moment), max(longest, lock.seconds), attempt, copier.shared, watch.listing)
            if attempt < tries:
                time.sleep(_RESPITE * 2 ** (attempt - 1))
    message = f"{source} could not be copied within {pause:g} s in {tries} attempts; so long writers waited each time."
    hint = "Allow a longer pause, or copy with the server stopped."
    raise ChromaError("pause_exceeded", message, hint, {"pause_seconds": round(longest, 3), "lock_attempts": tries})


def check_room(target: Path, needed: int, what: str = "a copy", hint: str = "") -> None:
    """Check that something fits.

    Args:
        needed: bytes; :data:`RESERVE` stays free beside them.
        what: what is to fit, for the message.
        hint: what else to do than to make room, or to give another place.

    Raises:
        ChromaError: ``no_space``, with ``needed_bytes`` and ``free_bytes`` in its result.
    """
    room = os.statvfs(target)
    free = room.f_bavail * room.f_frsize
    if free < needed + RESERVE:
        reason = f"{free >> 20} MiB are free, {needed >> 20} and a reserve of {RESERVE >> 20} are needed"
        error = no_space(target, reason, what, hint)
        error.result = {"needed_bytes": needed + RESERVE, "free_bytes": free}
        raise error


def _copy_ahead(watch: Watch, copier: Copier, there: dict[str, Stamp]) -> None:
    """Wait a little for a quiet moment, then copy the files of indexes that stand still: under the lock only what changed is copied."""
    until = time.monotonic() + _CALM
    while not watch.settled() and time.monotonic() < until:
        _wait(watch)
    _copy(watch, copier, there, watch.still(), None)
    watch.look()


def _copy_locked(watch: Watch, copier: Copier, there: dict[str, Stamp], target: Path, deadline: float) -> None:
    """Copy until nothing moved while it was copied. A save that had begun before the lock ends; no other one can begin after it."""
    watch.look()
    # Nothing can change SQLite's file now, so it is copied while indexes may still move.
    _copy(watch, copier, there, {DATABASE}, deadline)
    while True:
        watch.look()
        while not watch.settled():
            if time.monotonic() > deadline:
                raise OutOfTime
            _wait(watch)
        seen = watch.listing
        _copy(watch, copier, there, set(seen.files), deadline)
        if watch.look() == seen:
            break
    for name in [each for each in there if each not in seen.files]:
        (target / name).unlink(missing_ok=True)
        del there[name]


def _copy(watch: Watch, copier: Copier, there: dict[str, Stamp], wanted: set[str], deadline: float | None) -> None:
    stamps = {name: watch.listing.files[name] for name in sorted(wanted) if there.get(name) != watch.listing.files[name]}
    for name in stamps:
        there.pop(name, None)
    for name in copier.copy(list(stamps), deadline):
        there[name] = stamps[name]


def _wait(watch: Watch) -> None:
    time.sleep(watch.settle / 8)
    watch.look()
