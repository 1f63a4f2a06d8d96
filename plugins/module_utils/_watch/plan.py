# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check does about a verdict. Pure decisions. FOR INTERNAL COLLECTION USE ONLY.

A fault lasts from the first check that sees it to the first that finds the collection healthy. Its data are brought back once, from
one generation, whatever other damage the collection shows meanwhile, and whatever is exported of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import numbered
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Alert
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.verdict import RECOVERED, SERVER_DOWN, Baseline, Verdict

# How far somebody was told of a fault, in this order.
UNTOLD, BEGUN, FAILED, BROUGHT_BACK, ENDED = "", "begun", "failed", "recovered", "ended"


# The verdict of a fault of the exports and not of the collection: nothing is brought back.
STALE = "stale_export"


@dataclass(frozen=True)
class Fault:
    """What is known of a fault; a row of ``<BACKUP_TABLE>_faults``.

    Args:
        number: its key; 0 where it is not stored yet.
        collection: that has it.
        verdict: the last one.
        generation: that its data are brought back from; None where there is no export.
        token: random; the target carries it while it is filled, so that nobody else's collection is taken for it.
        target: the collection that they are brought back into; empty where none was chosen.
        recovered: records that were brought back; None until they were read back equal.
        told: see :data:`UNTOLD`.
        owing: names of the channels that could not be told the last of it.
        switched: it ended because its target is the collection that is checked now, and not because it is mended.
        first_seen, last_seen, ended: moments.
        age: seconds since it was first seen, by PostgreSQL's clock.
    """

    number: int
    collection: str
    verdict: str
    generation: int | None
    token: str = ""
    target: str = ""
    recovered: int | None = None
    told: str = UNTOLD
    owing: tuple[str, ...] = ()
    switched: bool = False
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    ended: datetime | None = None
    age: float = 0.0


@dataclass(frozen=True)
class CheckPlan:
    """What to do.

    Args:
        fault: that lasts, as stored or to be stored (number 0); None where there is none.
        recover: whether its data have to be brought back now.
        ends: faults that are over.
    """

    fault: Fault | None = None
    recover: bool = False
    ends: tuple[Fault, ...] = ()


def plan_check(name: str, verdict: Verdict, faults: Sequence[Fault], baseline: Baseline | None, recover: bool) -> CheckPlan:
    """Decide what to do about a verdict.

    Args:
        name: of the collection.
        faults: those of this collection that last or were switched away from, and those that last whose target it is.
        baseline: the last good export.
        recover: whether data are brought back at all.
    """
    mine = [each for each in faults if each.collection == name]
    if verdict.healthy:
        # Of those that it is the target of, one that ended stays noted: the damaged collection is not to be brought back again.
        return CheckPlan(ends=(*mine, *(each for each in faults if each.collection != name and each.ended is None)))
    generation = baseline.generation if baseline else None
    if verdict.kind == SERVER_DOWN:
        known = next((each for each in mine if each.verdict == SERVER_DOWN), None)
        return CheckPlan(known or Fault(0, name, SERVER_DOWN, generation))
    over = tuple(each for each in mine if each.verdict == SERVER_DOWN)
    # Only a healthy collection ends a fault. A server may not be able to read what the reader of its directory can: then there are newer
    # generations while it lasts, and a recovery for each of them would fill the server.
    fault = next((each for each in mine if each.verdict != SERVER_DOWN), None) or Fault(0, name, verdict.kind, generation)
    if not fault.target and generation is not None:
        fault = replace(fault, generation=generation)
    needed = recover and verdict.kind in RECOVERED and bool(baseline and baseline.records) and fault.recovered is None
    return CheckPlan(fault, needed and not fault.switched, over)


def baseline_of(name: str, faults: Sequence[Fault], current: Baseline | None) -> Baseline | None:
    """Return what a collection is compared with: its own last good export, or, until that is made, what was brought back into it."""
    made = next((each for each in reversed(faults) if each.target == name and each.generation is not None), None)
    if current or made is None or made.generation is None:
        return current
    return Baseline(made.generation, made.recovered or 0)


def choose_target(wanted: str, collection: str, taken: Collection[str], legacy: bool) -> str:
    """Return the first free of ``wanted``, ``wanted-2``, ``wanted-3``, …; never the collection that has the fault.

    Args:
        taken: names of all collections.
        legacy: the server is a 0.x, whose names are shorter.
    """
    return numbered(wanted, {*taken, collection}, 63 if legacy else 512)


