# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collection of a dataset into a server: look, make, write what differs, prove. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import PAGE, ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience, spread
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import rounded
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.indexes import schema_for
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Readable
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, requests, rows_per_request
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest, Target, check_existing, deviations
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.verify import Difference, differences, stored, verify
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress


@dataclass(frozen=True)
class Outcome:
    """What became of one collection; also, in check mode, what would.

    Args:
        existing: the collection on the server; None while there is none.
        before: records that it held.
        created: whether this import made it.
        written, skipped: records of the dataset that were not there as they are, and that were.
        verified: records that were read back equal.
        after: records that it holds.
        rounded: records with a float in their metadata of which the server holds a neighbour, see :mod:`floats`.
    """

    target: Target
    client: ChromaClient
    existing: Collection | None
    before: int
    created: bool = False
    written: int = 0
    skipped: int = 0
    verified: int = 0
    after: int = 0
    rounded: int = 0

    def view(self) -> dict[str, Any]:
        """Return the outcome as a user is shown it."""
        return {
            "id": self.existing.id if self.existing else None,
            "name": self.target.name,
            "source": self.target.source.collection.name,
            "tenant": self.target.tenant,
            "database": self.target.database,
            "records": self.target.records,
            "created": self.created,
            "written": self.written,
            "skipped": self.skipped,
            "verified": self.verified,
            "rounded": self.rounded,
            "others": max(0, self.after - self.target.records),
            "differs": deviations(self.target, self.existing) if self.existing else [],
        }


def look(target: Target, client: ChromaClient, database: bool = True) -> Outcome:
    """Read what there is under the target's name, and refuse what does not fit."""
    existing = client.get_collection(target.name) if database else None
    if existing is None:
        return Outcome(target, client, None, 0)
    count = client.count(existing)
    dimension = existing.dimension
    if dimension is None and count:  # 0.4 does not say
        first = next(client.get(existing, include=("embeddings",), page=1), None)
        dimension = len(first["embedding"]) if first else None
    check_existing(target, existing, dimension)
    return Outcome(target, client, existing, count, after=count)


def bring(dataset: Readable, outcome: Outcome, request: ImportRequest, patience: Patience, check: bool, progress: Progress) -> Outcome:
    """Write what the server does not hold as the dataset does; in check mode only count it."""
    target, client, existing = outcome.target, outcome.client, outcome.existing
    if existing is None or (check and not outcome.before):
        progress.advance(target.records)
        return replace(outcome, created=existing is None, written=target.records, after=target.records)
    collection, packed = existing, not client.legacy
    limit = patience(lambda: client.max_batch_size)
    most = min(limit, request.batch_size or limit)
    size = rows_per_request(target.source.collection.dimension or 1, packed, most)

    def write(batch: tuple[Rows, bytes]) -> tuple[int, int]:
        patience(lambda: client.write(collection, "upsert", batch[1]))
        return len(batch[0]), 0

    def mend(rows: Rows) -> tuple[int, int]:
        found = patience(lambda: stored(client, collection, rows))
        different = differences(rows, found, collection.space, client.legacy)
        if different and not check:
            wanted, outdated = mended(rows, different, found, client.legacy)
            if outdated:
                patience(lambda: client.delete(collection, outdated))
            for _rows, payload in requests(wanted, packed, most, nulls=client.legacy):
                patience(partial(client.write, collection, "upsert", payload))
        return len(different), len(rows) - len(different)

    written = skipped = touched = 0

    def pages() -> Iterator[Rows]:
        nonlocal touched
        for rows in dataset.pages(target.source, size):
            touched += 0 if client.legacy else sum(map(rounded, rows.metadatas))
            yield rows

    if outcome.before:
        results = spread(mend, pages(), request.concurrency, patience)
    else:
        results = spread(write, (each for rows in pages() for each in requests(rows, packed, most)), request.concurrency, patience)
    for wrote, kept in results:
        written, skipped = written + wrote, skipped + kept
        progress.advance(wrote + kept)
    # What was compared and found equal needs no second look; what was written does.
    return replace(outcome, written=written, skipped=skipped, verified=0 if written else skipped, rounded=touched)


def mended(rows: Rows, different: Sequence[Difference], found: Mapping[str, Mapping[str, Any]], legacy: bool) -> tuple[Rows, list[str]]:
    """Return what to upsert so that records become what the dataset says, and which ids to delete before.

    Chroma merges the metadata of a record: what is not in the dataset is removed by null. A document or uri is removed by null on
    0.x only; 1.x keeps it, so that the record has to go first.

    Args:
        rows: of the dataset, with those that differ.
        found: id → record of the server.
        legacy: the server is a 0.x.
    """
    wanted = rows.take([each.row for each in different])
    outdated = []
    for place, each in enumerate(wanted.ids):
        have = found.get(each) or {}
        stale = dict.fromkeys((have.get("metadata") or {}).keys() - (wanted.metadatas[place] or {}).keys())
        wanted.metadatas[place] = {**stale, **(wanted.metadatas[place] or {})} or None
        lost = (have.get("document") is not None and wanted.documents[place] is None) or (
            have.get("uri") is not None and wanted.uris[place] is None
        )
        if lost and not legacy:
            outdated.append(each)
    return wanted, outdated


def create(outcome: Outcome, patience: Patience, schemas: bool = False) -> Outcome:
    """Make the collection if there is none.

    Args:
        schemas: the server takes a schema. One that it refuses it does not get: :func:`targets.deviations` tells.
    """
    target, client = outcome.target, outcome.client
    if outcome.existing is not None:
        return outcome
    settings, function = target.configuration, target.embedding_function
    schema = schema_for(target.schema, settings, function) if schemas and target.schema else None
    try:
        made = patience(lambda: client.create_collection(target.name, target.metadata, settings, function, schema))
    except ChromaError as error:
        if schema and error.code == "invalid_request":
            return create(outcome, patience)
        if error.code != "conflict":
            raise
        # Another import made it meanwhile, or the server did and its answer was lost.
        return patience(lambda: look(target, client))
    check_existing(target, made, None)
    return Outcome(target, client, made, 0, created=True)


def prove(dataset: Readable, outcome: Outcome, request: ImportRequest, patience: Patience, progress: Progress) -> Outcome:
    """Read the collection back, unless all of it was just found to be as it should."""
    target, client, existing = outcome.target, outcome.client, outcome.existing
    if existing is None:  # it was found or made
        raise AssertionError(f"collection {target.name} has not been made")
    after = patience(lambda: client.count(existing))
    if outcome.written:
        pages = dataset.pages(target.source, PAGE)
        verified = verify(client, existing, pages, patience, request.concurrency, progress.advance)
    else:
        verified = outcome.verified
        progress.advance(verified)
    if verified != target.records or after < verified or (outcome.created and after != verified):
        message = (
            f"Collection {target.name} holds {after} records, of which {verified} are those of the dataset, which has {target.records}."
        )
        raise ChromaError("not_verified", message, "Look for another client that writes to it; then run the import again.")
    return replace(outcome, verified=verified, after=after)
