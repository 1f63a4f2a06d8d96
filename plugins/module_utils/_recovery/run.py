# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovering one collection into a server: collect, bring in, read back, name. FOR INTERNAL COLLECTION USE ONLY.

The new collection carries in its metadata of which item it is, until every record has been read back. So whoever comes after a killed
recovery knows its half of a collection, and completes or removes it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal, Recording
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import Assembled
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.dataset import RecoveredSource
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem, numbered
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.record import Recovered, note
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import DAMAGED
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_held

MARK = "thinkube.chroma/recovery"
# What a record takes in Parquet beside its vector, bytes; an estimate, to refuse in time.
_BESIDE = 1024


def collect(one: Assembled, item: PlanItem, room: Path) -> Path:
    """Write the records of a collection as a dataset.

    Args:
        room: where.

    Raises:
        ChromaError: ``no_space``; ``collection_changed`` where there are not as many as the plan says.
    """
    target = room / f"dataset-{item.id}"
    check_room(room, item.recoverable * (4 * (item.dimension or 0) + _BESIDE), f"what is left of {item.label}")
    export(RecoveredSource(one, item, {MARK: item.id}), open_store(str(target)), Wanted())
    return target


def bring_in(dataset: Path, item: PlanItem, client: ChromaClient, wait: float) -> tuple[Collection, int]:
    """Bring a dataset into the server, or the rest of it, and read it back.

    Returns:
        The new collection, still marked, and how many of its records were read back.

    Raises:
        ChromaError: ``exists`` where somebody else's collection has the name; those of :func:`_dataset.importing.import_dataset`.
    """
    place = client.within(tenant=item.tenant, database=item.database)
    patience = Patience(wait)
    if patience(place.database_exists):
        there = patience(lambda: place.get_collection(item.target))
        if there is not None and there.metadata.get(MARK) != item.id:
            raise ChromaError("exists", f"There is a collection {item.target} by now.", "Make the plan again: it finds another name.")
    [made] = import_dataset(open_store(str(dataset)), place, ImportRequest(create_database=True, wait=wait))["collections"]
    if made["others"]:
        message = f"{item.target} holds {made['others']} records that were not recovered, and is left as it is."
        raise ChromaError("collection_changed", message, "Who writes to it? Rename it, or delete it, and run this again.")
    return patience(lambda: place.require_collection(item.target)), int(made["verified"])


def unmark(client: ChromaClient, item: PlanItem, made: Collection, wait: float) -> None:
    """Take the mark off: from now on the collection is whole.

    Raises:
        ChromaError: ``not_verified``.
    """
    place, patience = client.within(tenant=item.tenant, database=item.database), Patience(wait)
    patience(lambda: place.update_collection(made, metadata={key: value for key, value in made.metadata.items() if key != MARK}))
    found = patience(lambda: place.require_collection(made.name))
    if MARK in found.metadata or found.id != made.id:
        raise ChromaError("not_verified", f"{made.name} is not as it was read back.", "Who writes to it? Run it again.")


def remove_half(client: ChromaClient, item: PlanItem) -> None:
    """Remove the marked collection of an item that failed."""
    place = client.within(tenant=item.tenant, database=item.database)
    # What failed first is what has to be known; where the server is away, the next run does it.
    with contextlib.suppress(ChromaError):
        there = place.get_collection(item.target)
        if there is not None and there.metadata.get(MARK) == item.id:
            place.delete_collection(item.target)


def remove_halves(client: ChromaClient, places: Iterable[tuple[str, str]], wanted: Iterable[str], whole: Container[str]) -> list[str]:
    """Remove what killed recoveries left and nobody completes; take the mark off what was whole.

    Args:
        places: tenants and databases to look in.
        wanted: items that are about to be recovered, or finished.
        whole: ids of the collections that were read back before the recovery was killed: somebody may use them.

    Returns:
        What was done, in words.
    """
    kept, done = set(wanted), []
    for tenant, database in dict.fromkeys(places):
        place = client.within(tenant=tenant, database=database)
        for each in place.list_collections() if place.database_exists() else ():
            if MARK not in each.metadata or each.metadata[MARK] in kept:
                continue
            if each.id in whole:
                place.update_collection(each, metadata={key: value for key, value in each.metadata.items() if key != MARK})
                done.append(f"{each.name} had been read back before a recovery was killed, and is whole.")
            else:
                place.delete_collection(each.name)
                done.append(f"What a killed recovery had left was removed: {each.name}.")
    return done


def plan_rename(client: ChromaClient, item: PlanItem, done: Recovered) -> Recovered | None:
    """Return the recovered collection with the names that it and the damaged one get; None where there is nothing to rename."""
    place = client.within(tenant=item.tenant, database=item.database)
    there = place.get_collection(item.name) if item.name else None
    if there is None or there.id != item.collection or there.id == done.collection:
        return None
    taken = {each.name for each in place.list_collections()}
    return replace(done, old_name=item.name, damaged=there.id, aside=numbered(f"{item.name}-damaged", taken))


