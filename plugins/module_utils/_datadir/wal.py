# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead log: what an index or the records do not hold yet. FOR INTERNAL COLLECTION USE ONLY.

Table ``embeddings_queue`` holds what was written, with an increasing ``seq_id``. 0.5.23 and later remove entries that the
index has on disk, 0.4 keeps them for ever. A segment's position is in table ``max_seq_id``, for the index of 0.4 in the label map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, orjson
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged, StoredCollection

ADD, UPDATE, UPSERT, DELETE = range(4)


@dataclass(frozen=True)
class Entry:
    """One entry of the log.

    Args:
        operation: :data:`ADD`, :data:`UPDATE`, :data:`UPSERT` or :data:`DELETE`.
        has_vector: whether it brings one; see :func:`read_vectors`.
        metadata: with the document and the uri under Chroma's own keys; a null removes a key. Empty where it was not asked for.
    """

    seq_id: int
    operation: int
    id: str
    has_vector: bool
    metadata: Mapping[str, Any]


def position(value: Any) -> int | None:
    """Return a ``max_seq_id`` as a number: 0.x stores it as 8 bytes, big endian (older ones 24), 1.x as an integer.

    Returns:
        None where it is neither: poisoned, as some upgrades left it.
    """
    if isinstance(value, bytes) and len(value) in (8, 24):
        value = int.from_bytes(value, "big")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def positions(database: Database) -> dict[str, int | None]:
    """Return the position of each segment that has one; None where it cannot be read."""
    return {str(segment): position(value) for segment, value in database.rows("SELECT segment_id, seq_id FROM max_seq_id")}


def read_entries(database: Database, collection: StoredCollection, after: int, metadata: bool) -> Iterator[Entry]:
    """Yield the entries of a collection beyond a position, oldest first.

    Args:
        after: a segment's position.
        metadata: whether to decode it.

    Raises:
        Damaged: ``log`` where an entry is not what Chroma writes.
    """
    column = "metadata" if metadata else "NULL"
    last = after
    while True:
        rows = database.rows(
            f"SELECT seq_id, operation, id, vector IS NOT NULL, {column} FROM embeddings_queue"
            " WHERE seq_id > ? AND topic = ? ORDER BY seq_id LIMIT 10000",
            (last, collection.topic),
        )
        for seq_id, operation, name, has_vector, text in rows:
            if operation not in (ADD, UPDATE, UPSERT, DELETE) or not isinstance(name, str):
                raise Damaged("log", database.path, f"entry {seq_id} of the write-ahead log has operation {operation!r}.")
            yield Entry(seq_id, operation, name, bool(has_vector), _decoded(database, seq_id, text))
            last = seq_id
        if len(rows) < 10000:
            return


def read_vectors(database: Database, seq_ids: list[int], dimension: int) -> Any:
    """Return the vectors of entries, ``(n, dimension)`` float32.

    Raises:
        Damaged: ``log`` where one is absent, has another length or encoding.
    """
    found = np.empty((len(seq_ids), dimension), np.float32)
    places = {seq_id: place for place, seq_id in enumerate(seq_ids)}
    for start in range(0, len(seq_ids), 500):
        some = seq_ids[start : start + 500]
        marks = ",".join("?" * len(some))
        rows = database.rows(f"SELECT seq_id, vector, encoding FROM embeddings_queue WHERE seq_id IN ({marks})", some)
        for seq_id, vector, encoding in rows:
            if not isinstance(vector, bytes) or len(vector) != 4 * dimension or encoding != "FLOAT32":
                raise Damaged("log", database.path, f"entry {seq_id} of the write-ahead log holds no vector of {dimension} float32.")
            found[places[seq_id]] = np.frombuffer(vector, "<f4")
        if len(rows) != len(some):
            raise Damaged("log", database.path, "entries of the write-ahead log vanished while they were read.")
    return found


def vector_changes(entries: Iterator[Entry], indexed: Any) -> dict[str, int | None]:
    """Decide which vectors the log replaces: later entries win, deletions apply.

    An ADD of an id that exists is ignored, as is an UPDATE of one that does not.

    Args:
        entries: beyond the index's position, oldest first.
        indexed: a function that says whether the index has an id.

    Returns:
        id → ``seq_id`` of the entry that holds its vector, or None where the id was deleted.
    """
    changes: dict[str, int | None] = {}
    for entry in entries:
        if entry.operation == DELETE:
            changes[entry.id] = None
            continue
        if not entry.has_vector:
            continue
        exists = changes[entry.id] is not None if entry.id in changes else None
        if entry.operation != UPSERT and exists is None:
            exists = indexed(entry.id)
        if entry.operation == UPSERT or exists == (entry.operation == UPDATE):
            changes[entry.id] = entry.seq_id
    return changes


def _decoded(database: Database, seq_id: int, text: Any) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Damaged("log", database.path, f"the metadata of entry {seq_id} of the write-ahead log is no JSON.") from error
    if not isinstance(value, dict):
        raise Damaged("log", database.path, f"the metadata of entry {seq_id} of the write-ahead log is no object.")
    return value
