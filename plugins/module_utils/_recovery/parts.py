# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a merge of sources is made of, and what it counts. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import RecoverySource
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Ids


@dataclass(frozen=True)
class Parts:
    """The sources of one collection.

    Args:
        rows: SQLite's records, as far as there are; None where there are none.
        log, salvage: vectors; None where there are none.
        streams: a backup, PostgreSQL; in their order.
        rows_lost: whether ``rows`` is not all there was: then what is in the label map or in a stream is a record, too.
        texts_lost: whether documents and metadata of ``rows`` may be gone: then those of a record that has none are taken from elsewhere.
        labelled: whether ``salvage`` knows the ids.
        deleted: ids that are none although a source has them: the log says that they were deleted.
    """

    rows: RecoverySource | None
    log: RecoverySource | None
    salvage: RecoverySource | None
    streams: tuple[RecoverySource, ...]
    rows_lost: bool
    texts_lost: bool
    labelled: bool
    deleted: Ids

    @property
    def all(self) -> tuple[RecoverySource, ...]:
        """Those that there are, in the order in which they count."""
        return tuple(each for each in (self.log, self.salvage, self.rows, *self.streams) if each is not None)


@dataclass
class Tally:
    """What a reading yielded.

    Args:
        records: with vectors.
        lost: records without a vector anywhere.
        bare: of ``records``, those of which only id and vector are left.
        relabelled: of those, the ones that have no id of their own any more.
        vectors: source → vectors that it gave.
        first_lost: some ids of those that are lost.
        strangers: ids of the label map that SQLite has not, and so are left out.
    """

    records: int = 0
    lost: int = 0
    bare: int = 0
    relabelled: int = 0
    vectors: dict[str, int] = field(default_factory=dict)
    first_lost: list[str] = field(default_factory=list)
    strangers: int = 0

    def gave(self, source: RecoverySource | One, vectors: int) -> None:
        """Note vectors that a source gave."""
        if vectors:
            self.vectors[source.name] = self.vectors.get(source.name, 0) + vectors


class Waiting:
    """Records that lack something: their ids."""

    def __init__(self) -> None:
        self._ids: list[Any] = []
        self._added, self._done = Ids(), Ids()

    def __len__(self) -> int:
        return len(self._added) - len(self._done)

    def add(self, ids: Any) -> None:
        """Add Arrow strings."""
        if len(ids):
            self._ids.append(ids)
            self._added.add(ids)

    def among(self, ids: Any) -> Any:
        """Return which of some ids still wait: ``(n,) bool``."""
        return self._added.mask(ids) & ~self._done.mask(ids)

    def done(self, ids: Any) -> None:
        """Say that these have what they lacked."""
        self._done.add(ids)

    def left(self) -> Iterator[Any]:
        """Yield the ids that still wait."""
        for each in self._ids:
            found = each.filter(pa.array(self.among(each)))
            if len(found):
                yield found


@dataclass(frozen=True)
class One:
    """One batch of a source, as a source."""

    of: RecoverySource
    batch: Any

    @property
    def name(self) -> str:
        """That of the source."""
        return self.of.name

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield the records of some ids that have a vector."""
        there = pc.is_in(self.batch.column("id"), value_set=ids)
        yield self.batch.filter(pc.and_(there, self.batch.column("vector").is_valid()))
