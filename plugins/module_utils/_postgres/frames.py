# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as the rows of COPY's binary format, whole batches at a time. FOR INTERNAL COLLECTION USE ONLY.

A row is the number of its fields, then each one's length (-1 for null) and bytes, all big-endian:
https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4. The fields are those of ``schema.COLUMNS``.

PostgreSQL's text has no NUL, which Chroma's ids, documents and metadata may have: such a record has U+FFFD instead, and what it really
is in the column ``exact``, as JSON.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import vectors_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import COLUMNS, VECTOR
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.values import dictionaries, jsonb, metadata_texts

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
FIELDS = struct.pack("!h", len(COLUMNS))
# The oid of type real, src/include/catalog/pg_type.dat.
_REAL = 700
_JSONB_VERSION = b"\x01"
_NULL = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Frames:
    """Rows for COPY.

    Args:
        data: their bytes.
        records: how many there are.
        checksum: the sum of :func:`digests` of each.
    """

    data: memoryview
    records: int
    checksum: int


def frames(batch: Any, columns: Sequence[Column], embedding: str, collection: str) -> Frames:
    """Return a batch as rows.

    Args:
        batch: ``pa.RecordBatch``, as ``_dataset.schema`` says.
        columns: of its metadata.
        embedding: ``schema.VECTOR`` or ``schema.REAL``.
        collection: its name, for messages.

    Raises:
        ChromaError: ``missing_vectors`` where a record has none; ``invalid_embedding`` where a number is not finite.
    """
    vectors = _vectors(batch, collection)
    documents, uris = batch.column("document"), batch.column("uri")
    metadata = metadata_texts(batch, columns)
    ids, documents, uris, metadata, exact = _plain(batch, columns, batch.column("id"), documents, uris, metadata)
    row = _Row(batch.num_rows)
    row.fixed(FIELDS)
    for values in (ids, documents, uris):
        row.field(values)
    row.field(metadata, _JSONB_VERSION)
    row.field(exact)
    row.fixed(embedding_head(vectors.shape[1], embedding))
    row.block(*_embeddings(vectors, embedding))
    rows = row.joined()
    _validity, offsets, data = rows.buffers()
    ends = np.frombuffer(offsets, np.int64)[rows.offset : rows.offset + len(rows) + 1].tolist()
    view = memoryview(data) if data is not None else memoryview(b"")
    return Frames(view[ends[0] : ends[-1]], len(rows), digests([view[a:b] for a, b in itertools.pairwise(ends)]))


def digests(rows: Sequence[Any]) -> int:
    """Return the sum, modulo 2^64, of the first eight bytes of each row's SHA-256: the same for the same rows in any order.

    Args:
        rows: bytes of each.
    """
    joined = b"".join([hashlib.sha256(each).digest() for each in rows])
    return int(np.frombuffer(joined, ">u8")[::4].sum(dtype=np.uint64))


def checksum_text(total: int) -> str:
    """Return a sum of digests as it is noted."""
    return f"{total % (1 << 64):016x}"


def embedding_head(dimension: int, embedding: str) -> bytes:
    """Return what comes before the numbers of an embedding, with its length.

    Sources: pgvector, src/vector.c, ``vector_send``; PostgreSQL, src/backend/utils/adt/arrayfuncs.c, ``array_send``.
    """
    if embedding == VECTOR:
        return struct.pack("!ihh", 4 + 4 * dimension, dimension, 0)
    return struct.pack("!iiiIii", 20 + 8 * dimension, 1, 0, _REAL, dimension, 1)


def _vectors(batch: Any, collection: str) -> Any:
    """Return the vectors, ``(n, dim)`` float32."""
    column = batch.column("vector")
    if column.null_count:
        first = batch.column("id").filter(pc.is_null(column))[0].as_py()
        message = f"{column.null_count} or more records of collection {collection} have lost their vectors; the first is {first!r}."
        hint = "Run 40_validate, which says why, and 42_recover. The generation that is current stays."
        raise ChromaError("missing_vectors", message, hint)
    numbers = vectors_of(column)
    if not np.isfinite(numbers).all():
        first = batch.column("id")[int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])].as_py()
        message = f"The vector of record {first!r} of collection {collection} has NaN or infinity."
        raise ChromaError("invalid_embedding", message, "No Chroma takes it back: write the record anew. The current generation stays.")
    return numbers


def _embeddings(vectors: Any, embedding: str) -> tuple[Any, tuple[Any, ...]]:
    """Return the numbers of the embeddings as their field has them, and the type of a row's."""
    if embedding == VECTOR:
        return vectors, (">f4", vectors.shape[1:])
    elements = np.empty(vectors.shape, [("length", ">i4"), ("value", ">f4")])
    elements["length"], elements["value"] = 4, vectors
    return elements, (elements.dtype, vectors.shape[1:])


