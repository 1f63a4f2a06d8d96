# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQLite still holds: rows of records, and vectors in the write-ahead log. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.records import Records
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.values import largest_text
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import LOG, SQLITE, Holding

_BATCH_BYTES = 8 << 20
_PAGE = 10_000
# Instead of an entry: the last one is a deletion; none has a vector; there is none at all.
_DELETED, _BARE, _UNKNOWN = -1, -2, -3
# Number, operation, id, and whether there is a vector of the right size.
_Entry = tuple[int, int, str, bool]


class Rows:
    """The records that SQLite's tables and the log say that there are, without vectors.

    Args:
        path: where the database is.
        stored: the collection; its index is not looked at.
        dimension: that the vectors have or will have; None where nobody knows.

    Attributes:
        note: why the log could not be applied to the records; empty where it was.
    """

    name = SQLITE
    by_id = True

    def __init__(self, path: Path, database: Database, stored: StoredCollection, dimension: int | None) -> None:
        self.note = ""
        bare = replace(stored, vector=None, dimension=dimension)

        def largest() -> int:
            return largest_text(database)

        try:
            self._records = Records(path, database, bare, largest)
        except Damaged as error:
            if error.what != "log":
                raise
            # Without its topic nothing of the log belongs to it.
            self._records = Records(path, database, replace(bare, topic=""), largest)
            self.note = f"the log could not be applied to the records: {error.detail.rstrip('.')}"
        self.schema = self._records.schema
        self.holding = Holding(len(self._records), 0)

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield records, see :meth:`RecoverySource.batches`."""
        if ids is None:
            yield from self._records.batches(_BATCH_BYTES, 0)
        else:
            yield from self._records.of(ids.to_pylist())


class _Newest:
    """Which entry of the log has the newest vector of each id: 16 bytes for an id, known by its hash as in :class:`streams.Ids`."""

    def __init__(self) -> None:
        # Sorted by hash, each at least twice as long as the next, whose entries are the newer ones.
        self._runs: list[tuple[Any, Any]] = []

    def set(self, entries: Mapping[int, int]) -> None:
        """Let newer entries take the place of what is known, by hash."""
        hashes = np.fromiter(entries.keys(), np.int64, len(entries))
        order = np.argsort(hashes)
        new = hashes[order], np.fromiter(entries.values(), np.int64, len(entries))[order]
        while self._runs and len(self._runs[-1][0]) < 2 * len(new[0]):
            new = _joined(new, self._runs.pop())
        self._runs.append(new)

    def find(self, hashes: Any) -> Any:
        """Return entries by hash: ``(n,) int64``, ``_UNKNOWN`` where there is none."""
        found = np.full(len(hashes), _UNKNOWN, np.int64)
        for known, entries in self._runs:
            if len(known):
                places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
                there = known[places] == hashes
                found[there] = entries[places[there]]
        return found

    def all(self) -> tuple[Any, Any]:
        """Return all hashes and their entries."""
        while len(self._runs) > 1:
            self._runs.append(_joined(self._runs.pop(), self._runs.pop()))
        return self._runs[0] if self._runs else (np.empty(0, np.int64), np.empty(0, np.int64))


def _joined(newer: tuple[Any, Any], older: tuple[Any, Any]) -> tuple[Any, Any]:
    hashes, first = np.unique(np.concatenate((newer[0], older[0])), return_index=True)
    return hashes, np.concatenate((newer[1], older[1]))[first]


class LogVectors:
    """The newest vectors, in the write-ahead log; also those that the index has as well, as long as the log is not emptied of them.

    Memory: 0.4 never empties its log, so of an id no more is kept than two numbers.

    Args:
        stored: the collection; its position does not matter, for the index may be gone.
        dimension: of the vectors; entries of another one are left out.
        indexed: whether the index has an id: an *add* of such a one was ignored.
    """

    name = LOG
    by_id = True

    def __init__(self, database: Database, stored: StoredCollection, dimension: int, indexed: Callable[[str], bool]) -> None:
        self._database, self._topic, self._dimension = database, stored.topic, dimension
        self._newest = _Newest()
        for page in self._pages():
            self._newest.set(self._applied(page, indexed))
        self.schema = table_schema((), dimension, stored.name, stored.space)
        there = int((self._newest.all()[1] >= 0).sum())
        self.holding = Holding(there, there, documents=False, metadata=False)

    @property
    def deleted(self) -> Any:
        """The hashes of ids whose last entry is a deletion: ``(n,) int64``."""
        hashes, entries = self._newest.all()
        return hashes[entries == _DELETED]

    def has(self, names: Sequence[str]) -> Any:
        """Return which ids it has entries of: ``(n,) bool``."""
        return self._newest.find(_hashes(names)) != _UNKNOWN

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield records, see :meth:`RecoverySource.batches`."""
        step = max(1, _BATCH_BYTES // (4 * self._dimension))
        for names, entries in self._all() if ids is None else [self._of(ids.to_pylist())]:
            for first in range(0, len(names), step):
                rows = slice(first, first + step)
                yield self._batch(names[rows], wal.read_vectors(self._database, entries[rows], self._dimension))

    def _of(self, names: Sequence[str]) -> tuple[list[str], list[int]]:
        found = [(name, entry) for name, entry in zip(names, self._newest.find(_hashes(names)).tolist(), strict=True) if entry >= 0]
        return [name for name, _entry in found], [entry for _name, entry in found]

    def _all(self) -> Iterator[tuple[list[str], list[int]]]:
        """Yield all ids with their entries, page by page: the names are in the log only."""
        for page in self._pages():
            newest = self._newest.find(_hashes([name for _entry, _operation, name, _usable in page])).tolist()
            found = [(name, entry) for (entry, _operation, name, _usable), last in zip(page, newest, strict=True) if entry == last]
            yield [name for name, _entry in found], [entry for _name, entry in found]

    def _batch(self, names: list[str], vectors: Any) -> Any:
        finite = np.isfinite(vectors).all(axis=1)
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(np.where(finite[:, None], vectors, 0).astype(np.float32).reshape(-1)), self._dimension, mask=pa.array(~finite)
        )
        absent = pa.nulls(len(names), pa.string())
        return pa.RecordBatch.from_arrays([pa.array(names, pa.string()), column, absent, absent], schema=self.schema)

    def _applied(self, page: Sequence[_Entry], indexed: Callable[[str], bool]) -> dict[int, int]:
        """Return what entries make of what is known: by hash the newest entry with a vector, ``_DELETED`` or ``_BARE``."""
        found: dict[int, int] = {}
        hashes = _hashes([name for _entry, _operation, name, _usable in page])
        known = self._newest.find(hashes).tolist()
        for (entry, operation, name, usable), key, before in zip(page, hashes.tolist(), known, strict=True):
            last = found.get(key, before)
            if operation == wal.DELETE:
                found[key] = _DELETED
            elif usable and not (operation == wal.ADD and (indexed(name) if last in (_BARE, _UNKNOWN) else last >= 0)):
                found[key] = entry
            else:
                found[key] = _BARE if last == _UNKNOWN else last
        return found

    def _pages(self) -> Iterator[list[_Entry]]:
        """Yield what can be replayed: number, operation, id, and whether there is a vector of the right size."""
        last = -1
        sql = (
            "SELECT seq_id, operation, id, typeof(vector) = 'blob' AND length(vector) = ? AND encoding = 'FLOAT32' FROM embeddings_queue"
            " WHERE seq_id > ? AND topic = ? AND typeof(id) = 'text' AND operation IN (0, 1, 2, 3) ORDER BY seq_id LIMIT ?"
        )
        while rows := self._database.rows(sql, (4 * self._dimension, last, self._topic, _PAGE)):
            yield [(seq_id, operation, name, bool(usable)) for seq_id, operation, name, usable in rows]
            last = rows[-1][0]


def _hashes(names: Sequence[str]) -> Any:
    return np.fromiter(map(hash, names), np.int64, len(names))


def log_dimension(database: Database, topic: str) -> int | None:
    """Return the dimension of most vectors in the log; None where there are none."""
    sql = (
        "SELECT length(vector) FROM embeddings_queue WHERE topic = ? AND typeof(vector) = 'blob' AND encoding = 'FLOAT32'"
        " GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    )
    found = database.rows(sql, (topic,))
    return int(found[0][0]) // 4 or None if found else None
