# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows on their way to quarantine and back; SQLite copies them, with their exact types. FOR INTERNAL COLLECTION USE ONLY.

``rows.sqlite3`` has a table for each of Chroma's tables that rows were taken from, with the same columns without types, so that each value
stays what it was, and the row's number as ``rowid_``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DOCUMENT_KEY, Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.wal import position
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import LOCK_BUDGET
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import Step
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rules import (
    CONTENT,
    KEYS,
    NOBODY,
    NULLS,
    OF_RECORDS,
    SEARCH,
    Fill,
    chosen,
    fills,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import PATIENCE, Writer, reported

ROWS = "rows.sqlite3"
# Rows that are looked through, or removed, in one go beside a server. Measured: 2,000 texts of 280 bytes leave the full-text index in
# 0.04 s of a processor; other rows are a quarter of that.
_WINDOW, _BATCH = 20_000, 5_000
_STEPS = 2_000
# Conflicts that are named.
_SHOWN = 5
LATER = "Write to the other collections until their indexes are saved, and repair again."
_POSITIONS = "SELECT seq_id FROM c.max_seq_id WHERE segment_id IN (SELECT id FROM c.segments)"


def collect(path: Path, database: Path, steps: Sequence[Step], live: bool) -> dict[str, int]:
    """Copy what steps are about into a new file; return the number of rows by table.

    Args:
        path: of the new file.
        database: ``chroma.sqlite3``, which is only read, and beside a server with short locks.

    Raises:
        ChromaError: ``busy``, ``no_space``.
        Damaged: ``sqlite``.
    """
    return copy(path, database, chosen(steps), lambda tables: fills(steps, tables), live)


def copy(
    path: Path, database: Path, names: Sequence[tuple[str, str]], wanted: Callable[[Sequence[str]], Sequence[Fill]], live: bool
) -> dict[str, int]:
    """Copy rows into a new file; see :func:`collect`.

    Args:
        names: rows of the table ``chosen``, for the conditions.
        wanted: says which rows, given the names of the tables that there are.
    """
    with contextlib.closing(_opened(path, "rwc")) as store:
        with reported(database):
            # What is not whole after a crash is not believed: the manifest comes later.
            for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "trusted_schema=OFF"):
                store.execute(f"PRAGMA {pragma}")
            store.execute("ATTACH ? AS c", (f"{database.resolve().as_uri()}?mode=ro",))
            store.execute("CREATE TABLE main.chosen (finding, value)")
            encoded = [(finding, value.encode("utf-8", "surrogateescape")) for finding, value in names]
            store.executemany("INSERT INTO main.chosen VALUES (?, CAST(? AS TEXT))", encoded)
            found = wanted([str(row[0]) for row in store.execute("SELECT name FROM c.sqlite_master WHERE type = 'table'")])
            columns = {each.table: _columns(store, each.table) for each in found}
            for table, listed in columns.items():
                store.execute(f'CREATE TABLE main."{table}" (rowid_ INTEGER PRIMARY KEY, {", ".join(listed)})')
            for each in found:
                _fill(store, each, columns[each.table], live)
            store.execute("DETACH c")
        return counts_of(store)


def remove(writer: Writer, table: str, above: int, upto: int, rebuilt: bool) -> None:
    """Remove rows of the quarantine from Chroma's table, those that still are what they were and still belong to nobody.

    Args:
        writer: in a transaction.
        above, upto: of the rows' numbers.
        rebuilt: whether the full-text index is built anew afterwards: it may be damaged, and is left alone here.
    """
    equal = " AND ".join(f't."{name}" IS s."{name}"' for name in writer.columns("c", table))
    found = (
        f'SELECT s.rowid_ FROM main."{table}" s JOIN c."{table}" t ON t.rowid = s.rowid_'
        f" WHERE s.rowid_ > ? AND s.rowid_ <= ? AND {equal} AND {NOBODY[table]}"
    )
    # The virtual table takes the text out of the index, too.
    target = SEARCH if table == CONTENT and not rebuilt else table
    writer.execute(f'DELETE FROM c."{target}" WHERE rowid IN ({found})', (above, upto))


def windows(writer: Writer, live: bool) -> Iterator[tuple[str, int, int]]:
    """Yield tables and ranges of rows in the order in which they are to be removed; all of a table at once where nobody waits."""
    tables = writer.tables("main")
    for table in (each for each in NOBODY if each in tables):
        for above, upto in _ranges(lambda sql, given: writer.rows(sql, given)[0], f'main."{table}"', "rowid_", _BATCH if live else 0):
            yield table, above, upto


def clear_nulls(writer: Writer) -> None:
    """Take the nulls that stand for no document out of log entries; 1.x panics when it reads one, and takes none for no document, too.

    Args:
        writer: in a transaction.
    """
    found = f"SELECT t.seq_id FROM c.embeddings_queue t JOIN main.embeddings_queue s ON s.rowid_ = t.seq_id WHERE {NULLS}"
    writer.execute(f"UPDATE c.embeddings_queue SET metadata = json_remove(metadata, '$.\"{DOCUMENT_KEY}\"') WHERE seq_id IN ({found})")


