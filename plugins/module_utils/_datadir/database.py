# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``chroma.sqlite3``, opened so that nothing in the directory can change. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Seconds to wait for a writer. Chroma commits in milliseconds; whoever holds the lock longer does so on purpose.
BUSY = 10.0

# A broken tree of pages can send SQLite round in circles. A scan takes some 30 of its steps for a row, and a row at least
# 10 bytes: a query that takes more than this many steps for each byte of the file, and some for small files, has gone astray.
_STEPS_PER_BYTE = 20
_STEPS = 100_000_000
_STEPS_AT_ONCE = 1_000_000

# Rows that ADBC puts into one Arrow batch; its default of 1024 costs a third more.
_ROWS = 65536

# Codes of SQLite (https://www.sqlite.org/rescode.html): SQLITE_BUSY and SQLITE_LOCKED say that somebody else holds a lock,
# SQLITE_READONLY and SQLITE_CANTOPEN that it would have to roll back first.
_LOCKED = (5, 6)
_TO_ROLL_BACK = (8, 14)

# What SQLite may have beside a database that is part of its content (https://www.sqlite.org/tempfiles.html).
_BESIDE = ("-journal", "-wal")


class Original:
    """The file in the directory, to tell whether somebody writes to it, be it read itself or by a copy.

    Its descriptor stays open as long as connections do: as POSIX locks belong to a process, closing it drops theirs.

    Args:
        path: of ``chroma.sqlite3``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._file)

    def state(self, beside: bool) -> str:
        """Return SQLite's change counter and the file's size and time: they differ after every commit.

        Args:
            beside: whether the journals beside it count too: in WAL mode a commit may change nothing else, and where
                an interrupted transaction is read by a copy they are part of what is read. They come and go with a
                server's transactions, so they must not count otherwise.
        """
        about = os.fstat(self._file)
        found = [f"{os.pread(self._file, 4, 24).hex()}-{about.st_size}-{about.st_mtime_ns}"]
        for suffix in _BESIDE if beside else ():
            with contextlib.suppress(FileNotFoundError):
                other = os.stat(f"{self.path}{suffix}")
                if other.st_size:  # an empty one says no more than none
                    found.append(f"{suffix[1:]}-{other.st_size}-{other.st_mtime_ns}")
        return "-".join(found)


class Database:
    """Read-only access to one ``chroma.sqlite3``; use :func:`open_database`.

    There are two connections: Python's for small answers, and ADBC's, which returns Arrow and lets other threads run
    meanwhile. Both are opened with ``mode=ro``. Each is a copy of SQLite of its own: as POSIX locks belong to a process,
    closing either drops locks that the process holds on the file. Close this object before a lock is taken, or after it is released.

    Args:
        original: the file in the directory.
        file: what is opened: the original, or a copy.
        began: the original's state before anything of it was read or copied; :meth:`state` differs once it has changed.
    """

    def __init__(self, original: Original, file: Path, began: str) -> None:
        self.path = original.path
        self.file = file
        self.began = began
        self._original = original
        uri = f"file:{quote(str(file))}?mode=ro"
        self._uri = uri
        self._arrow: Any = None
        self.size = file.stat().st_size
        self._connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Close both connections."""
        if self._arrow is not None:
            self._arrow.close()
        self._connection.close()

    def prepare(self) -> None:
        """Turn on SQLite's safeguards against a crafted file, and read its first page."""
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small answer.

        Raises:
            Damaged: ``sqlite``.
            ChromaError: ``busy`` where a writer holds the lock.
        """
        left = (_STEPS + _STEPS_PER_BYTE * self.size) // _STEPS_AT_ONCE

        def astray() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        with self.reported():
            self._connection.set_progress_handler(astray, _STEPS_AT_ONCE)
            return self._connection.execute(sql, parameters).fetchall()

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the names of a table's columns; none where the table is absent."""
        found = self.rows("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,))
        if not found:
            return ()
        if found[0][0] != "table" or not str(found[0][1]).lstrip().upper().startswith("CREATE TABLE"):
            raise Damaged("schema", self.path, f"{table} is a {found[0][0]} that Chroma did not make.")
        return tuple(str(row[1]) for row in self.rows(f'PRAGMA table_info("{table}")'))

    def arrow(self, sql: str, parameters: Sequence[Any], types: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        """Yield a large answer in Arrow batches.

        Args:
            sql: a SELECT whose columns have the given types.
            types: ``pa.int64()``, ``pa.float64()`` or ``pa.string()`` for each column.

        Raises:
            Damaged: ``sqlite``, also where a value has another type.
        """
        # ADBC takes the types from the first rows, and takes a column of nulls for integers: so the first row is ours.
        first = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''"}
        sql = f"SELECT {', '.join(first[each] for each in types)} UNION ALL {sql}"
        with self.reported(), self._cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": _ROWS})
            cursor.execute(sql, tuple(parameters))
            skip, count = 1, 0
            with cursor.fetch_record_batch() as reader:
                if list(reader.schema.types) != list(types):
                    raise Damaged("sqlite", self.path, f"values of another type than {', '.join(map(str, types))} in: {sql[:200]}")
                for batch in reader:
                    count += batch.num_rows
                    if count > self.size:
                        raise Damaged("sqlite", self.path, "has more rows than bytes.")
                    kept = batch.slice(skip)
                    skip = 0
                    if kept.num_rows:
                        kept.validate(full=True)
                        yield kept

    def load(self) -> None:
        """Load the driver of :meth:`arrow`, which takes a moment. The file is not read: that driver waits for no lock."""
        self._cursor().close()

    def state(self) -> str:
        """Return the state of the original, which differs after every commit; that of a copy would tell nothing."""
        return self._original.state(beside=self.file != self.path)

    def _cursor(self) -> Any:
        if self._arrow is None:
            import adbc_driver_sqlite.dbapi as driver  # only the data plane has it

            self._arrow = driver.connect(self._uri, autocommit=True)
        return self._arrow.cursor()

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Turn the errors of both drivers into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._told(str(error), getattr(error, "sqlite_errorcode", 0) & 0xFF in _LOCKED) from error
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._told(str(error), "locked" in str(error)) from error
        except Exception as error:
            # ADBC's own hierarchy, which cannot be named where the driver is absent.
            if type(error).__module__.startswith("adbc_driver_manager"):
                raise self._told(str(error), "database is locked" in str(error)) from error
            raise

    def _told(self, text: str, locked: bool) -> ChromaError:
        if locked:
            message = f"Another process has held the lock on {self.path} for {BUSY:.0f} s."
            return ChromaError("busy", message, "Wait until it is done, or stop it.")
        return Damaged("sqlite", self.path, text)


@contextlib.contextmanager
def open_database(directory: Path, scratch: Path | None = None) -> Iterator[Database]:
    """Open the database of a data directory for the length of a ``with`` block, without changing a byte of it.

    A transaction that was interrupted has left a journal that has to be rolled back, and a database in WAL mode needs
    files beside it: both are done on a copy.

    Args:
        directory: holds ``chroma.sqlite3``.
        scratch: where such a copy may be made; the system's temporary directory by default.

    Raises:
        ChromaError: ``not_chroma_directory`` where there is none, ``busy``, ``directory_changed`` while it was copied; ``no_space`` and
            ``copy_failed`` of that copy.
        Damaged: ``sqlite`` where it is no database.
    """
    path = directory / DATABASE
    if not path.is_file():
        hint = "Give the directory that holds chroma.sqlite3: /data in images of 1.x, /chroma/chroma in those of 0.x."
        raise ChromaError("not_chroma_directory", f"{path} is no file, so {directory} is no data directory of Chroma.", hint)
    with contextlib.ExitStack() as stack:
        original = Original(path)
        stack.callback(original.close)
        database = None if needs_copy(path) else _opened(original, path, original.state(beside=False))
        if database is None:
            began = original.state(beside=True)
            try:
                parent = stack.enter_context(tempfile.TemporaryDirectory(prefix="chroma-reader-", dir=scratch))
                copy = _copied(path, Path(parent))
            except OSError as error:
                raise _not_copied(path, error.errno in (errno.ENOSPC, errno.EDQUOT), str(error.strerror)) from error
            if original.state(beside=True) != began:
                raise changed(directory)
            database = _opened(original, _replayed(path, copy), began)
            if database is None:
                raise Damaged("sqlite", path, "its journal cannot be rolled back, not even in a copy.")
        stack.callback(database.close)
        yield database


def changed(directory: Path) -> ChromaError:
    """Return the error for a directory that somebody wrote to while it was read."""
    message = f"{directory} was written to while it was read, so that what was read may not belong together."
    return ChromaError("directory_changed", message, "Stop the server, or read a copy of the directory.")


def _opened(original: Original, file: Path, began: str) -> Database | None:
    """Open the file; None where SQLite would have to write first."""
    try:
        database = Database(original, file, began)
    except sqlite3.Error as error:
        raise Damaged("sqlite", original.path, str(error)) from error
    try:
        with database.reported():
            try:
                database.prepare()
            except sqlite3.OperationalError as error:
                journal = Path(f"{file}-journal")
                code = getattr(error, "sqlite_errorcode", 0)
                if journal.exists() and code & 0xFF in _TO_ROLL_BACK:
                    database.close()
                    return None
                raise
    except ChromaError:
        database.close()
        raise
    return database


def needs_copy(path: Path) -> bool:
    """Whether the file is in WAL mode: bytes 18 and 19 of its header are 2 (https://www.sqlite.org/fileformat.html)."""
    with path.open("rb") as file:
        return 2 in file.read(20)[18:20]


def _copied(path: Path, scratch: Path) -> Path:
    """Copy the database with its journals."""
    for suffix in ("", *_BESIDE):
        # One that vanishes meanwhile is a change, which the caller notices.
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{path}{suffix}", scratch / f"{path.name}{suffix}")
    return scratch / path.name


def _replayed(path: Path, copy: Path) -> Path:
    """Let SQLite replay the journals of a copy."""
    try:
        connection = sqlite3.connect(copy, timeout=BUSY)
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise _not_copied(path, True, str(error)) from error
        raise Damaged("sqlite", path, str(error)) from error
    return copy


def _not_copied(path: Path, full: bool, reason: str) -> ChromaError:
    message = f"A transaction was interrupted in {path}, and a copy in which to roll it back could not be made: {reason}."
    hint = "Make room on the data volume and in the directory for temporary files (TMPDIR), or start Chroma, which rolls it back."
    return ChromaError("no_space" if full else "copy_failed", message, hint)
