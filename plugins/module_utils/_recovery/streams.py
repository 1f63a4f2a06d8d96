# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources that are read from their beginning to their end: a backup, PostgreSQL. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pq
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import hashes_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Dataset, Source
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import Holding

_ROWS = 8192


class Ids:
    """A set of ids, 8 bytes for each: their hashes, by Python's own function, which is keyed anew in each process.

    Two ids with one hash are taken for one: one in 10¹⁹ pairs.
    """

    def __init__(self) -> None:
        # Sorted, each at least twice as long as the next: so adding costs as little as asking.
        self._sorted: list[Any] = []

    def __len__(self) -> int:
        return sum(map(len, self._sorted))

    def add(self, ids: Any) -> None:
        """Add Arrow strings that are not in it."""
        self.add_hashes(hashes_of(ids))

    def add_hashes(self, hashes: Any) -> None:
        """Add what is known by its hash: ``(n,) int64``."""
        new = np.unique(hashes)
        while self._sorted and len(self._sorted[-1]) < 2 * len(new):
            new = np.union1d(self._sorted.pop(), new)
        self._sorted.append(new)

    def mask(self, ids: Any) -> Any:
        """Return which of some Arrow strings are in it: ``(n,) bool``."""
        return self.mask_hashes(hashes_of(ids))

    def mask_hashes(self, hashes: Any) -> Any:
        """Return which of some hashes are in it: ``(n,) bool``."""
        found = np.zeros(len(hashes), np.bool_)
        for known in self._sorted:
            if len(known):
                found |= known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
        return found


class Stream:
    """A source that can only be read as a whole; nothing of it is read, or brought from elsewhere, before it is asked for.

    Args:
        name: ``backup`` or ``postgres``.
        dimension: of its vectors; None where nobody knows.
        records: how many it has.
        schema: returns the Arrow schema of its batches.
        read: begins anew each time.
        version: see :class:`Holding`.
    """

    by_id = False

    def __init__(
        self,
        name: str,
        dimension: int | None,
        records: int,
        schema: Callable[[], Any],
        read: Callable[[], Iterable[Any]],
        version: str = "",
    ) -> None:
        self.name, self.dimension = name, dimension
        self._schema, self._read = schema, read
        self.holding = Holding(records, records, version=version)

    @property
    def schema(self) -> Any:
        """The Arrow schema of its batches."""
        return self._schema()

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield records, see :meth:`RecoverySource.batches`."""
        wanted = None
        if ids is not None:
            wanted = Ids()
            wanted.add(ids)
        for batch in self._read():
            mask = np.ones(batch.num_rows, np.bool_) if wanted is None else wanted.mask(batch.column("id"))
            if mask.any():
                yield batch if mask.all() else batch.filter(pa.array(mask))


def read_parts(dataset: Dataset, source: Source) -> Iterator[Any]:
    """Yield the records of a collection of a dataset, with all their columns; its parts were checked when they were made."""
    for part in source.collection.parts:
        with dataset.store.open_input(part.path) as file:
            # In one thread it needs half the memory.
            yield from pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=_ROWS, use_threads=False)


def schema_of(dataset: Dataset, source: Source) -> Any:
    """Return the Arrow schema of what :func:`read_parts` yields."""
    with dataset.store.open_input(source.collection.parts[0].path) as file:
        return pq.ParquetFile(file).schema_arrow
