# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring one collection into a running server, beside what it serves. FOR INTERNAL COLLECTION USE ONLY.

It comes in under a name of its own, which is made of what is restored and where to: so one that was interrupted goes on. It gets the
wanted name when every record has been read back: that name stands for a whole collection, or for none.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of, rfc3339
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import followed, instances, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import one_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.merge import merge_increments
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import check_place
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import RESTORE, recorded
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import (
    LATEST,
    Resolution,
    choose,
    instead,
    parse_moment,
    resolve,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import read_manifest_of
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.staging import bring
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import DATABASE_FILES
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    COLLECTION,
    DATA,
    DATASET,
    MANIFEST,
    BackupCollection,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree, scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import give_name


@dataclass(frozen=True)
class CollectionRequest:
    """What a user asks for.

    Args:
        collection: name in the backup, or ``tenant/database/name``.
        name: on the server; empty for the same.
        backup: id, or ``latest``.
        as_of: a time instead, ISO 8601; empty for none.
        create_database: whether tenant and database are created where they are absent.
        path: data directory, for what is brought meanwhile; None without access to it.
        scratch: another directory for that; None for the data volume, or the system's temporary directory.
        wait: seconds that the server may be away.
    """

    collection: str
    name: str = ""
    backup: str = LATEST
    as_of: str = ""
    create_database: bool = False
    path: Path | None = None
    scratch: Path | None = None
    wait: float = 300.0


@dataclass(frozen=True)
class CollectionPlan:
    """What is restored, and as what.

    Args:
        resolution: the backup.
        source: the collection in it.
        name: on the server; ``interim``: until all of it is there.
    """

    resolution: Resolution
    source: BackupCollection
    name: str
    interim: str


def restore_collection(
    repository: Callable[[], Repository],
    client: ChromaClient,
    request: CollectionRequest,
    workload: Workload | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Restore one collection of a backup into the tenant and database of a client.

    With access to the data directory it is an operation like any other that writes: it holds its lock, makes good what a dead one left
    there, so that the server is there to be asked, and is in the journal.

    Args:
        repository: opens it.
        workload: the server on a cluster; None on a bare host.
        check: only return the plan.

    Returns:
        ``changed``, ``backup``, ``kind``, ``created``, ``chain``, ``note``, ``table``, ``collection`` (id, name, tenant, database, source,
        records, verified), ``diff``, ``warnings``.

    Raises:
        ChromaError: ``exists``, ``not_found``, ``broken_chain``, ``no_space``, ``invalid_name``, ``lock_held``: nothing was changed; see
            :func:`_dataset.importing.import_dataset` for what a server answers: then nothing stands under the name.
    """
    require_data_libraries()
    warnings: list[str] = []
    with contextlib.ExitStack() as stack:
        if request.path:
            check_place(request.path)
            if not check:
                stack.enter_context(held(request.path, RESTORE))
                warnings += recover(request.path, workload).warnings
        opened = repository()
        catalogue = catalogue_of(opened.snapshots())
        plan = _resolved(opened, catalogue, client, request)
        warnings.extend(filter(None, [unreadable(opened)]))
        view = _view(client, plan)
        if not check:
            if request.path:
                facts = {"backup": plan.resolution.backup.id, "collection": plan.source.label, "name": plan.name}
                stack.enter_context(recorded(request.path, RESTORE, warnings, **facts))
            view["collection"] |= _restore(opened, catalogue, client, plan, request)
    return {"changed": True, **view, "warnings": warnings}


def resolved_collection(catalogue: Catalogue, request: CollectionRequest) -> Resolution:
    """Return the backup that a request means; the newest one, and that of a time, is one of the directory.

    Raises:
        ChromaError: see :func:`resolve` and :func:`_backup.instance.followed`; ``invalid_value`` where it is a backup by the API that may
            be of another server.
    """
    moment = parse_moment(request.as_of) if request.as_of else None
    if request.backup != LATEST:
        return resolve(catalogue, request.backup, moment, request.collection)
    among = followed(catalogue, read_instance(request.path) if request.path else "")
    found = resolve(among, LATEST, moment, request.collection)
    chosen = found.backup
    if chosen.kind == COLLECTION and not chosen.instance and len(known := instances(catalogue)) > 1:
        raise ChromaError(
            "invalid_value",
            f"Backup {chosen.id} ({rfc3339(chosen.created)}) of {request.collection} does not say which server it is of, "
            f"and the repository holds backups of {len(known)} data directories.",
            "If it is of this server, name it by its id, otherwise another one; chroma_backup_info (backups) lists them.",
        )
    return found


def _resolved(repository: Repository, catalogue: Catalogue, client: ChromaClient, request: CollectionRequest) -> CollectionPlan:
    resolution = choose(repository, request.backup == LATEST, lambda: resolved_collection(catalogue, request))
    manifest = read_manifest_of(repository, catalogue, resolution)
    known = tuple(each.label for each in manifest.collections)
    label = one_collection(request.collection, known, f"backup {manifest.id}")
    [source] = [each for each in manifest.collections if each.label == label]
    return _plan(client, resolution, source, request)


def _restore(
    repository: Repository, catalogue: Catalogue, client: ChromaClient, plan: CollectionPlan, request: CollectionRequest
) -> dict[str, Any]:
    with _room(request, plan) as room:
        try:
            dataset = collection_dataset(repository, plan.resolution, plan.source.id, room)
        except ChromaError as error:
            if error.code in ("damaged_repository", "damaged_backup", "broken_chain", "invalid_manifest", "damaged"):
                error.hint = instead(catalogue, plan.resolution.backup)
            raise
        return _bring_in(client, dataset, plan, request)


def _plan(client: ChromaClient, resolution: Resolution, source: BackupCollection, request: CollectionRequest) -> CollectionPlan:
    name = request.name or source.name
    check_name(name, client.legacy)
    where = f"{client.connection.tenant}/{client.connection.database}"
    if client.database_exists():
        if client.get_collection(name) is not None:
            raise ChromaError(
                "exists",
                f"There is a collection {name} in {where} already; nothing was changed.",
                "Give another name (new_name), or another database; rename or delete the one that is there if it is not wanted.",
            )
    elif not request.create_database:
        raise ChromaError("not_found", f"There is no database {where}.", "Check tenant and database, or set create_database.")
    return CollectionPlan(resolution, source, name, interim_name(resolution.backup.id, source.id, where, name))


def interim_name(backup: str, source: str, where: str, name: str) -> str:
    """Return what a collection is called until all of it is there.

    Args:
        backup: id of the backup.
        source: id of the collection in it.
        where: ``tenant/database`` that it comes to.
        name: that it gets.
    """
    return f"restoring-{hashlib.sha256(f'{backup}/{source}/{where}/{name}'.encode()).hexdigest()[:16]}"


def _view(client: ChromaClient, plan: CollectionPlan) -> dict[str, Any]:
    backup, source = plan.resolution.backup, plan.source
    label = f"{client.connection.tenant}/{client.connection.database}/{plan.name}"
    said = f"backup {backup.id}: {backup.kind}, of {rfc3339(backup.created)}; {source.label}, {source.count:,} records, goes to {label}"
    return {
        "backup": backup.id,
        "kind": backup.kind,
        "created": rfc3339(backup.created),
        "chain": [each.id for each in plan.resolution.chain],
        "note": plan.resolution.note,
        "table": [each for each in (said, plan.resolution.note) if each],
        "collection": {
            "id": None,
            "name": plan.name,
            "tenant": client.connection.tenant,
            "database": client.connection.database,
            "source": source.label,
            "records": source.count,
            "verified": 0,
        },
        "diff": {"before": {}, "after": {label: source.count}},
    }


@contextlib.contextmanager
def _room(request: CollectionRequest, plan: CollectionPlan) -> Iterator[Path]:
    """Yield an empty folder with enough room; it is removed in the end."""
    with contextlib.ExitStack() as stack:
        if request.path and not request.scratch:
            room = stack.enter_context(scratch(request.path, f"restore-{plan.interim}"))
        else:
            room = stack.enter_context(temporary_room("restore", request.scratch))
        # At most all of it, once as it was kept, and once as Parquet.
        needed = 2 * sum(each.bytes or 0 for each in plan.resolution.chain)
        hint = "Set scratch_path to a directory with more room (on a cluster chroma_scratch_pvc)."
        check_room(room, needed, f"collection {plan.source.name}", hint)
        yield room


def collection_dataset(repository: Repository, chain: Resolution, collection: str, room: Path) -> Path:
    """Bring a collection from the repository, as a dataset.

    Args:
        chain: the backup, and what is needed for it.
        collection: its id there.
        room: an empty folder.

    Returns:
        The dataset, in ``room``.

    Raises:
        ChromaError: those of the repository, of the reader, and of :func:`_increment.merge.merge_increments`.
    """
    target = room / "dataset"
    if chain.backup.kind == COLLECTION:
        bring(repository, chain.backup, room / "tree")
        return room / "tree" / DATASET
    base = room / "base"
    _bring_base(repository, chain, collection, base)
    trees = []
    for each in chain.increments:
        bring(repository, each, room / each.id)
        trees.append(room / each.id)
    with merge_increments(base, trees, room / "ids.sqlite3", [collection]) as source:
        export(source, open_store(str(target)), Wanted([collection]))
    for tree in (base, *trees):
        remove_tree(tree)
    return target


def _bring_base(repository: Repository, chain: Resolution, collection: str, base: Path) -> None:
    """Bring of the base what this collection needs: SQLite's files, and the folder of its index."""
    snapshot = chain.base.snapshot
    with Progress("restore", None, "bytes") as progress:
        repository.restore(snapshot, base, (MANIFEST, *(f"{DATA}/{each}" for each in DATABASE_FILES)), progress)
        with open_directory(base / DATA, scratch=base) as directory:
            found = [each.vector.id for each in directory.collections() if each.id == collection and each.vector]
        for segment in found:
            beside = base.with_name("index")
            try:
                repository.restore(snapshot, beside, (f"{DATA}/{segment}",), progress)
            except ChromaError as error:
                if error.code != "not_found":  # a collection without records has no folder
                    raise
                continue
            (beside / DATA / segment).rename(base / DATA / segment)


def _bring_in(client: ChromaClient, dataset: Path, plan: CollectionPlan, request: CollectionRequest) -> dict[str, Any]:
    wanted = ImportRequest(rename={plan.source.id: plan.interim}, create_database=request.create_database, wait=request.wait)
    try:
        [made] = import_dataset(open_store(str(dataset)), client, wanted)["collections"]
        if made["others"]:
            raise ChromaError("not_verified", f"{plan.interim} holds {made['others']} records that are not in the backup.", "Run it again.")
        if client.get_collection(plan.name) is not None:
            message = f"A collection {plan.name} has been created meanwhile, by somebody else."
            raise ChromaError("exists", message, "Give another name (new_name).")
        give_name(client, client.require_collection(plan.interim), plan.name, request.wait)
    except ChromaError:
        # What failed first is what the user has to know; a next attempt takes what is left, or overwrites it.
        with contextlib.suppress(ChromaError):
            client.delete_collection(plan.interim)
        raise
    found = client.require_collection(plan.name)
    if (count := client.count(found)) != plan.source.count:
        message = f"Collection {plan.name} has {count} records, {plan.source.count} were restored."
        raise ChromaError("not_verified", message, "Does somebody write into it already? Compare it, or restore it under another name.")
    return {"id": found.id, "verified": made["verified"], "differs": made["differs"], "rounded": made["rounded"]}
