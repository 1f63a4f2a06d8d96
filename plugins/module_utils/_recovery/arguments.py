# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of ``chroma_recover`` to what it asks for. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import current_generation, generation_batches
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import require_psycopg
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import POSTGRES
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.operation import recover_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import DAMAGED, KINDS, Generation, Helpers, RecoveryRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Stream
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from


def recover_spec() -> dict[str, dict[str, Any]]:
    """Return the argument spec of ``chroma_recover``."""
    own: dict[str, dict[str, Any]] = {
        "path": {"type": "path", "required": True},
        # Not from the environment: a server that somebody has set there need not be the one of this directory.
        "url": {"type": "str"},
        "kinds": {"type": "list", "elements": "str", "choices": list(KINDS), "default": [DAMAGED]},
        "collections": {"type": "list", "elements": "str"},
        "plan": {"type": "dict"},
        "in_place": {"type": "bool", "default": False},
        "repository": {"type": "str"},
        "postgres": {"type": "bool", "default": False},
        "backup_table": {"type": "str"},
        "statefulset": {"type": "str"},
        "scratch_path": {"type": "path"},
        "wait": {"type": "float", "default": 300.0},
        "timeout": {"type": "float", "default": 300.0},
    }
    return connection_spec(**{**repository_spec(), **cluster_argument_spec(), **own})


def recover_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_recover`` ask for; see :func:`operation.recover_collections`."""
    request = RecoveryRequest(
        path=Path(params["path"]),
        kinds=params["kinds"],
        only=params["collections"] or (),
        plan=params["plan"],
        in_place=params["in_place"],
        scratch=Path(params["scratch_path"]) if params["scratch_path"] else None,
        wait=params["wait"],
    )
    workload, gone = cluster_from({**params, "repository": params["repository"] or ""})
    repository = partial(open_repository, settings_from(params), gone=gone) if params["repository"] else None
    client = client_from(params) if params["url"] else None
    generation = _generation(params["backup_table"]) if params["postgres"] else None
    result = recover_collections(request, Helpers(client, repository, generation, workload), check)
    if result["failed"]:
        wrong = "; ".join(f"{each['target']}: {each['reason']}" for each in result["details"] if not each["success"])
        message = f"{result['failed']} of {result['failed'] + result['success']} collections could not be recovered: {wrong}"
        raise ChromaError("recovery_failed", message, "The others are whole. See docs/recover.md.", result)
    return result


def _generation(table: str | None) -> Generation:
    """Return what reads a collection's current generation in the PostgreSQL that the environment names.

    Args:
        table: another one than the environment says.
    """
    require_psycopg()
    settings = settings_from_environment({**os.environ, **({"BACKUP_TABLE": table} if table else {})})

    def find(name: str, tenant: str, database: str) -> Stream | None:
        found = current_generation(settings, name, tenant, database)
        if found is None or not found.records:
            return None
        schema = found.arrow_schema
        return Stream(
            POSTGRES,
            found.dimension,
            found.records,
            lambda: schema,
            lambda: generation_batches(settings, name, tenant, database),
            str(found.number),
        )

    return find
