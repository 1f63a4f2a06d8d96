# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the rows of ``embedding_metadata`` to the columns of a table. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DOCUMENT_KEY, SCALARS, URI_KEY
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column, arrow_type, metadata_json

VALUES = ("string_value", "int_value", "float_value", "bool_value")
_COLUMN = dict(zip(SCALARS, VALUES, strict=True))
_OWN = {DOCUMENT_KEY: "document", URI_KEY: "uri"}


def types_seen(database: Database, segment: str, share: float, lists: bool) -> dict[str, set[str]]:
    """Return the types of each metadata key of a segment's records; ``null`` is one of them.

    Args:
        segment: a METADATA segment's id.
        share: of all records of the database that it has; 1 allows to look at the table alone.
        lists: whether to look at lists, which only 1.5 has.
    """
    table = "embedding_metadata_array" if lists else "embedding_metadata"
    flags = ", ".join(f"m.{column} IS NOT NULL" for column in VALUES)
    # Measured on a million rows: the table alone 0.11 s, each row looked up 0.25 s, from the records 0.7 s: for small shares only.
    if share == 1:
        source = f"{table} m"
    elif share > 0.25:
        source = f"{table} m WHERE EXISTS (SELECT 1 FROM embeddings e WHERE e.id = m.id AND e.segment_id = ?)"
    else:
        source = f"embeddings e CROSS JOIN {table} m ON m.id = e.id WHERE e.segment_id = ?"
    names = [f"{each}s" for each in SCALARS] if lists else SCALARS
    seen: dict[str, set[str]] = {}
    for key, *present in database.rows(f"SELECT DISTINCT m.key, {flags} FROM {source}", () if share == 1 else (segment,)):
        if key not in _OWN:
            seen.setdefault(str(key), set()).update(name for name, there in zip(names, present, strict=True) if there)
            if not any(present):
                seen[str(key)].add("null")
    return seen


class Pivot:
    """The metadata of a batch of records, column by column.

    Where a record has a value and a list under one key, the list counts, as it does for the server. That happens where lists
    of a deleted record were left behind (chroma-core/chroma#7594).

    Args:
        count: of the records.
        rows: ``(m,)`` int64: the record of each value.
        values: Arrow table of m rows with ``key`` and :data:`VALUES`.
        list_rows, list_values: the same for lists, in the order of their elements; None where there are none.
    """

    def __init__(self, count: int, rows: Any, values: Any, list_rows: Any = None, list_values: Any = None) -> None:
        self._count = count
        self._scalar = _Values(rows, values)
        self._list = _Values(list_rows, list_values) if list_values is not None and len(list_rows) else None

    def column(self, key: str, kind: str) -> Any:
        """Return one column: the values of a key that have a type; null elsewhere."""
        scalar = kind in SCALARS
        source = self._scalar if scalar else self._list
        wanted = arrow_type(kind)
        if source is None:
            return pa.nulls(self._count, wanted)
        rows, values = source.of(key, _COLUMN[kind if scalar else kind.removesuffix("s")])
        if scalar:
            if self._list is not None and key not in _OWN:
                free = ~np.isin(rows, self._list.having(key))
                rows, values = rows[free], values.filter(pa.array(free))
            return _scattered(self._count, rows, values).cast(wanted)
        return _grouped(self._count, rows, values.cast(wanted.value_type))

    def own(self, key: str) -> Any:
        """Return the documents, or the uris."""
        return self.column(key, "str")

    def nulls(self) -> Any:
        """Return for each record the keys whose value is null; null where there is none."""
        rows, keys = self._scalar.empty()
        return _grouped(self._count, rows, keys)

    def dictionaries(self) -> list[dict[str, Any]]:
        """Return the metadata of each record, for the JSON column."""
        found: list[dict[str, Any]] = [{} for _row in range(self._count)]
        for row, key, value in self._scalar.triples():
            found[row][key] = value
        lists: list[dict[str, Any]] = [{} for _row in range(self._count)]
        for row, key, value in self._list.triples() if self._list else ():
            lists[row].setdefault(key, []).append(value)
        for row, more in enumerate(lists):
            found[row].update(more)
        return [{key: value for key, value in row.items() if key not in _OWN} for row in found]


