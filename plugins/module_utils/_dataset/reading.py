# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets, opened and proven whole before anything is done with them. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc, pq
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import GENERATOR, MANIFEST, DatasetCollection, Part
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns, Rows, plain, rows_of, vectors_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, check_part, check_sizes, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf import VDF_META, read_vdf
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import check_metadata

# Read ahead of each column, bytes: one request to an object store.
_BUFFER = 1 << 20
_AGAIN = "Fetch it again from where it was copied, or export it again."


@dataclass(frozen=True)
class Source:
    """A collection of a dataset, and where its records are.

    Args:
        collection: as the manifest describes it; of a foreign VDF what its meta file says.
        columns: where the parts of a record are.
        foreign: a VDF that this collection did not write: without checksums, with values of any type.
    """

    collection: DatasetCollection
    columns: Columns
    foreign: bool = False


class Readable(Protocol):
    """What an import reads from: a dataset, or what can be read as one."""

    @property
    def where(self) -> str:
        """Its place, for messages."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Its collections."""

    def pages(self, source: Source, rows: int) -> Iterator[Rows]:
        """Yield the records of a collection, ``rows`` at a time, each time in the same order."""

    def check(self, source: Source, lists: bool, advance: Callable[[int], None] = ...) -> None:
        """Read all of a collection, and refuse what is not as it was written, or what Chroma would refuse later."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be read.

    Args:
        store: where its files are.
        stamps: path → size and time of a part when it was first read.
    """

    store: Store
    sources: tuple[Source, ...]
    stamps: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Its directory or URL, for messages."""
        return self.store.location

    def pages(self, source: Source, rows: int) -> Iterator[Rows]:
        """Yield the records of a collection, ``rows`` at a time, in the order of the dataset; memory is bounded by one row group."""
        for part in source.collection.parts:
            for batch in self._batches(source, part, rows):
                yield rows_of(batch, source.columns)

    def ids(self, source: Source, rows: int) -> Iterator[list[str]]:
        """Yield the ids of a collection alone, ``rows`` at a time, in the order of the dataset."""
        for part in source.collection.parts:
            with self._parquet(part) as file:
                for batch in file.iter_batches(batch_size=rows, columns=[source.columns.id], use_threads=False):
                    yield batch.column(0).to_pylist()

    def check(self, source: Source, lists: bool, advance: Callable[[int], None] = lambda count: None) -> None:
        """Read all of a collection, and refuse what is not as the manifest says or what Chroma would refuse later.

        Args:
            lists: whether the server takes lists in metadata.
            advance: told how many records were read.

        Raises:
            ChromaError: ``manifest_mismatch``, ``damaged_dataset``, ``invalid_record``, ``invalid_embedding``, ``invalid_metadata``,
                ``dimension_mismatch`` or ``unsupported``.
        """
        hashes = []
        for part in source.collection.parts:
            self._check_stamp(part)
            if part.sha256:
                with self._reading(part):
                    check_part(self.store, part)
            records = 0
            for batch in self._batches(source, part, 8192):
                records += batch.num_rows
                check_batch(source, batch, lists)
                hashes.append(np.fromiter(map(hash, batch.column(source.columns.id).to_pylist()), np.int64, batch.num_rows))
                advance(batch.num_rows)
            if records != part.records:
                raise _mismatch(self.where, part.path, f"has {records} records instead of {part.records}")
        if len(np.unique(np.concatenate(hashes or [np.empty(0, np.int64)]))) != sum(map(len, hashes)):
            self._check_unique(source)

    def _batches(self, source: Source, part: Part, rows: int) -> Iterator[Any]:
        needed = [source.columns.id, source.columns.vector]
        optional = [source.columns.document, source.columns.uri, source.columns.json, *(source.columns.metadata or {})]
        with self._parquet(part) as file:
            names = file.schema_arrow.names
            missing = [each for each in needed if each not in names]
            if missing:
                raise _damaged(self.where, part.path, f"it has no column {missing[0]}")
            wanted = [*needed, *(each for each in optional if each in names)]
            for groups in _groups(file.metadata, rows):
                # In one thread and group by group it needs half the memory (measured, 100,000 × 384: 200 MB instead of 350).
                for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=wanted, use_threads=False):
                    columns = {name: batch.column(name) for name in batch.schema.names}
                    if source.foreign:
                        columns = {name: column if name == source.columns.vector else plain(column) for name, column in columns.items()}
                    yield pa.RecordBatch.from_pydict(columns)
        self._check_stamp(part)

    @contextlib.contextmanager
    def _parquet(self, part: Part) -> Iterator[Any]:
        self._check_stamp(part)
        with self._reading(part), self.store.open_input(part.path) as stream:
            yield pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)

    def _check_stamp(self, part: Part) -> None:
        """Refuse a part that is not the one that was looked at first: what is imported is what was proven whole."""
        now = self.store.stamp(part.path)
        if self.stamps.setdefault(part.path, now) != now:
            message = f"{part.path} of the dataset {self.where} was replaced while it was read."
            raise ChromaError(
                "dataset_changed", message, "Let whoever writes the dataset finish; then run the import again: it mends what differs."
            )

    @contextlib.contextmanager
    def _reading(self, part: Part) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            text = " ".join(str(error).split())[:200]
            if self.store.local or "AWS Error" not in text:
                raise _damaged(self.where, part.path, text) from error
            raise store_fault(f"Could not read {self.where}/{part.path}", error, local=False) from error

    def _check_unique(self, source: Source) -> None:
        seen: set[str] = set()
        for part in source.collection.parts:
            for batch in self._batches(source, part, 8192):
                for each in batch.column(source.columns.id).cast(pa.string()).to_pylist():
                    if each in seen:
                        hint = "Chroma would keep one of them; remove the other from the dataset."
                        raise ChromaError("invalid_record", f"{_named(source)}: the id {each!r} is there twice.", hint)
                    seen.add(each)


def open_dataset(store: Store) -> Dataset:
    """Open what :mod:`export` wrote, or a VDF.

    Raises:
        ChromaError: what :func:`store.read_manifest`, :func:`store.check_sizes` and :func:`vdf.read_vdf` raise.
    """
    meta = None if store.read(MANIFEST) else store.read(VDF_META)
    if meta is None or _ours(meta):
        manifest = read_manifest(store)
        check_sizes(store, manifest)
        return Dataset(store, tuple(source_of(each) for each in manifest.collections))
    return Dataset(store, tuple(Source(*each, foreign=True) for each in read_vdf(meta, store)))


def choose(dataset: Readable, names: Sequence[str] | None) -> tuple[Source, ...]:
    """Return some of a dataset's collections.

    Args:
        names: names or ids; None means all.

    Raises:
        ChromaError: ``not_found`` where one is not in the dataset.
    """
    if names is None:
        return dataset.sources
    known = {key for each in dataset.sources for key in (each.collection.name, each.collection.id)}
    unknown = [each for each in names if each not in known]
    if unknown:
        held = ", ".join(sorted({each.collection.name for each in dataset.sources})[:20])
        raise ChromaError("not_found", f"The dataset {dataset.where} has no collection {unknown[0]}.", f"It has: {held or 'none'}.")
    return tuple(each for each in dataset.sources if {each.collection.name, each.collection.id} & set(names))


def _ours(meta: bytes) -> bool:
    """Whether an export of this collection wrote a ``VDF_META.json``, so that its manifest has to be there too."""
    try:
        return bool(json.loads(meta)["author"] == GENERATOR["name"])
    except (ValueError, KeyError, TypeError):
        return False


def source_of(collection: DatasetCollection) -> Source:
    """Return a collection of a dataset of ours."""
    metadata = {each.name: each.key for each in collection.columns if each.type not in ("json", "nulls")}
    whole = next((each.name for each in collection.columns if each.type == "json"), "")
    return Source(collection, Columns(metadata=metadata, json=whole))


def _groups(metadata: Any, rows: int) -> Iterator[list[int]]:
    """Yield the row groups of a file, several small ones together: a foreign file may have groups of a few rows."""
    groups: list[int] = []
    count = 0
    for number in range(metadata.num_row_groups):
        groups.append(number)
        count += metadata.row_group(number).num_rows
        if count >= rows:
            yield groups
            groups, count = [], 0
    if groups:
        yield groups


def check_batch(source: Source, batch: Any, lists: bool) -> None:
    """Refuse records that Chroma would refuse, column by column: the values are not turned into Python's for it."""
    columns, name = source.columns, _named(source)
    ids, vectors = batch.column(columns.id), batch.column(columns.vector)
    if ids.null_count or pc.any(pc.equal(ids.cast(pa.string()), "")).as_py():
        raise ChromaError("invalid_record", f"{name}: a record has no id.", "Remove it from the dataset, or give it one.")
    if vectors.null_count:
        first = ids.filter(pc.is_null(vectors))[0].as_py()
        hint = "Chroma takes none without; export from a source that still has it, or leave the record out of the dataset."
        raise ChromaError("invalid_embedding", f"{name}: record {first!r} has no vector.", hint)
    numbers = vectors_of(vectors)
    wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(wrong):
        message = f"{name}: the vector of record {ids[int(wrong[0])].as_py()!r} has NaN or infinity."
        raise ChromaError("invalid_embedding", message, "Chroma takes finite numbers; correct the record at its source.")
    dimension = source.collection.dimension
    if dimension and len(numbers) and numbers.shape[1] != dimension:
        message = f"{name}: the vectors have {numbers.shape[1]} dimensions, the dataset says {dimension}."
        raise ChromaError("dimension_mismatch", message, _AGAIN)
    for column, key in (columns.metadata or {}).items():
        if column in batch.schema.names:
            _check_column(name, key, batch.column(column), lists)
    if columns.json:
        for metadata in rows_of(batch, columns).metadatas:
            check_metadata(name, metadata or {}, lists, nulls=True)


