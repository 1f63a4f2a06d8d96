# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undoing a repair. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import in_use
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.act import changes_database
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import (
    KEPT,
    UNDONE,
    Quarantine,
    check_files,
    place_of,
    quarantines,
    read,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import LATEST, UNDO, UndoRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.revert import Reverted, is_exact, revert
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.revert import check as check_conflicts
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.told import came
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import worded
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload, is_stopped, paused
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import is_id

_ALREADY = "It was undone before."
_BY_ROWS = "The database was written to since the repair, or is in use: its rows come back one by one, and their bytes lie elsewhere in it."


def undo(request: UndoRequest, workload: Workload | None = None, check: bool = False) -> dict[str, Any]:
    """Bring back what a repair put into quarantine.

    Args:
        workload: the server as Kubernetes runs it; None on a bare host, where nobody is stopped.
        check: only return what would be done.

    Returns:
        ``changed``; ``quarantine``: id of the repair; ``exact``: whether the very bytes of before came back, of every file; ``rows``,
        ``folders``, ``files`` that came back; ``note``; ``completed``; ``downtime_seconds``; ``seconds``; ``table``; ``diff``;
        ``warnings``.

    Raises:
        ChromaError: ``not_found``, ``damaged_quarantine``, ``conflict`` where a newer row or folder is in the place of one that was to
            come back, ``lock_held``, ``server_running``, ``busy``, ``no_space``: nothing was changed then.
    """
    request.check()
    require_data_libraries()
    began = time.monotonic()
    if check:
        return _planned(request, workload, began)
    with held(request.path, UNDO), worded(request.path):
        recovered = recover(request.path, workload, request.stops, request.starts)
        completed = recovered.repairs
        found = _chosen(request)
        if found.state == UNDONE:
            reverted, downtime = Reverted(found, found.exact), None
        else:
            reverted, downtime = _undo(request, workload, found)
        return {
            **_result(reverted, found.state == UNDONE, began),
            "changed": found.state != UNDONE or bool(completed),
            "completed": list(completed),
            "downtime_seconds": downtime,
            "warnings": list(recovered.warnings),
        }


def _undo(request: UndoRequest, workload: Workload | None, found: Quarantine) -> tuple[Reverted, float | None]:
    began = time.monotonic()
    with Journal.of(request.path).recorded(UNDO, repair=found.id) as recording:
        live = _live(request, workload)
        if live and workload is not None and request.stop:
            recording.step("stop")
            with paused(workload, f"undo-{found.id.lower()}", request.stops, request.starts):
                reverted = revert(request.path, found, live=False)
                recording.step("start")
            return reverted, round(time.monotonic() - began, 3)
        return revert(request.path, found, live), None


def _planned(request: UndoRequest, workload: Workload | None, began: float) -> dict[str, Any]:
    found = _chosen(request)
    live = _live(request, workload) and not (workload is not None and request.stop)
    if found.state == UNDONE:
        return {**_result(Reverted(found, found.exact), True, began), "changed": False, "completed": [], "downtime_seconds": None}
    check_conflicts(request.path, found)
    reverted = Reverted(found, is_exact(request.path, found, live), found.folders, dict(found.rows))
    return {**_result(reverted, False, began), "changed": True, "completed": [], "downtime_seconds": None}


def _chosen(request: UndoRequest) -> Quarantine:
    """Return the quarantine that is meant, with each of its files checked.

    Raises:
        ChromaError: ``not_found``, ``damaged_quarantine``.
    """
    hint = "chroma_journal_info (log) lists repairs; what is older than grace_days is removed by the next one."
    if request.repair != LATEST:
        place = place_of(request.path, request.repair)
        if not is_id(request.repair) or not place.is_dir():
            raise ChromaError("not_found", f"There is no quarantine {request.repair} in {request.path}.", hint)
        found = read(place)
        if found.state == KEPT:
            raise ChromaError("not_found", f"{place} is no repair: {found.reason}", "It is there to be read; nothing undoes it.")
    else:
        known = [each for each in map(read, quarantines(request.path)) if each.state != KEPT]
        if not known:
            raise ChromaError("not_found", f"There is no quarantine in {request.path}.", hint)
        found = next((each for each in reversed(known) if each.state != UNDONE), known[-1])
    if found.state != UNDONE:
        check_files(place_of(request.path, found.id), found)
    return found


def _live(request: UndoRequest, workload: Workload | None) -> bool:
    if request.live is not None:
        return request.live
    return not is_stopped(workload) if workload is not None else in_use(request.path / DATABASE)


def _result(reverted: Reverted, already: bool, began: float) -> dict[str, Any]:
    found = reverted.quarantine
    rows = {} if already else reverted.rows
    files = [] if already else sorted(found.changed)
    folders = () if already else reverted.folders
    note = _ALREADY if already else "" if reverted.exact or not changes_database(found) else _BY_ROWS
    return {
        "quarantine": found.id,
        "exact": reverted.exact,
        "rows": rows,
        "folders": list(folders),
        "files": files,
        "note": note,
        "seconds": round(time.monotonic() - began, 3),
        "table": [*came(rows, folders, files, "back"), *([note] if note else []), f"quarantine {found.id}"],
        "diff": {
            "before": {"quarantine": [] if already else came(rows, folders, files, "")},
            "after": {"quarantine": []},
        },
        "warnings": [],
    }