def check_log(writer: Writer) -> None:
    """Check that the log still reaches the position of each segment; Chroma numbers its next write after the log's last entry.

    Raises:
        ChromaError: ``conflict``: later writes would be taken for ones that were applied long ago.
    """
    last = writer.rows("SELECT max(seq_id) FROM c.embeddings_queue")[0][0] or 0
    if any((position(each) or 0) > last for (each,) in writer.rows(_POSITIONS)):
        message = "Without the log entries of no collection, new writes would get numbers that a collection has passed already."
        raise ChromaError("conflict", message, LATER)


def keep_log(path: Path, database: Path) -> bool:
    """Take the log entries out of the quarantine again if :func:`check_log` would refuse their removal; return whether they were."""
    with contextlib.closing(_opened(path, "rw")) as store, reported(database):
        if "embeddings_queue" not in counts_of(store):
            return False
        store.execute("ATTACH ? AS c", (f"{database.resolve().as_uri()}?mode=ro",))
        goes = f"EXISTS (SELECT 1 FROM main.embeddings_queue s WHERE s.rowid_ = t.seq_id) AND {NOBODY['embeddings_queue']}"
        last = store.execute(f"SELECT max(seq_id) FROM c.embeddings_queue t WHERE NOT ({goes})").fetchone()[0] or 0
        # Those of segments that go as well count no more.
        stay = f"{_POSITIONS} AND segment_id NOT IN (SELECT id FROM main.segments)" if "segments" in counts_of(store) else _POSITIONS
        if all((position(each) or 0) <= last for (each,) in store.execute(stay)):
            return False
        store.execute(f"DELETE FROM main.embeddings_queue AS t WHERE {NOBODY['embeddings_queue']}")
        return True


def drop_untaken(path: Path, database: Path) -> dict[str, int]:
    """Remove from the quarantine what is still in Chroma's tables as it was; return the number of rows that are left, by table."""
    with contextlib.closing(_opened(path, "rw")) as store:
        with reported(database):
            store.execute("ATTACH ? AS c", (f"{database.resolve().as_uri()}?mode=ro",))
            for table in counts_of(store):
                equal = " AND ".join(f't."{name}" IS main."{table}"."{name}"' for name in _names(store, table))
                found = f'SELECT 1 FROM c."{table}" t WHERE t.rowid = main."{table}".rowid_ AND {equal}'
                store.execute(f'DELETE FROM main."{table}" WHERE EXISTS ({found})')
            store.execute("DETACH c")
        return counts_of(store)


def put_back(writer: Writer) -> dict[str, int]:
    """Insert the quarantine's rows where they are absent; return how many by table.

    Args:
        writer: in a transaction.

    Raises:
        ChromaError: ``conflict`` where a newer row is in the place of one, or a row would become part of what Chroma shows.
    """
    tables = writer.tables("main")
    found: dict[str, int] = {}
    columns = {table: [name for name in writer.columns("main", table) if name != "rowid_"] for table in NOBODY if table in tables}
    for table, names in columns.items():
        _check_places(writer, table, names, "embeddings" in tables)
    for table, names in columns.items():
        listed = ", ".join(f'"{name}"' for name in names)
        there = f'EXISTS (SELECT 1 FROM c."{table}" t WHERE {_same("t", table)})'
        if table == CONTENT:
            # Its text; the index follows.
            sql = f'INSERT INTO c."{SEARCH}" (rowid, string_value) SELECT id, c0 FROM {_source(table)} s WHERE NOT {there} ORDER BY rowid_'
            found[table] = writer.execute(sql)
        else:
            found[table] = _insert(writer, table, listed, there)
    return {table: number for table, number in found.items() if number}


