# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undoing a deletion or a renaming. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import view
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import DONE, INTERRUPTED, finish_left, left_over
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import DELETE, RENAME, UNDO, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.reversal import check_reversal, counted, reverse
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rows import is_served
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Work, facts_of, locked


@dataclass(frozen=True)
class Transaction:
    """A deletion or renaming that can be undone.

    Args:
        n: its number in the journal.
        operation: which of the two.
        facts: that it began with.
    """

    n: int
    operation: str
    facts: Mapping[str, Any]


def undo_collection(place: Place, entry: int | None = None, check: bool = False) -> dict[str, Any]:
    """Restore a collection that was deleted under its name, or give one that was renamed its old name back.

    Args:
        entry: number of the transaction in the journal; None for the newest that was not undone.

    Returns:
        ``changed``, ``entry``, ``undone`` (number of the transaction), ``operation``, ``collection``, ``records``, ``restore_point``,
        ``diff``, ``finished``, ``warnings``.

    Raises:
        ChromaError: ``not_found``; ``exists`` where the name is taken; those of :func:`_restore.collection.restore_collection`.
    """
    journal = place.journal
    if journal is None:
        raise AssertionError("the module asks for path or journal_path")
    with locked(place, UNDO, check) as work:
        left = {each.entry.n: each.entry for each in left_over(journal) if each.entry.operation == UNDO}
        finish_left(work)
        for each in work.finished:
            # It was asked for already, and is done by now: nothing older is meant.
            if each["entry"] in left and each["status"] == DONE:
                facts = left[each["entry"]].facts
                if entry in (None, facts["undoes"]):
                    again = Transaction(facts["undoes"], facts["undone"], facts)
                    return {**_told(again), **_found(place, again), "entry": each["entry"], **work.said()}
        if (before := _of_this_job(journal)) is not None:
            again = Transaction(before.facts["undoes"], before.facts["undone"], before.facts)
            return {**_told(again), **_found(place, again), "entry": before.n, "changed": False, **work.said()}
        chosen = _chosen(undoable(journal), entry)
        check_reversal(_client(place, chosen), chosen.facts, chosen.operation)
        if place.path and is_served(place.path, _client(place, chosen), place.client.connection.url) is False:
            message = f"The server {place.client.connection.url} has other collections than {place.path}: it serves another directory."
            raise ChromaError("conflict", message, f"Correct path, or url: it was {chosen.facts['url']}.")
        done = {} if check else _undo(work, chosen)
        return {**_told(chosen), **done, **work.said()}


def _of_this_job(journal: Journal) -> Entry | None:
    """Return the undo that an earlier attempt of this Job has done: another one would go further back than was asked for."""
    job = os.environ.get("CHROMA_OPERATION_JOB", "")
    begun: dict[int, Entry] = {}
    for line in journal.lines():
        if job and line.operation == UNDO and line.event == "begin" and line.facts.get("job") == job:
            begun[line.n] = Entry(line.n, line.operation, line.time, line.facts)
        elif line.event == "end" and line.entry in begun and line.name == DONE:
            return begun[line.entry]
    return None


def undoable(journal: Journal) -> list[Transaction]:
    """Return the transactions that were done and not undone, oldest first; one that was renamed before it was restored by its new id."""
    begun: dict[int, Transaction] = {}
    done: dict[int, Transaction] = {}
    undoes: dict[int, Mapping[str, Any]] = {}
    ids: dict[str, str] = {}
    for line in journal.lines():
        if line.event == "begin" and line.operation in (DELETE, RENAME):
            begun[line.n] = Transaction(line.n, line.operation, line.facts)
        elif line.event == "begin" and line.operation == UNDO:
            undoes[line.n] = line.facts
        elif line.event == "end" and line.entry in begun and line.name in (DONE, INTERRUPTED):
            done[line.entry] = begun[line.entry]
        elif line.event == "end" and line.entry in undoes and line.name == DONE:
            undone = undoes[line.entry]
            done.pop(undone["undoes"], None)
            ids[undone["id"]] = line.facts.get("id", undone["id"])
    return [
        replace(each, facts={**each.facts, "id": _newest(each.facts["id"], ids)}) if each.operation == RENAME else each
        for each in done.values()
    ]


def _newest(collection: str, ids: Mapping[str, str]) -> str:
    """Return the id that a collection has after each of its restorations."""
    while (other := ids.get(collection, collection)) != collection:
        collection = other
    return collection


def _chosen(found: list[Transaction], entry: int | None) -> Transaction:
    if entry is None:
        if not found:
            raise ChromaError(
                "not_found", "The journal has no deletion or renaming that could be undone.", "chroma_journal_info (log) lists all."
            )
        return found[-1]
    for each in found:
        if each.n == entry:
            return each
    known = ", ".join(f"{each.n} ({each.operation} of {each.facts['collection']})" for each in found[-5:]) or "none"
    raise ChromaError("not_found", f"Entry {entry} of the journal is nothing that could be undone.", f"The newest ones are: {known}.")


def _undo(work: Work, chosen: Transaction) -> dict[str, Any]:
    kept = {key: value for key, value in chosen.facts.items() if key not in ("url", "tenant", "database")}
    client = _client(work.place, chosen)
    job = os.environ.get("CHROMA_OPERATION_JOB", "")
    record = work.begin(UNDO, **facts_of(client, **kept, undoes=chosen.n, undone=chosen.operation, job=job))
    try:
        record.step("undo")
        with work.room() as room:
            found, records = reverse(work, client, chosen.facts, chosen.operation, room)
    except ChromaError as error:
        record.fail("failed", error)
        raise
    record.end(DONE, records=records, id=found.id)
    return {"entry": record.number, "collection": view(found), "records": records}


def _told(chosen: Transaction) -> dict[str, Any]:
    """Return what a user is told before it is done."""
    facts = chosen.facts
    about = {key: facts[key] for key in ("name", "tenant", "database")}
    before = {"name": facts["new_name"]} if chosen.operation == RENAME else {}
    return {
        "changed": True,
        "entry": None,
        "undone": chosen.n,
        "operation": chosen.operation,
        "collection": about,
        "records": facts.get("records", 0),
        "restore_point": facts.get("restore_point", "") if chosen.operation == DELETE else "",
        "diff": {"before": before, "after": {"name": facts["name"]}},
    }


def _found(place: Place, chosen: Transaction) -> dict[str, Any]:
    client = _client(place, chosen)
    found = client.require_collection(chosen.facts["name"])
    return {"collection": view(found), "records": counted(client, found, chosen.facts, chosen.operation)}


def _client(place: Place, chosen: Transaction) -> ChromaClient:
    return place.client.within(tenant=chosen.facts["tenant"], database=chosen.facts["database"])
