# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation "backup". FOR INTERNAL COLLECTION USE ONLY.

What is asked for is checked, what died before is tidied up, then it is planned and made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.by_api import backup_by_api
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import ensure_instance, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.kept import Kept, keep, read_kept
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.leftovers import (
    History,
    Settled,
    left_over,
    read_history,
    repairs,
    settle,
    whose,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.lineage import ensure_lineage, read_lineage
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.maker import Maker, unchanged
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.opening import existing, refuse_lost
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import KINDS, Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.outcome import outcome, planned
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import NOTHING, BackupPlan, Standing, plan_backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.run import Making, NothingChanged
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.serving import running_image, served
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import schema_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Look, Source, look_at, newest_schema, one_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import as_result
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, check_apart, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.conclude import conclude_left
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import Recovered, recover
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    COLLECTION,
    FULL,
    INCREMENT,
    MANIFEST,
    new_id,
    parse_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import unfinished

__all__ = ["KINDS", "Order", "backup"]


@dataclass(frozen=True)
class _Work:
    """A backup of a directory whose lock is held.

    Args:
        order, source: what is asked for, and of which directory.
        look: what was seen in it.
        settings, gone, workload: see :func:`backup`.
        place: where room is needed.
        recovered: what an operation that died had left there.
        kept: what the last backup kept.
    """

    order: Order
    source: Source
    look: Look
    settings: RepositorySettings
    gone: Gone
    workload: Workload | None
    place: Path
    recovered: Recovered
    kept: Kept


def backup(order: Order, settings: RepositorySettings, workload: Workload | None, gone: Gone, check: bool = False) -> dict[str, Any]:
    """Make a backup.

    Args:
        settings: of the repository, which is created by the first backup.
        workload: the server on a cluster; None on a bare host.
        gone: says whether a host that left a lock in the repository is gone for sure.
        check: return the plan and change nothing.

    Returns:
        See :func:`outcome.outcome`.

    Raises:
        ChromaError: see the modules that are called; ``lock_held``, ``no_space``, ``no_base``.
    """
    order.check()
    if order.source is None:
        return backup_by_api(order, settings, gone, check)
    source = order.source
    order, look = _look(order, source, write=not check)
    if order.scratch and not order.scratch.is_dir():
        raise ChromaError("not_found", f"There is no directory {order.scratch}.", "Correct scratch_path, or leave it out.")
    check_apart(settings, source.path)
    place = order.scratch or source.path
    if check:
        check_room(place, 0)
        return _checked(order, source, existing(settings, gone), look, settings, workload)
    with held(source.path, "backup"):
        # Before anything that may fail: whatever the repository and the volume are like, the server has to be there.
        recovered = recover(source.path, workload)
        with served(workload):
            check_room(place, 0)
            order, look = _look(order, source, write=True)
            if workload:
                source = _as_running(source, workload)
            kept = read_kept(source.path)
            return _planned_and_made(_Work(order, source, look, settings, gone, workload, place, recovered, kept))


def _planned_and_made(work: _Work) -> dict[str, Any]:
    directory = work.source.path
    history = read_history(directory)
    repository = existing(work.settings, work.gone, work.kept.snapshots)
    # A restore that died may have left the proof of its restore point.
    concluded = conclude_left(repository, directory) if repository else ""
    left = " ".join(filter(None, [concluded, *work.recovered.warnings, *unfinished(directory)]))
    settled = settle(directory, history, repository, work.workload) if repository else Settled(Catalogue())
    if repository is None:
        refuse_lost(directory, history, work.settings)
    plan = _plan(work.order, work.source, settled.catalogue, work.look, history, repository)
    if repository and plan.kind != INCREMENT:
        repository.confirm()
    if plan.kind == NOTHING and plan.parent:
        made = as_result(settled.catalogue, plan.parent)
        return outcome(False, made, plan, list(filter(None, [left])), repairs=repairs(work.recovered, settled))
    if plan.kind == FULL and work.order.verify:
        check_room(work.place, list_files(directory).blocks)
    if repository is None:
        repository = open_repository(work.settings, create=True, gone=work.gone)
        settled = settle(directory, history, repository, work.workload)
    return _made(work, repository, settled, plan, left)


def _made(work: _Work, repository: Repository, settled: Settled, plan: BackupPlan, left: str) -> dict[str, Any]:
    order, source, directory = work.order, work.source, work.source.path
    name, catalogue = new_id(), settled.catalogue
    warnings = list(filter(None, [left, repository.warn_of(directory)]))
    mended = repairs(work.recovered, settled)
    instance = ensure_instance(directory)
    lineage = ensure_lineage(directory)
    facts = {"id": name, "kind": plan.kind, "parent": plan.parent.id if plan.parent else "", "repository": repository.location}
    facts |= whose(directory, instance, work.workload)
    with scratch(work.place, name) as room, Journal.of(directory).recorded("backup", **facts) as recording:
        maker = Maker(order, source, repository, plan, name, room, work.workload, work.kept)
        making = Making(name, repository, catalogue, room, maker.make, recording.step, instance, lineage, order.verify, order.times)
        try:
            made = making.run()
        except NothingChanged:
            recording.facts |= {"changed": False}
            if plan.parent is None:
                raise AssertionError("only an increment can hold nothing") from None
            repository.confirm()
            keep(directory, replace(maker.kept, snapshots=repository.known))
            stays = replace(plan, reason=f"Nothing has changed since {plan.parent.id}.")
            return outcome(False, as_result(catalogue, plan.parent), stays, [*warnings, *_unread(repository)], repairs=mended)
        recording.facts |= {"kind": made.result["kind"], "records": made.result["records"], "verified": made.result["verified"]}
    keep(directory, replace(maker.kept, snapshots=repository.known))
    return outcome(
        True, made.result, maker.plan, [*warnings, *_unread(repository), *maker.warnings], made.proof, repository.created, mended
    )


def _checked(
    order: Order, source: Source, repository: Repository | None, look: Look, settings: RepositorySettings, workload: Workload | None
) -> dict[str, Any]:
    """Return what a run would do."""
    history = read_history(source.path)
    if repository is None:
        refuse_lost(source.path, history, settings)
    catalogue = catalogue_of(repository.snapshots()) if repository else Catalogue()
    plan = _plan(order, source, catalogue, look, history, repository)
    made = plan.kind != NOTHING
    if repository and plan.parent and plan.kind == INCREMENT:
        manifest = parse_manifest(repository.read_file(plan.parent.snapshot, MANIFEST), plan.parent.id)
        if unchanged(source.path, manifest):
            made, plan = False, replace(plan, reason=f"Nothing has changed since {plan.parent.id}.")
    newest = as_result(catalogue, plan.parent) if plan.parent and not made else planned(plan)
    result = outcome(made, newest, plan, _unread(repository) if repository else [])
    return {**result, "changed": made or left_over(source.path, catalogue, workload)}


def _unread(repository: Repository) -> list[str]:
    """Return the warning of snapshots that could not be read; while a backup is made they may be seen for the first time."""
    return list(filter(None, [unreadable(repository)]))


def _as_running(source: Source, workload: Workload) -> Source:
    """Return what is known of the server that runs, and what the caller said where none does."""
    release, image = running_image(workload)
    return replace(source, chroma_version=release or source.chroma_version, chroma_image=image or source.chroma_image)


def _look(order: Order, source: Source, write: bool) -> tuple[Order, Look]:
    """Look at the directory, and for the collection in it; of one in which an operation died, the second look counts.

    Returns:
        The order with ``tenant/database/name`` of the collection, and what was seen.
    """
    try:
        look = look_at(source.path, write)
    except ChromaError:
        if not (source.path / PRIVATE).is_dir():
            raise
        # Half a swap, perhaps: it is settled under the lock, where this is called again.
        return order, Look(newest_schema(), (order.collection,))
    if order.collection:
        order = replace(order, collection=one_collection(order.collection, look.collections, str(source.path)))
    return order, look


def _plan(order: Order, source: Source, catalogue: Catalogue, look: Look, history: History, repository: Repository | None) -> BackupPlan:
    if order.kind == COLLECTION:
        return BackupPlan(COLLECTION, f"Collection {order.collection} was asked for.")
    instance = read_instance(source.path)
    # A directory that has no instance yet has no backup either: those that are there are of another one, or of nobody knows which.
    mine = catalogue.of(instance or "none")
    standing = Standing(schema_of(look.migrations), schema_of(newest_schema()), read_lineage(source.path), history.begun)
    return plan_backup(
        order.kind, mine, standing, order.policy, datetime.now(UTC), order.verify, unreadable=bool(repository and repository.unreadable)
    )
