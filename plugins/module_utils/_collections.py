# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections: what is wanted against what there is. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import check_metadata, same_metadata

# What an index of 1.x takes after its creation; 0.x takes nothing, and says so to nobody.
_MUTABLE = ("ef_search", "resize_factor", "sync_threshold")
# How a collection gets another name: told both names, returns what is to be said of it beside the collection.
Rename = Callable[[str, str], dict[str, Any]]


@dataclass(frozen=True)
class WantedCollection:
    """What a collection should be.

    Args:
        new_name: what it should be called afterwards; None leaves the name.
        metadata: the whole of it, without ``hnsw:`` keys; None leaves it.
        configuration: the index settings that matter, by the names of ``_answers.HNSW_KEYS``.
    """

    name: str
    new_name: str | None = None
    metadata: Mapping[str, Any] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CollectionPlan:
    """One step from what there is to what is wanted.

    Args:
        action: ``none``, ``create``, ``update`` or ``delete``.
        name: of the collection to create, or its new name; None leaves it.
        metadata: to send, with the ``hnsw:`` keys that have to stay; None leaves it.
        configuration: to create with, or to change.
        before, after: what a user is shown; empty where there is nothing.
    """

    action: str
    name: str | None = None
    metadata: Mapping[str, Any] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


def ensure_collection(client: ChromaClient, wanted: WantedCollection, rename: Rename | None = None, check: bool = False) -> dict[str, Any]:
    """Create, rename or change a collection, and read it back.

    Args:
        rename: see :func:`_transaction.rename.rename_collection`; None where no other name is wanted.
        check: only return the plan; ``rename`` only looks then, too.

    Returns:
        ``changed``, ``collection`` (see :func:`view`) and ``diff``; with what ``rename`` says where it was called.

    Raises:
        ChromaError: ``invalid_name``, ``invalid_metadata``, ``immutable``, ``conflict`` (the new name is taken),
            ``not_found`` (nothing to rename), ``not_applied``, or what the server answers.
    """
    for name in filter(None, (wanted.name, wanted.new_name)):
        check_name(name, legacy=False)  # before anything is sent
    check_metadata(f"collection {wanted.name}", wanted.metadata or {}, lists=False, nulls=False)
    for name in filter(None, (wanted.name, wanted.new_name)):
        check_name(name, client.legacy)
    current = client.get_collection(wanted.name)
    target = client.get_collection(wanted.new_name) if wanted.new_name else None
    plan = plan_present(current, target, wanted, legacy=client.legacy, booleans=client.api != "v1")
    existing = current or target
    said: dict[str, Any] = {}
    if existing and plan.name:
        if rename is None:
            raise AssertionError("a new name is wanted, and nobody said how it is given")
        said = rename(existing.name, plan.name)
    if plan.action == "none" or check:
        return {**said, **_result(plan)}
    if existing is None:
        client.create_collection(wanted.name, plan.metadata, plan.configuration)
    elif plan.metadata is not None or plan.configuration:
        client.update_collection(existing, None, plan.metadata, plan.configuration)
    return {**said, **_result(plan, _proven(client, plan, wanted))}


