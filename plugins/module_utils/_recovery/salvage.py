# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the folder of an index still holds, however damaged it is. FOR INTERNAL COLLECTION USE ONLY.

Vectors, and their ids where the label map says them. Nothing is loaded by hnswlib and nothing is unpickled. A label counts only where one
element alone carries it and one id alone has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import Header, VectorFile, read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap, read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, LABELS_FILE, Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import NOWHERE, Places
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import SALVAGE, Holding

# Links of the first level that an index was made with where nobody says (twice M, whose default is 16 in every release).
LINKS0 = (32, 64, 16, 24, 48, 96, 128, 8)
_BATCH_BYTES = 8 << 20
# Of the elements that are looked at, so many must carry a label that can be one, for a guessed layout to be taken.
_FITTING = 0.9
_NAMED = "recovered-{}"


@dataclass(frozen=True)
class Index:
    """The files of a folder, as far as they can be used.

    Args:
        folder: of the index.
        header: read, or guessed; None where neither works.
        labels: the label map, or what there is of it; None where there is none.
        notes: what is wrong, in words.
    """

    folder: Path
    header: Header | None
    labels: LabelMap | None
    notes: tuple[str, ...] = ()


class Salvage:
    """The vectors of a folder.

    Args:
        index: from :func:`look`.
        name: of the collection, for the schema.
        space: in ``cosine`` the index has vectors of length 1, and their lengths beside.

    Attributes:
        scaled: vectors of a cosine space whose lengths are gone: they have length 1.
        unlabelled: vectors that nobody knows the id of, where the label map says others.
    """

    name = SALVAGE
    by_id = True

    def __init__(self, index: Index, name: str, space: str) -> None:
        header, labels = index.header, index.labels
        if header is None:
            raise Damaged("vectors", index.folder / DATA_FILE, "holds nothing that can be recovered.")
        self.dimension = header.dimension
        self.schema = table_schema((), self.dimension, name, space)
        self._vectors = VectorFile(index.folder, header)
        self._lengths = _lengths(self._vectors) if space == "cosine" else None
        self.scaled = space == "cosine" and self._lengths is None
        numbers, deleted = self._vectors.labels()
        deleted |= _twice(numbers)
        self._places: Places | None = None
        if labels is not None and len(labels):
            labels = _one_to_one(labels)
            self._places = Places(labels, numbers, deleted)
            self._ids, self._rows = labels.ids, self._places.find(labels.ids)
            self._rows[~self._finite(self._rows)] = NOWHERE
        else:
            self._rows = np.flatnonzero(~deleted)
            self._rows = self._rows[self._finite(self._rows)]
            self._ids = pa.array([_NAMED.format(each) for each in numbers[self._rows].tolist()], pa.large_string())
        there = int((self._rows >= 0).sum())
        self.unlabelled = int((~deleted).sum()) - there if self._places else 0
        self.holding = Holding(len(self._ids), there, self.labelled, documents=False, metadata=False)

    @property
    def labelled(self) -> bool:
        """Whether the ids are those that the records always had."""
        return self._places is not None

    def holds(self, name: str) -> bool:
        """Return whether the index has an id, and its vector: what has none has got its vector from the log, or will."""
        return bool(self._places is not None and len(self._positions(pa.array([name], pa.string()))))

    def close(self) -> None:
        """Close the file."""
        self._vectors.close()

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield records, see :meth:`RecoverySource.batches`; those that the label map names and the index has not, with a null vector."""
        order = np.argsort(self._rows, kind="stable") if ids is None else self._positions(ids)
        step = max(1, _BATCH_BYTES // (4 * self.dimension))
        for first in range(0, len(order), step):
            some = order[first : first + step]
            yield self._batch(self._ids.take(pa.array(some)), self._rows[some])

    def _positions(self, ids: Any) -> Any:
        """Return where in the map those of some ids are that have a vector."""
        if self._places is None:
            wanted = {each: place for place, each in enumerate(self._ids.to_pylist())}
            return np.array([wanted[each] for each in ids.to_pylist() if each in wanted], np.int64)
        found = self._places.positions(ids)
        found = found[found >= 0]
        return found[self._rows[found] >= 0]

    def _batch(self, ids: Any, rows: Any) -> Any:
        found = np.zeros((len(rows), self.dimension), np.float32)
        there = rows >= 0
        found[there] = self._read(rows[there])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), self.dimension, mask=pa.array(~there))
        absent = pa.nulls(len(rows), pa.string())
        return pa.RecordBatch.from_arrays([ids.cast(pa.string()), vectors, absent, absent], schema=self.schema)

    def _read(self, rows: Any) -> Any:
        found = self._vectors.vectors(rows)
        if self._lengths is not None:
            with np.errstate(all="ignore"):
                found *= self._lengths[rows, np.newaxis]
        return found

    def _finite(self, rows: Any) -> Any:
        """Return which rows hold a vector of numbers: NaN and infinity can't be written again."""
        good = np.ones(len(rows), np.bool_)
        step = max(1, _BATCH_BYTES // (4 * self.dimension))
        for first in range(0, len(rows), step):
            some = rows[first : first + step]
            there = some >= 0
            finite = np.ones(len(some), np.bool_)
            finite[there] = np.isfinite(self._read(some[there])).all(axis=1)
            good[first : first + step] = finite
        return good


def look(folder: Path, dimensions: tuple[int, ...] = (), links0: int | None = None) -> Index:
    """Look what can be used of a folder.

    Args:
        dimensions: that the vectors may have, where the header is damaged: what SQLite, the log and the backup say.
        links0: of the first level, twice the collection's ``max_neighbors``; None where nobody knows.
    """
    notes: list[str] = []
    labels = _labels(folder, notes)
    if not (folder / DATA_FILE).is_file():
        return Index(folder, None, labels, (*notes, f"{DATA_FILE} is missing"))
    try:
        header: Header | None = read_header(folder)
    except Damaged as error:
        notes.append(f"{error.path.name} {error.detail.rstrip('.')}")
        if labels is not None and labels.dimension:
            dimensions = (labels.dimension, *dimensions)
        header = guess_header(folder, dimensions, labels, (links0, *LINKS0) if links0 else LINKS0)
        if header is None:
            notes.append("the layout of the vectors could not be found out")
    if header is not None:
        rows = (folder / DATA_FILE).stat().st_size // header.element_bytes
        if rows < header.count:
            notes.append(f"{DATA_FILE} holds {rows} of {header.count} elements")
    return Index(folder, header, labels, tuple(notes))


def guess_header(folder: Path, dimensions: tuple[int, ...], labels: LabelMap | None, links0: tuple[int, ...]) -> Header | None:
    """Return the header that fits ``data_level0.bin``; None where none does.

    Each element ends with its label, and labels count from 1: only with the right size of an element are there such at its end.
    """
    for dimension in dict.fromkeys(each for each in dimensions if each):
        for links in dict.fromkeys(links0):
            offset = 4 + 4 * links
            label = offset + 4 * dimension
            size = (folder / DATA_FILE).stat().st_size // (label + 8)
            guessed = Header(1, 0, size, size, label + 8, label, offset, 0, 0, links // 2, links, links // 2, 0.0, 0)
            count = _fits(folder, guessed, labels)
            if count:
                return replace(guessed, count=count)
    return None


def _fits(folder: Path, header: Header, labels: LabelMap | None) -> int:
    """Return how many elements there are in this layout; 0 where it is not the right one."""
    with VectorFile(folder, header) as vectors:
        numbers, _deleted = vectors.labels()
    # Beyond the last element, up to the index's capacity, there is nothing, or what was in memory by chance (0.x): often elements again.
    first = np.zeros(len(numbers), np.bool_)
    first[np.unique(numbers, return_index=True)[1]] = True
    beyond = np.flatnonzero(~first | (numbers == 0))
    count = int(beyond[0]) if len(beyond) else len(numbers)
    if not count:
        return 0
    numbers = numbers[:count]
    if labels is not None and len(labels):
        fitting = np.isin(labels.labels.astype(np.uint64), numbers).sum() / min(len(labels), count)
    else:
        fitting = (len(np.unique(numbers[(numbers > 0) & (numbers < 16 * count + 1024)]))) / count
    return count if fitting >= _FITTING else 0


def _labels(folder: Path, notes: list[str]) -> LabelMap | None:
    path = folder / LABELS_FILE
    if not path.is_file():
        notes.append(f"{LABELS_FILE} is missing")
        return None
    try:
        return read_labels(path, inverse=True)
    except Damaged as error:
        notes.append(f"{LABELS_FILE} {error.detail.rstrip('.')}")
    try:
        found = read_labels(path, torn=True)
    except Damaged:
        return None
    if not len(found):
        return None
    notes.append(f"{len(found)} ids could be read of it")
    return found


def _one_to_one(labels: LabelMap) -> LabelMap:
    """Leave out labels that two ids have, and those of which the map's halves say different things: whose the vector is, nobody knows."""
    doubled = _twice(labels.labels)
    if labels.doubtful is not None:
        doubled |= labels.doubtful
    if not doubled.any():
        return labels
    kept = pa.array(~doubled)
    return replace(labels, ids=labels.ids.filter(kept), labels=labels.labels[~doubled])


def _twice(numbers: Any) -> Any:
    """Return which numbers are there more than once: ``(n,) bool``."""
    _values, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return counts[inverse] > 1


def _lengths(vectors: VectorFile) -> Any:
    try:
        lengths = vectors.lengths
    except Damaged:
        return None
    return lengths
