# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of one collection as Arrow batches. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import pivot, wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap, read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DOCUMENT_KEY,
    HEADER_FILE,
    LABELS_FILE,
    URI_KEY,
    Damaged,
    StoredCollection,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import NOWHERE, Places, in_log
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema

# Records of the first batch; the following ones are as many as the bytes allow, by the size of those before.
_FIRST = 1024
_MOST = 65536


class Records:
    """Everything that is needed to read the records of a collection: 16 bytes for each of them.

    Order: by ``embeddings.id``, SQLite's rowid, so by first insertion; then those that so far are only in the log, or
    are changed by it, in the order of the log. That order is the same each time the same state is read.

    Args:
        directory: the data directory.
        database: opened.
        collection: to read.

    Raises:
        Damaged: ``labels``, ``header``, ``vectors``, ``log`` or ``sqlite``.
    """

    def __init__(self, directory: Path, database: Database, collection: StoredCollection) -> None:
        self._database = database
        self._collection = collection
        self._segment = collection.metadata_segment.id if collection.metadata_segment else ""
        self._folder = directory / collection.vector.id if collection.vector else None
        self._lists = bool(database.columns("embedding_metadata_array"))
        positions = wal.positions(database)
        self._pending = self._read_pending(positions)
        self._vectors: VectorFile | None = None
        places = self._find_places(positions)
        self._rowids, self._places = self._read_rowids(places)
        self._pending_places = places.find(pa.array(list(self._pending), pa.string()))
        self.schema = self._plan()
        kind = self.schema.field("vector").type
        self.dimension = kind.list_size if pa.types.is_fixed_size_list(kind) else None

    def __len__(self) -> int:
        return len(self._rowids) + len(self._pending)

    def close(self) -> None:
        """Close the index."""
        if self._vectors is not None:
            self._vectors.close()

    def batches(self, bytes_per_batch: int, start: int) -> Iterator[Any]:
        """Yield the records from the ``start``-th on."""
        size, at, stored = _FIRST, start, len(self._rowids)
        while at < len(self):
            if at < stored:
                rows = slice(at, min(at + size, stored))
                batch = self._stored(self._rowids[rows], self._places[rows])
            else:
                rows = slice(at - stored, min(at + size, len(self)) - stored)
                batch = self._from_log(list(self._pending.items())[rows], self._pending_places[rows])
            yield batch
            at += batch.num_rows
            size = max(1, min(_MOST, size * 8, bytes_per_batch * batch.num_rows // max(1, batch.nbytes)))

    def _stored(self, rowids: Any, places: Any) -> Any:
        ids = self._ids(rowids)
        rows, values = self._values("embedding_metadata", rowids)
        lists = self._values("embedding_metadata_array", rowids) if self._lists else (None, None)
        table = pivot.Pivot(len(rowids), rows, values, *lists)
        wanted = pivot.columns(table, self._columns)
        return self._batch(ids, places, table.own(DOCUMENT_KEY), table.own(URI_KEY), wanted)

    def _from_log(self, records: list[tuple[str, Mapping[str, Any]]], places: Any) -> Any:
        documents, uris = (pa.array([record.get(key) for _id, record in records], pa.string()) for key in (DOCUMENT_KEY, URI_KEY))
        rest = [{key: value for key, value in record.items() if key not in (DOCUMENT_KEY, URI_KEY)} for _id, record in records]
        ids = pa.array([name for name, _record in records], pa.string())
        return self._batch(ids, places, documents, uris, pivot.columns_of_rows(rest, self._columns))

    def _batch(self, ids: Any, places: Any, documents: Any, uris: Any, rest: list[Any]) -> Any:
        return pa.RecordBatch.from_arrays([ids, self._vector_column(places), documents, uris, *rest], schema=self.schema)

    def _vector_column(self, places: Any) -> Any:
        kind = self.schema.field("vector").type
        if self.dimension is None:
            return pa.nulls(len(places), kind)
        found = np.zeros((len(places), self.dimension), np.float32)
        indexed = np.flatnonzero(places >= 0)
        if len(indexed) and self._vectors is not None:
            if len(indexed) == len(places):
                self._vectors.vectors(places, found)
            else:
                found[indexed] = self._vectors.vectors(places[indexed])
            if self._collection.space == "cosine":
                # The index has them with length 1, and their lengths beside; the server multiplies again.
                found[indexed] *= self._vectors.lengths[places[indexed], np.newaxis]
        logged = np.flatnonzero(places < NOWHERE)
        if len(logged):
            found[logged] = wal.read_vectors(self._database, [in_log(int(each)) for each in places[logged]], self.dimension)
        missing = places == NOWHERE
        return pa.FixedSizeListArray.from_arrays(
            pa.array(found.reshape(-1)), self.dimension, mask=pa.array(missing) if missing.any() else None
        ).cast(kind)

    def _ids(self, rowids: Any) -> Any:
        kinds = (pa.int64(), pa.string())
        table = self._rows("embeddings", rowids, ("id", "embedding_id"), kinds, "AND +t.segment_id = ? ORDER BY t.id", (self._segment,))
        rows = _matched(rowids, table["id"].to_numpy())
        if not np.array_equal(rows[rows >= 0], np.arange(len(rowids))):
            raise Damaged("sqlite", self._database.path, "records vanished while they were read, or an index of table embeddings is wrong.")
        return table["embedding_id"].combine_chunks().filter(pa.array(rows >= 0))

    def _values(self, table: str, rowids: Any) -> tuple[Any, Any]:
        """Return the rows of a table of metadata: the place of each one's record in the batch, and the values."""
        kinds = (pa.int64(), pa.string(), pa.string(), pa.int64(), pa.float64(), pa.int64())
        # Elements of a list are in the order of their rows.
        order = "ORDER BY t.rowid" if table == "embedding_metadata_array" else ""
        values = self._rows(table, rowids, ("id", "key", *pivot.VALUES), kinds, order)
        rows = _matched(rowids, values["id"].to_numpy())
        mine = rows >= 0
        return (rows, values) if mine.all() else (rows[mine], values.filter(pa.array(mine)))

    def _rows(
        self, table: str, rowids: Any, names: tuple[str, ...], kinds: tuple[Any, ...], more: str = "", parameters: tuple[Any, ...] = ()
    ) -> Any:
        """Return the rows of some records as an Arrow table; rows of others may be among them."""
        low, high = int(rowids[0]), int(rowids[-1])
        bounds: tuple[Any, ...] = (low, high)
        columns = ", ".join(f"t.{name}" for name in names)
        if len(rowids) * 4 > high - low:
            sql = f"SELECT {columns} FROM {table} t WHERE t.id BETWEEN ? AND ? {more}"
        else:
            # Among the records of many other collections: one by one.
            sql = f"SELECT {columns} FROM json_each(?) j CROSS JOIN {table} t ON t.id = j.value WHERE 1 {more}"
            bounds = (str(rowids.tolist()),)
        # In brackets: what is put before it must not be sorted.
        batches = self._database.arrow(f"SELECT * FROM ({sql})", (*bounds, *parameters), kinds)
        return pa.Table.from_batches((each.rename_columns(names) for each in batches), pa.schema(list(zip(names, kinds, strict=True))))

    def _read_pending(self, positions: Mapping[str, int | None]) -> dict[str, Mapping[str, Any]]:
        """Return the records that the log adds or changes beyond what SQLite's tables hold; None for deleted ones."""
        position = self._position(positions.get(self._segment, 0))
        pending: dict[str, dict[str, Any] | None] = {}
        for entry in wal.read_entries(self._database, self._collection, position, metadata=True):
            if entry.id not in pending:
                pending[entry.id] = self._stored_metadata(entry.id)
            before = pending[entry.id]
            exists = before is not None
            if entry.operation == wal.DELETE:
                pending[entry.id] = None
            elif entry.operation == wal.UPSERT or exists == (entry.operation == wal.UPDATE):
                merged = {**(before or {}), **entry.metadata}
                pending[entry.id] = {key: value for key, value in merged.items() if value is not None}
        self._replaced = list(pending)
        return {name: record for name, record in pending.items() if record is not None}

    def _stored_metadata(self, name: str) -> dict[str, Any] | None:
        """Return the metadata of one record, with its document and uri; None where there is no such record."""
        found = self._database.rows("SELECT id FROM embeddings WHERE segment_id = ? AND embedding_id = ?", (self._segment, name))
        if not found:
            return None
        rowids = np.array([found[0][0]], np.int64)
        lists = self._values("embedding_metadata_array", rowids) if self._lists else (None, None)
        record = pivot.Pivot(1, *self._values("embedding_metadata", rowids), *lists)
        own = {key: record.own(key)[0].as_py() for key in (DOCUMENT_KEY, URI_KEY)}
        return {**record.dictionaries()[0], **{key: value for key, value in own.items() if value is not None}}

    def _position(self, value: int | None) -> int:
        if value is None:
            detail = f"the position of a segment of collection {self._collection.name} in table max_seq_id is no number."
            raise Damaged("log", self._database.path, detail)
        return value

    def _find_places(self, positions: Mapping[str, int | None]) -> Places:
        folder, vector = self._folder, self._collection.vector
        if folder is None or vector is None:
            return Places(None)
        labels: LabelMap | None = None
        if (folder / LABELS_FILE).exists():
            labels = read_labels(folder)
        if labels is not None and len(labels):
            self._vectors = VectorFile(folder)
            dimension = self._vectors.header.dimension
            if self._collection.dimension not in (None, dimension):
                detail = f"has vectors of {dimension} numbers, the collection of {self._collection.dimension}."
                raise Damaged("header", folder / HEADER_FILE, detail)
            places = Places(labels, *self._vectors.labels())
        else:
            places = Places(None)
        stored = positions.get(vector.id, labels.max_seq_id or 0 if labels else 0)
        entries = wal.read_entries(self._database, self._collection, self._position(stored), metadata=False)
        places.change(wal.vector_changes(entries, places.contains))
        return places

    def _read_rowids(self, places: Places) -> tuple[Any, Any]:
        replaced = pa.array(self._replaced, pa.string())
        rowids, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        sql = "SELECT id, embedding_id FROM embeddings WHERE segment_id = ?"
        for batch in self._database.arrow(sql, (self._segment,), (pa.int64(), pa.string())):
            if len(replaced):
                batch = batch.filter(pc.invert(pc.is_in(batch.column(1), value_set=replaced)))
            rowids.append(batch.column(0).to_numpy())
            found.append(places.find(batch.column(1)))
        every, places_found = np.concatenate(rowids), np.concatenate(found)
        order = np.argsort(every, kind="stable")
        return every[order], places_found[order]

    def _plan(self) -> Any:
        share = len(self._rowids) / max(1, self._database.rows("SELECT count(*) FROM embeddings")[0][0])
        seen = pivot.types_seen(self._database, self._segment, share, lists=False)
        if self._lists:
            for key, kinds in pivot.types_seen(self._database, self._segment, share, lists=True).items():
                seen.setdefault(key, set()).update(kinds)
        for record in self._pending.values():
            for key, value in record.items():
                if key not in (DOCUMENT_KEY, URI_KEY):
                    seen.setdefault(key, set()).add(pivot.kind_of(value))
        nulls = any("null" in kinds for kinds in seen.values())
        self._columns = plan_columns({key: sorted(kinds - {"null"}) for key, kinds in seen.items()}, nulls)
        dimension = self._collection.dimension or (self._vectors.header.dimension if self._vectors else None)
        return table_schema(self._columns, dimension, self._collection.name, self._collection.space)


def _matched(rowids: Any, found: Any) -> Any:
    """Return for each rowid found its place among the ascending ones that are wanted, -1 where it is not wanted."""
    at = np.searchsorted(rowids, found)
    at[at == len(rowids)] = 0
    return np.where(rowids[at] == found, at, -1)
