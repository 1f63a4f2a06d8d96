# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renaming a collection: restore point, the new name, read back. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import check_name, view
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import PASSING
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import DONE, finish_left, left_over
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import give_name, is_called, label_of
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import RENAME, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.point import take_point
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rolling import ROLLED_BACK
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rows import check_served
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Record, Work, facts_of, locked

# Seconds that the server may be away meanwhile.
_PATIENCE = 60.0


def rename_collection(place: Place, name: str, new_name: str, check: bool = False) -> dict[str, Any]:
    """Give a collection another name, so that it can be undone.

    Returns:
        As :func:`delete.delete_collection`; ``collection`` is what there is then.

    Raises:
        ChromaError: ``invalid_name``, ``not_found``, ``conflict`` where the new name is taken, ``no_restore_point``: before anything;
            ``not_applied`` and what the server answers: then it has its old name, unless ``rolled_back`` in the result says otherwise.
    """
    with locked(place, RENAME, check) as work:
        left = {each.entry.n: each.entry.facts for each in left_over(place.journal)} if place.journal else {}
        finish_left(work)
        if (again := _asked_again(work, left, name, new_name)) is not None:
            return {**again, **work.said()}
        before = view(place.client.require_collection(name))
        said = rename_within(work, name, new_name)
        after = {**before, "name": new_name} if check else view(place.client.require_collection(new_name))
        return {"changed": True, "collection": after, "diff": {"before": before, "after": after}, **said, **work.said()}


def _asked_again(work: Work, left: Mapping[int, Mapping[str, Any]], name: str, new_name: str) -> dict[str, Any] | None:
    """Return the result of the same renaming, which was killed and is completed now; None where something else is asked for.

    Args:
        left: number → facts of the transactions that had been interrupted.
    """
    client = work.place.client
    wanted = (client.connection.tenant, client.connection.database, name, new_name)
    for each in work.finished:
        facts = left[each["entry"]]
        same = each["operation"] == RENAME and wanted == tuple(facts[key] for key in ("tenant", "database", "name", "new_name"))
        # Where somebody made a collection of the old name since, that one is meant.
        if same and each["status"] == DONE and client.get_collection(name) is None:
            renamed = client.require_collection(new_name)
            after = view(renamed)
            # One of a recovery does not say how many records there were.
            said = {"records": client.count(renamed), "restore_point": facts["restore_point"], "entry": each["entry"]}
            return {"changed": True, "collection": after, "diff": {"before": {**after, "name": name}, "after": after}, **said}
    return None


def rename_within(work: Work, name: str, new_name: str) -> dict[str, Any]:
    """Rename a collection in a place whose lock is held.

    Returns:
        ``records``, ``restore_point``, ``entry``.

    Raises:
        ChromaError: see :func:`rename_collection`.
    """
    place, client = work.place, work.place.client
    current = _checked(client, name, new_name)
    records = client.count(current)
    place.refuse_unkept(label_of(current), records)
    if place.path:
        check_served(place.path, client.connection.url, current.id)
    told = {"records": records, "restore_point": "", "entry": None}
    if work.check:
        return told
    point = new_id() if place.repository else ""
    record = work.begin(RENAME, **_facts(client, current, new_name), records=records, restore_point=point, repository=place.location)
    try:
        if point and (repository := work.repository):
            with work.room() as room:
                take_point(repository, client, current, point, room, record.step, place.times, place.instance)
        _checked(client, name, new_name)
        record.step("rename")
    except BaseException as error:
        record.fail("failed", error)
        raise
    _renamed(client, current, new_name, record)
    return {**told, "restore_point": point, "entry": record.number}


def rename_held(client: ChromaClient, journal: Journal, collection: Collection, new_name: str) -> Collection:
    """Rename within an operation that holds the lock of the directory, as a transaction of its own without a restore point.

    Args:
        client: of the collection's tenant and database.
        journal: gets the entry.
        collection: found before.

    Returns:
        The collection under its new name, read back.

    Raises:
        ChromaError: ``invalid_name``, ``conflict``, ``not_applied``, or what the server answers.
    """
    _checked(client, collection.name, new_name)
    facts = _facts(client, collection, new_name)
    record = Record(journal, journal.begin(RENAME, **facts, restore_point="", repository=""), [])
    record.step("rename")
    return _renamed(client, collection, new_name, record)


def _checked(client: ChromaClient, name: str, new_name: str) -> Collection:
    for each in (name, new_name):
        check_name(each, client.legacy)
    current = client.require_collection(name)
    if client.get_collection(new_name) is not None:
        message = f"Collection {name} cannot be renamed to {new_name}: a collection of that name exists."
        raise ChromaError("conflict", message, "Choose another new_name, or delete the existing collection first.")
    return current


def _facts(client: ChromaClient, current: Collection, new_name: str) -> dict[str, Any]:
    return facts_of(client, collection=label_of(current), id=current.id, name=current.name, new_name=new_name)


def _renamed(client: ChromaClient, current: Collection, new_name: str, record: Record) -> Collection:
    """Give the new name, read it back and end the entry; where the server says that the old one stays, the entry is rolled back."""
    try:
        give_name(client, current, new_name, _PATIENCE)
        found = client.require_collection(new_name)
        if found.id != current.id or is_called(client, current.name, current.id):
            message = f"Collection {current.name} was renamed to {new_name} and is not called so."
            raise ChromaError("not_applied", message, "Look for a client that renames it, and at the server's log.")
    except ChromaError as error:
        told = ChromaError(error.code, error.message, error.hint, {**error.result, ROLLED_BACK: False})
        with contextlib.suppress(ChromaError):
            # What a server did not answer it may still do.
            told.result[ROLLED_BACK] = error.code not in PASSING and is_called(client, current.name, current.id)
        if not told.result[ROLLED_BACK]:
            told.hint = "Whether it has the new name is not known; the next transaction on this server completes it."
        if told.result[ROLLED_BACK]:
            record.fail(ROLLED_BACK, error)
        raise told from error
    record.end("done")
    return found