def alert_begun(fault: Fault, verdict: Verdict, baseline: Baseline | None, recover: bool) -> Alert:
    """Return the alert of a fault that begins."""
    if verdict.kind == SERVER_DOWN:
        step = "Nothing is imported into a server that does not answer: look whether it runs, and at its log."
        return _alert(fault, "ChromaDown", f"{verdict.reason} {step}", baseline)
    if not baseline or not baseline.records:
        step = "There is no export of it to bring back: restore a backup (30_restore), or see what 42_recover can save."
    elif recover:
        step = f"Generation {baseline.generation} ({baseline.records:,} records) is brought back into a new collection."
    else:
        step = f"Generation {baseline.generation} ({baseline.records:,} records) can be brought back with 44_import_postgres."
    return _alert(fault, "CollectionDamaged", f"{verdict.reason} {step} Exports through the server are refused while this lasts.", baseline)


def alert_stale(fault: Fault, made: str, age: float) -> Alert:
    """Return the alert that a collection is not exported, or not any more.

    Args:
        made: when the last export was made; empty where there is none.
        age: seconds since it was last found to be what the collection is, or since the first check of one that was never exported.
    """
    hours = f"{age / 3600:.1f} hours ago"
    if made:
        what = f"generation {fault.generation} of {made}, its last export, was confirmed {hours}. What was written since is nowhere else."
    else:
        what = f"it has no export, and was checked for the first time {hours}. Were it lost, nothing could be brought back from PostgreSQL."
    message = f"It is healthy, but {what} Look why export_postgres (43_export_postgres) fails, or does not run."
    return _alert(fault, "ExportStale", message, None)


def alert_recovered(fault: Fault, verdict: Verdict, baseline: Baseline | None) -> Alert:
    """Return the alert that says where the data are now, and how to switch readers."""
    made = f" of {baseline.created}" if baseline and baseline.created else ""
    if baseline and baseline.generation != fault.generation:
        made = f" (the current one, {baseline.generation}, is newer: 44_import_postgres brings that back where it can be read)"
    message = (
        f"{fault.recovered or 0:,} records, generation {fault.generation}{made}, were brought back into collection {fault.target} and read "
        f"back equal. {fault.collection} itself was not touched. To switch: let readers and writers use {fault.target}, and set "
        f"CHROMA_COLLECTION_NAME (chroma_collection_name) to it. Or mend {fault.collection}. "
        "Until one of both is done, exports through the server are refused."
    )
    return _alert(fault, "CollectionRecovered", message, baseline)


def alert_failed(fault: Fault, verdict: Verdict, baseline: Baseline | None, why: str) -> Alert:
    """Return the alert of a recovery that failed."""
    message = f"Its data could not be brought back into collection {fault.target or 'a new one'}: {why} The next check tries again."
    return _alert(fault, "CollectionRecoveryFailed", message, baseline)


def alert_ended(fault: Fault, name: str, verdict: Verdict | None) -> Alert:
    """Return the alert of a fault that is over.

    Args:
        name: of the collection that was found healthy.
        verdict: that ended it; None where an earlier check saw it, and could not tell.
    """
    if fault.verdict == SERVER_DOWN:
        message = "The server answers again."
    elif fault.verdict == STALE:
        message = "It is exported again."
    elif name != fault.collection:
        message = (
            f"{name}, which its data were brought back into, is checked now, and is healthy. Once readers and writers use that, the "
            "damaged one can be deleted: 82_delete_collection, with chroma_delete_damaged and chroma_delete_force where it can't be read."
        )
    else:
        message = "It is healthy again." + (f" {verdict.reason}" if verdict else "")
        if fault.target:
            message += f" Collection {fault.target}, which the check had made, can be deleted."
    if verdict is None and fault.ended:
        message += f" An earlier check saw that, at {fault.ended.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}."
    reason = {SERVER_DOWN: "ChromaAnswers", STALE: "ExportFresh"}.get(fault.verdict, "CollectionHealthy")
    return _alert(fault, reason, message, None, warning=False)


def _alert(fault: Fault, reason: str, message: str, baseline: Baseline | None, warning: bool = True) -> Alert:
    facts = {
        "collection": fault.collection,
        "verdict": fault.verdict,
        "generation": fault.generation,
        "target": fault.target or None,
        "recovered": fault.recovered,
    }
    if baseline:
        facts["records"] = baseline.records
    return Alert(reason, f"Collection {fault.collection}: {message}", warning, facts)
