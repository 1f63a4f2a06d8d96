# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the environment says of the server and its collection. FOR INTERNAL COLLECTION USE ONLY.

``CHROMA_API_URL`` and ``CHROMA_AUTH_TOKEN`` are this collection's own; ``CHROMADB_HOST``, ``CHROMADB_PORT`` and ``CHROMADB_USE_SSL``
say the same in parts. Those of the database are read by :mod:`_postgres.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

DEFAULT_PORT = 8000
COLLECTION, NEW_NAME = "CHROMA_COLLECTION_NAME", "NEW_COLLECTION_NAME"


def server_url(environ: Mapping[str, str], given: str | None = None) -> str:
    """Return the base URL of the server.

    Args:
        environ: the environment; empty values count as absent.
        given: a URL that somebody has said; it goes before, then ``CHROMA_API_URL``, then the parts.

    Raises:
        ChromaError: ``invalid_value`` where nothing names a server, or a part of it is not valid.
    """
    whole = given or environ.get("CHROMA_API_URL")
    if whole:
        return whole
    host = environ.get("CHROMADB_HOST", "").strip()
    if not host:
        raise ChromaError("invalid_value", "Nothing says where Chroma is.", "Set url, or CHROMADB_HOST in the environment.")
    if any(each in host for each in "/@?# "):
        raise ChromaError("invalid_value", f"CHROMADB_HOST={host!r} is no host name.", "Set CHROMA_API_URL to a whole URL instead.")
    said = environ.get("CHROMADB_PORT") or str(DEFAULT_PORT)
    if not said.isascii() or not said.isdigit() or not 0 < int(said) < 65536:
        hint = "Set it to a number; a Service of that name makes Kubernetes set it: enableServiceLinks: false prevents that."
        raise ChromaError("invalid_value", f"CHROMADB_PORT={said!r} is no port.", hint)
    try:
        secure = boolean(environ.get("CHROMADB_USE_SSL") or "False")
    except TypeError as error:
        message = f"CHROMADB_USE_SSL={environ['CHROMADB_USE_SSL']!r} is neither true nor false."
        raise ChromaError("invalid_value", message, "Set it to True or False.") from error
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{said}"


def required(environ: Mapping[str, str], name: str) -> str:
    """Return a variable that has to be there.

    Raises:
        ChromaError: ``invalid_value``.
    """
    value = environ.get(name)
    if not value:
        raise ChromaError("invalid_value", f"There is no {name} in the environment.", "Set it; docs/standalone.md names all variables.")
    return value
