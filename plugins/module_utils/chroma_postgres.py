# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collection to PostgreSQL, back again, and its check, for programs of your own: docs/standalone.md. Needs no Ansible playbook.

Settings come from the environment: CHROMADB_HOST, CHROMADB_PORT, CHROMADB_USE_SSL (or CHROMA_API_URL), CHROMA_AUTH_TOKEN,
CHROMA_COLLECTION_NAME, NEW_COLLECTION_NAME, DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD, DB_SSLMODE, DB_SSLROOTCERT, BACKUP_TABLE
and CHROMA_ALERT_WEBHOOK.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import Chosen, import_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import WEBHOOK, Webhook
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.environment import COLLECTION, NEW_NAME, required, server_url
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.run import CheckOrder, check_collection

__all__ = ["ChromaError", "check_collection_health", "export_collection_to_postgres", "import_postgres_to_chroma"]


def export_collection_to_postgres(environ: Mapping[str, str] | None = None, **connection: Any) -> dict[str, Any]:
    """Export a collection as a new generation, which becomes the current one once it was verified.

    Args:
        environ: variables; those of this process where it is None.
        connection: more settings of :class:`_transport.Connection`, such as ``ca_path``, ``tenant`` or ``timeout`` (seconds).

    Returns:
        What module ``chroma_export_postgres`` returns.

    Raises:
        ChromaError: ``source_empty``, ``source_incomplete``, ``source_shrunken`` and others; what was current before still is.
    """
    variables = _variables(environ)
    wanted = Wanted([required(variables, COLLECTION)])
    return export_server(_client(variables, connection), settings_from_environment(variables), wanted)


def import_postgres_to_chroma(environ: Mapping[str, str] | None = None, **connection: Any) -> dict[str, Any]:
    """Bring the current generation of a collection back under another name, and read it back.

    Args:
        environ, connection: see :func:`export_collection_to_postgres`.

    Returns:
        What module ``chroma_import_postgres`` returns.

    Raises:
        ChromaError: ``not_found`` where nothing was exported, ``not_verified`` and others.
    """
    variables = _variables(environ)
    chosen = Chosen(required(variables, COLLECTION), name=required(variables, NEW_NAME))
    return import_generation(settings_from_environment(variables), _client(variables, connection), chosen)


def check_collection_health(environ: Mapping[str, str] | None = None, **connection: Any) -> dict[str, Any]:
    """Check a collection, bring it back under another name where it is lost, once for each fault, and tell somebody.

    Args:
        environ, connection: see :func:`export_collection_to_postgres`.

    Returns:
        What module ``chroma_check_collection`` returns; ``verdict`` is ``healthy`` where all is well.

    Raises:
        ChromaError: what is no verdict: a wrong token, PostgreSQL that is away, a recovery that failed.
    """
    variables = _variables(environ)
    order = CheckOrder(required(variables, COLLECTION), required(variables, NEW_NAME))
    channels = [Webhook(variables[WEBHOOK])] if variables.get(WEBHOOK) else []
    return check_collection(_client(variables, connection), settings_from_environment(variables), order, channels)


def _variables(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    require_data_libraries()
    return os.environ if environ is None else environ


def _client(variables: Mapping[str, str], connection: Mapping[str, Any]) -> ChromaClient:
    return ChromaClient(Connection(server_url(variables), token=variables.get("CHROMA_AUTH_TOKEN") or None, **connection))