class _Row:
    """Joins the parts of rows. Those of fixed width that follow on each other become one first: each part of its own costs time.

    Args:
        count: of the rows.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._blocks: list[tuple[Any, tuple[Any, ...]]] = []
        self._parts: list[Any] = []

    def fixed(self, value: bytes) -> None:
        """Append the same bytes to each row."""
        self.block(np.frombuffer(value, np.uint8), (np.uint8, len(value)))

    def block(self, values: Any, kind: tuple[Any, ...]) -> None:
        """Append values of a fixed width, of numpy's type ``kind`` (and shape) in the row."""
        self._blocks.append((values, kind))

    def field(self, values: Any, prefix: bytes = b"") -> None:
        """Append a field: length and bytes; ``prefix`` comes before each value that is not null."""
        if values.null_count == self._count:
            self.fixed(_NULL)
            return
        lengths = pc.binary_length(values).cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
        there = lengths >= 0
        self.block(lengths + there * len(prefix), (">i4",))
        if prefix and values.null_count:
            before = pa.scalar(prefix, pa.large_binary())
            self._append(pc.if_else(pa.array(there), before, pa.scalar(b"", pa.large_binary())))
        elif prefix:
            self.fixed(prefix)
        self._append(values.cast(pa.large_binary()).fill_null(b""))

    def joined(self) -> Any:
        """Return the rows as Arrow's large binary."""
        self._flush()
        return pc.binary_join_element_wise(*self._parts, pa.scalar(b"", pa.large_binary()))

    def _append(self, values: Any) -> None:
        self._flush()
        self._parts.append(values)

    def _flush(self) -> None:
        if self._blocks:
            # Each value is put where it belongs, with its bytes in order, in one pass.
            whole = np.empty(self._count, [(f"f{place}", *kind) for place, (_values, kind) in enumerate(self._blocks)])
            for place, (values, _kind) in enumerate(self._blocks):
                whole[f"f{place}"] = values
            offsets = np.arange(self._count + 1, dtype=np.int64) * whole.itemsize
            self._parts.append(pa.Array.from_buffers(pa.large_binary(), self._count, [None, pa.py_buffer(offsets), pa.py_buffer(whole)]))
            self._blocks = []


def _plain(batch: Any, columns: Sequence[Column], ids: Any, documents: Any, uris: Any, metadata: Any) -> tuple[Any, ...]:
    """Return ids, documents, uris and metadata that PostgreSQL takes, and what they really are where that is something else."""
    special = np.zeros(batch.num_rows, bool)
    for values, mark in ((ids, "\0"), (documents, "\0"), (uris, "\0"), (metadata, "\\u0000")):
        special |= pc.match_substring(values, mark).fill_null(False).to_numpy(zero_copy_only=False)
    for each in columns:
        special |= _not_finite(batch.column(each.name), each.type)
    if not special.any():
        return ids, documents, uris, metadata, pa.nulls(batch.num_rows, pa.large_binary())
    texts = [each.to_pylist() for each in (ids, documents, uris, metadata)]
    exact: list[bytes | None] = [None] * batch.num_rows
    where = np.flatnonzero(special)
    for row, values in zip(where.tolist(), dictionaries(batch.take(pa.array(where)), columns), strict=True):
        real = {"id": texts[0][row], "document": texts[1][row], "uri": texts[2][row], "metadata": values or None}
        exact[row] = json.dumps(real).encode()
        shown = _without_nul(real)
        texts[0][row], texts[1][row], texts[2][row] = shown["id"], shown["document"], shown["uri"]
        texts[3][row] = jsonb(shown["metadata"]) if shown["metadata"] else None
    return (*(pa.array(each, pa.large_string()) for each in texts), pa.array(exact, pa.large_binary()))


def _not_finite(values: Any, kind: str) -> Any:
    """Return for each record whether a float of its metadata may be none that JSON has."""
    if kind == "float":
        return pc.invert(pc.is_finite(values)).fill_null(False).to_numpy(zero_copy_only=False)
    if kind == "json":
        return pc.match_substring_regex(values, "Infinity|NaN").fill_null(False).to_numpy(zero_copy_only=False)
    found = np.zeros(len(values), bool)
    if kind == "floats":
        found[pc.list_parent_indices(values).filter(pc.invert(pc.is_finite(pc.list_flatten(values)))).to_numpy()] = True
    return found


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