def describe_collections(client: ChromaClient, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return some or all collections as a user is shown them, with ``count``, sorted by name.

    Args:
        names: only these, absent ones are left out; None means all of the database.
    """
    found = client.list_collections() if names is None else [client.get_collection(name) for name in sorted(set(names))]
    described = []
    for each in filter(None, found):
        # 0.4 describes no dimension, but the first record has one.
        dimension = each.dimension or (_measured_dimension(client, each) if client.api == "v1" else None)
        described.append({**view(each), "dimension": dimension, "count": client.count(each)})
    return described


def plan_present(
    current: Collection | None, target: Collection | None, wanted: WantedCollection, *, legacy: bool, booleans: bool = True
) -> CollectionPlan:
    """Decide how a collection becomes what is wanted.

    Args:
        current: the collection called ``wanted.name``.
        target: the collection called ``wanted.new_name``.
        legacy: the server is a 0.x.
        booleans: false on 0.4, which stores booleans in the metadata of a collection as integers.

    Raises:
        ChromaError: ``conflict``, ``not_found`` or ``immutable``.
    """
    renamed = wanted.new_name if wanted.new_name != wanted.name else None
    if renamed and current and target:
        message = f"Collection {wanted.name} cannot be renamed to {renamed}: a collection of that name exists."
        raise ChromaError("conflict", message, "Choose another new_name, or delete the existing collection first.")
    if renamed and not current and not target:
        raise ChromaError("not_found", f"There is no collection {wanted.name} to rename to {renamed}.", "Check name, tenant and database.")
    metadata = wanted.metadata
    if metadata is not None and not booleans:
        metadata = {key: int(value) if isinstance(value, bool) else value for key, value in metadata.items()}
    if any(key.startswith("hnsw:") for key in metadata or {}):
        raise ChromaError("invalid_metadata", "Keys that start with hnsw: are settings of the index.", "Pass them as space and hnsw.")
    existing = current or target
    if existing is None:
        after = {"name": wanted.name, "metadata": dict(metadata or {}), "configuration": dict(wanted.configuration)}
        return CollectionPlan("create", wanted.name, metadata, wanted.configuration, {}, after)
    settings = _changed_settings(existing, wanted.configuration, legacy)
    before = view(existing)
    stays = metadata is None or same_metadata(metadata, before["metadata"])
    name = renamed if existing is current else None
    if stays and not settings and not name:
        return CollectionPlan("none", before=before, after=before)
    after = {
        **before,
        "name": name or existing.name,
        "metadata": before["metadata"] if metadata is None else dict(metadata),
        "configuration": {**before["configuration"], **settings},
    }
    # Chroma replaces the metadata as a whole; on 0.x the distance function is in it.
    kept = {key: value for key, value in existing.metadata.items() if key.startswith("hnsw:")}
    return CollectionPlan("update", name, None if stays else {**kept, **(metadata or {})}, settings, before, after)


def check_name(name: str, legacy: bool) -> None:
    """Refuse a name that Chroma refuses.

    Args:
        legacy: 0.x takes 63 characters, 1.x 512.

    Raises:
        ChromaError: ``invalid_name``.
    """
    longest = 63 if legacy else 512
    rule = ""
    if not 3 <= len(name) <= longest:
        rule = f"it has {len(name)} characters, 3 to {longest} are allowed" + (" by this release" if legacy else "")
    elif not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]*[a-zA-Z0-9]", name):
        rule = "only a-z A-Z 0-9 . _ - are allowed, with a letter or digit at both ends"
    elif ".." in name:
        rule = "two consecutive periods are not allowed"
    elif _is_ipv4(name):
        rule = "an IPv4 address is not allowed"
    if rule:
        raise ChromaError("invalid_name", f"Collection name {name[:80]!r} is refused: {rule}.", "Choose another name.")


def view(collection: Collection) -> dict[str, Any]:
    """Return a collection as a user is shown it: metadata without, and configuration with the settings of the index."""
    return {
        "id": collection.id,
        "name": collection.name,
        "metadata": {key: value for key, value in collection.metadata.items() if not key.startswith("hnsw:")},
        "dimension": collection.dimension,
        "space": collection.space,
        "configuration": dict(collection.configuration),
        "embedding_function": collection.embedding_function,
        "tenant": collection.tenant,
        "database": collection.database,
    }


def _changed_settings(existing: Collection, wanted: Mapping[str, Any], legacy: bool) -> dict[str, Any]:
    changed = {key: value for key, value in wanted.items() if existing.configuration.get(key) != value}
    fixed = [key for key in changed if legacy or key not in _MUTABLE]
    if fixed:
        what = ", ".join(f"{key} is {existing.configuration.get(key)} and not {changed[key]}" for key in fixed)
        hint = "Create another collection with the wanted settings and copy the records."
        raise ChromaError("immutable", f"The index of collection {existing.name} cannot be changed after its creation: {what}.", hint)
    return changed


def _proven(client: ChromaClient, plan: CollectionPlan, wanted: WantedCollection) -> Collection:
    """Read the collection back under its final name; it must need no further step."""
    name = plan.name or str(plan.after["name"])
    seen = client.require_collection(name)
    same = WantedCollection(name, None, wanted.metadata, wanted.configuration)
    again = plan_present(seen, None, same, legacy=client.legacy, booleans=client.api != "v1")
    if again.action != "none":
        message = f"Collection {name} was changed but reads back as {view(seen)}."
        raise ChromaError(
            "not_applied", message, "Look for another client that changes it, and at the server's log.", {"collection": view(seen)}
        )
    return seen


def _result(plan: CollectionPlan, seen: Collection | None = None) -> dict[str, Any]:
    after = view(seen) if seen else dict(plan.after)
    return {"changed": plan.action != "none", "collection": after, "diff": {"before": dict(plan.before), "after": after}}


def _measured_dimension(client: ChromaClient, collection: Collection) -> int | None:
    row = next(client.get(collection, include=("embeddings",), page=1), None)
    return len(row["embedding"]) if row else None


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
