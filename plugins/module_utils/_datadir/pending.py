# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that the log adds or changes beyond what SQLite's tables hold. FOR INTERNAL COLLECTION USE ONLY.

A server writes the log first. Where it was killed before it wrote the rest, it does so at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DOCUMENT_KEY,
    LISTS,
    SCALARS,
    URI_KEY,
    Damaged,
    StoredCollection,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pivot import kind_of
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.values import ARRAYS, read_pivot

_TEXTS = (DOCUMENT_KEY, URI_KEY)
_KINDS = (*SCALARS, *LISTS, "null")


@dataclass(frozen=True)
class Pending:
    """What the log makes of some records.

    Args:
        records: id → metadata with the document and the uri under Chroma's own keys, in the order of the log.
        replaced: ids whose rows in SQLite's tables count no more, whether they exist or not.
        stored: how many of those exist.
    """

    records: Mapping[str, Mapping[str, Any]]
    replaced: tuple[str, ...]
    stored: int


def read_pending(database: Database, collection: StoredCollection, positions: Mapping[str, int | None]) -> Pending:
    """Apply the entries of the log beyond the position of a collection's METADATA segment.

    Args:
        positions: from :func:`wal.positions`.

    Raises:
        Damaged: ``log``.
    """
    segment = collection.metadata_segment.id if collection.metadata_segment else ""
    after = checked(database, collection, positions.get(segment, 0))
    lists = bool(database.columns(ARRAYS))
    states: dict[str, dict[str, Any] | None] = {}
    stored = 0
    for entry in wal.read_entries(database, collection, after, metadata=True):
        if entry.id not in states:
            states[entry.id] = _stored(database, segment, entry.id, lists)
            stored += states[entry.id] is not None
        before = states[entry.id]
        if entry.operation == wal.DELETE:
            states[entry.id] = None
        elif entry.operation == wal.UPSERT or (before is not None) == (entry.operation == wal.UPDATE):
            merged = {**(before or {}), **entry.metadata}
            states[entry.id] = {key: value for key, value in merged.items() if value is not None}
            wrong = [key for key, value in merged.items() if kind_of(value) not in (("str", "null") if key in _TEXTS else _KINDS)]
            if wrong:
                raise Damaged("log", database.path, f"record {entry.id[:80]} has values that Chroma does not store, in {wrong[:5]}.")
    return Pending({name: state for name, state in states.items() if state is not None}, tuple(states), stored)


def checked(database: Database, collection: StoredCollection, position: int | None) -> int:
    """Return the position of a segment.

    Raises:
        Damaged: ``log`` where it is None.
    """
    if position is None:
        raise Damaged("log", database.path, f"the position of a segment of collection {collection.name} in table max_seq_id is no number.")
    return position


def _stored(database: Database, segment: str, name: str, lists: bool) -> dict[str, Any] | None:
    """Return the metadata of one record, with its document and uri; None where there is no such record."""
    found = database.rows("SELECT id FROM embeddings WHERE segment_id = ? AND embedding_id = ?", (segment, name))
    if not found:
        return None
    record = read_pivot(database, np.array([found[0][0]], np.int64), lists)
    own = {key: record.own(key)[0].as_py() for key in _TEXTS}
    return {**record.dictionaries()[0], **{key: value for key, value in own.items() if value is not None}}
