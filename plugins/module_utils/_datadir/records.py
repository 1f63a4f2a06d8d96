# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of one collection as Arrow batches. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import pivot, wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import MOST_DIMENSIONS, VectorFile
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap, read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DOCUMENT_KEY,
    HEADER_FILE,
    LABELS_FILE,
    URI_KEY,
    Damaged,
    StoredCollection,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pending import checked, read_pending
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import NOWHERE, Places, in_log
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.values import ARRAYS, read_ids, read_pivot, text_sizes
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Records of the first batch; the following ones are as many as the bytes allow, by the size of those before.
_FIRST = 1024
_MOST = 65536

# So many times what it should be may the texts of a batch be, where large ones follow on small ones.
_ROOM = 2


class Records:
    """Everything that is needed to read the records of a collection: 16 bytes for each of them.

    Order: by ``embeddings.id``, SQLite's rowid, so by first insertion; then those that so far are only in the log, or
    are changed by it, in the order of the log. That order is the same each time the same state is read.

    Args:
        directory: the data directory.
        database: opened.
        collection: to read.
        largest: returns the size of the database's largest text, bytes, from :func:`values.largest_text`.

    Raises:
        Damaged: ``labels``, ``header``, ``vectors``, ``log`` or ``sqlite``.
    """

    def __init__(self, directory: Path, database: Database, collection: StoredCollection, largest: Callable[[], int]) -> None:
        self._database = database
        self._collection = collection
        self._segment = collection.metadata_segment.id if collection.metadata_segment else ""
        self._folder = directory / collection.vector.id if collection.vector else None
        self._lists = bool(database.columns(ARRAYS))
        positions = wal.positions(database)
        self._pending = read_pending(database, collection, positions)
        self._vectors: VectorFile | None = None
        try:
            # The label map is Python's work; types and sizes are SQLite's: both at once.
            with ThreadPoolExecutor(1) as pool:
                index = pool.submit(self._read_index)
                seen, self._largest_text = self._types_seen(), largest()
                labels, places = index.result()
            self._change(places, positions, labels)
            self._rowids, self._places = self._read_rowids(places)
            self._pending_places = places.find(pa.array(list(self._pending.records), pa.string()))
            self.schema = self._plan(seen)
        except ChromaError:
            self.close()
            raise
        kind = self.schema.field("vector").type
        self.dimension = kind.list_size if pa.types.is_fixed_size_list(kind) else None

    def __len__(self) -> int:
        return len(self._rowids) + len(self._pending.records)

    def close(self) -> None:
        """Close the index."""
        if self._vectors is not None:
            self._vectors.close()

    def batches(self, bytes_per_batch: int, start: int) -> Iterator[Any]:
        """Yield the records from the ``start``-th on."""
        size, at, stored = min(_FIRST, bytes_per_batch // (4 * (self.dimension or 1)) + 1), start, len(self._rowids)
        while at < len(self):
            if at < stored:
                rows = slice(at, at + self._fitting(self._rowids[at : at + size], _ROOM * bytes_per_batch))
                batch = self._stored(self._rowids[rows], self._places[rows])
            else:
                rows = slice(at - stored, min(at + size, len(self)) - stored)
                batch = self._from_log(list(self._pending.records.items())[rows], self._pending_places[rows])
            yield batch
            at += batch.num_rows
            size = max(1, min(_MOST, size * 8, bytes_per_batch * batch.num_rows // max(1, batch.nbytes)))

    def of(self, ids: Sequence[str]) -> Iterator[Any]:
        """Yield those of some records that are there, as one batch or two.

        Args:
            ids: each once.
        """
        sql = (
            "SELECT e.id, e.embedding_id FROM json_each(?) j CROSS JOIN embeddings e ON e.segment_id = ? AND e.embedding_id = j.value"
            " ORDER BY e.id"
        )
        replaced = set(self._pending.replaced)
        found = [int(row) for row, name in self._database.rows(sql, (json.dumps(list(ids)), self._segment)) if name not in replaced]
        if found:
            rowids = np.array(found, np.int64)
            yield self._stored(rowids, self._places[np.searchsorted(self._rowids, rowids)])
        wanted = set(ids)
        waiting = [(place, each) for place, each in enumerate(self._pending.records) if each in wanted]
        if waiting:
            records = [(each, self._pending.records[each]) for _place, each in waiting]
            yield self._from_log(records, self._pending_places[[place for place, _each in waiting]])

    def _fitting(self, rowids: Any, room: int) -> int:
        """Return how many of these records have no more text than there is room, bytes; at least one."""
        if self._largest_text * len(rowids) <= room:
            return len(rowids)
        return max(1, int(np.searchsorted(np.cumsum(text_sizes(self._database, rowids)), room, side="right")))

    def _stored(self, rowids: Any, places: Any) -> Any:
        ids = read_ids(self._database, self._segment, rowids)
        table = read_pivot(self._database, rowids, self._lists)
        return self._batch(ids, places, table.own(DOCUMENT_KEY), table.own(URI_KEY), pivot.columns(table, self._columns))

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
                with np.errstate(all="ignore"):  # what is not finite is for validation to tell
                    found[indexed] *= self._vectors.lengths[places[indexed], np.newaxis]
        logged = np.flatnonzero(places < NOWHERE)
        if len(logged):
            found[logged] = wal.read_vectors(self._database, [in_log(int(each)) for each in places[logged]], self.dimension)
        missing = places == NOWHERE
        return pa.FixedSizeListArray.from_arrays(
            pa.array(found.reshape(-1)), self.dimension, mask=pa.array(missing) if missing.any() else None
        ).cast(kind)

    def _read_index(self) -> tuple[LabelMap | None, Places]:
        """Read the label map and where its vectors are; nothing of SQLite."""
        folder = self._folder
        labels = read_labels(folder) if folder and (folder / LABELS_FILE).exists() else None
        if folder is None or labels is None or not len(labels):
            return labels, Places(None)
        self._vectors = VectorFile(folder)
        dimension = self._vectors.header.dimension
        if self._collection.dimension not in (None, dimension):
            detail = f"has vectors of {dimension} numbers, the collection of {self._collection.dimension}."
            raise Damaged("header", folder / HEADER_FILE, detail)
        return labels, Places(labels, *self._vectors.labels())

    def _change(self, places: Places, positions: Mapping[str, int | None], labels: LabelMap | None) -> None:
        """Let the log replace vectors of the index."""
        vector = self._collection.vector
        if vector is None:
            return
        stored = positions.get(vector.id, labels.max_seq_id or 0 if labels else 0)
        entries = wal.read_entries(self._database, self._collection, checked(self._database, self._collection, stored), metadata=False)
        places.change(wal.vector_changes(entries, places.contains))

    def _read_rowids(self, places: Places) -> tuple[Any, Any]:
        replaced = pa.array(self._pending.replaced, pa.string())
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

    def _types_seen(self) -> dict[str, set[str]]:
        counts = "SELECT count(*), coalesce(sum(segment_id = ?), 0) FROM embeddings"
        every, mine = self._database.rows(counts, (self._segment,))[0]
        share = (mine - self._pending.stored) / max(1, every)
        seen = pivot.types_seen(self._database, self._segment, share, lists=False)
        if self._lists:
            for key, kinds in pivot.types_seen(self._database, self._segment, share, lists=True).items():
                seen.setdefault(key, set()).update(kinds)
        for record in self._pending.records.values():
            for key, value in record.items():
                if key not in (DOCUMENT_KEY, URI_KEY):
                    seen.setdefault(key, set()).add(pivot.kind_of(value))
        return seen

    def _plan(self, seen: Mapping[str, set[str]]) -> Any:
        nulls = any("null" in kinds for kinds in seen.values())
        self._columns = plan_columns({key: sorted(kinds - {"null"}) for key, kinds in seen.items()}, nulls)
        dimension = self._collection.dimension or (self._vectors.header.dimension if self._vectors else None)
        if dimension and dimension > MOST_DIMENSIONS:
            detail = f"the vectors of collection {self._collection.name} are said to have {dimension} numbers."
            raise Damaged("schema", self._database.path, detail)
        return table_schema(self._columns, dimension, self._collection.name, self._collection.space)
