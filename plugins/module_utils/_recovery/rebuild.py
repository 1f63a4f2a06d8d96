# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be read of a malformed SQLite file, as a new one. FOR INTERNAL COLLECTION USE ONLY.

A table is a tree of pages by row number. Where one page is overwritten, the rows beyond it are still found by their numbers: so a range
that can't be read is halved, until what is left is small.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

# The full-text index is made of these; nothing is lost without it.
_LEFT = "embedding_fulltext_search"
# Rows of a range that is given up: about those of one page.
_GIVEN_UP = 32
_AT_ONCE = 1000


def is_malformed(file: Path) -> bool:
    """Return whether SQLite's own check finds something; also where it can't be made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")] != ["ok"]
    except sqlite3.Error:
        return True


def rebuild(file: Path) -> list[str]:
    """Replace a file by what can be read of it.

    Args:
        file: a copy that nobody else has open.

    Returns:
        What could not be read, in words. The file is as it was where nothing could.
    """
    made = file.with_name(f"{file.name}-rebuilt")
    lost: list[str] = []
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(made, isolation_level=None)) as target,
        ):
            source.execute("PRAGMA trusted_schema=OFF")
            target.execute("PRAGMA synchronous=OFF")
            schema = source.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            for kind, name, sql in schema:
                if kind == "table" and not name.startswith((_LEFT, "sqlite_")):
                    target.execute(sql)
                    lost += _copy(source, target, name)
            for kind, name, sql in schema:
                if kind == "index" and not name.startswith(_LEFT):
                    with contextlib.suppress(sqlite3.Error):  # rows that are there twice
                        target.execute(sql)
    except sqlite3.Error as error:
        made.unlink(missing_ok=True)
        return [f"nothing of it can be read: {error}"]
    made.replace(file)
    return lost


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> Iterator[str]:
    ends = []
    for function in ("min", "max"):
        with contextlib.suppress(sqlite3.Error):
            ends.append(source.execute(f'SELECT {function}(rowid) FROM "{table}"').fetchone()[0])
    if None in ends:
        return
    if len(ends) < 2:
        yield f"table {table} can't be read"
        return
    lost = _range(source, target, table, ends[0], ends[1])
    if lost > ends[1] - ends[0]:
        yield f"table {table} can't be read"
    elif lost:
        yield f"about {lost} rows of table {table} can't be read"


def _range(source: sqlite3.Connection, target: sqlite3.Connection, table: str, first: int, last: int) -> int:
    """Copy the rows of a range of numbers; return how many numbers were given up."""
    try:
        rows = source.execute(f'SELECT * FROM "{table}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid', (first, last))
        # All of a range or none of it: a part would be copied twice.
        found = rows.fetchall() if last - first < _AT_ONCE else None
    except sqlite3.Error:
        found = None
        if last - first < _GIVEN_UP:
            return last - first + 1
    if found is None:
        # One damaged number may be far beyond all others.
        with contextlib.suppress(sqlite3.Error):
            sql = f'SELECT min(rowid), max(rowid) FROM "{table}" WHERE rowid BETWEEN ? AND ?'
            ends = source.execute(sql, (first, last)).fetchone()
            if ends[0] is None:
                return 0
            if ends != (first, last):
                return _range(source, target, table, *ends)
        middle = (first + last) // 2
        return _range(source, target, table, first, middle) + _range(source, target, table, middle + 1, last)
    if found:
        marks = ", ".join("?" * len(found[0]))
        target.execute("BEGIN")
        target.executemany(f'INSERT OR IGNORE INTO "{table}" VALUES ({marks})', found)
        target.execute("COMMIT")
    return 0
