# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of a collection, as an export reads it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection, stored_function, stored_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import Assembled
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import Tally
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem


class RecoveredSource:
    """A collection out of what is left of it, as an export reads it.

    Args:
        one: its sources.
        item: the plan.
        name: that it gets in the dataset.
        metadata: of the collection beside its own.
    """

    kind = "directory"
    version: str | None = None
    consistent = False
    path: Path | None = None
    lasts = math.inf

    def __init__(self, one: Assembled, item: PlanItem, metadata: Mapping[str, Any]) -> None:
        merged = one.merged
        if merged is None:
            raise ChromaError("recovery_failed", f"Nothing of {item.label} can be recovered.", "Look at its entry in the plan.")
        self._merged, self._item = merged, item
        self._described = _described(one, item, metadata)

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        """Return the collection."""
        return (self._described,)

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        """Return the item's id: another state has another one."""
        return self._item.id

    def schema(self, collection: SourceCollection) -> Any:
        """Return the Arrow schema of the batches."""
        return self._merged.schema

    def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
        """Yield the records from number ``start`` on."""
        for batch in self._merged.batches(Tally()):
            skipped = min(start, batch.num_rows)
            start -= skipped
            if batch.num_rows > skipped:
                yield batch.slice(skipped)

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        """What was read is compared with the plan's numbers; the folder is looked at again by the caller."""


def _described(one: Assembled, item: PlanItem, metadata: Mapping[str, Any]) -> SourceCollection:
    stored = one.remains.stored
    return SourceCollection(
        id=stored.id,
        name=item.target,
        tenant=item.tenant,
        database=item.database,
        dimension=one.dimension,
        space=one.space,
        metadata={**stored.metadata, **metadata},
        configuration={**stored_settings(stored), "space": one.space},
        schema=stored.schema,
        embedding_function=stored_function(stored),
        records=item.recoverable,
        handle=one,
    )
