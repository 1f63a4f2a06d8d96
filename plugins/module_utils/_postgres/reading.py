# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a generation as Arrow batches. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, orjson, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import (
    FIELDS,
    HEADER,
    TRAILER,
    checksum_text,
    digests,
    embedding_head,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import COLUMNS, VECTOR, Layout
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import sql

# Of a batch; its records as Python's values take some times as much.
BATCH_BYTES = 8 * 1024 * 1024

_LENGTH = struct.Struct("!i")


def read_batches(postgres: Postgres, layout: Layout, generation: Generation, rows: int | None = None) -> Iterator[Any]:
    """Yield the records of a generation, in the order in which they were written.

    Args:
        rows: of each batch but the last; None for as many as make about :data:`BATCH_BYTES`.

    Yields:
        ``pa.RecordBatch`` of ``generation.arrow_schema``.

    Raises:
        ChromaError: ``damaged_generation`` where they are not those that were exported, at the end; see :mod:`faults`.
    """
    total = count = 0
    for frames in _chunks(postgres, generation, rows):
        total += digests(frames)
        count += len(frames)
        try:
            yield _batch(frames, layout, generation)
        except (ValueError, TypeError, OverflowError, KeyError, IndexError, struct.error, pa.ArrowInvalid) as error:
            raise damaged(postgres, generation, f"a record is not of the form of the others ({error})") from error
    if count != generation.records or checksum_text(total) != generation.checksum:
        raise damaged(postgres, generation, f"{count} records were read, {generation.records} exported, or some are others")


def damaged(postgres: Postgres, generation: Generation, what: str) -> ChromaError:
    """Return the error for a generation that is not as it was exported."""
    message = f"Generation {generation.number} of collection {generation.collection} in table {postgres.table} is not as exported: {what}."
    hint = "Somebody changed its table, or PostgreSQL lost something: take an earlier generation, and export again."
    return ChromaError("damaged_generation", message, hint)


def _chunks(postgres: Postgres, generation: Generation, most: int | None) -> Iterator[list[bytes]]:
    """Yield the rows of COPY's binary format, some at a time."""
    statement = sql.SQL("COPY {table} ({columns}) TO STDOUT (FORMAT BINARY)").format(
        table=postgres.name(generation.suffix), columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    waiting: list[bytes] = []
    size = 0
    first = True
    with (
        postgres.attempting(f"Could not read generation {generation.number}"),
        postgres.connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        # The server sends each row as a message of its own, the first one with the header before it.
        for message in copy:
            row = bytes(message)
            if first:
                row, first = row.removeprefix(HEADER), False
            if row in (b"", TRAILER):
                continue
            waiting.append(row)
            size += len(row)
            if len(waiting) == most if most else size >= BATCH_BYTES:
                yield waiting
                waiting, size = [], 0
    if waiting:
        yield waiting


def _batch(frames: list[bytes], layout: Layout, generation: Generation) -> Any:
    page: dict[str, list[Any]] = {name: [] for name in ("ids", "documents", "uris", "metadatas")}
    vectors = []
    head = embedding_head(generation.dimension or 0, layout.embedding)[4:]
    for frame in frames:
        name, document, uri, metadata, exact, embedding = _fields(frame)
        if exact is not None:
            real = orjson.loads(exact) if b"Infinity" not in exact and b"NaN" not in exact else json.loads(exact)
            values = real["id"], real["document"], real["uri"], real["metadata"]
        else:
            values = (
                str(name, "utf-8"),
                None if document is None else str(document, "utf-8"),
                None if uri is None else str(uri, "utf-8"),
                None if metadata is None else orjson.loads(metadata[1:]),
            )
        for column, value in zip(page.values(), values, strict=True):
            column.append(value)
        if not embedding.startswith(head):
            raise ValueError("a vector with another dimension")
        vectors.append(embedding[len(head) :])
    page["embeddings"] = list(_vectors(b"".join(vectors), len(frames), layout))
    return page_batch(page, generation.arrow_schema)


def _vectors(data: bytes, count: int, layout: Layout) -> Any:
    """Return ``(count, dim)`` float32."""
    if layout.embedding == VECTOR:
        return np.frombuffer(data, ">f4").reshape(count, -1).astype(np.float32)
    elements = np.frombuffer(data, ">i4").reshape(count, -1, 2)
    if (elements[:, :, 0] != 4).any():
        raise ValueError("a vector with a null")
    return elements[:, :, 1].astype(np.int32).view(np.float32)


def _fields(frame: bytes) -> list[Any]:
    if not frame.startswith(FIELDS):
        raise ValueError("another number of fields")
    found: list[Any] = []
    at = len(FIELDS)
    for _column in COLUMNS:
        (length,) = _LENGTH.unpack_from(frame, at)
        at += 4
        found.append(None if length < 0 else frame[at : at + length])
        at += max(0, length)
    if at != len(frame):
        raise ValueError("a field of another length")
    return found
