# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery as one operation: look, plan, and do what was planned. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import release, running
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import check_migrations
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import PASSING
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import assembled
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.looking import Looked, look_at
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import parse_plan
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.record import (
    RECOVER,
    end_interrupted,
    recorded,
    recovered,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import KINDS, Helpers, RecoveryRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import (
    Run,
    failed,
    finish,
    recover_one,
    remove_halves,
    unfinished,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import View
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.words import table
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.plan import schema_of_release
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import refuse_running
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import finish_left
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import RENAME, UNDO, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import unfinished as unfinished_transactions
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Work
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Seconds for one answer of a Chroma of our own: of a batch into a large index.
_TIMEOUT = 600.0


def recover_collections(request: RecoveryRequest, helpers: Helpers, check: bool = False) -> dict[str, Any]:
    """Recover what is damaged, orphaned or missing.

    Args:
        check: only return the plan; nothing is written to the data directory.

    Returns:
        ``changed``, ``plan``, ``done``, ``success``, ``failed``, ``details``, ``table``, ``diff``, ``warnings``.

    Raises:
        ChromaError: ``stale_plan``, ``not_chroma_directory``, ``newer_chroma``, ``lock_held``, ``server_running``, ``no_space``, those of
            repository and server: nothing was changed, or the next run completes it. One collection that can't be recovered is no error:
            it is counted in ``failed``.
    """
    require_data_libraries()
    wanted = parse_plan(request.plan) if request.plan is not None else None
    if wanted is not None:
        request = replace(request, kinds=KINDS, only=())
    if check:
        with (
            temporary_room("recover", request.scratch) as room,
            look_at(request, helpers, room, wanted) as looked,
        ):
            looked.backups.warnings += unfinished_transactions(request.path)
            return {**_result(looked, []), "changed": bool(looked.plan)}
    with held(request.path, RECOVER):
        left = recover(request.path, helpers.workload).warnings
        end_interrupted(request.path)
        if helpers.client is None:
            refuse_running(request.path)
        with _room(request) as room, look_at(request, helpers, room, wanted) as looked:
            looked.backups.warnings += left
            if not looked.plan.items and not looked.done:
                return _result(looked, [])
            with _served(looked.view, helpers, room) as client:
                _check_served(looked.view, client)
                looked.backups.warnings += _finish_transactions(request, helpers, client)
                return _done(request, helpers, looked, client, room)


def _check_served(view: View, client: ChromaClient) -> None:
    """Refuse a server of another directory: it would get the collections, and the journal here would say that they are recovered.

    Raises:
        ChromaError: ``conflict``.
    """
    here = {each.id: (each.tenant, each.database) for each in view.collections if each.tenant and each.database}
    for tenant, database in dict.fromkeys(here.values()):
        place = client.within(tenant=tenant, database=database)
        if place.database_exists() and any(each.id in here for each in place.list_collections()):
            return
    if here:
        message = f"The server {client.connection.url} has none of the collections of {view.path}: it serves another directory."
        raise ChromaError("conflict", message, "Correct path, or url.")


def _finish_transactions(request: RecoveryRequest, helpers: Helpers, client: ChromaClient) -> list[str]:
    """Finish renamings and undos that were interrupted, and say so; what can't be finished keeps nothing from being recovered.

    A deletion is only warned of: in an emergency nothing is deleted.
    """
    place = Place(client, helpers.repository, path=request.path, workload=helpers.workload, scratch=request.scratch)
    work = Work(place)
    try:
        finish_left(work, (RENAME, UNDO))
    except ChromaError as error:
        if error.code in PASSING:
            raise
        work.warnings.append(f"What was interrupted could not be finished: {error.message}")
    ended = [f"{each['operation']} of {each['collection']}, interrupted: {each['status']}. {each['reason']}" for each in work.finished]
    return [*ended, *work.warnings, *unfinished_transactions(request.path)]


@contextlib.contextmanager
def _room(request: RecoveryRequest) -> Iterator[Path]:
    if request.scratch is None:
        with scratch(request.path, RECOVER) as room:
            yield room
    else:
        with temporary_room("recover", request.scratch) as room:
            yield room


@contextlib.contextmanager
def _served(view: View, helpers: Helpers, room: Path) -> Iterator[ChromaClient]:
    """Yield the server, or one of our own on the directory.

    Raises:
        ChromaError: ``unsupported`` where our own would migrate the directory; ``damaged`` where it would not start on it.
    """
    if helpers.client is not None:
        yield helpers.client
        return
    if view.database is not None and dict(check_migrations(view.database)) != schema_of_release(release()):
        message = f"{view.path} is of another release than the Chroma {release()} of this environment, which would migrate it."
        raise ChromaError("unsupported", message, "Start its own server, and give its url.")
    if view.database is None and (view.path / DATABASE).exists():
        hint = "Restore a backup (30_restore), or move that file aside: Chroma begins a new one, and the folders are recovered into it."
        raise ChromaError("damaged", f"No Chroma starts on {view.path}: {view.reason}.", hint)
    refuse_running(view.path)
    with running(view.path, room / "chroma.log") as url:
        yield ChromaClient(Connection(url, timeout=_TIMEOUT))


def _done(request: RecoveryRequest, helpers: Helpers, looked: Looked, client: ChromaClient, room: Path) -> dict[str, Any]:
    """Do the plan, one collection after the other."""
    details: list[dict[str, Any]] = []
    places = [(each.tenant, each.database) for each in looked.plan.items]
    places += [(each.tenant, each.database) for each in looked.view.collections if each.tenant]
    open_items = {each.id for each in looked.plan.items} | {item.id for item, _earlier in looked.done}
    whole = {each.collection for each in recovered(request.path).values()}
    removed = remove_halves(client, places, open_items, whole)
    looked.backups.warnings += removed
    left = [(replace(item, target=each.name), each) for item, each in looked.done if unfinished(client, item, each, request.in_place)]
    if not looked.plan.items and not left:
        return {**_result(looked, details), "changed": bool(removed)}
    facts = {"plan": looked.plan.sha256, "collections": [each.target for each in looked.plan.items]}
    with recorded(request.path, **facts) as recording:
        run = Run(client, Journal.of(request.path), recording, room, request.wait, request.in_place)
        before = {item.id: earlier for item, earlier in left}
        for item in (*(item for item, _earlier in left), *looked.plan.items):
            try:
                if item.id in before:
                    finish(run, item, before[item.id])
                    continue
                if not item.recoverable:
                    raise ChromaError("nothing_left", "Nothing of it can be recovered.", "Give a repository of backups, or restore.")
                with assembled(looked.view, looked.remains[item.id], looked.backups, helpers.generation) as one:
                    details.append(recover_one(run, one, item))
            except ChromaError as error:
                details.append(failed(item, error))
                if error.code in PASSING:
                    # The server is away: nothing can be said of the others, and the next run goes on.
                    error.result = {**error.result, **_result(looked, details)}
                    raise
        recording.facts |= _counts(details)
        if recording.facts["failed"]:
            recording.status = "failed"
    return {**_result(looked, details), "changed": True}


def _counts(details: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    success = sum(bool(each["success"]) for each in details)
    return {"success": success, "failed": len(details) - success}


def _result(looked: Looked, details: list[dict[str, Any]]) -> dict[str, Any]:
    done = [{"name": item.name, "segment": item.segment, "target": each.old_name or each.name} for item, each in looked.done]
    items = looked.plan.items
    return {
        "changed": any(each["success"] for each in details),
        "plan": looked.plan.document(),
        "done": done,
        **_counts(details),
        "details": details,
        "table": table(items, details, done),
        "diff": {"before": {}, "after": {f"{each.tenant}/{each.database}/{each.target}": each.recoverable for each in items}},
        "warnings": list(dict.fromkeys(looked.backups.warnings)),
    }
