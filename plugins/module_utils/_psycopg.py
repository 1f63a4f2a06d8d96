# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's client, imported in one place: the control plane does not have it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

MISSING = ""

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql
else:
    try:
        import psycopg
        from psycopg import sql
    except ImportError as error:
        psycopg = sql = None
        MISSING = str(error)

__all__ = ["psycopg", "require_psycopg", "sql"]


def require_psycopg() -> None:
    """Check that psycopg 3 is here; called first by whatever speaks to PostgreSQL.

    Raises:
        ChromaError: ``missing_library``.
    """
    if MISSING:
        message = f"This needs psycopg, the client of PostgreSQL: {MISSING}."
        hint = "Install what requirements-data.txt names for the Python that Ansible uses, or run it as a Job (docs/operations.md)."
        raise ChromaError("missing_library", message, hint)
