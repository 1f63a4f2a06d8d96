# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants, databases and collections of a served copy, made as an increment has them. FOR INTERNAL COLLECTION USE ONLY.

No API gives a collection an id: those of the base keep theirs, because it is a copy of the directory; those that came later get a new one,
which :class:`RowIds` notes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.bringing import Outcome, create
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import takes_lists
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import metadata_json
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection, stored_function, stored_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest, Target, deviations, plan_targets
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import RowIds
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest

# Of a collection's settings those that can't be changed, and so never were.
_FIXED = ("space", "ef_construction", "max_neighbors")


@dataclass(frozen=True)
class Arranged:
    """The collections of a served copy.

    Args:
        collections: by the id that they have in the chain: a client for their database, and what the server says of them.
        created, removed, changed: as tenant/database/name.
        differs: where a created or changed one is not as the increment has it, beside its records: see :func:`targets.deviations`.
    """

    collections: Mapping[str, tuple[ChromaClient, Collection]]
    created: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    differs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Steps:
    """What has to be done between two points of a chain.

    Args:
        removed: collections as they were.
        renamed: as they were, and their new names.
        changed: as they were, and as they are, where metadata or settings differ.
        created: as they are.
        databases, dropped: tenant and name of those that came and went.
    """

    removed: tuple[BackupCollection, ...]
    renamed: tuple[tuple[BackupCollection, str], ...]
    changed: tuple[tuple[BackupCollection, BackupCollection], ...]
    created: tuple[BackupCollection, ...]
    databases: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]


def plan_steps(before: BackupManifest, after: BackupManifest) -> Steps:
    """Decide what leads from one point to the next. A collection is the same one where its id and its database are."""
    earlier = {(each.id, each.tenant, each.database): each for each in before.collections}
    later = {(each.id, each.tenant, each.database): each for each in after.collections}
    both = [(earlier[key], later[key]) for key in earlier.keys() & later.keys()]
    return Steps(
        removed=tuple(each for key, each in earlier.items() if key not in later),
        renamed=tuple((one, other.name) for one, other in both if one.name != other.name),
        changed=tuple(pair for pair in both if _described(pair[0]) != _described(pair[1])),
        created=tuple(each for key, each in later.items() if key not in earlier),
        databases=tuple(each for each in after.databases if each not in before.databases),
        dropped=tuple(each for each in before.databases if each not in after.databases),
    )


def arrange(client: ChromaClient, before: BackupManifest, after: BackupManifest, ids: RowIds) -> Arranged:
    """Make tenants, databases and collections of a served copy as they are at the next point of its chain.

    Args:
        client: of a server that holds them as they were.
        ids: at the next point.

    Raises:
        ChromaError: ``not_verified`` where the server holds other collections; what it answers.
    """
    steps = plan_steps(before, after)
    tenants = [each for each in after.tenants if each not in before.tenants]
    for tenant in tenants:
        if not (place := client.within(tenant=tenant)).tenant_exists():
            place.create_tenant()
    for tenant, database in steps.databases:
        if not (place := client.within(tenant=tenant, database=database)).database_exists():
            place.create_database()
    for each in steps.removed:
        _at(client, each).delete_collection(each.name)
    for tenant, database in steps.dropped:
        client.within(tenant=tenant, database=database).delete_database()
    _rename(client, steps)
    for one, other in steps.changed:
        _change(_at(client, other), one, other)
    schemas = bool(steps.created) and takes_lists(client)
    for each in steps.created:
        target = target_of(each, client.version)
        made = create(Outcome(target, _at(client, each), None, 0), Patience(0), schemas).existing
        ids.stage(each.id, made.id if made else "")
    found = _collections(client, after, ids)
    renamed = {(each.tenant, each.database, name) for each, name in steps.renamed}
    changed = [other for _one, other in steps.changed]
    touched = [(each, deviations(target_of(each, client.version), found[each.id][1])) for each in (*steps.created, *changed)]
    return Arranged(
        found,
        tuple(each.label for each in steps.created),
        tuple(each.label for each in steps.removed),
        tuple(sorted({each.label for each in changed} | {"/".join(each) for each in renamed})),
        tuple({"collection": each.label, **one} for each, found_ones in touched for one in found_ones),
    )


