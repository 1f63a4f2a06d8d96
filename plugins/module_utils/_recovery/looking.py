# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at what is left of a directory, and planning what becomes of it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import assembled, item_of, rehearse
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.backups import Backups
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem, RecoveryPlan, free_name, order, stale
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.record import Recovered, recovered
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import Helpers, RecoveryRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import MARK
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.scan import Remains, scan
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import View, open_view


@dataclass(frozen=True)
class Looked:
    """What was found.

    Args:
        view: SQLite's file.
        backups: the newest verified one.
        plan: what can be recovered.
        remains: item's id → what it is about.
        done: what an earlier run recovered.
    """

    view: View
    backups: Backups
    plan: RecoveryPlan
    remains: dict[str, Remains]
    done: tuple[tuple[PlanItem, Recovered], ...]


@contextlib.contextmanager
def look_at(request: RecoveryRequest, helpers: Helpers, room: Path, wanted: RecoveryPlan | None) -> Iterator[Looked]:
    """Look at a directory, and plan, for the length of a ``with`` block.

    Args:
        room: an empty folder.
        wanted: a plan that was given: nothing else is to be done.

    Raises:
        ChromaError: ``not_found``, ``stale_plan``, and those of :func:`view.open_view` and of the repository.
    """
    for name in ("sqlite", "backup", "validation"):
        (room / name).mkdir()
    with open_view(request.path, room / "sqlite") as view:
        backups = Backups(helpers.repository, request.path, room / "backup")
        found = [each for each in scan(view, backups, request.kinds, room / "validation") if _meant(each, request.only)]
        _check_meant(found, request.only)
        looked = _planned(view, backups, found, helpers, request.path)
        yield looked if wanted is None else _as_wanted(looked, wanted)


def _meant(remains: Remains, only: Sequence[str]) -> bool:
    return not only or any(map(remains.called, only))


def _check_meant(found: Sequence[Remains], only: Sequence[str]) -> None:
    unknown = [each for each in only if not any(remains.called(each) for remains in found)]
    if unknown:
        held_names = ", ".join(sorted({each.stored.name or each.segment for each in found})) or "nothing"
        message = f"Nothing is to be recovered of {', '.join(unknown)}."
        raise ChromaError("not_found", message, f"Is it spelled right, and of the kinds that are asked for? There is: {held_names}.")


def _planned(view: View, backups: Backups, found: Sequence[Remains], helpers: Helpers, path: Path) -> Looked:
    client = helpers.client
    usual = (client.connection.tenant, client.connection.database) if client else ("default_tenant", "default_database")
    before = recovered(path)
    items: list[PlanItem] = []
    remains: dict[str, Remains] = {}
    done: list[tuple[PlanItem, Recovered]] = []
    for each, item in _rehearsed(view, backups, found, helpers, usual):
        earlier = before.get(item.id)
        if not item.records:
            continue  # it never had any, or what is left of it is nothing
        if earlier and _there(view, client, earlier):
            done.append((item, earlier))
        else:
            items.append(item)
            remains[item.id] = each
    taken: dict[tuple[str, str], set[str]] = {}
    named = []
    for item in order(items):
        names = taken.setdefault((item.tenant, item.database), _names(view, client, item, {each.collection for each in before.values()}))
        target = free_name(item.name, item.segment, names)
        names.add(target)
        named.append(replace(item, target=target))
    return Looked(view, backups, RecoveryPlan(tuple(named)), remains, tuple(done))


def _rehearsed(
    view: View, backups: Backups, found: Sequence[Remains], helpers: Helpers, usual: tuple[str, str]
) -> Iterator[tuple[Remains, PlanItem]]:
    with Progress("plan", len(found), "collections") as progress:
        for each in found:
            with assembled(view, each, backups, helpers.generation) as one:
                yield each, item_of(one, rehearse(one), usual)
            progress.advance(1)


def _there(view: View, client: ChromaClient | None, earlier: Recovered) -> bool:
    """Return whether what was recovered before is there still."""
    if client is None:
        return any(each.id == earlier.collection for each in view.collections)
    place = client.within(tenant=earlier.tenant, database=earlier.database)
    return place.database_exists() and any(each.id == earlier.collection for each in place.list_collections())


def _names(view: View, client: ChromaClient | None, item: PlanItem, whole: set[str]) -> set[str]:
    """Return the names that are taken in an item's database; those of halves are free, but not of what was whole before it was killed."""
    if client is None:
        here = (each for each in view.collections if (each.tenant, each.database) == (item.tenant, item.database))
        return {each.name for each in here if MARK not in each.metadata or each.id in whole}
    place = client.within(tenant=item.tenant, database=item.database)
    there = place.list_collections() if place.database_exists() else []
    return {each.name for each in there if MARK not in each.metadata or each.id in whole}


def _as_wanted(looked: Looked, wanted: RecoveryPlan) -> Looked:
    """Return what was found, with the plan that was given: each of its items is as it was then, or done.

    Raises:
        ChromaError: ``stale_plan``.
    """
    now = {each.id: each for each in looked.plan.items}
    done = {item.id for item, _recovered in looked.done}
    left = []
    for item in wanted.items:
        if item.id in done:
            continue
        found = now.get(item.id)
        if found is None:
            raise stale(f"What the plan says of {item.label} is not so any more.")
        if replace(found, target=item.target) != item:
            raise stale(f"{item.label} would be recovered otherwise than the plan says.")
        if found.target != item.target:
            raise stale(f"{item.label} was to become {item.target}, and would become {found.target} by now.")
        left.append(item)
    ours = {each.id for each in wanted.items}
    return replace(looked, plan=RecoveryPlan(tuple(left)), done=tuple(each for each in looked.done if each[0].id in ours))
