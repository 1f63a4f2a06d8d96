# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base and its increments as one source of records, without Chroma: for restoring one collection. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pivot import columns_of_rows, kind_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import (
    JSON_COLUMN,
    Column,
    columns_of,
    plan_columns,
    table_schema,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection, chosen
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.catalogue import source_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import Increment, open_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import RowIds, open_rowids
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA, MANIFEST, parse_manifest

_FIXED = ("id", "vector", "document", "uri")
_ROWS = 4096


class ChainSource:
    """The collections of the last point of a chain, as an export reads them; see :func:`merge_increments`.

    Args:
        base: the base's copy, opened.
        increments: in their order.
        ids: at the last of them.
    """

    kind = "directory"
    version: str | None = None
    consistent = True
    path: Path | None = None
    lasts = math.inf

    def __init__(self, base: DataDirectory, increments: Sequence[Increment], ids: RowIds) -> None:
        self._base, self._increments, self._ids = base, increments, ids
        self._stored = {each.id: each for each in base.collections()}

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        """Return the collections of these names in any tenant and database, or all."""
        return tuple(map(source_collection, chosen(self._ids.collections(), names, f"backup {self._ids.last.id}")))

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        """Return the backup's id: what it holds never changes."""
        return self._ids.last.id

    def schema(self, collection: SourceCollection) -> Any:
        """Return the Arrow schema of a collection's batches: with a column for each type that a key has anywhere in the chain."""
        kinds: dict[str, set[str]] = {}
        nulls = whole = False
        for each in columns_of(self._base.schema(self._stored[collection.id])) if collection.id in self._stored else ():
            nulls, whole = nulls or each.type == "nulls", whole or each.type == "json"
            if each.type not in ("nulls", "json"):
                kinds.setdefault(each.key, set()).add(each.type)
        for batch in self._changed(collection.id):
            for metadata in _metadatas(batch):
                for key, value in metadata.items():
                    kinds.setdefault(key, set()).update(() if value is None else (kind_of(value),))
                    nulls = nulls or value is None
        columns = plan_columns({key: sorted(each) for key, each in kinds.items()}, nulls)
        if whole:
            columns = (Column(JSON_COLUMN, "", "json"),)
        return table_schema(columns, collection.dimension, collection.name, collection.space)

    def batches(self, collection: SourceCollection, start: int = 0) -> Iterator[Any]:
        """Yield a collection's records from number ``start`` on: those of the base that are as they were, then the changed ones."""
        schema = self.schema(collection)
        columns = columns_of(schema)
        for batch in self._all(collection.id):
            skipped = min(start, batch.num_rows)
            start -= skipped
            if rest := batch.num_rows - skipped:
                yield cast_batch(batch.slice(skipped, rest), schema, columns)

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        """Check that nobody wrote to the base's copy."""
        self._base.check_unchanged()

    def _all(self, collection: str) -> Iterator[Any]:
        if collection in self._stored:
            for batch in self._base.batches(self._stored[collection]):
                yield from self._kept(collection, batch, 0)
        yield from self._changed(collection)

    def _changed(self, collection: str) -> Iterator[Any]:
        for number, increment in enumerate(self._increments, 1):
            for batch in increment.batches(collection, _ROWS):
                yield from self._kept(collection, batch, number)

    def _kept(self, collection: str, batch: Any, origin: int) -> Iterator[Any]:
        """Yield those records of a batch that are still the same at the chain's end."""
        ids = batch.column("id").to_pylist()
        mask = np.array([each == origin for each in self._ids.origins(collection, ids)], np.bool_)
        if mask.any():
            yield batch if mask.all() else batch.filter(pa.array(mask))


@contextlib.contextmanager
def merge_increments(base: Path, trees: Iterable[Path], file: Path, only: Sequence[str] | None = None) -> Iterator[ChainSource]:
    """Open a chain for reading, for the length of a ``with`` block; an export takes it as its source.

    Args:
        base: tree of the full backup. Nothing in it is changed.
        trees: of its increments up to the wanted point, in their order; none for the base itself.
        file: a path for the ids, see :func:`open_rowids`.
        only: ids of the collections whose records are wanted; None means all.

    Raises:
        ChromaError: ``broken_chain``, ``damaged_backup``, ``newer_backup``; what the reader raises.
    """
    require_data_libraries()
    manifest = parse_manifest((base / MANIFEST).read_bytes(), str(base))
    with open_directory(base / DATA, scratch=file.parent) as directory, open_rowids(base / DATA, manifest, file, only) as ids:
        increments = []
        for tree in trees:
            increment = open_increment(tree)
            increment.check_parts()
            ids.follow(increment)
            increments.append(increment)
        yield ChainSource(directory, increments, ids)


def cast_batch(batch: Any, schema: Any, columns: Sequence[Column]) -> Any:
    """Return a batch of the base, or of an increment, with the columns of the whole chain."""
    have = {(each.key, each.type): each.name for each in columns_of(batch.schema)}
    fixed = [batch.column(name).cast(schema.field(name).type) for name in _FIXED]
    if columns == (Column(JSON_COLUMN, "", "json"),) or JSON_COLUMN in batch.schema.names:
        rest = columns_of_rows(_metadatas(batch), columns)
    else:
        rest = [batch.column(have[key]) if (key := (each.key, each.type)) in have else _absent(batch, schema, each) for each in columns]
    return pa.RecordBatch.from_arrays([*fixed, *rest], schema=schema)


def _absent(batch: Any, schema: Any, column: Column) -> Any:
    return pa.nulls(batch.num_rows, schema.field(column.name).type)


def _metadatas(batch: Any) -> Sequence[Mapping[str, Any]]:
    if JSON_COLUMN in batch.schema.names:
        return [json.loads(text) if text else {} for text in batch.column(JSON_COLUMN).to_pylist()]
    found: list[dict[str, Any]] = [{} for _row in range(batch.num_rows)]
    for each in columns_of(batch.schema):
        for row, value in enumerate(batch.column(each.name).to_pylist() if each.type != "nulls" else ()):
            if value is not None:
                found[row][each.key] = value
    return found
