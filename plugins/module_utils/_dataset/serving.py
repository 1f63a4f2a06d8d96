# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server as the source of an export: read in pages, several at once. FOR INTERNAL COLLECTION USE ONLY.

A server has no moment that could be read: records may come and go between two pages. So each collection is read twice. The first
time, without vectors and documents, tells the columns of the table and the ids in their order; the second must find the same ids.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, orjson, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection, chosen
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Measured on 200,000 × 384: one thread 7,500, four 13,200 vectors a second. Each holds a decoded page.
IN_FLIGHT = 4
FIRST_PAGE, LARGEST_PAGE = 100, 5000
# Of JSON; decoded it takes three times as much.
PAGE_BYTES = 4 * 1024 * 1024
# Rows of one Parquet row group come from several pages.
BATCH_BYTES = 16 * 1024 * 1024
# Seconds that a restart of the server may take.
PATIENCE = 60.0
# Seconds from its beginning for which an interrupted export is gone on with: no fingerprint shows that a vector, document or value was
# replaced by another one since.
LASTS = 3600.0

_AWAY = ("unreachable", "unavailable")
_TOO_MUCH = ("timeout", "server_error", "too_large")


@dataclass(frozen=True)
class Survey:
    """What the first reading of a collection told.

    Args:
        ids: ``(n,) uint64``, a hash of each id, in the server's order.
        types: metadata key → types of its values.
        nulls: whether a key has a null.
        dimension: of the vectors; None of an empty collection.
    """

    ids: Any
    types: Mapping[str, set[str]]
    nulls: bool
    dimension: int | None


