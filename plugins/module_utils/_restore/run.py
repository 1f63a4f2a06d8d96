# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring a whole data directory, and undoing that. FOR INTERNAL COLLECTION USE ONLY.

All that can fail is done beside the running server: bringing the backup, replaying, proving. Then the server stops, what is there goes into
the repository, the entries are exchanged, and the server starts. Killed anywhere, the next run of whatever writes makes it good.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import NAME as INSTANCE
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import adopt_instance, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import release
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.conclude import conclude, conclude_left, is_left, left_over
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import check_place, read_current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import is_stopped, pause, start_again, wait_ready
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.plan import RestorePlan, check_release, check_replayed, plan_restore
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.point import take_restore_point
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import RESTORE, UNDO, Record, recorded
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import (
    RestoreRequest,
    Surroundings,
    content_of,
    is_done,
    meant,
    resolved,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import LATEST, Resolution, choose, instead
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import kept_out, refuse_running, unseen
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.served import check_served
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.staging import Staged, needs_copy, stage
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import entries, finish, swap
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import STAGING, Swap, read_swap
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import MANIFEST, BackupManifest, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree

# Seconds until what stands before the server lets requests through to it.
_PATIENCE = 60.0
_ALREADY = "An earlier attempt of {} had done it; nothing was restored now."


def restore(around: Surroundings, request: RestoreRequest, check: bool = False) -> dict[str, Any]:
    """Replace the content of a data directory by a backup, or by a restore point.

    Args:
        check: only return the plan.

    Returns:
        ``changed``, the plan (see :meth:`RestorePlan.as_result`), ``diff``; and where it was done ``restore_point``,
        ``restore_point_verified``, ``completed``, ``proof``, ``served``, ``downtime_seconds``, ``seconds``, ``warnings``.

    Raises:
        ChromaError: before anything is replaced: ``not_found``, ``broken_chain``, ``newer_backup``, ``no_space``, ``server_running``,
            ``not_verified``, ``lock_held``, those of repository, staging and reader. Afterwards: ``swap_failed``; ``timeout`` where the
            server does not become ready, ``not_verified`` where it does not serve what was restored.
    """
    require_data_libraries()
    release()
    request.check()
    check_place(request.path)
    warnings: list[str] = []
    if check:
        repository = around.repository()
        catalogue = catalogue_of(repository.snapshots())
        chosen = _chosen(repository, catalogue, meant(catalogue, request, read_swap(request.path)), warnings)
        plan = _plan(repository, catalogue, chosen, request, write=False)
        return {"changed": True, **plan.as_result(), "diff": plan.diff(), "warnings": [*warnings, *plan.warnings()]}
    began = time.monotonic()
    with held(request.path, UNDO if request.undo else RESTORE):
        recovered = recover(request.path, around.workload, request.stops, request.starts, wait=False)
        warnings += recovered.warnings
        repository = around.repository()
        catalogue = catalogue_of(repository.snapshots())
        done = recovered.swap
        if done is not None and is_done(recovered, catalogue, request):
            result = _completed(around, repository, catalogue, request, done, warnings)
        else:
            # What the last restore left to be done has to change nothing in what is meant now, nor may it stand in its way.
            request = meant(catalogue, request, done)
            if done is not None and (warning := _conclude_former(repository, request.path, done)):
                warnings.append(warning)
            catalogue = catalogue_of(repository.snapshots())
            plan = _plan(repository, catalogue, _chosen(repository, catalogue, request, warnings), request, write=True)
            warnings += plan.warnings()
            result = {"changed": True, **_restore(around, repository, catalogue, request, plan, warnings)}
    return {**result, "warnings": warnings, "seconds": round(time.monotonic() - began, 3)}


def _conclude_former(repository: Repository, directory: Path, done: Swap) -> str:
    """Conclude the last swap; return what is to be said where that fails: in an emergency its restore point may be out of reach."""
    if not is_left(directory, done):
        finish(directory)
        return ""
    return conclude_left(repository, directory)


def _chosen(repository: Repository, catalogue: Catalogue, request: RestoreRequest, warnings: list[str]) -> Resolution:
    found = choose(repository, request.backup == LATEST, lambda: resolved(catalogue, request))
    warnings.extend(filter(None, [unreadable(repository)]))
    return found


def _plan(repository: Repository, catalogue: Catalogue, resolution: Resolution, request: RestoreRequest, write: bool) -> RestorePlan:
    manifest = read_manifest_of(repository, catalogue, resolution)
    current = read_current(request.path, manifest.position, write)
    plan = plan_restore(resolution, manifest, current, needs_copy(manifest))
    check_release(manifest, request.chroma_version, release(), current)
    hint = "Enlarge the volume, or restore into an empty one."
    check_room(request.path, plan.needed, f"backup {manifest.id} beside what is there", hint)
    return plan


def read_manifest_of(repository: Repository, catalogue: Catalogue, resolution: Resolution) -> BackupManifest:
    backup = resolution.backup
    try:
        return parse_manifest(repository.read_file(backup.snapshot, MANIFEST), backup.id)
    except ChromaError as error:
        if error.code in ("damaged_repository", "invalid_manifest", "not_found"):
            error.hint = instead(catalogue, backup)
        raise


def _restore(
    around: Surroundings, repository: Repository, catalogue: Catalogue, request: RestoreRequest, plan: RestorePlan, warnings: list[str]
) -> dict[str, Any]:
    directory, workload = request.path, around.workload
    if workload is None:
        refuse_running(directory)
        warnings.extend(filter(None, [unseen()]))
    with recorded(directory, UNDO if request.undo else RESTORE, warnings, id=request.operation, backup=plan.manifest.id) as record:
        record.step("stage")
        staged = stage(repository, plan, directory, request.operation, lambda backup: instead(catalogue, backup))
        stopped = time.monotonic()
        done = _exchange(around, repository, request, plan, staged, record)
        record.facts |= {"restore_point": done.restore_point}
        record.step("start")
        _adopt(directory, plan, warnings)
        result = _after(around, repository, request, staged.manifest, done, stopped, warnings)
    warnings.extend(staged.warnings())
    return {
        **plan.as_result(),
        **result,
        "completed": False,
        "proof": staged.proof.as_result() if staged.proof else None,
        "rounded": staged.rounded,
        "diff": plan.diff(),
    }


def _exchange(
    around: Surroundings, repository: Repository, request: RestoreRequest, plan: RestorePlan, staged: Staged, record: Record
) -> Swap:
    """Stop the server, keep what is there, exchange it, and start the server; where that fails, it is started on what was there."""
    directory, workload = request.path, around.workload
    try:
        check_replayed(plan.manifest, staged.manifest, request.chroma_version, release(), plan.current)
        if workload:
            record.step("stop")
            pause(workload, request.operation, request.stops)
        refuse_running(directory)
        point = ""
        if entries(directory):
            record.step("restore point")
            point = take_restore_point(repository, directory, plan.manifest.id, bool(workload), request.chroma_version)
        # Somebody may have started it while that took its time.
        refuse_running(directory)
        if workload and not is_stopped(workload):
            hint = "Find out who sets the number of replicas (an autoscaler, a deployment that runs), and run it again."
            raise ChromaError("server_running", "The server was started by somebody else while it was to be stopped.", hint)
        record.step("swap", restore_point=point)
        with kept_out(directory):
            done = swap(directory, request.operation, plan.manifest.id, point, staged.data, content_of(staged.data))
        if workload:
            start_again(workload)
        return done
    except BaseException:
        found = read_swap(directory)
        # On half a directory it must not start.
        if found is None or found.settled:
            if workload:
                # What failed first is what the caller has to know.
                with contextlib.suppress(ChromaError):
                    start_again(workload)
            remove_tree(directory / PRIVATE / STAGING)
        raise


def _adopt(directory: Path, plan: RestorePlan, warnings: list[str]) -> None:
    """Let a directory that had no backups of its own go on as what the backup is of."""
    instance = plan.resolution.backup.instance
    try:
        if not read_instance(directory) and adopt_instance(directory, instance):
            said = f"The directory goes on as {instance}, which the backup is of, and its backups count as that one's."
            warnings.append(f"{said} If that one is still in use elsewhere, remove {directory / PRIVATE / INSTANCE} here.")
    except ChromaError as error:
        warnings.append(error.message)


def _after(
    around: Surroundings,
    repository: Repository,
    request: RestoreRequest,
    manifest: BackupManifest,
    done: Swap,
    stopped: float | None,
    warnings: list[str],
) -> dict[str, Any]:
    """Wait for the server and ask it; and whatever it answers, conclude: what the repository can't do now, the next operation does.

    Args:
        stopped: monotonic time since when the server was away; None where nobody knows.
    """
    fault, served, proven, downtime = None, None, False, None
    try:
        replicas = wait_ready(around.workload, request.starts) if around.workload else 1
        if around.workload and stopped is not None:
            downtime = round(time.monotonic() - stopped, 3)
        if not replicas:
            warnings.append("The server was stopped before, and stays so: it was not asked what it serves.")
        elif around.client is not None and not manifest.damaged:
            # Between a pod that is ready and an ingress that knows it there is a moment, in which others answer.
            served = Patience(_PATIENCE, also=("not_chroma",))(partial(check_served, around.client, manifest, warnings))
    except ChromaError as error:
        fault = error
    try:
        proven = conclude(repository, request.path, done)
    except ChromaError as error:
        if fault is None and error.code == "not_verified":
            raise
        warnings.append(left_over(request.path, done, error))
    if fault is not None:
        raise fault
    return {"restore_point": done.restore_point, "restore_point_verified": proven, "served": served, "downtime_seconds": downtime}


def _completed(
    around: Surroundings, repository: Repository, catalogue: Catalogue, request: RestoreRequest, done: Swap, warnings: list[str]
) -> dict[str, Any]:
    """End the work of an attempt that died after it had begun to swap; of one that had done all of it, nothing is left to be done."""
    left, backup = is_left(request.path, done), catalogue.require(done.backup)
    note = "An earlier attempt was interrupted, and has been completed." if left else _ALREADY.format(done.operation)
    resolution = Resolution(backup, catalogue.chain(backup).backups, note)
    manifest = read_manifest_of(repository, catalogue, resolution)
    current = read_current(request.path, manifest.position, write=True)
    plan = plan_restore(resolution, manifest, current, False)
    name, facts = UNDO if request.undo else RESTORE, {"id": request.operation, "backup": backup.id, "completes": done.operation}
    with recorded(request.path, name, warnings, **facts) as record:
        record.facts |= {"restore_point": done.restore_point}
        _adopt(request.path, plan, warnings)
        result = _after(around, repository, request, manifest, done, None, warnings)
    return {"changed": left, **plan.as_result(), **result, "completed": left, "proof": None, "rounded": 0, "diff": plan.diff()}
