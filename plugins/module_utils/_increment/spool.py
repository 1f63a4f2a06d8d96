# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changed records of one collection, out of the directory and into a file. FOR INTERNAL COLLECTION USE ONLY.

While writers wait they are only moved: into an uncompressed Arrow file, which becomes Parquet when the lock has been given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DOCUMENT_KEY, URI_KEY, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.values import ARRAYS, read_ids, read_pivot, text_sizes
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import metadata_json
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import PartWriter
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import ChangedCollection, part_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import Rows, segment_of
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.vectors import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import CHANGES

# Of one batch, bytes: vectors, and texts. Memory is a few of them.
_BATCH = 8 << 20
_MOST = 8192

# Ids that are looked up in the label map at once: each time takes all of it, 40 ms for a million.
_RESOLVED = 1 << 16


def spool_path(tree: Path, collection: str) -> Path:
    """Return where the changed records of a collection wait for being written as Parquet."""
    return tree / CHANGES / collection / "spool.arrow"


def spool(database: Database, collection: StoredCollection, rows: Rows, source: Source, file: Path) -> Iterator[int]:
    """Write the changed records of a collection to a file, batch by batch.

    Args:
        rows: which they are.
        source: of their vectors.
        file: its directory is made.

    Yields:
        The records of each batch, once it is written: an opportunity to look at the clock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = part_schema(collection.dimension, collection.name, collection.space)
    with pa.OSFile(str(file), "wb") as output, pa.ipc.new_file(output, schema) as writer:
        for batch in _batches(database, collection, rows, source, schema):
            writer.write_batch(batch)
            yield batch.num_rows


def finish(tree: Path, collection: str) -> ChangedCollection:
    """Turn what was spooled into Parquet parts; the spool is removed. Where nothing was, records are only gone."""
    file = spool_path(tree, collection)
    if not file.exists():
        return ChangedCollection(collection, 0, ())
    # Not mapped: what is mapped counts as memory.
    with pa.OSFile(str(file), "rb") as opened, pa.ipc.open_file(opened) as reader:
        writer = PartWriter(open_store(str(tree)), lambda number: _part(collection, number), reader.schema, (), lambda _done: None)
        with writer:
            for number in range(reader.num_record_batches):
                writer.write(reader.get_batch(number))
            writer.finish()
    file.unlink()
    return ChangedCollection(collection, sum(each.records for each in writer.parts), tuple(writer.parts))


def _part(collection: str, number: int) -> str:
    return f"{CHANGES}/{collection}/part-{number:05d}.parquet"


def _batches(database: Database, collection: StoredCollection, rows: Rows, source: Source, schema: Any) -> Iterator[Any]:
    lists = bool(database.columns(ARRAYS))
    segment, size = segment_of(collection), max(1, min(_MOST, _BATCH // (4 * (collection.dimension or 1))))
    for first in range(0, len(rows.changed), _RESOLVED):
        block = rows.changed[first : first + _RESOLVED]
        names = read_ids(database, segment, block)
        labels, at = source.labels(names), 0
        while at < len(block):
            rowids = block[at : at + size]
            rowids = rowids[: max(1, int(np.searchsorted(np.cumsum(text_sizes(database, rowids)), _BATCH, side="right")))]
            here, pivot = slice(at, at + len(rowids)), read_pivot(database, rowids, lists)
            yield _batch(
                schema,
                names[here],
                source.vectors(names[here], labels[here]),
                pivot.own(DOCUMENT_KEY),
                pivot.own(URI_KEY),
                pivot.dictionaries(),
                pa.array(rowids),
                pa.array(_seq_ids(database, rowids), pa.int64()),
            )
            at += len(rowids)
    records = list(rows.pending.records.items())
    for start in range(0, len(records), size):
        yield _from_log(schema, records[start : start + size], rows, source)


def _from_log(schema: Any, records: list[tuple[str, Mapping[str, Any]]], rows: Rows, source: Source) -> Any:
    documents, uris = (pa.array([record.get(key) for _id, record in records], pa.string()) for key in (DOCUMENT_KEY, URI_KEY))
    rest = [{key: value for key, value in record.items() if key not in (DOCUMENT_KEY, URI_KEY)} for _id, record in records]
    ids = pa.array([name for name, _record in records], pa.string())
    rowids = pa.array([rows.pending_rowids.get(name) for name, _record in records], pa.int64())
    return _batch(schema, ids, source.vectors(ids, source.labels(ids)), documents, uris, rest, rowids, pa.nulls(len(records), pa.int64()))


def _batch(
    schema: Any, ids: Any, vectors: Any, documents: Any, uris: Any, metadatas: list[dict[str, Any]], rowids: Any, seq_ids: Any
) -> Any:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]).cast(schema.field("vector").type)
    texts = pa.array([metadata_json(each) if each else None for each in metadatas], pa.string())
    return pa.RecordBatch.from_arrays([ids, column, documents, uris, texts, rowids, seq_ids], schema=schema)


def _seq_ids(database: Database, rowids: Any) -> list[int | None]:
    sql = "SELECT e.id, e.seq_id FROM json_each(?) j CROSS JOIN embeddings e ON e.id = j.value"
    found = dict(database.rows(sql, (str(rowids.tolist()),)))
    return [wal.position(found.get(each)) for each in rowids.tolist()]
