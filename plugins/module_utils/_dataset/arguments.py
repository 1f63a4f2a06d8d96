# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that modules on datasets share. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, StoreSettings, open_store


def store_spec() -> dict[str, dict[str, Any]]:
    """Return the argument spec of the options of fragment ``dataset``."""
    return {
        "s3_endpoint": {"type": "str"},
        "s3_region": {"type": "str", "default": "us-east-1"},
        "s3_ca_path": {"type": "path"},
        "s3_timeout": {"type": "float", "default": 20.0},
        "access_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AWS_ACCESS_KEY_ID"])},
        "secret_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AWS_SECRET_ACCESS_KEY"])},
    }


def store_from(location: str, params: Mapping[str, Any]) -> Store:
    """Return the store of a location, by the options of a module.

    Raises:
        ChromaError: see :func:`store.open_store`.
    """
    return open_store(location, settings_from(params))


def settings_from(params: Mapping[str, Any]) -> StoreSettings:
    """Return how to reach an object store, by the options of a module."""
    return StoreSettings(
        endpoint=params["s3_endpoint"] or "",
        region=params["s3_region"],
        ca_path=params["s3_ca_path"],
        access_key=params["access_key"],
        secret_key=params["secret_key"],
        timeout=params["s3_timeout"],
    )
