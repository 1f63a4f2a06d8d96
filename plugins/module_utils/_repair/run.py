# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairing a data directory: what can be put right without losing anything that Chroma shows. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import SEVERE_FOUND, Report
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal, Recording
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import fulltext
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.act import act, changes_database, prepare
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.facts import pending
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import Quarantine, place_of, quarantines, read
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import Facts, Left, RepairPlan, plan_repair
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.purge import old, purge
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import REPAIR, RepairRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.revert import revert
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rows import LATER
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.settle import close
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.told import diff, render
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import worded
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload, is_stopped, paused
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id


@dataclasses.dataclass(frozen=True)
class _Done:
    """What a repair did; nothing where there was nothing to do."""

    quarantine: Quarantine | None = None
    kept_log: bool = False
    downtime: float | None = None
    left: frozenset[tuple[str, str, str, str]] = frozenset()
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything went; beside a server all of it may have changed between the look and the lock."""
        made = self.quarantine
        return made is not None and bool(made.folders or made.pieces or made.rebuilt or any(made.rows.values()))


def repair(request: RepairRequest, workload: Workload | None = None, check: bool = False) -> dict[str, Any]:
    """Repair what a validation found, as far as that loses nothing; all that goes is kept in quarantine.

    Args:
        workload: the server as Kubernetes runs it; None on a bare host, where nobody is stopped.
        check: only return the plan.

    Returns:
        ``changed``; ``plan``: steps with ``finding``, ``what``, ``collection``, ``segment``, ``needs_stop``; ``repaired``: the steps
        that were done; ``left``: findings with ``finding``, ``severity``, ``collection``, ``segment``, ``reason`` and ``do``;
        ``quarantine``: id of the repair, empty where nothing was done; ``rows``: number of rows by table, ``folders``, ``files``;
        ``completed``: ids of repairs that had been interrupted; ``purged``: ids of quarantines that were removed; ``exact``: whether
        the very bytes can come back; ``live``; ``downtime_seconds``, None where nobody was stopped; ``seconds``; ``table``: lines to
        read; ``diff``; ``warnings``.

    Raises:
        ChromaError: ``invalid_value``, ``not_found``, ``lock_held``, ``no_space``, ``forbidden``, ``server_running``, ``busy``; those of
            the validation and of the cluster: nothing was changed then. ``not_verified`` where the directory was not right afterwards,
            and all of it was taken back.
    """
    request.check()
    require_data_libraries()
    began = time.monotonic()
    if check:
        report = validate(request.path, live=_live(request, workload))
        plan = _plan(request, workload, report)
        purged = old(request.path, request.grace_days) if may_purge(report) else ()
        return _result(plan, report, _Done(), (), purged, began, bool(plan.steps or purged))
    with held(request.path, REPAIR), worded(request.path):
        recovered = recover(request.path, workload, request.stops, request.starts)
        report = validate(request.path, live=_live(request, workload))
        purged = purge(request.path, request.grace_days) if may_purge(report) else ()
        result = repair_found(request, workload, report, recovered.repairs, purged, began)
        return {**result, "warnings": [*recovered.warnings, *result["warnings"]]}


def repair_found(
    request: RepairRequest,
    workload: Workload | None,
    report: Report,
    completed: tuple[str, ...] = (),
    purged: tuple[str, ...] = (),
    began: float | None = None,
) -> dict[str, Any]:
    """Repair what a validation of just now found; under the lock of the directory, on which nothing is interrupted.

    Args:
        report: of the validation.
        completed, purged: what was done before, for the result.
        began: when, monotonic; None for now.

    Returns:
        See :func:`repair`.

    Raises:
        ChromaError: see :func:`repair`.
        OSError: see :func:`writer.worded`.
    """
    began = time.monotonic() if began is None else began
    plan = _plan(request, workload, report)
    done = _repair(request, workload, plan, report) if plan.steps else _Done()
    result = _result(plan, report, done, completed, purged, began, bool(done.changed or completed or purged))
    return {**result, "warnings": list(done.warnings)}


def next_id(directory: Path) -> str:
    """Return the id of a new repair: after those that are there, whatever the clock says, for by the ids the latest is known."""
    moments = [datetime.now(UTC)]
    for place in quarantines(directory)[-1:]:
        with contextlib.suppress(ValueError):  # no moment: nobody but a human gave it that name
            moments.append(datetime.strptime(place.name.partition("-")[0], "%Y%m%dT%H%M%S%z") + timedelta(seconds=1))
    return new_id(max(moments))


def may_purge(report: Report) -> bool:
    """Return whether quarantine may be emptied: beside something severe it may hold what a recovery needs."""
    return report.decided and report.rc != SEVERE_FOUND


def _live(request: RepairRequest, workload: Workload | None) -> bool | None:
    """Return whether a server may be writing; None where only a look at the processes can tell."""
    if request.live is None and workload is not None:
        return not is_stopped(workload)
    return request.live


def _plan(request: RepairRequest, workload: Workload | None, report: Report) -> RepairPlan:
    database = request.path / DATABASE
    facts = Facts(
        rebuilds_live=not report.live or not database.is_file() or database.stat().st_size <= fulltext.LIVE_BYTES,
        replayed=pending(database, [each.segment for each in report.findings if each.kind.id == "CHR055"]),
        stopped=not report.live or (request.stop and workload is not None),
    )
    return plan_repair(report.findings, request.findings, facts)


def _repair(request: RepairRequest, workload: Workload | None, plan: RepairPlan, report: Report) -> _Done:
    identifier = next_id(request.path)
    kinds = sorted({each.finding for each in plan.steps})
    with Journal.of(request.path).recorded(REPAIR, id=identifier, findings=kinds) as recording:
        if workload is None or not report.live or not any(each.needs_stop for each in plan.steps):
            done = _apply(request.path, identifier, plan, report, report.live, recording)
        else:
            began = time.monotonic()
            recording.step("stop")
            with paused(workload, identifier, request.stops, request.starts):
                done = _apply(request.path, identifier, plan, report, False, recording)
                recording.step("start")
            done = dataclasses.replace(done, downtime=round(time.monotonic() - began, 3))
        if done.quarantine is not None:
            recording.facts |= {"rows": dict(done.quarantine.rows), "folders": len(done.quarantine.folders)}
    return done


def _apply(directory: Path, identifier: str, plan: RepairPlan, report: Report, live: bool, recording: Recording) -> _Done:
    recording.step("quarantine")
    prepared = prepare(directory, identifier, plan, report, live)
    recording.step("act", quarantine=identifier)
    try:
        acted = act(directory, prepared.quarantine, prepared.stamps, live)
    except BaseException:
        # What can't be done, or is ended by a signal, is taken back; where that fails, too, the next run does one of both.
        revert(directory, read(place_of(directory, identifier)), live)
        raise
    recording.step("validate")
    closed = close(directory, acted, live, [*report.skipped, *report.unconfirmed])
    return _Done(closed.quarantine, prepared.kept_log, left=closed.left, warnings=closed.warnings)


def _result(
    plan: RepairPlan, report: Report, done: _Done, completed: tuple[str, ...], purged: tuple[str, ...], began: float, changed: bool
) -> dict[str, Any]:
    quarantine = done.quarantine
    repaired = [] if quarantine is None else [each for each in plan.steps if not (done.kept_log and each.finding == "CHR064")]
    there = [each for each in repaired if each.key in done.left]
    repaired = [each for each in repaired if each.key not in done.left]
    reason = "It is still there: it changed while it was to be repaired, or a server left more of it."
    left = [*plan.left, *(Left(each.finding, "minor", each.collection, each.segment, reason, "Run the repair again.") for each in there)]
    if done.kept_log:
        reason = "New writes would get numbers that a collection has passed already."
        left += [Left("CHR064", "minor", each.collection, each.segment, reason, LATER) for each in plan.steps if each.finding == "CHR064"]
    return {
        "changed": changed,
        "plan": [each.as_result() for each in plan.steps],
        "repaired": [each.as_result() for each in repaired],
        "left": [each.as_result() for each in left],
        "quarantine": quarantine.id if quarantine else "",
        "rows": dict(quarantine.rows) if quarantine else {},
        "folders": list(quarantine.folders) if quarantine else [],
        "files": sorted(quarantine.changed) if quarantine else [],
        "exact": quarantine is not None and (quarantine.database is not None or not changes_database(quarantine)),
        "completed": list(completed),
        "purged": list(purged),
        "live": quarantine.live if quarantine else report.live,
        "downtime_seconds": done.downtime,
        "seconds": round(time.monotonic() - began, 3),
        "table": render(plan, left, quarantine, completed, purged),
        "diff": diff(report, plan),
        "warnings": [],
    }