class ServerSource:
    """The collections of one database of a server.

    Args:
        client: speaks to the server.
        sleep: how to wait, seconds; replaced in unit tests.
    """

    kind = "server"
    consistent = False
    path: Path | None = None
    lasts = LASTS

    def __init__(self, client: ChromaClient, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self._surveys: dict[str, Survey] = {}
        self.version: str | None = client.version

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        """Return the collections of these names in the client's database, or all."""
        connection = self._client.connection
        found = self._client.list_collections()
        where = f"database {connection.database} of tenant {connection.tenant} at {connection.url}"
        return tuple(map(self._described, chosen(found, names, where)))

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        """Return a hash of all ids and the tables' columns; vectors and values may change without it."""
        digest = hashlib.sha256()
        for each in collections:
            survey = self._survey(each)
            types = {key: sorted(seen) for key, seen in survey.types.items()}
            digest.update(orjson.dumps([each.id, survey.dimension, types, survey.nulls], option=orjson.OPT_SORT_KEYS))
            digest.update(survey.ids)
        return digest.hexdigest()

    def schema(self, collection: SourceCollection) -> Any:
        """Return the Arrow schema of a collection's batches."""
        survey = self._survey(collection)
        return table_schema(plan_columns(survey.types, survey.nulls), survey.dimension, collection.name, collection.space)

    def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
        """Yield a collection's records from number ``start`` on.

        Raises:
            ChromaError: ``collection_changed`` where a page has other ids, or metadata of another type, than the first time.
        """
        survey, schema = self._survey(collection), self.schema(collection)
        waiting: list[Any] = []
        position = start
        for page in self._pages(collection, ["embeddings", "documents", "metadatas", "uris"], len(survey.ids), start):
            hashes = _hashes(page["ids"])
            if not np.array_equal(hashes, survey.ids[position : position + len(hashes)]):
                raise _changed(collection, "other records were found than at first")
            position += len(hashes)
            try:
                waiting.append(page_batch(page, schema))
            except (ValueError, TypeError, OverflowError, pa.ArrowInvalid) as error:
                raise _changed(collection, f"a record is not of the form that all had at first ({error})") from error
            if sum(each.nbytes for each in waiting) >= BATCH_BYTES:
                yield pa.concat_batches(waiting)
                waiting = []
        if waiting:
            yield pa.concat_batches(waiting)

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        """Check that no collection has more or fewer records than were read, and that all still exist."""
        for each in collections:
            now = self._patiently(partial(self._client.count, each.handle))
            if now != len(self._survey(each).ids):
                raise _changed(each, f"it has {now} records now, {len(self._survey(each).ids)} were read")

    def _described(self, found: Collection) -> SourceCollection:
        stored = found.described.get("configuration_json") or {}
        return SourceCollection(
            id=found.id,
            name=found.name,
            tenant=found.tenant,
            database=found.database,
            dimension=found.dimension,
            space=found.space,
            metadata=dict(found.metadata),
            configuration=dict(found.configuration),
            schema=found.described.get("schema"),
            embedding_function=stored.get("embedding_function"),
            records=self._client.count(found),
            handle=found,
        )

    def _survey(self, collection: SourceCollection) -> Survey:
        if collection.id not in self._surveys:
            self._surveys[collection.id] = self._surveyed(collection)
        return self._surveys[collection.id]

    def _surveyed(self, collection: SourceCollection) -> Survey:
        hashes: list[Any] = []
        types: dict[str, set[str]] = {}
        nulls = False
        for page in self._pages(collection, ["metadatas"], collection.records, 0):
            hashes.append(_hashes(page["ids"]))
            nulls |= page_types(page["metadatas"], types)
        ids = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        if len(np.unique(ids)) != len(ids):
            raise _changed(collection, "a record came twice")
        dimension = collection.dimension
        if dimension is None and len(ids):
            # 0.4 does not say it.
            first = self._patiently(partial(self._client.page, collection.handle, ["embeddings"], 1, 0))
            dimension = len(first["embeddings"][0])
        return Survey(ids, types, nulls, dimension)

    def _pages(self, collection: SourceCollection, include: list[str], total: int, start: int) -> Iterator[Mapping[str, Any]]:
        """Yield pages in order, while the next ones are on their way; their size follows that of the records."""
        offset, rows = start, FIRST_PAGE
        waiting: deque[tuple[int, Future[list[Mapping[str, Any]]]]] = deque()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            try:
                while offset < total or waiting:
                    while offset < total and len(waiting) < IN_FLIGHT:
                        count = min(rows, total - offset)
                        waiting.append((count, pool.submit(self._fetch, collection, include, count, offset)))
                        offset += count
                    count, future = waiting.popleft()
                    pages = future.result()
                    if sum(len(page["ids"]) for page in pages) != count:
                        raise _changed(collection, "records were removed")
                    rows = next_rows(rows, count, sum(map(_weight, pages)))
                    yield from pages
            finally:
                pool.shutdown(cancel_futures=True)

    def _fetch(self, collection: SourceCollection, include: list[str], limit: int, offset: int) -> list[Mapping[str, Any]]:
        """Return a page, or its halves where the server could not answer for the whole."""
        try:
            return [self._patiently(partial(self._client.page, collection.handle, include, limit, offset))]
        except ChromaError as error:
            if error.code not in _TOO_MUCH or limit == 1:
                raise
        half = limit // 2
        return [*self._fetch(collection, include, half, offset), *self._fetch(collection, include, limit - half, offset + half)]

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """Return the answer, also of a server that is restarted meanwhile."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except ChromaError as error:
                if error.code not in _AWAY or time.monotonic() > until:
                    raise
            self._sleep(1.0)


def next_rows(rows: int, count: int, weight: int) -> int:
    """Return how many rows to ask for, after ``count`` rows weighed ``weight`` bytes; at most twice as many as before."""
    fitting = PAGE_BYTES * count // max(weight, 1)
    return max(1, min(fitting, 2 * rows, LARGEST_PAGE))


def _weight(page: Mapping[str, Any]) -> int:
    """Return about how many bytes of JSON a page is; its vectors and metadata by a sample, its documents exactly."""
    count = len(page["ids"])
    step = max(count // 10, 1)
    sampled = {key: page[key][::step] for key in ("embeddings", "metadatas") if page.get(key)}
    texts = sum(len(each) for key in ("documents", "uris") for each in page.get(key) or () if each)
    return texts + len(orjson.dumps(sampled)) * step + 40 * count


def _hashes(ids: Sequence[str]) -> Any:
    joined = b"".join(hashlib.blake2b(each.encode(), digest_size=8).digest() for each in ids)
    return np.frombuffer(joined, np.uint64)


def _changed(collection: SourceCollection, what: str) -> ChromaError:
    message = f"Collection {collection.name} was written to while it was exported: {what}."
    hint = "Run it again when nobody writes, or export the data directory, or a copy of it. Nothing was finished."
    return ChromaError("collection_changed", message, hint)
