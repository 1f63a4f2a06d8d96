# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the modules that restore to what they ask for. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.collection import CollectionRequest, restore_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import STARTS, STOPS
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import LATEST
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.arguments import finish_from


def restore_spec() -> dict[str, dict[str, Any]]:
    """Return the options that both modules share, beside those of the fragments."""
    return {
        "path": {"type": "path"},
        "statefulset": {"type": "str"},
        "chroma_version": {"type": "str", "default": ""},
        "stop_timeout": {"type": "float", "default": STOPS},
        "start_timeout": {"type": "float", "default": STARTS},
    }


def restore_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_restore`` ask for; see :func:`restore` and :func:`restore_collection`."""
    if params["as_of"] and params["backup"] != LATEST:
        message = f"Both backup {params['backup']} and as_of {params['as_of']} are given."
        raise ChromaError("invalid_value", message, "Name a backup, or a time.")
    if not params["collection"]:
        request = RestoreRequest(**_shared(params), backup=params["backup"], as_of=params["as_of"] or "")
        return restore(_surroundings(params), request, check)
    wanted = CollectionRequest(
        collection=params["collection"],
        name=params["new_name"] or "",
        backup=params["backup"],
        as_of=params["as_of"] or "",
        create_database=params["create_database"],
        path=Path(params["path"]) if params["path"] else None,
        scratch=Path(params["scratch_path"]) if params["scratch_path"] else None,
    )
    workload, gone = cluster_from(dict(params))
    # What a deletion left half would come back as a whole collection beside it.
    warnings = finish_from(params) if params["path"] and not check else []
    result = restore_collection(partial(open_repository, settings_from(params), gone=gone), client_from(params), wanted, workload, check)
    return {**result, "warnings": [*warnings, *result["warnings"]]}


def undo_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_restore_undo`` ask for; see :func:`restore`."""
    return restore(_surroundings(params), RestoreRequest(**_shared(params), backup=params["restore_point"], undo=True), check)


def _shared(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": Path(params["path"]),
        # Only a Job has attempts: who asks twice, of himself, wants it twice.
        "operation": os.environ.get("CHROMA_OPERATION_JOB") or f"restore-{new_id().lower()}",
        "chroma_version": params["chroma_version"],
        "stops": params["stop_timeout"],
        "starts": params["start_timeout"],
    }


def _surroundings(params: Mapping[str, Any]) -> Surroundings:
    settings = settings_from(params)
    workload, gone = cluster_from(dict(params))
    client = client_from(params) if params["url"] and workload else None
    return Surroundings(partial(open_repository, settings, gone=gone), workload, client)
