# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the vector of each record is: in the index, in the log, or nowhere. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap

# A place is an internal row of the index, or this, or minus an entry of the log minus 2: 8 bytes for a record.
NOWHERE = -1


def in_log(seq_id: int) -> int:
    """Return the place of the vector that an entry of the log holds."""
    return -seq_id - 2


class Places:
    """Finds the places of vectors by id.

    Ids are found by sorted 64-bit hashes, 20 bytes for a record, and compared afterwards. The hash is Python's own, keyed
    anew in each process, so that no data can be made to collide.

    Args:
        labels: the label map; None where there is no index.
        index_labels, deleted: of the internal rows, from :meth:`VectorFile.labels`.
        changes: id → ``seq_id`` or None, from :func:`wal.vector_changes`; set afterwards with :meth:`change`.
    """

    def __init__(self, labels: LabelMap | None, index_labels: Any = None, deleted: Any = None) -> None:
        self._ids: Any = labels.ids if labels is not None else None
        self._changed_ids: Any = None
        self._changed_places: Any = None
        if labels is None:
            return
        hashes = hashes_of(labels.ids)
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]
        self._rows = rows_of(labels.labels, index_labels, deleted)

    def change(self, changes: Mapping[str, int | None]) -> None:
        """Let the log replace what the index holds."""
        if changes:
            self._changed_ids = pa.array(list(changes), pa.string())
            places = [NOWHERE if seq_id is None else in_log(seq_id) for seq_id in changes.values()]
            self._changed_places = np.array(places, np.int64)

    def contains(self, name: str) -> bool:
        """Return whether the label map has an id."""
        return self._ids is not None and int(self.positions(pa.array([name], pa.string()))[0]) >= 0

    def find(self, ids: Any) -> Any:
        """Return the places of the vectors of records.

        Args:
            ids: ``(n,)`` Arrow strings.

        Returns:
            ``(n,)`` int64: an internal row, :data:`NOWHERE`, or :func:`in_log` of an entry.
        """
        found = np.full(len(ids), NOWHERE, np.int64)
        if self._ids is not None:
            positions = self.positions(ids)
            known = positions >= 0
            found[known] = self._rows[positions[known]]
        if self._changed_ids is not None:
            which = pc.index_in(ids, value_set=self._changed_ids).fill_null(-1).to_numpy(zero_copy_only=False)
            found[which >= 0] = self._changed_places[which[which >= 0]]
        return found

    def positions(self, ids: Any) -> Any:
        """Return the positions of ids in the label map, -1 where they are not in it."""
        if not len(self._hashes):
            return np.full(len(ids), -1, np.int64)
        hashes = hashes_of(ids)
        at = np.searchsorted(self._hashes, hashes)
        at[at == len(self._hashes)] = 0
        candidates = self._order[at]
        same = pc.equal(self._ids.take(pa.array(candidates)), ids.cast(pa.large_string())).to_numpy(zero_copy_only=False)
        # Two ids with the same hash: look at all that have it.
        for place in np.flatnonzero((self._hashes[at] == hashes) & ~same):
            wanted, other = ids[int(place)].as_py(), int(at[place])
            while other < len(self._hashes) and self._hashes[other] == hashes[place]:
                if self._ids[int(self._order[other])].as_py() == wanted:
                    candidates[place], same[place] = self._order[other], True
                other += 1
        return np.where(same, candidates, -1)


def rows_of(labels: Any, index_labels: Any, deleted: Any) -> Any:
    """Return the internal row of each label, :data:`NOWHERE` where the index has none or has it marked as deleted.

    Args:
        labels: ``(n,)`` int64.
        index_labels: ``(rows,)`` uint64.
        deleted: ``(rows,)`` bool.
    """
    if not len(index_labels):
        return np.full(len(labels), NOWHERE, np.int64)
    order = np.argsort(index_labels, kind="stable")
    ordered = index_labels[order]
    wanted = labels.astype(np.uint64)
    at = np.searchsorted(ordered, wanted)
    at[at == len(ordered)] = 0
    rows = order[at]
    return np.where((ordered[at] == wanted) & ~deleted[rows], rows, NOWHERE)


def hashes_of(ids: Any, function: Callable[[Any], int] = hash) -> Any:
    """Return a 64-bit hash of each text.

    Args:
        ids: Arrow strings.
        function: another one in tests, to make them collide.
    """
    return np.fromiter(map(function, ids.to_pylist()), np.int64, len(ids))
