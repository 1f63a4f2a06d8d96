# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vectors of some records of a collection: from the log, else from the index. FOR INTERNAL COLLECTION USE ONLY.

What takes long, the label map, is read before the lock. A server may save its index at any moment, also while the database's lock is held:
sizes, times and inodes of the folder's files have to be the same from before the first byte was read until after the last one was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, LABELS_FILE, Damaged, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pending import checked
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import NOWHERE, rows_of

# Seconds for which files have to stand still before they are believed; more than the ticks in which a kernel counts their times.
SETTLED = 0.05
_LOOK = 0.01

# Entries of a label map that are looked up at once.
_LOOKED_UP = 1 << 18

Stamp = tuple[tuple[str, int, int, int], ...]


class Moved(Exception):
    """The files of an index changed while they were read."""


def stamp(folder: Path) -> Stamp:
    """Return names, sizes, times and inodes of a folder's files; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            found = [(each.name, each.stat(follow_symlinks=False)) for each in entries]
    except FileNotFoundError:
        return ()
    return tuple(sorted((name, about.st_size, about.st_mtime_ns, about.st_ino) for name, about in found))


def settled(folder: Path, check: Callable[[], None], wait: float = SETTLED) -> Stamp:
    """Wait until the files of a folder stand still.

    Args:
        check: called now and then; raises where it takes too long.
        wait: seconds.
    """
    seen, since = stamp(folder), time.monotonic()
    while time.monotonic() - since < wait:
        check()
        time.sleep(_LOOK)
        now = stamp(folder)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


class Index:
    """The files of one index at one moment. Close it.

    Args:
        folder: of the VECTOR segment.
        collection: that it belongs to.
        check, wait: see :func:`settled`.

    Raises:
        Moved: while it was opened.
        Damaged: ``labels``, ``header`` or ``vectors``.
    """

    def __init__(self, folder: Path, collection: StoredCollection, check: Callable[[], None], wait: float) -> None:
        self.folder = folder
        self._cosine = collection.space == "cosine"
        self._vectors: VectorFile | None = None
        self._rows: tuple[Any, Any] | None = None
        self.stamp = settled(folder, check, wait)
        self._labels = None
        with self.still():
            if any(name == LABELS_FILE for name, *_rest in self.stamp):
                self._labels = read_labels(folder, hashed=True)
                if len(self._labels):
                    self._vectors = VectorFile(folder)

    def close(self) -> None:
        """Close its files."""
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def still(self) -> _Still:
        """Return a context in which the files must not move: what fails because they did raises :class:`Moved`."""
        return _Still(self)

    def labels(self, ids: Any) -> Any:
        """Return the labels of records, ``(n,)`` int64; -1 where the index has none.

        Args:
            ids: ``(n,)`` Arrow strings.
        """
        found = np.full(len(ids), -1, np.int64)
        if self._labels is None or not len(ids):
            return found
        # The many are looked up among the few, so that they need not be sorted; of 64 keyed bits none meet by chance.
        wanted = np.fromiter((hash(each.encode()) for each in ids.to_pylist()), np.int64, len(ids))
        order = np.argsort(wanted)
        ordered = wanted[order]
        for first in range(0, len(self._labels), _LOOKED_UP):
            hashes = self._labels.ids[first : first + _LOOKED_UP]
            at = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
            hits = np.flatnonzero(ordered[at] == hashes)
            found[order[at[hits]]] = self._labels.labels[first + hits]
        return found

    def vectors(self, labels: Any) -> tuple[Any, Any]:
        """Return vectors as servers do, ``(n, dimension)`` float32, and which of them are there, ``(n,)`` bool.

        Args:
            labels: ``(n,)`` int64.
        """
        if self._vectors is None:
            return np.zeros((len(labels), 0), np.float32), np.zeros(len(labels), np.bool_)
        rows = self._rows_of(labels)
        there = rows >= 0
        found = np.zeros((len(labels), self._vectors.header.dimension), np.float32)
        found[there] = self._vectors.vectors(rows[there])
        if self._cosine:
            with np.errstate(all="ignore"):  # what is not finite is for validation to tell
                found[there] *= self._vectors.lengths[rows[there], np.newaxis]
        return found, there

    def _rows_of(self, labels: Any) -> Any:
        """Return internal rows. Chroma counts labels from 1 as it adds elements, so one guess does; all are read where it does not."""
        if self._vectors is None:
            raise AssertionError("there is no index")
        if self._rows is None:
            guess = labels - 1
            possible = (guess >= 0) & (guess < self._vectors.rows)
            seen, deleted = self._vectors.labels_at(guess[possible])
            if ((seen == labels[possible].astype(np.uint64)) & ~deleted).all() and possible.sum() == (labels >= 0).sum():
                return np.where(possible, guess, NOWHERE)
            self._rows = self._vectors.labels()
        return np.where(labels >= 0, rows_of(np.maximum(labels, 0), *self._rows), NOWHERE)


class _Still:
    def __init__(self, index: Index) -> None:
        self._index = index

    def __enter__(self) -> None:
        self._check()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # What looks damaged may only have been half written.
        if error is None or isinstance(error, Damaged):
            self._check()

    def _check(self) -> None:
        if stamp(self._index.folder) != self._index.stamp:
            self._index.close()
            raise Moved


class Source:
    """Where the vectors of a collection's records are at one moment.

    Args:
        database: opened; nobody may write to it meanwhile.
        collection: to read.
        index: of it; None where it has no folder.
        positions: see :func:`wal.positions`.
    """

    def __init__(self, database: Database, collection: StoredCollection, index: Index | None, positions: Mapping[str, int | None]) -> None:
        self._database, self._collection, self._index = database, collection, index
        self._changes: dict[str, int | None] = {}
        if collection.vector is not None:
            after = checked(database, collection, positions.get(collection.vector.id, 0))
            entries = list(wal.read_entries(database, collection, after, metadata=False))
            names = list(dict.fromkeys(each.id for each in entries))
            labels = index.labels(pa.array(names, pa.string())) if index else np.full(len(names), -1)
            indexed = {name for name, label in zip(names, labels.tolist(), strict=True) if label >= 0}
            self._changes = wal.vector_changes(iter(entries), indexed.__contains__)

    def labels(self, ids: Any) -> Any:
        """Return the labels that the index has for records, ``(n,)`` int64, for :meth:`vectors`. Better for many at once.

        Args:
            ids: ``(n,)`` Arrow strings.
        """
        return self._index.labels(ids) if self._index else np.full(len(ids), -1, np.int64)

    def vectors(self, ids: Any, labels: Any) -> Any:
        """Return the vectors of records, ``(n, dimension)`` float32.

        Args:
            ids: ``(n,)`` Arrow strings.
            labels: of them.

        Raises:
            Damaged: ``vectors`` where one is nowhere; ``log``.
        """
        dimension = self._collection.dimension or 0
        found, there = np.zeros((len(ids), dimension), np.float32), np.zeros(len(ids), np.bool_)
        logged = [(row, self._changes[name]) for row, name in enumerate(ids.to_pylist()) if name in self._changes]
        newer = [(row, seq_id) for row, seq_id in logged if seq_id is not None]
        if newer:
            rows = [row for row, _seq_id in newer]
            found[rows], there[rows] = wal.read_vectors(self._database, [seq_id for _row, seq_id in newer], dimension), True
        rest = np.setdiff1d(np.arange(len(ids)), np.array([row for row, _seq_id in logged], np.int64), True)
        if self._index is not None and len(rest):
            vectors, indexed = self._index.vectors(labels[rest])
            if indexed.any() and vectors.shape[1] != dimension:
                detail = f"has vectors of {vectors.shape[1]} numbers, the collection of {dimension}."
                raise Damaged("header", self._index.folder, detail)
            found[rest[indexed]], there[rest[indexed]] = vectors[indexed], True
        if not there.all():
            lost = ids[int(np.flatnonzero(~there)[0])].as_py()
            folder = self._index.folder if self._index else self._database.path.parent
            detail = f"the vector of record {lost[:80]!r} of collection {self._collection.name} is neither in the log nor in the index."
            raise Damaged("vectors", folder / DATA_FILE, detail)
        return found
