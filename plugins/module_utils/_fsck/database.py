# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading SQLite with locks that are short and measured. FOR INTERNAL COLLECTION USE ONLY.

Chroma's database is in DELETE journal mode: who reads holds a SHARED lock for the length of the statement (or transaction), and a
writer that wants to commit waits until it is gone. So a live directory is read in short statements, and each is timed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Seconds after which a statement on a live directory is interrupted: below the promised second, with room for a slow step.
LOCK_BUDGET = 0.7
# Seconds to wait for a writer; Chroma's commits take milliseconds.
PATIENCE = 60.0
# Virtual machine steps between two looks at the clock.
_STEPS = 2000
# Rows of the first window of a scan; the next ones follow what it took.
_WINDOW = 20_000
# Width of the windows on a directory that stands still.
_PIECE = 200_000
# Rowids that are kept of what a scan found, to look at them again.
SUSPECTS = 500

Row = tuple[Any, ...]


class OutOfTime(Exception):
    """The lock would have been held too long."""


class Database:
    """One read-only connection.

    Args:
        file: the SQLite file.
        live: a server may be writing: keep every lock below :data:`LOCK_BUDGET`.

    Attributes:
        longest: the longest time that a lock was held, seconds.
        held_since: monotonic time at which :meth:`hold` took the lock; None outside of it.
    """

    def __init__(self, file: Path, live: bool) -> None:
        # Waiting is done here and not by SQLite, so that it is not counted as holding.
        self._file = file
        self._connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        # SQLite's own safeguards against a crafted file.
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self.live = live
        self.longest = 0.0
        self.held_since: float | None = None
        self._deadline: float | None = None
        if live:
            self._connection.set_progress_handler(self._late, _STEPS)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of one statement, which is one lock unless :meth:`hold` has one already.

        Raises:
            OutOfTime: it took longer than the budget; nothing is returned.
            ChromaError: ``busy``: somebody else held the lock all of :data:`PATIENCE`.
            sqlite3.DatabaseError: the file is damaged.
        """
        if self.held_since is not None:
            return self._execute(sql, parameters)
        return self._locked(lambda: self._execute(sql, parameters))

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row; None where there is none."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    def commits(self) -> int:
        """Return a number that is another one after somebody committed (https://www.sqlite.org/pragma.html#pragma_data_version)."""
        return int(self.value("PRAGMA data_version"))

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold one SHARED lock for the length of the block: nothing is committed meanwhile. Inside of another it does nothing.

        Whoever works in it calls :meth:`check_time` now and then.
        """
        if self.held_since is not None:
            yield
            return

        def begin() -> list[Row]:
            self._connection.execute("BEGIN")
            try:
                return self._execute("SELECT count(*) FROM sqlite_master", ())
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

        self._locked(begin)
        self.held_since = time.monotonic()
        self._deadline = self.held_since + LOCK_BUDGET if self.live else None
        try:
            yield
        finally:
            self._deadline = None
            self._connection.execute("ROLLBACK")
            self.longest = max(self.longest, time.monotonic() - self.held_since)
            self.held_since = None

    def check_time(self) -> None:
        """Raise :class:`OutOfTime` where the lock of :meth:`hold` is held too long; do nothing outside of it."""
        if self._late():
            raise OutOfTime

    def windows(self, table: str, column: str) -> Iterator[tuple[int, int]]:
        """Yield ranges ``(above, upto)`` of an indexed integer column that cover the table; short ones where live.

        Their size follows the time that the caller takes for one.
        """
        first, last = self.rows(f"SELECT min({column}), max({column}) FROM {table}")[0]
        if first is None:
            return
        if not self.live:
            # In pieces all the same: where everything is wrong, a statement returns a row for each record.
            step = max(_PIECE, (last - first) // 100 + 1)
            yield from ((above, min(above + step, last)) for above in range(first - 1, last, step))
            return
        above, size = first - 1, _WINDOW
        while above < last:
            upto = self.value(
                f"SELECT max(n) FROM (SELECT {column} AS n FROM {table} WHERE {column} > ? ORDER BY {column} LIMIT ?)", (above, size)
            )
            if upto is None:
                return
            began = time.monotonic()
            yield above, upto
            took = time.monotonic() - began
            size = max(500, size // 2) if took > LOCK_BUDGET / 2 else min(size * 2, 500_000) if took < LOCK_BUDGET / 8 else size
            above = upto

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise OutOfTime from error
            if "decode" in str(error) and self._connection.text_factory is str:
                # Text that is no UTF-8. What decodes it costs a call for each value, so it comes in only now.
                self._connection.text_factory = _text
                return self._execute(sql, parameters)
            raise

    def _locked(self, action: Any) -> list[Row]:
        """Run an action that takes the lock; wait for writers, and time it without the waiting."""
        patience = time.monotonic() + PATIENCE
        while True:
            began = time.monotonic()
            self._deadline = began + LOCK_BUDGET if self.live else None
            try:
                found: list[Row] = action()
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if began > patience:
                    message = f"Another process has held the lock on {self._file} for {PATIENCE:.0f} s."
                    raise ChromaError("busy", message, "Wait until it is done, or stop it.") from error
                time.sleep(0.005)
                continue
            except OutOfTime:
                self.longest = max(self.longest, time.monotonic() - began)
                raise
            finally:
                self._deadline = None
            self.longest = max(self.longest, time.monotonic() - began)
            return found

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline


def _text(raw: bytes) -> str:
    """Return text as it is stored; what is no UTF-8 is damage that a check reports, not a crash."""
    return raw.decode("utf-8", "surrogateescape")
