# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets into a server, by its API. FOR INTERNAL COLLECTION USE ONLY.

No progress is kept in a file: what a server holds is asked from it. Where a collection holds records, each batch is compared with
them first, and only what differs is written; so an import that was killed goes on, and a second one changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.bringing import Outcome, bring, create, look, prove
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Readable, Source, choose, open_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, encode
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest, Target, plan_targets
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress


def import_dataset(store: Store, client: ChromaClient, request: ImportRequest, check: bool = False) -> dict[str, Any]:
    """Bring collections of a dataset into a server, and read them back.

    Args:
        store: where the dataset is.

    Returns, Raises:
        See :func:`import_from`.
    """
    return import_from(open_dataset(store), client, request, check)


def import_from(dataset: Readable, client: ChromaClient, request: ImportRequest, check: bool = False) -> dict[str, Any]:
    """Bring collections of an open dataset, or of what can be read as one, into a server, and read them back.

    Nothing is changed before the dataset has been read whole and every collection has been found to fit.

    Args:
        dataset: opened.
        client: the server; its tenant and database are used unless ``request.keep_databases``.
        check: only look, and return what would be done.

    Returns:
        ``changed``, ``dataset``, ``collections`` (see :meth:`Outcome.view`) and ``diff``.

    Raises:
        ChromaError: see :mod:`reading`, :mod:`targets`, :mod:`verify` and :mod:`_faults`; with ``collections`` in its result once the
            import has begun.
    """
    sources = choose(dataset, request.collections)
    tenant, database = client.connection.tenant, client.connection.database
    targets = plan_targets(sources, request, tenant, database, client.version)
    databases = _databases(client, targets)
    absent = [each for each, exists in databases.items() if not exists]
    if absent and not request.create_database:
        message = f"There is no database {absent[0].connection.database} in tenant {absent[0].connection.tenant}."
        raise ChromaError("not_found", message, "Check tenant and database, or set create_database.")
    # It has answered: from here on it may go away and come back.
    patience = Patience(request.wait)
    outcomes = [patience(partial(look, target, each, databases[each])) for target, each in _clients(databases, targets)]
    special = any(each.schema for each in targets) or any(_may_hold_lists(each.source) for each in targets)
    modern = special and patience(lambda: takes_lists(client))
    _check_sources(dataset, targets, not special or modern)
    if not check:
        for each in absent:
            patience(partial(_create_database, each))
    try:
        with Progress("import", total=sum(each.records for each in targets), unit="records") as progress:
            for number, outcome in enumerate(outcomes):
                if not check:
                    outcomes[number] = outcome = create(outcome, patience, schemas=modern)
                outcomes[number] = bring(dataset, outcome, request, patience, check, progress)
        if request.verify and not check:
            with Progress("verify", total=sum(each.records for each in targets), unit="records") as progress:
                for number, outcome in enumerate(outcomes):
                    outcomes[number] = prove(dataset, outcome, request, patience, progress)
    except ChromaError as error:
        error.result = {**error.result, "collections": [each.view() for each in outcomes]}
        raise
    return {
        "changed": bool(absent) or any(each.created or each.written for each in outcomes),
        "dataset": dataset.where,
        "collections": [each.view() for each in outcomes],
        "diff": _diff(outcomes),
    }


def _databases(client: ChromaClient, targets: Sequence[Target]) -> dict[ChromaClient, bool]:
    """Return a client for each database that is needed, and whether that database exists."""
    places = dict.fromkeys((each.tenant, each.database) for each in targets)
    places = places or {(client.connection.tenant, client.connection.database): None}
    clients = [client.within(tenant=tenant, database=database) for tenant, database in places]
    return {each: each.database_exists() for each in clients}


def _clients(databases: dict[ChromaClient, bool], targets: Sequence[Target]) -> Iterator[tuple[Target, ChromaClient]]:
    places = {(each.connection.tenant, each.connection.database): each for each in databases}
    return ((each, places[each.tenant, each.database]) for each in targets)


def _create_database(client: ChromaClient) -> None:
    """Create a database and its tenant; another import may do so at the same moment."""
    for exists, make in ((client.tenant_exists, client.create_tenant), (client.database_exists, client.create_database)):
        if not exists():
            try:
                make()
            except ChromaError:
                if not exists():
                    raise


def _check_sources(dataset: Readable, targets: Sequence[Target], lists: bool) -> None:
    sources = [each.source for each in targets]
    with Progress("check", total=sum(each.collection.records for each in sources), unit="records") as progress:
        for source in sources:
            dataset.check(source, lists, progress.advance)


def _may_hold_lists(source: Source) -> bool:
    kinds = {each.type for each in source.collection.columns}
    return source.foreign or bool(kinds & {"strs", "ints", "floats", "bools", "json"})


def takes_lists(client: ChromaClient) -> bool:
    """Return whether a server takes lists in metadata, and schemas: 1.5 does; 1.0 refuses lists, and 0.x drops them silently.

    No 1.x says which it is. A write to a collection that does not exist tells: the body is judged first (measured: 422 on 1.0.20, 404
    on 1.5.9).
    """
    if client.legacy:
        return False
    nowhere = Collection(str(uuid.uuid4()), "", {}, None, {}, "", client.connection.tenant, client.connection.database)
    probe = Rows(["probe"], np.zeros((1, 1), np.float32), [None], [{"list": ["probe"]}], [None])
    try:
        client.write(nowhere, "upsert", encode(probe, packed=True))
    except ChromaError as error:
        if error.code not in ("not_found", "invalid_request"):
            raise
        return error.code == "not_found"
    return True


def _diff(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    before = {each.target.name: each.before for each in outcomes if each.before or not each.created}
    after = {each.target.name: max(each.after, each.before) for each in outcomes}
    return {"before": {"records": before}, "after": {"records": after}}