def rename(client: ChromaClient, journal: Journal, what: Recovered, wait: float) -> None:
    """Give the damaged collection its other name, and the recovered one the name that is free then; what is done is left.

    Each is a transaction of its own in the journal, so that it can be undone.

    Raises:
        ChromaError: ``conflict`` where a third collection has one of the names; ``not_found``, ``not_applied``.
    """
    place, patience = client.within(tenant=what.tenant, database=what.database), Patience(wait)
    for collection, name in ((what.damaged, what.aside), (what.collection, what.old_name)):
        known = {each.id: each for each in patience(place.list_collections)}
        there = known.get(collection)
        if there is None and collection == what.damaged:
            continue  # somebody was content with the new one, and deleted it
        if there is None:
            raise ChromaError("not_found", f"There is no collection {collection} any more, to be called {name}.", "Look who removed it.")
        if there.name != name:
            rename_held(place, journal, there, name)


def unfinished(client: ChromaClient, item: PlanItem, done: Recovered, in_place: bool) -> bool:
    """Return whether a recovery was killed after the records of a collection were all there."""
    place = client.within(tenant=done.tenant, database=done.database)
    known = {each.id: each for each in place.list_collections()}
    if MARK in known[done.collection].metadata:
        return True
    if done.named:
        return False
    if done.old_name:
        return True
    return in_place and plan_rename(client, item, done) is not None


@dataclass(frozen=True)
class Run:
    """A recovery at work.

    Args:
        client: of the server that gets the collections.
        journal: of the data directory, whose lock is held.
        recording: this recovery in it.
        room: a folder for what is collected meanwhile.
        wait: seconds that the server may be away.
        in_place: give the recovered collections the names of the damaged ones.
    """

    client: ChromaClient
    journal: Journal
    recording: Recording
    room: Path
    wait: float
    in_place: bool


def finish(run: Run, item: PlanItem, done: Recovered) -> None:
    """Do what is left of a recovery: see :func:`unfinished`."""
    client = run.client
    place = client.within(tenant=done.tenant, database=done.database)
    [there] = [each for each in place.list_collections() if each.id == done.collection]
    if MARK in there.metadata:
        unmark(client, item, there, run.wait)
    _named(run, item, done)


def recover_one(run: Run, one: Assembled, item: PlanItem) -> dict[str, Any]:
    """Recover one collection, and return what became of it.

    Raises:
        ChromaError: it failed; nothing of it is left on the server, where that answers. Where only its name is not the wanted one, it is
            there, and ``kept`` in the result says so.
    """
    client, dataset = run.client, collect(one, item, run.room)
    try:
        made, verified = bring_in(dataset, item, client, run.wait)
        damaged = item.collection if item.kind == DAMAGED else ""
        done = Recovered(item.id, made.id, item.target, item.tenant, item.database, damaged=damaged)
        # First the journal: one that is noted and still marked is only to be unmarked.
        note(run.recording, done)
        unmark(client, item, made, run.wait)
    except ChromaError as error:
        if error.code not in ("exists", "collection_changed"):  # what others wrote is not ours to remove
            remove_half(client, item)
        raise
    finally:
        remove_tree(dataset)
    renamed = _named(run, item, done)
    return {
        "name": item.name,
        "target": renamed.old_name or item.target,
        "success": True,
        "records": verified,
        "lost": item.lost,
        "renamed": renamed.aside,
        "reason": "",
    }


def _named(run: Run, item: PlanItem, done: Recovered) -> Recovered:
    """Give a whole collection the name that it is to have, where it has not got it yet; return which names were given."""
    try:
        if not done.old_name and run.in_place and (wanted := plan_rename(run.client, item, done)):
            done = wanted
            note(run.recording, done)
        if done.old_name and not done.named:
            rename(run.client, run.journal, done, run.wait)
            done = replace(done, named="yes")
            note(run.recording, done)
    except ChromaError as error:
        message = f"It is whole as {item.target}, but the names could not be changed: {error.message}"
        raise ChromaError(error.code, message, error.hint, {"kept": {"records": item.recoverable, "lost": item.lost}}) from error
    return done


def failed(item: PlanItem, error: ChromaError) -> dict[str, Any]:
    """Return what is said of a collection that could not be recovered."""
    # Names of temporary folders say nothing to anybody.
    reason = re.sub(r"\S*/dataset-[0-9a-f]{16}", "the collected records", f"{error.message} {error.hint}".strip())
    there = error.result.pop("kept", {"records": 0, "lost": item.records})
    return {"name": item.name, "target": item.target, "success": False, **there, "renamed": "", "reason": reason, "code": error.code}
