# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hourly check of a data directory. FOR INTERNAL COLLECTION USE ONLY.

Validate, repair what may be repaired without asking, write the report, tell somebody. Killed at any point, nothing is half: the report
is there whole or not at all, the repair is completed or undone by the next operation that writes, and what nobody was told is told the
next time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import folders, snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import MINOR, Finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report, render
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._health.news import Troubles, repaired_alert, tell, troubles
from ansible_collections.thinkube.chroma.plugins.module_utils._health.plan import Orphaned, RepairPlan, plan_repair
from ansible_collections.thinkube.chroma.plugins.module_utils._health.reports import (
    COUNT,
    DAYS,
    list_reports,
    new_path,
    outdated,
    read_newest,
    write_report,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import LOCK_HELD, RETRYABLE, exit_code
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.purge import purge
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import GRACE_DAYS, RepairRequest, check_grace
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.run import may_purge, repair_found
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.settle import needs_stop, unsettled
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import worded
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload, is_stopped
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import utc
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import reading_room
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Channel, send

OPERATION = "health"


@dataclass(frozen=True)
class HealthRequest:
    """What a user asks for.

    Args:
        path: the data directory.
        live: whether a server may be writing; None finds out.
        mounted: demand that the directory survives the container.
        auto_repair: repair what :func:`plan.plan_repair` allows.
        grace_days: what has been in quarantine for so long goes for good with the next repair.
        keep_reports, keep_days: older reports are removed.
    """

    path: Path
    live: bool | None = None
    mounted: bool = False
    auto_repair: bool = True
    grace_days: float = GRACE_DAYS
    keep_reports: int = COUNT
    keep_days: float = DAYS

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``.
        """
        check_grace(self.grace_days)
        for name, value in (("keep_reports", self.keep_reports), ("keep_days", self.keep_days)):
            if not 1 <= value <= 100_000:
                raise ChromaError("invalid_value", f"{name} is {value}.", "Give a number from 1 to 100000.")


@dataclass(frozen=True)
class Mended:
    """What became of the repair, or of what was interrupted before.

    Args:
        result: of :func:`repair_found`; empty where none was tried, or it failed.
        failures: why it failed, by a key; one that may pass is in ``notes`` only.
        notes: sentences for whoever reads the report.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def kinds(self) -> list[str]:
        """Identifiers of the findings that were repaired."""
        return sorted({step["finding"] for step in self.result.get("repaired", ())})


def check_health(request: HealthRequest, workload: Workload | None, channels: Sequence[Channel], check: bool = False) -> dict[str, Any]:
    """Validate a data directory, repair minor findings, keep a report, and tell somebody of what is severe.

    Args:
        workload: the server as Kubernetes runs it; it is never stopped.
        channels: by which somebody is told.
        check: change nothing and tell nobody; return what would be repaired.

    Returns:
        ``rc``, ``summary``, ``limits``, ``skipped`` and ``unconfirmed`` as a validation has them; ``findings`` that are left; ``plan``:
        identifiers that may be repaired; ``withheld``: why others are not; ``repaired``: steps; ``quarantine``: id of the repair;
        ``purged``: ids of quarantines that were removed;
        ``alerts``: reasons of those that were sent; ``report``: file, empty in check mode; ``removed``: reports that were removed;
        ``changed``; ``table``: lines to read; ``warnings``.

    Raises:
        ChromaError: what keeps the directory from being looked at, after it was reported and told; ``lock_held``, ``no_space``,
            ``forbidden`` where no report can be written.
    """
    request.check()
    began = time.monotonic()
    if check:
        report = _validated(request, write=False)
        plan = plan_repair(report.findings, orphaned(request.path, report.findings), request.auto_repair)
        nothing: dict[str, Any] = {"report": "", "removed": [], "alerts": [], "warnings": []}
        return {**_result(report, report.findings, plan, Mended()), "purged": [], **nothing}
    with contextlib.ExitStack() as stack:
        try:
            _check_place(request.path)
            stack.enter_context(held(request.path, OPERATION))
        except ChromaError as error:
            if error.code != "lock_held":
                # Such as a volume that can only be read any more: nothing can be written down, so it is told each time.
                tell(_known(request.path), _failure(error), str(request.path), channels)
            raise
        try:
            before = _recovered(request.path, workload)
            report = _validated(request, write=True)
        except ChromaError as error:
            _report_failure(request, channels, error, began)
            raise
        return _mended_and_told(request, workload, channels, report, before, began)


def _mended_and_told(
    request: HealthRequest, workload: Workload | None, channels: Sequence[Channel], report: Report, before: Mended, began: float
) -> dict[str, Any]:
    plan = plan_repair(report.findings, orphaned(request.path, report.findings), request.auto_repair)
    # A directory on which something was interrupted is not repaired before that is settled.
    mended = before if before.failures else _mended(request, workload, report, plan)
    left = remaining(report.findings, mended.result)
    purge_now = request.auto_repair and not before.failures and may_purge(report)
    with worded(request.path):
        purged = list(purge(request.path, request.grace_days) if purge_now else ())
    result = _result(report, left, plan, mended)
    result |= {"purged": purged, "changed": bool(result["changed"] or purged)}
    content = {**result, "found": [each.as_result() for each in report.findings], "seconds": round(time.monotonic() - began, 3)}
    told = _told(request, content, channels, troubles(left, report.decided, plan, mended.failures))
    if mended.kinds:
        good = repaired_alert(str(request.path), mended.kinds, mended.result["quarantine"])
        failures = send(good, channels)
        told["warnings"] += failures
        if len(failures) < len(channels):
            told["alerts"] = [*told["alerts"], good.reason]
    notes = [*before.notes, *mended.notes, *mended.failures.values(), *mended.result.get("warnings", ())]
    return {**result, **told, "warnings": [*notes, *told["warnings"]]}


def _recovered(path: Path, workload: Workload | None) -> Mended:
    """Settle what was interrupted, or return why that could not be done, by a key: the directory is looked at all the same.

    The check neither stops nor starts a server: on a cluster it has no right to, and it is what people are told by.
    """
    try:
        if workload is not None and any(needs_stop(path, each) for each in unsettled(path)) and not is_stopped(workload):
            raise ChromaError("server_running", "A repair of files was interrupted, and needs the server stopped.")
        return Mended(notes=recover(path, workload).warnings)
    except ChromaError as error:
        if error.code not in ("forbidden", "server_running"):
            raise
        text = f"An operation was interrupted, and this check can't bring it to its end: {error.message} Run 41_repair."
        return Mended(failures={f"interrupted/{error.code}": text})


def orphaned(path: Path, findings: Sequence[Finding]) -> Orphaned:
    """Return how many bytes the folders have that belong to no collection, and all folders of indexes."""
    names = {each.subject or each.segment for each in findings if each.kind.id in ("CHR012", "CHR017")}
    sizes = [(Path(file).parent, size) for file, size, _time in snapshot(path)]
    indexes = [(folder.name, size) for folder, size in sizes if folder != path]
    return Orphaned(sum(size for name, size in indexes if name in names), sum(size for _name, size in indexes))


def remaining(findings: Sequence[Finding], result: Mapping[str, Any]) -> list[Finding]:
    """Return the findings that a repair left.

    Args:
        findings: before it.
        result: of :func:`repair_found`, which names them by identifier, collection and segment.
    """
    done = {_place(step) for step in result.get("repaired", ())} - {_place(each) for each in result.get("left", ())}
    return [each for each in findings if (each.kind.id, each.collection, each.segment) not in done]


def _place(step: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(step["finding"]), str(step["collection"]), str(step["segment"])


def _validated(request: HealthRequest, write: bool) -> Report:
    with reading_room(request.path, write) as room:
        return validate(request.path, live=request.live, mounted=request.mounted, scratch=room)


def _mended(request: HealthRequest, workload: Workload | None, report: Report, plan: RepairPlan) -> Mended:
    if not plan.kinds:
        return Mended()
    order = RepairRequest(request.path, plan.kinds, report.live, stop=False, grace_days=request.grace_days)
    try:
        with worded(request.path):
            return Mended(repair_found(order, workload, report))
    except ChromaError as error:
        text = f"The repair failed: {error.message} {error.hint}".strip()
        if exit_code(error.code) in (RETRYABLE, LOCK_HELD):
            return Mended(notes=(text,))
        return Mended(failures={f"repair/{error.code}": text})


def _result(report: Report, left: Sequence[Finding], plan: RepairPlan, mended: Mended) -> dict[str, Any]:
    now = replace(report, findings=left)
    repaired = list(mended.result.get("repaired", ()))
    lines = [*(f"repaired  {step['finding']}  {step['what']}" for step in repaired), *render(now)]
    if plan.withheld and any(each.kind.severity == MINOR for each in left):
        lines.insert(len(repaired), f"not repaired: {plan.withheld}")
    return {
        **now.as_result(),
        "plan": list(plan.kinds),
        "withheld": plan.withheld,
        "repaired": repaired,
        "quarantine": str(mended.result.get("quarantine", "")),
        "changed": bool(repaired),
        "table": lines,
    }


def _told(request: HealthRequest, content: Mapping[str, Any], channels: Sequence[Channel], found: Troubles) -> dict[str, Any]:
    """Write the report, tell the channels what is new, and write down what they know. The lock is held."""
    path, now = request.path, datetime.now(UTC)
    told = _known(path)
    file = new_path(path, now)
    content = {"time": utc(now), **content}
    # Before anybody is told: a webhook takes its time, and what it is about should be there by then.
    try:
        write_report(file, {**content, "alerts": [], "told": told})
    except ChromaError:
        # A full disk is what somebody has to know of first.
        tell(told, found, str(path), channels)
        raise
    known, sent, failures = tell(told, found, str(path), channels)
    if known != told:
        write_report(file, {**content, "alerts": sent, "told": known})
    if sent:
        journal = Journal.of(path)
        journal.end(journal.begin(OPERATION, report=file.name), "done", alerts=sent, troubles=sorted(found.texts))
    removed = outdated(list_reports(path), now, request.keep_reports, request.keep_days)
    for each in removed:
        each.unlink(missing_ok=True)
    return {"report": str(file), "removed": [each.name for each in removed], "alerts": sent, "warnings": failures}


def _check_place(path: Path) -> None:
    """Refuse a directory where neither Chroma nor an operation of ours ever was, before anything is written to it."""
    if not path.is_dir() or not ((path / DATABASE).exists() or (path / PRIVATE).is_dir() or folders(path)):
        hint = "Give the directory that holds chroma.sqlite3; if it is that one, look whether its volume is mounted."
        raise ChromaError("not_chroma_directory", f"{path} is no data directory of Chroma.", hint)


def _report_failure(request: HealthRequest, channels: Sequence[Channel], error: ChromaError, began: float) -> None:
    """Report and tell that the directory could not be looked at; where no report can be written, only tell. The lock is held."""
    content = {"path": str(request.path), "error": {"code": error.code, "message": error.message, "hint": error.hint}}
    # What the check failed of is what its caller has to know, and not that it could not be reported either.
    with contextlib.suppress(ChromaError):
        told = _told(request, {**content, "seconds": round(time.monotonic() - began, 3)}, channels, _failure(error))
        error.result = {**error.result, "report": told["report"], "alerts": told["alerts"]}


def _failure(error: ChromaError) -> Troubles:
    return troubles((), False, RepairPlan(), {f"check/{error.code}": f"The check failed: {error.message} {error.hint}".strip()})


def _known(path: Path) -> Mapping[str, Sequence[str]]:
    """Return what each channel was told last."""
    told: Mapping[str, Sequence[str]] = (read_newest(path) or {}).get("told") or {}
    return told
