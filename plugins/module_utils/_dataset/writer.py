# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record batches into Parquet parts, each of them finished before it is noted. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pq
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import Part
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Output, Store

# A part ends with the batch that reaches either: what an interrupted export repeats at most, and what one reader takes at a time.
PART_RECORDS = 100_000
PART_BYTES = 256 * 1024 * 1024

T = TypeVar("T")


def parquet_options(schema: Any) -> dict[str, Any]:
    """Return the options that a table is written with.

    zstd 1: levels 3 and 6 cost time only. Byte-stream split: bytes of equal weight side by side, which compresses floats. A
    dictionary and statistics help with metadata, and only cost time with vectors, ids and documents.
    """
    metadata = [each.name for each in columns_of(schema) if each.type not in ("json", "nulls")]
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_byte_stream_split": ["vector.list.element"],
        "use_dictionary": [each.name for each in columns_of(schema) if each.type == "str"],
        "write_statistics": metadata,
    }


class PartWriter:
    """Writes the batches of one collection; use it as a context manager, and :meth:`finish` it where all went well.

    Args:
        store: where the dataset is made.
        name: makes the path of a part from its number.
        schema: Arrow schema of all batches.
        finished: parts of an earlier run, which are kept.
        note: called with each part once it is durable.
        part_records, part_bytes: where a part ends.
    """

    def __init__(
        self,
        store: Store,
        name: Callable[[int], str],
        schema: Any,
        finished: Iterable[Part],
        note: Callable[[Part], None],
        part_records: int = PART_RECORDS,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.parts = list(finished)
        self._store, self._name, self._schema, self._note = store, name, schema, note
        self._limits = part_records, part_bytes
        self._open = contextlib.ExitStack()
        self._output: Output | None = None
        self._parquet: Any = None
        self._records = self._bytes = self._missing = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *failure: Any) -> None:
        # Reaches the open part, if there is one, which then leaves nothing behind.
        self._open.__exit__(*failure)

    def write(self, batch: Any) -> None:
        """Append a batch, and finish the part where it is large enough."""
        if self._output is None:
            self._begin()
        self._parquet.write_batch(batch, row_group_size=max(batch.num_rows, 1))
        self._records += batch.num_rows
        self._bytes += batch.nbytes
        self._missing += batch.column("vector").null_count
        if self._records >= self._limits[0] or self._bytes >= self._limits[1]:
            self.finish()

    def finish(self) -> None:
        """Finish the open part, if there is one."""
        if self._output is None:
            return
        output, path = self._output, self._name(len(self.parts))
        self._open.close()
        part = Part(path, self._records, output.bytes, output.sha256, self._missing)
        self._output = None
        self.parts.append(part)
        self._note(part)

    def _begin(self) -> None:
        self._output = self._open.enter_context(self._store.create(self._name(len(self.parts))))
        self._parquet = self._open.enter_context(pq.ParquetWriter(self._output, self._schema, **parquet_options(self._schema)))
        self._records = self._bytes = self._missing = 0


def overlapped(items: Iterable[T], consume: Callable[[T], None], depth: int = 1) -> None:
    """Consume items in a second thread, in their order, while the next ones are made here.

    Args:
        items: made in this thread.
        consume: called in the other; its first failure ends the whole.
        depth: how many items may wait; each is memory.
    """
    waiting: deque[Future[None]] = deque()
    failed = False

    def step(item: T) -> None:
        nonlocal failed
        if failed:
            return  # what came after the gap is not consumed
        try:
            consume(item)
        except BaseException:
            failed = True
            raise

    with ThreadPoolExecutor(1) as pool:
        for item in items:
            waiting.append(pool.submit(step, item))
            while len(waiting) > depth:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
