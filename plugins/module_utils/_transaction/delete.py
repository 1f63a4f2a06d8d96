# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting a collection: restore point, records, collection, absence. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name, view
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import PASSING
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.damaged import check_recovered, keep_and_drop
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import finish_left
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import label_of
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import DELETE, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.point import take_point
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.removal import remove
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rolling import roll_back
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rows import check_served, position, records_in
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Work, facts_of, locked


def delete_collection(place: Place, name: str, check: bool = False, damaged: bool = False) -> dict[str, Any]:
    """Delete a collection with its records, so that it can be undone, and see that it is gone.

    Args:
        damaged: its index may be: it was recovered as another one, and its rows are kept instead of a restore point, see :mod:`damaged`.

    Returns:
        ``changed``, ``collection`` (what there was, or empty), ``diff``, ``records``, ``restore_point`` (id; empty for none),
        ``quarantine`` (id of what was kept of a damaged one; else empty), ``entry`` (number in the journal; None without one),
        ``finished`` (see :mod:`finish`), ``warnings``.

    Raises:
        ChromaError: ``no_restore_point`` where a collection with records would go without one, or a damaged one was not recovered;
            ``collection_changed``, ``not_applied`` and what the server answers: then its records are as they were, unless
            ``rolled_back`` in the result says otherwise. ``invalid_value`` for a damaged one without the data directory.
    """
    check_name(name, legacy=False)
    directory = place.path if damaged else None
    if damaged and directory is None:
        message = "What is kept of a damaged collection is read from the data directory."
        raise ChromaError("invalid_value", message, "Set path to the data directory of the server.")
    with locked(place, DELETE, check) as work:
        finish_left(work)
        current = place.client.get_collection(name)
        if current is None:
            done: dict[str, Any] = {"collection": {}, "diff": {"before": {}, "after": {}}}
            return {"changed": bool(work.finished), **done, **work.said()}
        records = _count_damaged(place, directory, current) if directory else _count(place, current)
        told = {"records": records, "restore_point": "", "quarantine": "", "entry": None}
        if not check:
            told |= _delete_damaged(work, directory, current, records) if directory else _delete(work, current, records)
        before = view(current)
        return {"changed": True, "collection": before, "diff": {"before": before, "after": {}}, **told, **work.said()}


def _count(place: Place, current: Collection) -> int:
    """Return how many records a collection has, if it may be deleted."""
    records = place.client.count(current)
    place.refuse_unkept(label_of(current), records)
    if place.path:
        check_served(place.path, place.client.connection.url, current.id)
    return records


def _count_damaged(place: Place, directory: Path, current: Collection) -> int:
    """Return how many records SQLite has of a damaged collection, if it may be deleted."""
    check_served(directory, place.client.connection.url, current.id)
    if not place.force:
        check_recovered(place.client, directory, current)
    return records_in(directory, current.id)


def _delete_damaged(work: Work, directory: Path, current: Collection, records: int) -> dict[str, Any]:
    place, client = work.place, work.place.client
    facts = {"collection": label_of(current), "id": current.id, "name": current.name, "records": records, "restore_point": ""}
    record = work.begin(DELETE, **facts_of(client, **facts, repository="", damaged=True, force=place.force))
    try:
        kept, warnings = keep_and_drop(place, client, directory, current, record)
    except ChromaError as error:
        if error.code not in PASSING:  # whether it is gone is not known: the next run sees to it
            record.fail("failed", error)
        raise
    work.warnings += warnings
    record.end("done", quarantine=kept)
    return {"quarantine": kept, "entry": record.number}


def _delete(work: Work, current: Collection, records: int) -> dict[str, Any]:
    place, client = work.place, work.place.client
    name = new_id() if place.repository else ""
    facts = {"collection": label_of(current), "id": current.id, "name": current.name, "records": records, "restore_point": name}
    record = work.begin(DELETE, **facts_of(client, **facts, repository=place.location))
    with work.room() as room:
        point = None
        try:
            before = position(place.path, current.id) if place.path else ""
            if name and (repository := work.repository):
                point = take_point(repository, client, current, name, room, record.step, place.times, place.instance)
            _refuse_changed(place, current, point.records if point else records, before)
            record.step("delete")
        except BaseException as error:
            record.fail("failed", error)
            raise
        try:
            work.warnings += remove(place, client, current, point, every=not name and records > 0)
        except Exception as error:  # also one of this machine's disk: what is gone already must come back
            raise roll_back(record, client, current, point, _told(current, error)) from error
    record.end("done")
    return {"records": point.records if point else records, "restore_point": name, "entry": record.number}


def _told(current: Collection, error: Exception) -> ChromaError:
    if isinstance(error, ChromaError):
        return error
    return ChromaError("not_applied", f"Collection {current.name} was not deleted: {type(error).__name__}: {error}", "Run it again.")


def _refuse_changed(place: Place, current: Collection, records: int, before: str) -> None:
    """Refuse a collection that was written since its restore point: what was added, and beside the data directory what was changed."""
    count = place.client.count(current)
    if count == records and (not place.path or position(place.path, current.id) == before):
        return
    message = f"Collection {current.name} was written to while its restore point was made; nothing was deleted."
    raise ChromaError("collection_changed", message, "Let nobody write to it, and run it again.")