def columns(pivot: Pivot, wanted: Sequence[Column]) -> list[Any]:
    """Return the Arrow arrays of metadata columns."""
    found = []
    for each in wanted:
        if each.type == "json":
            found.append(pa.array([metadata_json(row) if row else None for row in pivot.dictionaries()], pa.string()))
        elif each.type == "nulls":
            found.append(pivot.nulls())
        else:
            found.append(pivot.column(each.key, each.type))
    return found


def columns_of_rows(rows: Sequence[Mapping[str, Any]], wanted: Iterable[Column]) -> list[Any]:
    """Return the same from dictionaries, for the few records that come from the log."""
    found = []
    for each in wanted:
        if each.type == "json":
            values: list[Any] = [metadata_json(row) if row else None for row in rows]
        elif each.type == "nulls":
            values = [[key for key, value in row.items() if value is None] or None for row in rows]
        else:
            values = [row[each.key] if row.get(each.key) is not None and kind_of(row[each.key]) == each.type else None for row in rows]
        found.append(pa.array(values, arrow_type(each.type)))
    return found


def kind_of(value: Any) -> str:
    """Return the type of a metadata value: one of ``SCALARS``, ``LISTS``, ``null``; empty for what Chroma does not store."""
    if isinstance(value, list):
        kinds = {kind_of(each) for each in value}
        kind = kinds.pop() if len(kinds) == 1 else ""
        return f"{kind}s" if kind in SCALARS else ""
    if value is None:
        return "null"
    if isinstance(value, bool):  # first: in Python it is an int too
        return "bool"
    if isinstance(value, int):
        return "int" if -(1 << 63) <= value < 1 << 63 else ""
    return {float: "float", str: "str"}.get(type(value), "")


class _Values:
    """Rows of ``embedding_metadata`` or of the table of lists, by key."""

    def __init__(self, rows: Any, values: Any) -> None:
        self._rows = rows
        self._values = values
        encoded = pc.dictionary_encode(values["key"].combine_chunks())
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        self._codes = encoded.indices.to_numpy(zero_copy_only=False)
        self._keys = {key: code for code, key in enumerate(encoded.dictionary.to_pylist())}
        self._present = {each: values[each].is_valid().to_numpy() for each in VALUES}

    def of(self, key: str, column: str) -> tuple[Any, Any]:
        """Return records and values of one key in one column."""
        where = np.flatnonzero((self._codes == self._keys.get(key, -1)) & self._present[column])
        return self._rows[where], self._values[column].combine_chunks().take(pa.array(where))

    def having(self, key: str) -> Any:
        """Return the records that have a key."""
        return self._rows[self._codes == self._keys.get(key, -1)]

    def empty(self) -> tuple[Any, Any]:
        """Return records and keys of rows without any value."""
        where = np.flatnonzero(~np.logical_or.reduce(list(self._present.values())))
        return self._rows[where], self._values["key"].combine_chunks().take(pa.array(where))

    def triples(self) -> Iterable[tuple[int, str, Any]]:
        """Yield record, key and value of each row."""
        table = self._values.to_pydict()
        for row, key, text, number, real, flag in zip(self._rows.tolist(), table["key"], *(table[each] for each in VALUES), strict=True):
            if text is None and number is None and real is None and flag is not None:
                yield row, key, bool(flag)
            else:
                yield row, key, next((each for each in (text, number, real) if each is not None), None)


def _scattered(count: int, rows: Any, values: Any) -> Any:
    """Return an array with each value in its row, null elsewhere."""
    if len(rows) == count and np.array_equal(rows, np.arange(count)):
        return values
    place = np.full(count, -1, np.int64)
    place[rows] = np.arange(len(rows))
    return values.take(pa.array(place, mask=place < 0))


def _grouped(count: int, rows: Any, values: Any) -> Any:
    """Return an array of lists: the values of each row in their order, null for rows without any."""
    order = np.argsort(rows, kind="stable")
    sizes = np.bincount(rows, minlength=count)
    ends = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values.take(pa.array(order)), mask=pa.array(sizes == 0))