def _check_column(name: str, key: str, values: Any, lists: bool) -> None:
    if not key:
        raise ChromaError("invalid_metadata", f"{name}: a metadata key is empty.", "Name it.")
    nested = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if nested and values.null_count < len(values):
        if not lists:
            hint = "Lists came with Chroma 1.5: import into such a server, or replace them by text at the source."
            raise ChromaError("unsupported", f"{name}: metadata {key!r} holds lists, which this server does not take.", hint)
        if pc.any(pc.equal(pc.list_value_length(values), 0)).as_py():
            raise ChromaError("invalid_metadata", f"{name}: metadata {key!r} holds an empty list.", "Chroma takes none; leave the key out.")
    inner = values.flatten() if nested else values
    if pa.types.is_floating(inner.type) and pc.all(pc.is_finite(inner)).as_py() not in (True, None):
        raise ChromaError("invalid_metadata", f"{name}: metadata {key!r} holds infinity or NaN.", "Chroma takes finite numbers.")


def _named(source: Source) -> str:
    return f"Collection {source.collection.name} of the dataset"


def _mismatch(where: str, path: str, what: str) -> ChromaError:
    return ChromaError("manifest_mismatch", f"The dataset {where} is not as its manifest says: {path} {what}.", _AGAIN)


def _damaged(where: str, path: str, what: str) -> ChromaError:
    return ChromaError("damaged_dataset", f"{path} of the dataset {where} can't be read as Parquet: {what}.", _AGAIN)
