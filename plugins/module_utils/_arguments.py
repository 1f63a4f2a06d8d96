# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that all client modules share. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import TOKEN_HEADERS, Connection


def connection_spec(**own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the argument spec of a client module: the options of fragment ``connection``, and its ``own``."""
    return {
        "url": {"type": "str", "required": True, "fallback": (env_fallback, ["CHROMA_API_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["CHROMA_AUTH_TOKEN"])},
        "token_header": {"type": "str", "choices": list(TOKEN_HEADERS), "default": TOKEN_HEADERS[0], "no_log": False},
        "tenant": {"type": "str", "default": "default_tenant"},
        "database": {"type": "str", "default": "default_database"},
        "ca_path": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": 30.0},
        "retries": {"type": "int", "default": 3},
        **own,
    }


def client_from(params: Mapping[str, Any], **changes: Any) -> ChromaClient:
    """Return the client that the options of a module describe; ``changes`` replace single settings.

    Raises:
        ChromaError: a setting is refused, see :func:`_transport.check_connection`.
    """
    settings = {name: params[name] for name in Connection.__dataclass_fields__}
    return ChromaClient(Connection(**{**settings, **changes}))
