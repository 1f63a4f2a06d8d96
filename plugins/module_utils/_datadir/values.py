# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of SQLite's tables for some records, as Arrow tables. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pivot import VALUES, Pivot

ARRAYS = "embedding_metadata_array"


def read_ids(database: Database, segment: str, rowids: Any) -> Any:
    """Return the ids of a segment's records.

    Args:
        segment: a METADATA segment's id.
        rowids: ``(n,)`` int64, ascending.

    Returns:
        ``(n,)`` Arrow strings.

    Raises:
        Damaged: ``sqlite`` where one is not there.
    """
    kinds = (pa.int64(), pa.string())
    table = _rows(database, "embeddings", rowids, ("id", "embedding_id"), kinds, "AND +t.segment_id = ? ORDER BY t.id", (segment,))
    rows = _matched(rowids, table["id"].to_numpy())
    if not np.array_equal(rows[rows >= 0], np.arange(len(rowids))):
        raise Damaged("sqlite", database.path, "records vanished while they were read, or an index of table embeddings is wrong.")
    return table["embedding_id"].combine_chunks().filter(pa.array(rows >= 0))


def read_pivot(database: Database, rowids: Any, lists: bool) -> Pivot:
    """Return the metadata of records.

    Args:
        rowids: ``(n,)`` int64, ascending.
        lists: whether the database has a table of lists.
    """
    arrays = _values(database, ARRAYS, rowids) if lists else (None, None)
    return Pivot(len(rowids), *_values(database, "embedding_metadata", rowids), *arrays)


def largest_text(database: Database) -> int:
    """Return the size of the largest document or text of the database, bytes: a scan that does not read the texts."""
    sql = "SELECT max(octet_length(string_value)) FROM embedding_metadata"
    found = [each for batch in database.arrow(sql, (), (pa.int64(),)) for each in batch.column(0).to_pylist()]
    return max((each for each in found if each is not None), default=0)


def text_sizes(database: Database, rowids: Any) -> Any:
    """Return the bytes of text that each record has, ``(n,)`` int64.

    Args:
        rowids: ``(n,)`` int64, ascending.
    """
    source, bounds = _source("embedding_metadata", rowids)
    sizes = np.zeros(len(rowids), np.int64)
    sql = f"SELECT t.id, coalesce(octet_length(t.string_value), 0) FROM {source}"
    for batch in database.arrow(sql, bounds, (pa.int64(), pa.int64())):
        rows = _matched(rowids, batch.column(0).to_numpy())
        np.add.at(sizes, rows[rows >= 0], batch.column(1).to_numpy()[rows >= 0])
    return sizes


def _values(database: Database, table: str, rowids: Any) -> tuple[Any, Any]:
    """Return the rows of a table of metadata: the place of each one's record in the batch, and the values."""
    kinds = (pa.int64(), pa.string(), pa.string(), pa.int64(), pa.float64(), pa.int64())
    # Elements of a list are in the order of their rows.
    values = _rows(database, table, rowids, ("id", "key", *VALUES), kinds, "ORDER BY t.rowid" if table == ARRAYS else "")
    rows = _matched(rowids, values["id"].to_numpy())
    mine = rows >= 0
    return (rows, values) if mine.all() else (rows[mine], values.filter(pa.array(mine)))


def _rows(
    database: Database,
    table: str,
    rowids: Any,
    names: tuple[str, ...],
    kinds: tuple[Any, ...],
    more: str = "",
    parameters: tuple[Any, ...] = (),
) -> Any:
    """Return the rows of some records as an Arrow table; rows of others may be among them."""
    source, bounds = _source(table, rowids)
    # In brackets: what is put before it must not be sorted.
    sql = f"SELECT * FROM (SELECT {', '.join(f't.{name}' for name in names)} FROM {source} {more})"
    batches = database.arrow(sql, (*bounds, *parameters), kinds)
    return pa.Table.from_batches((each.rename_columns(names) for each in batches), pa.schema(list(zip(names, kinds, strict=True))))


def _source(table: str, rowids: Any) -> tuple[str, tuple[Any, ...]]:
    """Return what follows FROM, and its parameters, to find the rows of some records in table ``t``."""
    low, high = int(rowids[0]), int(rowids[-1])
    if len(rowids) * 4 > high - low:
        return f"{table} t WHERE t.id BETWEEN ? AND ?", (low, high)
    # Among the records of many other collections: one by one.
    return f"json_each(?) j CROSS JOIN {table} t ON t.id = j.value WHERE 1", (str(rowids.tolist()),)


def _matched(rowids: Any, found: Any) -> Any:
    """Return for each rowid found its place among the ascending ones that are wanted, -1 where it is not wanted."""
    at = np.searchsorted(rowids, found)
    at[at == len(rowids)] = 0
    return np.where(rowids[at] == found, at, -1)
