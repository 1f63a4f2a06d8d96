# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check, and the second look beside a running server. FOR INTERNAL COLLECTION USE ONLY.

Without a lock, SQLite and the files of an index are never seen at one moment. So what looks wrong is looked at again while a SHARED
lock keeps the server from committing: it can then finish the save of an index that it has begun, and not begin another one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database, OutOfTime
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import stamp

# How often it is tried to look at a suspicion again, how often that has to succeed, how long
# the files of its index must have stood still under the lock, seconds.
ATTEMPTS = 8
LOOKS = 2
SETTLED = 0.12
PAUSE = 0.4


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: for messages.
        run: returns what is wrong.
        folder: that must stand still while a finding is confirmed.
        again: looks only at what was found; ``run`` where absent.
    """

    name: str
    run: Callable[[Database], list[Finding]]
    folder: Path | None = None
    again: Callable[[Database, Sequence[Finding]], list[Finding]] | None = None


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
        if "no such" in str(error) or "locked" in str(error):
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
    """Look again under the lock, while the files stand still, and once more after the server could go on; keep what is seen each time.

    Once is not enough: the lock may stop the server between two commits that belong together.
    """
    kept: Sequence[Finding] = found
    looks = 0
    for _each in range(ATTEMPTS):
        try:
            with database.hold():
                before = _settled(check.folder, database)
                again = check.again(database, kept) if check.again else check.run(database)
                still = check.folder is None or stamp(check.folder) == before
        except OutOfTime:
            still = False
        if still:
            kept = _seen_twice(kept, again)
            looks += 1
            if not kept or looks == LOOKS:
                return list(kept), [], []
        time.sleep(PAUSE)
    return [], [], [f"{each.kind.id} {each.collection} {each.message}" for each in kept]


def _seen_twice(before: Sequence[Finding], again: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are the same both times, with the rows that are: 0.x saves an index before it commits the records to SQLite,
    so that each look may find other ids that are only there for a moment."""
    earlier = {each.key: set(each.rows) for each in before}
    kept = []
    for each in again:
        rows = tuple(row for row in each.rows if row in earlier.get(each.key, ()))
        if each.key in earlier and len(rows) == len(each.rows):
            kept.append(each)
        elif rows:
            kept.append(replace(each, rows=rows, message=f"{each.message} At least {len(rows)} of them stay."))
    return kept


def _settled(folder: Path | None, database: Database) -> Any:
    """Wait until a folder has stood still for a moment: a save that had begun before the lock is over then.

    Raises:
        OutOfTime: it does not within the lock.
    """
    if folder is None:
        return None
    seen, since = stamp(folder), time.monotonic()
    while time.monotonic() - since < SETTLED:
        database.check_time()
        time.sleep(SETTLED / 8)
        now = stamp(folder)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen
