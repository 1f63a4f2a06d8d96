# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions that were interrupted: completed or rolled back before anything else is done. FOR INTERNAL COLLECTION USE ONLY.

The lock of the place is held, so none of them is at work. What had not begun to change anything is rolled back; a deletion, a renaming
and an undo that had begun are completed; one that was being rolled back goes on with that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import PASSING, Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import RESTORE
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import UNDO as UNDO_RESTORE
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.damaged import check_recovered, keep_and_drop
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import give_name, is_called
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import DELETE, RENAME, UNDO
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.point import bring_point, compare
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.removal import remove
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.reversal import interim_of, reverse
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rolling import (
    ROLL_BACK,
    ROLLED_BACK,
    bring_records_back,
    brought,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rows import is_served, segments_of
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Record, Work

DONE, INTERRUPTED = "done", "interrupted"
# Seconds that the server may be away meanwhile.
_PATIENCE = 60.0
_MAY_PASS = (*PASSING, "busy", "repository_locked")


@dataclass(frozen=True)
class Left:
    """A transaction without an end.

    Args:
        steps: that it took.
        replaced: whether the whole directory was restored since it began: what the server has now is of another time.
    """

    entry: Entry
    steps: frozenset[str]
    replaced: bool


@dataclass(frozen=True)
class Ended:
    """How one ended: ``done``, ``rolled_back`` or ``interrupted``, and why; and the id of a collection that was restored."""

    status: str
    reason: str
    id: str = ""


def finish_left(work: Work, operations: Container[str] = (DELETE, RENAME, UNDO)) -> None:
    """End all transactions that were interrupted; what became of them is in ``work.finished``.

    One that needs the repository, where the run has none, stays open, and so do that of another server and what can't be finished,
    for its restore point is damaged perhaps: it is warned of, and keeps nobody from working on other collections.

    Args:
        operations: only these.

    Raises:
        ChromaError: what may pass: the server is away, or the repository is locked; the entry stays open then.
    """
    if work.check or work.place.journal is None:
        return
    for left in left_over(work.place.journal):
        if left.entry.operation not in operations:
            continue
        facts = left.entry.facts
        record = work.resume(left.entry)
        try:
            ended = _finish(work, left, record)
        except ChromaError as error:
            if error.code in _MAY_PASS:
                raise
            about = f"{left.entry.operation} of {facts['collection']}"
            work.warnings.append(f"{about} was interrupted, and could not be finished: {error.message} {error.hint}".strip())
            continue
        if ended is None:
            continue
        record.end(ended.status, reason=ended.reason, **({"id": ended.id} if ended.id else {}))
        said = {"entry": left.entry.n, "operation": left.entry.operation, "collection": facts["collection"]}
        work.finished.append({**said, "status": ended.status, "reason": ended.reason})
        emit("message", message=f"{left.entry.operation} of {facts['collection']}, interrupted: {ended.status}. {ended.reason}")


def left_over(journal: Journal) -> list[Left]:
    """Return the transactions of a journal that have no end, oldest first."""
    begun: dict[int, Entry] = {}
    steps: dict[int, set[str]] = {}
    replaced: set[int] = set()
    for line in journal.lines():
        if line.event == "begin" and line.operation in (DELETE, RENAME, UNDO):
            begun[line.n], steps[line.n] = Entry(line.n, line.operation, line.time, line.facts), set()
        elif line.event == "begin" and line.operation in (RESTORE, UNDO_RESTORE) and "collection" not in line.facts:
            replaced.update(begun)
        elif line.event == "step" and line.entry in begun:
            steps[line.entry].add(line.name)
        elif line.event == "end":
            begun.pop(line.entry, None)
    return [Left(entry, frozenset(steps[n]), n in replaced) for n, entry in begun.items()]


def _finish(work: Work, left: Left, record: Record) -> Ended | None:
    facts = left.entry.facts
    client = work.place.client.within(tenant=facts["tenant"], database=facts["database"])
    if work.place.path is None and facts["url"] != client.connection.url:
        # A journal beside no directory may be that of several servers.
        work.warnings.append(
            f"{left.entry.operation} of {facts['collection']} on {facts['url']} was interrupted, and is still to be finished."
        )
        return None
    if left.replaced:
        return Ended(
            INTERRUPTED, f"The directory was restored since. Look at {facts['collection']}: delete or rename it again if you want."
        )
    if work.place.path:
        served = is_served(work.place.path, client, facts["url"])
        if served is None:
            return Ended(INTERRUPTED, f"Database {facts['database']} is gone, and {facts['collection']} with it.")
        if not served and (left.entry.operation != DELETE or client.list_collections()):
            # Anything could be called so there; a collection that comes back would come back to the wrong place.
            work.warnings.append(
                f"{left.entry.operation} of {facts['collection']} was interrupted, and {client.connection.url} serves another directory:"
                f" {facts['url']} served this one; finish it there."
            )
            return None
    finish: Mapping[str, Callable[[Work, Left, Record, ChromaClient], Ended | None]] = {
        DELETE: _finish_deletion,
        RENAME: _finish_renaming,
        UNDO: _finish_undo,
    }
    return finish[left.entry.operation](work, left, record, client)


def _finish_deletion(work: Work, left: Left, record: Record, client: ChromaClient) -> Ended | None:
    facts = left.entry.facts
    if "delete" not in left.steps:
        _forget_unproven(work, facts["restore_point"])
        return Ended(ROLLED_BACK, "Nothing had been deleted.")
    current = next((each for each in client.list_collections() if each.id == facts["id"]), None)
    if current is None:
        if work.place.path and segments_of(work.place.path, facts["id"]):
            work.warnings.append(f"Collection {facts['collection']} is half deleted, and {facts['url']} served it; finish that there.")
            return None
        return Ended(DONE, "It was gone already.")
    if facts.get("damaged") and work.place.path:
        try:
            if not facts["force"]:
                check_recovered(client, work.place.path, current)
        except ChromaError as error:
            if error.code != "no_restore_point":
                raise
            return Ended(INTERRUPTED, error.message)
        _quarantine, warnings = keep_and_drop(work.place, client, work.place.path, current, record)
        work.warnings += warnings
        return Ended(DONE, "It was deleted; what SQLite had of it is in quarantine.")
    if not facts["restore_point"]:
        try:
            # What is in it may have been written since, and nobody has a copy.
            work.warnings += remove(work.place, client, current, None)
        except ChromaError as error:
            if error.code != "collection_changed":
                raise
            if not facts["records"]:
                return Ended(ROLLED_BACK, "It was empty, and has records by now.")
            return Ended(INTERRUPTED, "It was being deleted without a restore point, and still has records: delete it again if you want.")
        return Ended(DONE, "What was left of it was deleted.")
    found = _point(work, facts)
    if not isinstance(found, Repository):
        return found
    with work.room() as room:
        point = bring_point(found, facts["restore_point"], room)
        failed = ChromaError("interrupted", "It was being rolled back when it was interrupted.")
        if current.name != facts["name"]:
            failed = ChromaError("interrupted", f"Somebody renamed it to {current.name} meanwhile.")
        elif ROLL_BACK not in left.steps:
            try:
                work.warnings += remove(work.place, client, current, point)
                return Ended(DONE, "What was left of it was deleted.")
            except ChromaError as error:
                if error.code != "collection_changed":
                    raise
                failed = error
        newer = bring_records_back(record, client, current, point, failed)
        return Ended(ROLLED_BACK, f"{failed.message} {brought(newer)}")


def _point(work: Work, facts: Mapping[str, Any]) -> Repository | Ended | None:
    """Return the repository that has the restore point of a transaction; how it ends where it is gone; None where it has to wait."""
    repository = work.repository
    if repository is not None:
        if catalogue_of(repository.snapshots()).find(facts["restore_point"]):
            return repository
        if work.place.location == facts["repository"]:
            return Ended(INTERRUPTED, "Its restore point is not in the repository any more, so it is left half as it is: look at it.")
    work.warnings.append(
        f"Collection {facts['collection']} is half deleted or half restored. To finish that its restore point is needed: set repository"
        f" to {facts['repository']}, and run this again."
    )
    return None


def _finish_renaming(_work: Work, left: Left, _record: Record, client: ChromaClient) -> Ended:
    facts = left.entry.facts
    name, new_name, collection = facts["name"], facts["new_name"], facts["id"]
    if is_called(client, new_name, collection):
        return Ended(DONE, "It had the new name already.")
    if not is_called(client, name, collection):
        return Ended(INTERRUPTED, "There is no such collection any more.")
    if "rename" not in left.steps or client.get_collection(new_name) is not None:
        return Ended(ROLLED_BACK, "It has its old name.")
    give_name(client, client.require_collection(name), new_name, _PATIENCE)
    if not is_called(client, new_name, collection):
        raise ChromaError("not_applied", f"Collection {name} was renamed to {new_name} and is not called so.", "Look at the server's log.")
    return Ended(DONE, "It has the new name now.")


def _finish_undo(work: Work, left: Left, _record: Record, client: ChromaClient) -> Ended | None:
    facts = left.entry.facts
    name, operation = facts["name"], facts["undone"]
    if operation == RENAME and is_called(client, name, facts["id"]):
        return Ended(DONE, "It had its old name again already.")
    if "undo" not in left.steps:
        return Ended(ROLLED_BACK, "Nothing had been changed.")
    if (found := client.get_collection(name)) is not None:
        interim = client.get_collection(interim_of(facts)) if operation == DELETE else None
        if operation == DELETE and interim is None and client.count(found) == facts["records"]:
            if not isinstance(point := _point(work, facts), Repository):
                return point
            if _is_equal(work, client, found, point, facts["restore_point"]):
                return Ended(DONE, "It was back already.", found.id)
        if interim is not None:
            client.delete_collection(interim.name)
        return Ended(ROLLED_BACK, f"There is another collection {name} by now.")
    if operation == DELETE and not isinstance(point := _point(work, facts), Repository):
        return point
    if operation == RENAME and not is_called(client, facts["new_name"], facts["id"]):
        return Ended(INTERRUPTED, "There is no such collection any more.")
    with work.room() as room:
        returned, _records = reverse(work, client, facts, operation, room)
    return Ended(DONE, "It is back.", returned.id)


def _is_equal(work: Work, client: ChromaClient, found: Collection, repository: Repository, name: str) -> bool:
    """Return whether a collection has the records of a restore point; somebody else may have made one of the same name and size."""
    with work.room() as room:
        patience = Patience(_PATIENCE)
        pages = bring_point(repository, name, room).pages()
        return not any(any(compare(client, found, rows, patience)) for rows in pages)


def _forget_unproven(work: Work, name: str) -> None:
    """Remove a restore point that was not read back; where the repository can't be reached now, a prune does."""
    if not name or work.place.repository is None:
        return
    with contextlib.suppress(ChromaError):
        if (repository := work.repository) is not None:
            found = catalogue_of(repository.snapshots()).find(name)
            if found is not None and found.pending:
                repository.forget(found.snapshots)
