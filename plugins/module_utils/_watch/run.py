# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of one collection. FOR INTERNAL COLLECTION USE ONLY.

What was seen is noted before anything is done about it, so that a check that is killed is gone on with by the next one: a fault that
nobody was told of is told then, and a collection that is half filled is filled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import OK, SEVERE
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import GenerationDataset
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres, connected
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation, find_generation, generations
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.making import reading
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.retention import largest
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import read_layout
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Alert, Channel
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.plan import (
    BEGUN,
    BROUGHT_BACK,
    ENDED,
    FAILED,
    STALE,
    UNTOLD,
    CheckPlan,
    Fault,
    alert_begun,
    alert_ended,
    alert_failed,
    alert_recovered,
    alert_stale,
    baseline_of,
    choose_target,
    plan_check,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.record import FaultRecord
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import bring_back, carries, tidy
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.result import shown, table
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.telling import Telling
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.verdict import (
    CONFIRM,
    RECOVERED,
    Baseline,
    Verdict,
    judge,
    look,
    settled,
)


@dataclass(frozen=True)
class CheckOrder:
    """What to check, and what to do about a fault.

    Args:
        collection: its name.
        new_name: of the collection that lost data are brought back into; numbered where it is taken.
        recover: whether they are.
        shrink_share: the share of the export's records that may be gone.
        sample: records that are read with their vectors; all of them before a fault is called mended.
        wait: seconds that the server, and PostgreSQL, may be away.
        confirm: seconds between the two looks that make a fault.
        stale_hours: that the last export may be old, or a collection may be checked without one; 0 for any.
    """

    collection: str
    new_name: str
    recover: bool = True
    shrink_share: float = 0.5
    sample: int = 1000
    wait: float = 60.0
    confirm: float = CONFIRM
    stale_hours: float = 3.0

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value`` or ``invalid_name``.
        """
        for each in (self.collection, self.new_name):
            check_name(each, legacy=False)
        if not 0 <= self.shrink_share < 1:
            raise ChromaError("invalid_value", f"shrink_share is {self.shrink_share:g}.", "Set a number from 0 to below 1: 0.5 is half.")
        if self.sample < 1 or min(self.wait, self.confirm, self.stale_hours) < 0:
            message = "sample must be at least 1, wait, confirm and stale_hours at least 0."
            raise ChromaError("invalid_value", message, "Correct the value.")


def check_collection(
    client: ChromaClient, settings: PostgresSettings, order: CheckOrder, channels: Sequence[Channel], check: bool = False
) -> dict[str, Any]:
    """Check a collection, bring lost data back into a new one, and tell somebody.

    Args:
        client: the server; the collection is in its tenant and database.
        settings: of the database with the exports.
        channels: who is told.
        check: only look, tell nobody, and return what would be done.

    Returns:
        ``changed``, ``collection``, ``verdict``, ``reason``, ``generation``, ``overdue`` (it is not exported any more), ``fault``,
        ``recovered`` (what this check brought back),
        ``ended``, ``alerts`` (the reasons of those that were sent), ``undelivered`` (why one was not), ``rc`` (exit code of the operation),
        ``table`` (lines for people) and ``diff``.

    Raises:
        ChromaError: what is no verdict: bad settings, a wrong token, ``lock_held``, PostgreSQL that is away, a recovery that failed. All
            but the first and ``lock_held`` are told, too.
    """
    order.check()
    told = Telling(channels, silent=check)
    try:
        with contextlib.ExitStack() as stack:
            # One that restarts is no reason to wake somebody.
            postgres = Patience(order.wait)(lambda: stack.enter_context(connected(settings)))
            checking = _Checking(client, postgres, order, told)
            return checking.plan_only() if check else checking.run()
    except ChromaError as error:
        if error.code != "lock_held" and not told.failure_known:
            text = f"Collection {order.collection} could not be checked: {error.message} {error.hint}".strip()
            told.tell(Alert("CheckFailed", text, once=f"{order.collection}/{error.code}"))
        error.result = {**error.result, "alerts": told.sent, "undelivered": told.failures}
        raise


class _Checking:
    """One check, with its connections open."""

    def __init__(self, client: ChromaClient, postgres: Postgres, order: CheckOrder, told: Telling) -> None:
        self._client, self._postgres, self._order, self._told = client, postgres, order, told
        connection = client.connection
        self._record = FaultRecord(postgres, connection.tenant, connection.database)
        self._current: Generation | None = None

    def plan_only(self) -> dict[str, Any]:
        """Look, and return what :meth:`run` would do."""
        baseline, verdict, plan = self._look()
        target = plan.fault.target if plan.fault else ""
        if plan.recover and not target:
            target = self._free_name()
        changed = plan.recover or bool(plan.ends) or bool(plan.fault and not plan.fault.number)
        recovered = {"name": target, "records": baseline.records} if plan.recover and baseline else None
        return self._result(changed, baseline, verdict, plan.fault, recovered, plan.ends)

    def run(self) -> dict[str, Any]:
        """Look, note, tell, and bring back what is lost."""
        order, record = self._order, self._record
        with record.held(order.collection):
            baseline, verdict, plan = self._look()
            for each in record.untold(order.collection):
                name = each.target if each.switched else each.collection
                self._tell(each, ENDED, alert_ended(each, name, None))
            for each in plan.ends:
                self._end(each, verdict)
            fault, recovered = plan.fault, None
            if fault is not None:
                fault = record.seen(fault, verdict.kind) if fault.number else record.begin(fault)
                if not fault.switched:
                    if fault.told in (UNTOLD, BEGUN):
                        fault = self._tell(fault, BEGUN, alert_begun(fault, verdict, baseline, order.recover))
                    if plan.recover and baseline:
                        fault, recovered = self._recover(fault, verdict, baseline)
                    if fault.recovered is not None:
                        tidy(self._client, fault.target, fault.token)
                        fault = self._tell(fault, BROUGHT_BACK, alert_recovered(fault, verdict, baseline))
            if verdict.healthy:
                self._watch_exports()
            changed = bool(recovered or plan.ends or (plan.fault and not plan.fault.number))
            return self._result(changed, baseline, verdict, fault, recovered, plan.ends)

    def _look(self) -> tuple[Baseline | None, Verdict, CheckPlan]:
        order, connection = self._order, self._client.connection
        faults = self._record.faults(order.collection)
        with self._postgres.attempting("Could not read the generations"):
            self._current = find_generation(self._postgres, order.collection, None, connection.tenant, connection.database)
            every = [each for each in generations(self._postgres) if self._current and each.place == self._current.place]
        best = largest(every)
        more = Baseline(best.number, best.records, best.created) if best and not best.current else None
        current = self._current
        own = Baseline(current.number, current.records, current.created, more) if current else None
        baseline = baseline_of(order.collection, faults, own)
        damaged = any(each.collection == order.collection and each.verdict in RECOVERED for each in faults)

        def again(confirming: bool) -> Verdict:
            # A server may stumble for a while, after a migration for example: what it refuses counts when it still does later.
            patience = Patience(order.wait, also=("server_error",) if confirming else ())
            verdict = judge(look(self._client, order.collection, order.sample, patience), baseline, order.shrink_share)
            if verdict.healthy and damaged:
                # Records that were lost may be none of the sample, which is another one whenever the number of records is.
                verdict = judge(look(self._client, order.collection, None, patience), baseline, order.shrink_share)
            return verdict

        verdict = settled(again, order.confirm)
        return baseline, verdict, plan_check(order.collection, verdict, faults, baseline, order.recover)

    def _overdue(self) -> bool:
        """Whether the last export of a healthy collection is too old, or has been missing for too long."""
        limit = self._order.stale_hours * 3600
        known = None if self._current else self._record.stale(self._order.collection)
        age = self._current.age if self._current else known.age if known else 0.0
        return bool(limit) and age > limit

    def _watch_exports(self) -> None:
        """Tell when exports of a healthy collection fail, or are not made, and when they are again."""
        current, known = self._current, self._record.stale(self._order.collection)
        if self._overdue():
            fault = known or self._record.begin(self._stale())
            if current:
                # It may have been noted while there was no export.
                fault = replace(fault, generation=current.number)
            self._tell(fault, BEGUN, alert_stale(fault, current.created if current else "", current.age if current else fault.age))
        elif current is None and self._order.stale_hours:
            # Nobody is told yet: it says since when there is no export.
            if known is None:
                self._record.begin(self._stale())
        elif known:
            if known.told:
                self._tell(known, ENDED, alert_ended(known, known.collection, None))
            self._record.end(known, switched=False)

    def _stale(self) -> Fault:
        return Fault(0, self._order.collection, STALE, self._current.number if self._current else None)

    def _recover(self, fault: Fault, verdict: Verdict, baseline: Baseline) -> tuple[Fault, dict[str, Any]]:
        try:
            fault, records = self._bring_back(fault, baseline)
        except ChromaError as error:
            self._told.failure_known = True
            self._tell(fault, FAILED, alert_failed(fault, verdict, baseline, f"{error.message} {error.hint}".strip()))
            error.result = {**error.result, "verdict": verdict.kind, "fault": shown(fault)}
            raise
        return self._record.recovered(fault, records), {"name": fault.target, "records": records}

    def _bring_back(self, fault: Fault, baseline: Baseline) -> tuple[Fault, int]:
        """Bring back the generation of a fault; where it is damaged or gone, another one."""
        damaged: ChromaError | None = None
        for generation in self._generations(fault, baseline):
            try:
                if not fault.target or self._taken(fault) or self._holds_another(fault, generation):
                    fault = self._record.aim(fault, self._free_name(), generation.number)
                elif fault.generation != generation.number:
                    fault = self._record.aim(fault, fault.target, generation.number)
                with self._postgres.attempting("Could not bring it back"), reading(self._postgres, generation):
                    dataset = GenerationDataset(self._postgres, read_layout(self._postgres), generation)
                    return fault, bring_back(dataset, self._client, fault.target, fault.token, self._order.wait)
            except ChromaError as error:
                if error.code != "damaged_generation":
                    raise
                damaged = damaged or error
        if damaged:
            raise damaged
        message = f"Generation {fault.generation} is not in table {self._postgres.table} any more."
        raise ChromaError("not_found", message, "Restore a backup (30_restore), or see what 42_recover can save.")

    def _generations(self, fault: Fault, baseline: Baseline) -> list[Generation]:
        """Return the generations that a fault's data can be brought back from: its own one, or what is current, then older ones."""
        with self._postgres.attempting("Could not read the generations"):
            known = generations(self._postgres)
        numbers = {each.number for each in known}
        first = fault.generation if fault.generation in numbers else baseline.generation
        own = next((each for each in known if each.number == first), None)
        if own is None:
            return []
        return [own, *(each for each in known if each.place == own.place and each.number < own.number and each.records)]

    def _holds_another(self, fault: Fault, generation: Generation) -> bool:
        """Return whether the target was begun with another generation: what it holds of that would stay."""
        return fault.generation != generation.number and self._client.get_collection(fault.target) is not None

    def _taken(self, fault: Fault) -> bool:
        """Return whether somebody else made a collection of the target's name since it was chosen."""
        found = self._client.get_collection(fault.target)
        return found is not None and not carries(found.metadata, fault.token)

    def _free_name(self) -> str:
        taken = {each.name for each in self._client.list_collections()}
        return choose_target(self._order.new_name, self._order.collection, taken, self._client.legacy)

    def _end(self, fault: Fault, verdict: Verdict) -> None:
        if fault.recovered is not None:
            # One that was killed before it did may leave a whole collection that looks half, which no export would take.
            tidy(self._client, fault.target, fault.token)
        if fault.ended is None:
            self._tell(fault, ENDED, alert_ended(fault, self._order.collection, verdict))
        self._record.end(fault, switched=fault.collection != self._order.collection)

    def _tell(self, fault: Fault, what: str, alert: Alert) -> Fault:
        """Tell somebody once; a channel that did not take it is told by the next check."""
        if fault.told == what and not fault.owing:
            return fault
        owing = self._told.tell(alert, fault.owing if fault.told == what else None)
        return self._record.told(fault, what, owing)

    def _result(
        self,
        changed: bool,
        baseline: Baseline | None,
        verdict: Verdict,
        fault: Fault | None,
        recovered: dict[str, Any] | None,
        ends: Sequence[Fault],
    ) -> dict[str, Any]:
        overdue = verdict.healthy and self._overdue()
        return {
            "changed": changed,
            "collection": self._order.collection,
            "verdict": verdict.kind,
            "reason": verdict.reason,
            "generation": baseline.generation if baseline else None,
            "overdue": overdue,
            "fault": shown(fault) if fault else None,
            "recovered": recovered,
            "ended": [shown(each) for each in ends if each.ended is None],
            "alerts": self._told.sent,
            "undelivered": self._told.failures,
            "rc": OK if verdict.healthy else SEVERE,
            "table": table(self._order.collection, verdict, fault, recovered, overdue),
            "diff": {
                "before": {"faults": [each.number for each in ends], "recovered": None},
                "after": {"faults": [fault.number] if fault else [], "recovered": recovered and recovered["name"]},
            },
        }
