# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the modules to a transaction. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.opening import open_or_create
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import WantedCollection, ensure_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import check_apart, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import finish_left
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import RENAME, UNDO, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_within
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import locked

# Seconds for one answer: of a large batch, or of its deletion, in a large index.
_TIMEOUT = 300.0


def transaction_spec() -> dict[str, dict[str, Any]]:
    """Return the options of a transaction beside those of the connection."""
    return {
        **repository_spec(),
        **cluster_argument_spec(),
        "repository": {"type": "str"},
        "path": {"type": "path"},
        "journal_path": {"type": "path"},
        "statefulset": {"type": "str"},
        "scratch_path": {"type": "path"},
    }


def place_from(params: Mapping[str, Any], create: bool = False) -> Place:
    """Return where the options of a module let a transaction take place.

    Args:
        create: whether the repository is made where there is none, see :func:`open_or_create`.

    Raises:
        ChromaError: see :func:`settings_from`, :func:`client_from`, :func:`cluster_from` and :func:`check_apart`.
    """
    settings = settings_from(params) if params["repository"] else None
    path = Path(params["path"]) if params["path"] else None
    if settings and path:
        check_apart(settings, path)
    workload, gone = cluster_from({**params, "repository": params["repository"] or ""})
    opening = None
    if settings:
        opening = partial(open_or_create, settings, path, gone) if create else partial(open_repository, settings, gone=gone)
    return Place(
        client_from(params, timeout=max(params["timeout"], _TIMEOUT)),
        opening,
        settings.location if settings else "",
        path,
        Path(params["journal_path"]) if params["journal_path"] else None,
        workload,
        Path(params["scratch_path"]) if params["scratch_path"] else None,
        params.get("force", False),
    )


def collection_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_collection`` ask for."""
    if params["state"] == "absent":
        return delete_collection(place_from(params, create=True), params["name"], check, params["damaged"])
    if params["damaged"]:
        raise ChromaError("invalid_value", "damaged is about a collection that is to be deleted.", "Set state: absent, or leave it out.")
    settings = {"space": params["space"], **(params["hnsw"] or {})}
    configuration = {key: value for key, value in settings.items() if value is not None}
    wanted = WantedCollection(params["name"], params["new_name"], params["metadata"], configuration)
    if not wanted.new_name:
        return ensure_collection(client_from(params), wanted, check=check)
    with locked(place_from(params, create=True), RENAME, check) as work:
        finish_left(work)
        result = ensure_collection(work.place.client, wanted, partial(rename_within, work), check)
        return {**result, "changed": result["changed"] or bool(work.finished), **work.said()}


def undo_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_collection_undo`` ask for."""
    return undo_collection(place_from(params), params["entry"], check)


def finish_from(params: Mapping[str, Any]) -> list[str]:
    """Finish what transactions that died left, before another operation on their data directory that has the server and the repository.

    Args:
        params: the options of its module.

    Returns:
        Warnings.
    """
    with locked(place_from({"journal_path": None, **params}), UNDO) as work:
        finish_left(work)
        return work.warnings
