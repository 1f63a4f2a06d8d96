# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collections of a dataset go, and as what. Pure decisions. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import DEFAULT_SPACE, HNSW_KEYS, Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import holds
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.indexes import STANDARD, indexes_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import check_metadata

# In effect on 0.x where a collection does not say otherwise; 0.6 searches with 100 (chromadb/segment/impl/vector/hnsw_params.py).
DEFAULTS_0X = {
    "space": DEFAULT_SPACE,
    "ef_construction": 100,
    "ef_search": 10,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}


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
        configuration: its index settings, by the names of ``_answers.HNSW_KEYS``.
        embedding_function: what clients are told to use, as 1.x stores it; None for none.
        schema: as 1.5 describes it, where it says more than all of that; None where it does not.
    """

    source: Source
    tenant: str
    database: str
    name: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any]
    embedding_function: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None = None

    @property
    def records(self) -> int:
        """How many records it has in the dataset."""
        return self.source.collection.records


def plan_targets(sources: Sequence[Source], request: ImportRequest, tenant: str, database: str, version: str) -> tuple[Target, ...]:
    """Return where this part of the import puts its collections, in the order of the dataset.

    Args:
        tenant, database: of the connection.
        version: of the server, as it says it.

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
    targets = [_target(each, request, tenant, database, version) for each in sources]
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


def deviations(target: Target, existing: Collection) -> list[dict[str, Any]]:
    """Return where a collection on the server is not as the dataset says, beside its records.

    Args:
        existing: found or made; nothing of it is changed.

    Returns:
        For each difference ``what`` (``metadata.<key>``, ``configuration.<setting>``, ``embedding_function`` or
        ``schema.<key>.<type>.<index>``), and what ``dataset`` and ``server`` say; None where one says nothing.
    """
    wanted, have, seen = _own(target.metadata), _own(existing.metadata), []
    for key in sorted(wanted.keys() | have.keys()):
        if key not in wanted or key not in have or not holds(have[key], wanted[key]):
            seen.append((f"metadata.{key}", wanted.get(key), have.get(key)))
    settings = target.source.collection.configuration or {}
    for key in HNSW_KEYS:
        if settings.get(key) is not None and existing.configuration.get(key, settings[key]) != settings[key]:
            seen.append((f"configuration.{key}", settings[key], existing.configuration[key]))
    described = (existing.described.get("configuration_json") or {}).get("embedding_function")
    if _function(target.embedding_function) != _function(described):
        seen.append(("embedding_function", _function(target.embedding_function), _function(described)))
    here, there = indexes_of(target.schema), indexes_of(existing.described.get("schema"))
    for where in sorted(here.keys() | there.keys()):
        one, other = (each.get(where) or each.get(("", *where[1:])) for each in (here, there))
        if one != other:
            seen.append((".".join(("schema", where[0] or "*", *where[1:])), _index(one), _index(other)))
    return [{"what": what, "dataset": one, "server": other} for what, one, other in seen]


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the settings that 0.x keeps in the metadata of a collection."""
    return {key: value for key, value in metadata.items() if not key.startswith("hnsw:")}


def _function(said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what is no function that a client can be told: null, or of an unknown kind."""
    return {key: said.get(key) for key in ("name", "config")} if said and said.get("name") else None


def _index(said: tuple[bool, Mapping[str, Any]] | None) -> dict[str, Any] | None:
    return {"enabled": said[0], **said[1]} if said else None


def settings_of(collection: DatasetCollection, version: str) -> dict[str, Any]:
    """Return the index settings that a server has to be told, by the names of ``_answers.HNSW_KEYS``.

    Args:
        version: of the server. 0.x keeps settings as keys of the metadata: what it does by itself anyway is not added there.
    """
    stored = collection.configuration or {}
    settings = {key: stored[key] for key in HNSW_KEYS if stored.get(key) is not None} | {"space": collection.space}
    if not version.startswith("0."):
        return settings
    defaults = {**DEFAULTS_0X, "ef_search": 100 if version.startswith("0.6") else DEFAULTS_0X["ef_search"]}
    return {key: value for key, value in settings.items() if value != defaults[key]}


def _target(source: Source, request: ImportRequest, tenant: str, database: str, version: str) -> Target:
    collection, function = source.collection, source.collection.embedding_function
    legacy = version.startswith("0.")
    name = request.rename.get(collection.id) or request.rename.get(collection.name) or collection.name
    check_name(name, legacy)
    metadata = {key: value for key, value in collection.metadata.items() if value is not None}
    check_metadata(f"collection {collection.name} of the dataset", metadata, lists=False, nulls=False)
    if version.startswith("0.4."):  # which stores them as integers
        metadata = {key: int(value) if isinstance(value, bool) else value for key, value in metadata.items()}
    return Target(
        source,
        collection.tenant if request.keep_databases else tenant,
        collection.database if request.keep_databases else database,
        name,
        metadata,
        settings_of(collection, version),
        function if not legacy and function and function.get("type") == "known" else None,
        collection.schema if indexes_of(collection.schema) != STANDARD else None,
    )