def counts_of(store: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows by table."""
    names = [str(row[0]) for row in store.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    numbers = {name: int(store.execute(f'SELECT count(*) FROM main."{name}"').fetchone()[0]) for name in NOBODY if name in names}
    return {name: number for name, number in numbers.items() if number}


def _insert(writer: Writer, table: str, listed: str, there: str) -> int:
    """Insert what is absent, in its old order; the numbers of rows matter to nobody but where they are a column."""
    # Which are absent has to be known before the first of them is there: rows of one list have the same key.
    source = _source(table)
    writer.execute(f"CREATE TEMP TABLE absent AS SELECT rowid_ FROM {source} s WHERE NOT {there}")
    sql = f'INSERT INTO c."{table}" ({listed}) SELECT {listed} FROM {source} WHERE rowid_ IN (SELECT rowid_ FROM temp.absent)'
    number = writer.execute(f"{sql} ORDER BY rowid_")
    writer.execute("DROP TABLE temp.absent")
    return number


def _check_places(writer: Writer, table: str, names: Sequence[str], records: bool) -> None:
    """Refuse to insert where something newer is."""
    equal = " AND ".join(f't."{name}" IS s."{name}"' for name in names)
    # Of a list some row has to be equal; of full text the newer one stays, it is what the document says.
    found = f'SELECT s.rowid_ FROM {_source(table)} s WHERE EXISTS (SELECT 1 FROM c."{table}" t WHERE {_same("t", table)})'
    found += f' AND NOT EXISTS (SELECT 1 FROM c."{table}" t WHERE {_same("t", table)} AND {equal})'
    rows = [] if table == CONTENT else writer.rows(f"{found} LIMIT ?", (_SHOWN,))
    if table in OF_RECORDS:
        ours = "AND NOT EXISTS (SELECT 1 FROM main.embeddings o WHERE o.id = s.id)" if records else ""
        document = " AND s.rowid_ NOT IN (SELECT id FROM c.embedding_fulltext_search_content)" if table == CONTENT else ""
        sql = f'SELECT s.rowid_ FROM main."{table}" s WHERE EXISTS (SELECT 1 FROM c.embeddings e WHERE e.id = s.id)'
        rows += writer.rows(f"{sql} {ours}{document} LIMIT ?", (_SHOWN,))
    elif table != "embeddings_queue":
        # A restoration may have brought the collection or segment back that they had: they would become part of it.
        owned = f'(SELECT * FROM main."{table}" t WHERE NOT ({NOBODY[table]})) s'
        sql = f'SELECT s.rowid_ FROM {owned} WHERE NOT EXISTS (SELECT 1 FROM c."{table}" t WHERE {_same("t", table)})'
        rows += writer.rows(f"{sql} LIMIT ?", (_SHOWN,))
    if rows:
        named = ", ".join(str(row[0]) for row in rows[:_SHOWN])
        message = f"Rows of {table} can't come back, newer ones are in their place, or whom they belong to is there again: {named}."
        raise ChromaError("conflict", message, "What is in quarantine belongs to nobody that Chroma shows: leave it there.")


def _source(table: str) -> str:
    """Return where rows come back from. Log entries of collections were only changed, and may have been applied since: they stay."""
    whole = f'main."{table}"'
    return f"(SELECT * FROM {whole} t WHERE {NOBODY[table]})" if table == "embeddings_queue" else whole


def _same(alias: str, table: str) -> str:
    return " AND ".join(f'{alias}."{name}" IS s."{name}"' for name in KEYS[table])


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=PATIENCE)


def _columns(store: sqlite3.Connection, table: str) -> list[str]:
    names = [str(row[1]) for row in store.execute(f"PRAGMA c.table_info('{table}')")]
    if any('"' in name for name in names):
        raise Damaged("schema", "chroma.sqlite3", f"a column of {table} has a name that Chroma never gives")
    return [f'"{name}"' for name in names]


def _names(store: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in store.execute(f"PRAGMA main.table_info('{table}')") if row[1] != "rowid_"]


def _fill(store: sqlite3.Connection, fill: Fill, columns: Sequence[str], live: bool) -> None:
    listed = ", ".join(f"t.{name}" for name in columns)
    if fill.join:
        origin = f'main."{fill.source}" s JOIN c."{fill.table}" t ON t."{fill.join}" = s."{fill.column}"'
        window, place = f's."{fill.column}"', f'main."{fill.source}"'
    else:
        origin, window, place = f'c."{fill.table}" t', f't."{fill.column}"', f'c."{fill.table}"'
    sql = (
        f'INSERT OR IGNORE INTO main."{fill.table}" SELECT t.rowid, {listed} FROM {origin}'
        f" WHERE {window} > ? AND {window} <= ? AND ({fill.where})"
    )
    for above, upto in _ranges(lambda text, given: store.execute(text, given).fetchone(), place, fill.column, _WINDOW if live else 0):
        _window(store, sql, above, upto, live)


def _ranges(first: Callable[[str, Sequence[int]], Sequence[int | None]], place: str, column: str, size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges ``(above, upto)`` of a table's column with at most so many rows; one range where ``size`` is 0.

    Args:
        first: returns the first row of a query.
    """
    low, last = first(f'SELECT min("{column}"), max("{column}") FROM {place}', ())
    if low is None or last is None:
        return
    above = low - 1
    while above < last:
        upto = last
        if size:
            sql = f'SELECT max(n) FROM (SELECT "{column}" AS n FROM {place} WHERE "{column}" > ? ORDER BY n LIMIT ?)'
            # What was there a moment ago may be gone: then this is the end.
            upto = first(sql, (above, size))[0] or last
        yield above, upto
        above = upto


def _window(store: sqlite3.Connection, sql: str, above: int, upto: int, live: bool) -> None:
    """Copy one window; halve it where the server would have to wait for too long."""
    until = time.monotonic() + LOCK_BUDGET
    try:
        if live and upto - above > 1:
            store.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        store.execute(sql, (above, upto))
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        middle = (above + upto) // 2
        store.set_progress_handler(None, 0)
        _window(store, sql, above, middle, live)
        _window(store, sql, middle, upto, live)
    finally:
        store.set_progress_handler(None, 0)
