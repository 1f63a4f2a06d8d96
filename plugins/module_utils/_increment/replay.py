# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaying an increment: Chroma itself makes of a copy of the parent what the directory was. FOR INTERNAL COLLECTION USE ONLY.

Chroma serves a copy of the base in staging, and is told by its API what changed; so index, full-text search and log are its own work.
Nothing is believed: each changed record is read back and compared, and what differs is mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._client import BATCH, PAGE, ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.bringing import mended
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import rounded
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns, Rows, requests, rows_of, rows_per_request
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import JSON_COLUMN
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.verify import Difference, differences, not_verified, stored
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.catalogue import arrange
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import open_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import RowIds
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest

COLUMNS = Columns(json=JSON_COLUMN)

# Until a record is as it should be: the first look, a write, and once more where Chroma left something of a record that had its row
# before (chroma-core/chroma#7594).
_ROUNDS = 4


# Ids alone of one page: the server finds each page by counting from the first record (measured: 200,000 in pages of 1,000 take 10 s).
_IDS = 20_000


@dataclass(frozen=True)
class Applied:
    """What a replay did.

    Args:
        written, deleted: records; what was as it should be is not among the written ones.
        rounded: records with a float in their metadata of which Chroma 1.x holds a neighbour, see :mod:`floats`.
        created, removed, changed: collections as tenant/database/name.
        differs: what of them, beside their records, is not as the increment has it; see :func:`targets.deviations`.
    """

    written: int = 0
    deleted: int = 0
    rounded: int = 0
    created: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    differs: tuple[Mapping[str, Any], ...] = ()


def apply_increment(client: ChromaClient, tree: Path, ids: RowIds) -> Applied:
    """Make of a served copy of an increment's parent what the increment says.

    Args:
        client: of a Chroma that serves the copy, and that nobody else writes to. Tenant and database do not matter.
        tree: of the increment.
        ids: at its parent; goes on to the increment.

    Returns:
        What was done; the collections, their settings and counts, and each changed record were read back.

    Raises:
        ChromaError: ``broken_chain``, ``damaged_backup``: nothing was written then. ``not_verified`` where Chroma holds something else
            in the end; what the server answers. The copy is of no use then: begin again with the base.
    """
    require_data_libraries()
    increment = open_increment(tree)
    increment.check_parts()
    before = ids.last
    ids.follow(increment)
    arranged = arrange(client, before, increment.manifest, ids)
    applied = Applied(created=arranged.created, removed=arranged.removed, changed=arranged.changed, differs=arranged.differs)
    records = sum(each.records for each in increment.changes.collections)
    with Progress("replay", total=records, unit="records") as progress:
        for change in increment.changes.collections:
            place, collection = arranged.collections[change.id]
            for page in ids.gone(change.id, PAGE):
                place.delete(collection, page)
                applied = replace(applied, deleted=applied.deleted + len(page))
            size = rows_per_request(_dimension(increment.manifest, change.id), not client.legacy, min(BATCH, PAGE))
            for batch in increment.batches(change.id, size):
                rows = rows_of(batch, COLUMNS)
                touched = 0 if client.legacy else sum(map(rounded, rows.metadatas))
                written = _settle(place, collection, rows)
                applied = replace(applied, written=applied.written + written, rounded=applied.rounded + touched)
                progress.advance(len(rows))
    for each in increment.manifest.collections:
        place, collection = arranged.collections[each.id]
        _check_count(each, place.count(collection))
    return applied


def prove_ids(client: ChromaClient, ids: RowIds) -> int:
    """Compare which ids Chroma holds in all collections with those of the chain.

    Returns:
        How many there are.

    Raises:
        ChromaError: ``not_verified``.
    """
    proven = 0
    for each in ids.collections():
        place = client.within(tenant=each.tenant, database=each.database)
        collection = place.require_collection(each.name)
        _check_count(each, place.count(collection))
        for page in _pages(place, collection):
            unknown = [name for name, origin in zip(page, ids.origins(each.id, page), strict=True) if origin is None]
            if unknown:
                raise not_verified(each.name, len(unknown), len(page), [Difference(0, name, ("unexpected",)) for name in unknown[:10]])
            proven += len(page)
    return proven


def _pages(place: ChromaClient, collection: Collection) -> Iterable[list[str]]:
    offset = 0
    while page := list(place.page(collection, (), _IDS, offset)["ids"]):
        yield page
        offset += len(page)


def _settle(client: ChromaClient, collection: Collection, rows: Rows) -> int:
    """Write records until the server holds them as they are; return how many were not so at first."""
    different: list[Difference] = []
    for number in range(_ROUNDS):
        found = stored(client, collection, rows)
        different = differences(rows, found, collection.space, client.legacy)
        if not number:
            first = len(different)
        if not different:
            return first
        wanted, outdated = mended(rows, different, found, client.legacy)
        if outdated:
            client.delete(collection, outdated)
        for _rows, payload in requests(wanted, not client.legacy, BATCH, nulls=client.legacy):
            client.write(collection, "upsert", payload)
    raise not_verified(collection.name, len(different), len(rows), different[:10])


def _check_count(collection: BackupCollection, count: int) -> None:
    if count != collection.count:
        message = f"Collection {collection.label} holds {count} records in staging instead of {collection.count}."
        raise ChromaError("not_verified", message, "Restore an older point, and report it.", {"collection": collection.name})


def _dimension(manifest: BackupManifest, collection: str) -> int:
    return next(each.dimension or 1 for each in manifest.collections if each.id == collection)
