# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collections of a dataset go, and as what. Pure decisions. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import DEFAULT_SPACE, HNSW_KEYS, Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import check_metadata


@dataclass(frozen=True)
class ImportRequest:
    """What an import shall do.

    Args:
        collections: names or ids of those to import; None means all.
        rename: name or id in the dataset → name on the server.
        keep_databases: each collection goes to the tenant and the database that it came from, not to the connection's.
        create_database: tenants and databases that are absent are created.
        part, parts: of so many imports of the same dataset this is number ``part``, from 0; each takes its share of the collections.
        verify: whether all records are read back afterwards.
        batch_size: records in one request at most; None means what the server says that it takes.
        concurrency: requests in flight.
        wait: seconds that a request may fail while the server is away.
    """

    collections: Sequence[str] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    keep_databases: bool = False
    create_database: bool = False
    part: int = 0
    parts: int = 1
    verify: bool = True
    batch_size: int | None = None
    concurrency: int = 4
    wait: float = 300.0


@dataclass(frozen=True)
class Target:
    """A collection of the dataset, and the one on the server that it becomes.

    Args:
        tenant, database, name: on the server.
        metadata: of the collection to create.
        configuration: its index settings, by the names of ``_client.HNSW_KEYS``.
        embedding_function: what clients are told to use, as 1.x stores it; None for none.
    """

    source: Source
    tenant: str
    database: str
    name: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any]
    embedding_function: Mapping[str, Any] | None

    @property
    def records(self) -> int:
        """How many records it has in the dataset."""
        return self.source.collection.records


def plan_targets(
    sources: Sequence[Source], request: ImportRequest, tenant: str, database: str, *, legacy: bool, booleans: bool = True
) -> tuple[Target, ...]:
    """Return where this part of the import puts its collections, in the order of the dataset.

    Args:
        tenant, database: of the connection.
        legacy: the server is a 0.x.
        booleans: false on 0.4, which stores booleans in the metadata of a collection as integers.

    Raises:
        ChromaError: ``invalid_value``, ``not_found`` (a renamed collection), ``invalid_name``, ``invalid_metadata``, or ``conflict`` where
            two collections would become one.
    """
    if not 0 <= request.part < request.parts:
        message = f"There is no part {request.part} of {request.parts}."
        raise ChromaError("invalid_value", message, "part counts from 0 to parts - 1, as the completion index of a Job does.")
    if request.concurrency < 1 or (request.batch_size is not None and request.batch_size < 1):
        raise ChromaError("invalid_value", "concurrency and batch_size must be at least 1.", "Correct the value.")
    names = {key for each in sources for key in (each.collection.id, each.collection.name)}
    unknown = sorted(set(request.rename) - names)
    if unknown:
        raise ChromaError("not_found", f"rename names {unknown[0]}, which is not among the collections to import.", "Correct the name.")
    targets = [_target(each, request, tenant, database, legacy, booleans) for each in sources]
    taken: dict[tuple[str, str, str], Target] = {}
    for target in targets:
        place = (target.tenant, target.database, target.name)
        if place in taken:
            both = f"{taken[place].source.collection.id} and {target.source.collection.id}"
            message = f"The collections {both} of the dataset would both become {target.name} in database {target.database}."
            raise ChromaError("conflict", message, "Rename one of them by its id, or set keep_databases.")
        taken[place] = target
    return share(targets, request.part, request.parts)


def share(targets: Sequence[Target], part: int, parts: int) -> tuple[Target, ...]:
    """Return one part's share: the largest collections first, each to the part that has the fewest records until then."""
    loads = [0] * parts
    mine = []
    for target in sorted(targets, key=lambda each: (-each.records, each.source.collection.id)):
        least = loads.index(min(loads))
        # An empty collection is work, too.
        loads[least] += target.records + 1
        if least == part:
            mine.append(target)
    return tuple(each for each in targets if each in mine)


def check_existing(target: Target, existing: Collection, dimension: int | None) -> None:
    """Refuse an existing collection that can't hold the records.

    Args:
        dimension: of its records; None while it has none.

    Raises:
        ChromaError: ``dimension_mismatch`` or ``space_mismatch``.
    """
    wanted = target.source.collection
    hint = "Import under another name (rename), or remove the existing collection first."
    if wanted.dimension and dimension and wanted.dimension != dimension:
        message = f"Collection {target.name} exists with {dimension} dimensions; {wanted.name} of the dataset has {wanted.dimension}."
        raise ChromaError("dimension_mismatch", message, hint)
    if existing.space != wanted.space:
        message = f"Collection {target.name} exists with the distance function {existing.space}; the dataset says {wanted.space}."
        raise ChromaError("space_mismatch", message, hint)


def settings_of(collection: DatasetCollection) -> dict[str, Any]:
    """Return the index settings that a collection's owner chose, by the names of ``_client.HNSW_KEYS``.

    0.x builds its index from ``hnsw:`` keys of the metadata, and stores defaults in its configuration that nobody chose; 1.x
    says all settings, on disk in another place than by API, and from 1.5 on in the schema.
    """
    chosen = {key: collection.metadata[name] for key, name in HNSW_KEYS.items() if collection.metadata.get(name) is not None}
    index = _index(collection)
    chosen |= {key: index[key] for key in HNSW_KEYS if index.get(key) is not None}
    return {**chosen, "space": collection.space}


def embedding_function_of(collection: DatasetCollection) -> Mapping[str, Any] | None:
    """Return what clients of the collection are told to use, as 1.x stores it; None where the source knows none."""
    for holder in (collection.configuration or {}, _schema(collection)):
        function = holder.get("embedding_function")
        if isinstance(function, Mapping) and function.get("type") == "known":
            return dict(function)
    return None


def _target(source: Source, request: ImportRequest, tenant: str, database: str, legacy: bool, booleans: bool) -> Target:
    collection = source.collection
    name = request.rename.get(collection.id) or request.rename.get(collection.name) or collection.name
    check_name(name, legacy)
    metadata = {key: value for key, value in collection.metadata.items() if value is not None}
    check_metadata(f"collection {collection.name} of the dataset", metadata, lists=False, nulls=False)
    if not booleans:
        metadata = {key: int(value) if isinstance(value, bool) else value for key, value in metadata.items()}
    settings = settings_of(collection)
    if legacy and settings["space"] == DEFAULT_SPACE:
        del settings["space"]  # needs no key in the metadata
    return Target(
        source,
        collection.tenant if request.keep_databases else tenant,
        collection.database if request.keep_databases else database,
        name,
        metadata,
        settings,
        None if legacy else embedding_function_of(collection),
    )


def _index(collection: DatasetCollection) -> Mapping[str, Any]:
    stored = collection.configuration or {}
    for holder in (stored, stored.get("vector_index") or {}, _schema(collection)):
        for kind in ("hnsw", "spann"):
            if isinstance(holder.get(kind), Mapping):
                return dict(holder[kind])
    return {}


def _schema(collection: DatasetCollection) -> Mapping[str, Any]:
    """Return what a schema of 1.5 says of the index of the embeddings."""
    holder: Any = collection.schema
    for key in ("keys", "#embedding", "float_list", "vector_index", "config"):
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    return holder if isinstance(holder, Mapping) else {}
