# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chroma's database, opened to be written to: one transaction after the other, and nobody is kept waiting for long. INTERNAL.

FOR INTERNAL COLLECTION USE ONLY. While a transaction is open, nobody in this process may close ``chroma.sqlite3``: that would drop the
lock, as POSIX has it (https://www.sqlite.org/howtocorrupt.html, 2.2). What has to be read of the file's bytes meanwhile is read by
:attr:`Writer.handle`, which is closed last.

Nothing of the quarantine is written in such a transaction. SQLite would make one of both files by a third one that it names by its path,
and a server that has the volume elsewhere would not find that, and believe a torn transaction to be whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import needs_copy
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.locker import BUSY
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import fault

# Seconds to wait for other writers; a busy one leaves gaps of milliseconds.
PATIENCE, _STEP = 60.0, 0.004
_FORBIDDEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class Writer:
    """A connection to ``chroma.sqlite3`` as ``c``, beside the quarantine's rows, which are its ``main`` and are only read.

    Args:
        file: ``chroma.sqlite3``.
        rows: the quarantine's file; None where there is none.

    Attributes:
        handle: a descriptor of the file, to read its bytes.
    """

    def __init__(self, file: Path, rows: Path | None) -> None:
        self.file = file
        with reported(file):
            if needs_copy(file):
                message = f"{file} is in WAL mode, which Chroma never uses."
                raise ChromaError("unsupported", message, "Set it back: `sqlite3 chroma.sqlite3 'PRAGMA journal_mode=DELETE'`.")
            self.handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        main = f"{rows.resolve().as_uri()}?mode=ro" if rows else ":memory:"
        try:
            # What is read outside of a transaction waits as SQLite does; a server that commits would refuse it.
            self.connection = sqlite3.connect(main, uri=True, timeout=PATIENCE, isolation_level=None)
            self.execute("PRAGMA trusted_schema=OFF")
            self.execute("ATTACH ? AS c", (f"{file.resolve().as_uri()}?mode=rw",))
            self.execute("PRAGMA c.cell_size_check=ON")
            self.execute("PRAGMA foreign_keys=OFF")
        except BaseException:
            os.close(self.handle)
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.connection.close()
        os.close(self.handle)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock for the length of a ``with`` block, and commit at its end; where it raises, nothing of it is done.

        Raises:
            ChromaError: ``busy``, ``forbidden``, ``no_space``.
            Damaged: ``sqlite``.
        """
        until = time.monotonic() + PATIENCE
        with reported(self.file), self._impatient():
            while True:
                try:
                    self.connection.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > until:
                        raise
                    time.sleep(_STEP)
            try:
                yield
                self._commit(until)
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute one statement and return how many rows it changed."""
        with reported(self.file):
            return self.connection.execute(sql, parameters).rowcount

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small answer."""
        with reported(self.file):
            return self.connection.execute(sql, parameters).fetchall()

    def columns(self, schema: str, table: str) -> list[str]:
        """Return the names of a table's columns; none where it is absent."""
        return [str(row[1]) for row in self.rows(f"PRAGMA {schema}.table_info('{table}')")]

    def tables(self, schema: str) -> set[str]:
        """Return the names of the tables."""
        return {str(row[0]) for row in self.rows(f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'")}

    def commits(self) -> int:
        """Return a number that changes when somebody else commits."""
        return int(self.rows("PRAGMA c.data_version")[0][0])

    @contextlib.contextmanager
    def _impatient(self) -> Iterator[None]:
        """Do the waiting here: SQLite's own becomes rarer the longer it takes, and would find no gap."""
        self.connection.execute("PRAGMA busy_timeout=0")
        try:
            yield
        finally:
            self.connection.execute(f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")

    def _commit(self, until: float) -> None:
        """Commit; a reader may be there for a moment."""
        while True:
            try:
                self.connection.execute("COMMIT")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > until:
                    raise
                time.sleep(_STEP)


@contextlib.contextmanager
def worded(directory: Path) -> Iterator[None]:
    """Let what goes wrong with files of a data directory be said in words.

    Raises:
        ChromaError: ``no_space``, ``forbidden``, ``journal_failed``.
    """
    try:
        yield
    except OSError as error:
        raise fault(f"{error.filename or directory}: {error.strerror}.", error) from error


@contextlib.contextmanager
def reported(file: Path) -> Iterator[None]:
    """Let what goes wrong with a database be said in words."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in BUSY:
            message = f"Others hold the lock on {file} all the time, for {PATIENCE:g} s."
            raise ChromaError("busy", message, "Wait until they are done, or stop them.") from error
        if code == sqlite3.SQLITE_FULL:
            raise ChromaError("no_space", f"{file} could not be written: {error}.", "Make room on the data volume.") from error
        if code in _FORBIDDEN:
            hint = "Run it as the user that Chroma runs as, with the volume mounted writable."
            raise ChromaError("forbidden", f"{file} could not be opened for writing: {error}.", hint) from error
        raise Damaged("sqlite", file, str(error)) from error
    except FileNotFoundError as error:
        raise Damaged("sqlite", file, "it is gone") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ChromaError(
                "no_space", f"Beside {file} nothing could be written: {error.strerror}.", "Make room on the data volume."
            ) from error
        hint = "Run it as the user that Chroma runs as, with the volume mounted writable."
        raise ChromaError("forbidden", f"{file} could not be opened: {error.strerror}.", hint) from error
