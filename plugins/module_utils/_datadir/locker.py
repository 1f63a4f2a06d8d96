# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that holds SQLite's write lock for its parent. FOR INTERNAL COLLECTION USE ONLY.

A process of its own, because POSIX locks belong to one: where it opens and closes the file, as every reader does, its lock is gone
(https://www.sqlite.org/howtocorrupt.html, 2.2). It lets go whatever becomes of its parent: when its input ends, or its time.
Needs nothing but the standard library.
"""

from __future__ import annotations

import json
import select
import sqlite3
import sys
import time

# SQLite's own waiting becomes rarer the longer it takes; a busy writer leaves gaps of milliseconds. Seconds.
_STEP = 0.004
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def main() -> None:
    """Hold the lock on the database whose URI the command line names: wait for it so long, keep it so long, seconds."""
    uri, wait, most = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
        connection.execute("PRAGMA trusted_schema=OFF")
        _begin(connection, time.monotonic() + wait)
        since, moment = time.monotonic(), time.time()
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    except sqlite3.Error as error:
        tell(error=str(error), code=getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return
    tell(since=since, moment=moment, mode=mode)
    select.select([sys.stdin], [], [], max(0.0, since + most - time.monotonic()))
    connection.close()
    tell(ended=time.monotonic())


def tell(**facts: object) -> None:
    """Send one line to the parent; where that is gone, nobody has to know."""
    try:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise SystemExit(1) from None


def _begin(connection: sqlite3.Connection, until: float) -> None:
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > until:
                raise
            time.sleep(_STEP)
        else:
            return


if __name__ == "__main__":
    main()