def target_of(collection: BackupCollection, version: str) -> Target:
    """Return a collection of a backup as an import makes it.

    Args:
        version: of the server.
    """
    fields = {key: value for key, value in vars(source_collection(collection)).items() if key != "handle"}
    described = DatasetCollection(**fields, columns=(), layout="json", parts=())
    return plan_targets((Source(described, Columns()),), ImportRequest(keep_databases=True), "", "", version)[0]


def source_collection(collection: BackupCollection) -> SourceCollection:
    """Return a collection of a backup as an export reads it."""
    stored = _stored(collection)
    return SourceCollection(
        id=collection.id,
        name=collection.name,
        tenant=collection.tenant,
        database=collection.database,
        dimension=collection.dimension,
        space=collection.space,
        metadata=dict(collection.metadata),
        configuration={**stored_settings(stored), "space": collection.space},
        schema=collection.schema,
        embedding_function=stored_function(stored),
        records=collection.count,
        handle=collection,
    )


def _stored(collection: BackupCollection) -> StoredCollection:
    return StoredCollection(
        collection.id,
        collection.name,
        collection.tenant,
        collection.database,
        collection.dimension,
        collection.metadata,
        collection.configuration,
        collection.schema,
        None,
        None,
    )


def _described(collection: BackupCollection) -> tuple[Any, ...]:
    """Return what of a collection can be changed, beside its name. A schema changes also by itself, as new keys come."""
    stored = _stored(collection)
    settings = {key: value for key, value in stored_settings(stored).items() if key not in _FIXED}
    return metadata_json(collection.metadata), settings, stored_function(stored)


def _rename(client: ChromaClient, steps: Steps) -> None:
    """Give collections their new names; first others, so that two can change theirs."""
    interim = [(each, f"renaming-{secrets.token_hex(8)}", name) for each, name in steps.renamed]
    for each, between, _name in interim:
        place = _at(client, each)
        place.update_collection(place.require_collection(each.name), name=between)
    for each, between, name in interim:
        place = _at(client, each)
        place.update_collection(place.require_collection(between), name=name)


def _change(place: ChromaClient, before: BackupCollection, after: BackupCollection) -> None:
    existing = place.require_collection(after.name)
    (metadata, settings, function), (new_metadata, new_settings, new_function) = _described(before), _described(after)
    wanted = {key: value for key, value in after.metadata.items() if value is not None}
    configuration = {key: value for key, value in new_settings.items() if settings.get(key) != value}
    place.update_collection(
        existing,
        metadata=wanted if new_metadata != metadata else None,
        configuration=configuration or None,
        embedding_function=new_function if new_function != function else None,
    )


def _collections(client: ChromaClient, after: BackupManifest, ids: RowIds) -> dict[str, tuple[ChromaClient, Collection]]:
    """Return the collections that the server has now; exactly those of this point."""
    found: dict[str, tuple[ChromaClient, Collection]] = {}
    for tenant, database in after.databases:
        place = client.within(tenant=tenant, database=database)
        wanted = {each.name: each for each in after.collections if (each.tenant, each.database) == (tenant, database)}
        have = {each.name: each for each in place.list_collections()}
        wrong = sorted(wanted.keys() ^ have.keys()) or [name for name, each in wanted.items() if have[name].id != ids.staged(each.id)]
        if wrong:
            message = f"Database {database} of tenant {tenant} in staging does not have the collections of backup {after.id}: {wrong[:5]}."
            raise ChromaError("not_verified", message, "Begin again with the base; restore an older point if that does not help.")
        found |= {each.id: (place, have[name]) for name, each in wanted.items()}
    return found


def _at(client: ChromaClient, collection: BackupCollection) -> ChromaClient:
    return client.within(tenant=collection.tenant, database=collection.database)
