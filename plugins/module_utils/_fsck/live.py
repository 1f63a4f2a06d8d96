# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check, and the second look beside a running server. FOR INTERNAL COLLECTION USE ONLY.

Without a lock, SQLite and the files of an index are never seen at one moment. So what looks wrong is looked at again while a SHARED
lock keeps the server from committing: it can then finish the save of an index that it has begun, and not begin another one. What takes
longer than such a lock may is looked at without one: if SQLite counts no commit and no file moves meanwhile, nobody wrote.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import LOCK_BUDGET, Database, OutOfTime
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import stamp

# How often it is tried to look at a suspicion again, how often that has to succeed, how long
# the files of its index must have stood still before, seconds.
ATTEMPTS = 8
LOOKS = 2
SETTLED = 0.12
PAUSE = 0.4
_STAY = " At least "


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: for messages.
        run: returns what is wrong.
        folder: that must stand still while a finding is confirmed.
        again: looks only at what was found; ``run`` where absent.
        prepare: does before a lock what need not be done under it.
    """

    name: str
    run: Callable[[Database], list[Finding]]
    folder: Path | None = None
    again: Callable[[Database, Sequence[Finding]], list[Finding]] | None = None
    prepare: Callable[[Database], None] | None = None


def attempt(check: Check, database: Database) -> tuple[list[Finding], list[str], list[str]]:
    """Run one check, and confirm what it finds where the directory lives.

    Returns:
        The findings; what was skipped, and why; what could not be confirmed.
    """
    try:
        found = check.run(database)
        if not found or not database.live:
            return found, [], []
        return _confirmed(check, database, found)
    except OutOfTime:
        return [], [f"{check.name}: it needs a longer lock than is allowed beside a server"], []
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            return [], [f"{check.name}: {error}"], []
        return [finding("CHR001", f"{check.name}: {error}.")], [], []
    except sqlite3.DatabaseError as error:
        return [finding("CHR001", f"{check.name}: {error}.")], [], []
    except FileNotFoundError:
        # Somebody removed it meanwhile: a directory that changed is validated again.
        return [], [f"{check.name}: files were removed meanwhile"], []
    except OSError as error:
        return [finding("CHR006", f"{check.name}: {error}.", subject=check.name)], [], []


def _confirmed(check: Check, database: Database, found: Sequence[Finding]) -> tuple[list[Finding], list[str], list[str]]:
    """Look again while nothing is written, and once more after the server could go on; keep what is seen each time.

    Once is not enough: the server may stand between two commits that belong together.
    """
    kept: Sequence[Finding] = found
    looks = 0
    locked = True
    for _each in range(ATTEMPTS):
        again = _look_again(check, database, kept, locked)
        if again is None:
            # Under the lock there was no time, or without it somebody wrote: the other way may do.
            locked = not locked
        else:
            kept = _seen_twice(kept, again)
            looks += 1
            if not kept or looks == LOOKS:
                return list(kept), [], []
        time.sleep(PAUSE)
    return [], [], [f"{each.kind.id} {each.collection} {each.message}" for each in kept]


def _look_again(check: Check, database: Database, kept: Sequence[Finding], locked: bool) -> list[Finding] | None:
    """Run a check while nobody writes, by a lock or by luck; None where that did not succeed."""
    try:
        if check.prepare:
            check.prepare(database)
        with database.hold() if locked else contextlib.nullcontext():
            before = _settled(check.folder, database)
            commits = database.commits()
            again = check.again(database, kept) if check.again else check.run(database)
            still = database.commits() == commits and (check.folder is None or stamp(check.folder) == before)
    except OutOfTime:
        return None
    return again if still else None


def _seen_twice(before: Sequence[Finding], again: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are the same both times, with the rows that are.

    0.x saves an index before it commits the records to SQLite, so that each look may find other ids that are only there for a moment.
    """
    now = {each.key: set(each.rows) for each in again}
    kept = []
    for each in before:
        rows = tuple(row for row in each.rows if row in now.get(each.key, ()))
        # The first look counted all, a second one perhaps only what the first one found.
        if each.key in now and len(rows) == len(each.rows):
            kept.append(each)
        elif rows:
            message = each.message.partition(_STAY)[0]
            kept.append(replace(each, rows=rows, message=f"{message}{_STAY}{len(rows)} of them stay."))
    return kept


def _settled(folder: Path | None, database: Database) -> Any:
    """Wait until a folder has stood still for a moment: a save that had begun before the lock is over then.

    Raises:
        OutOfTime: it does not within the time of a lock.
    """
    if folder is None:
        return None
    began = since = time.monotonic()
    seen = stamp(folder)
    while time.monotonic() - since < SETTLED:
        database.check_time()
        if time.monotonic() - began > LOCK_BUDGET:
            raise OutOfTime
        time.sleep(SETTLED / 8)
        now = stamp(folder)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen
