# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What recovery reads records from. FOR INTERNAL COLLECTION USE ONLY.

A source holds records, or parts of them: the log has vectors, SQLite has ids, documents and metadata, ``data_level0.bin`` has vectors.
Recovery takes each part from the first source, in their order, that has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

LOG, SALVAGE, SQLITE, BACKUP, POSTGRES = "log", "salvage", "sqlite", "backup", "postgres"


@dataclass(frozen=True)
class Holding:
    """What a source holds of one collection.

    Args:
        records: how many.
        vectors: how many of them with their vector.
        ids: whether they have the ids that they always had.
        documents, metadata: whether it keeps such.
        version: tells its content from another one of as many records, where it changes by itself: a plan is of the one that it saw.
    """

    records: int
    vectors: int
    ids: bool = True
    documents: bool = True
    metadata: bool = True
    version: str = ""

    def view(self) -> dict[str, Any]:
        """Return it as a plan says it."""
        return asdict(self)


class RecoverySource(Protocol):
    """Records of one collection from one place.

    Attributes:
        name: one of :data:`LOG`, :data:`SALVAGE`, :data:`SQLITE`, :data:`BACKUP`, :data:`POSTGRES`.
        holding: what it has.
        by_id: whether asking for a few ids is cheap; otherwise the source is read from its beginning to its end each time.
    """

    name: str
    holding: Holding
    by_id: bool

    @property
    def schema(self) -> Any:
        """The Arrow schema of its batches, as ``_dataset.schema.table_schema`` makes it."""

    def batches(self, ids: Any = None) -> Iterator[Any]:
        """Yield records as ``pa.RecordBatch`` of :attr:`schema`, in any order, each id once.

        Args:
            ids: Arrow strings: only these, as far as they are there; None for all.

        Returns:
            Batches of some megabytes. A vector that the source does not have is null; so are documents, uris and metadata.
        """
