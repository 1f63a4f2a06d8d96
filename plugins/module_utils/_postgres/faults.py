# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure of PostgreSQL means. FOR INTERNAL COLLECTION USE ONLY.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html. A connection that fails has none, only text (libpq).
"""

from __future__ import annotations

import re

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings

_LATER = "Look at PostgreSQL's log and run it again: what was current before still is."
_LOOK = "Look at PostgreSQL's log: what was current before still is."
_ROOM = "Make room where PostgreSQL keeps its data, or keep fewer generations; what was current before still is."
_SIGN_IN = "Check DB_USER, DB_PASSWORD, and what pg_hba.conf of the server allows."
_REACH = "Check DB_HOST, DB_PORT and the network, and that the server runs; what was current before still is."
_TLS = "Check DB_SSLMODE and DB_SSLROOTCERT, and the certificate of the server: its name has to be DB_HOST for verify-full."
_RIGHTS = "Give DB_USER the right to create tables in the schema, and to own those of BACKUP_TABLE."

# SQLSTATE, or its class → code, next step.
_STATES = {
    "28": ("unauthorized", _SIGN_IN),
    "3D": ("no_database", "Create the database, or correct DB_NAME."),
    "3F": ("not_found", "Create the schema, or correct BACKUP_TABLE."),
    "42501": ("forbidden", _RIGHTS),
    "25006": ("forbidden", "The server only reads, as a standby does: give the primary's address."),
    # A deadlock, or a conflict with another transaction; and a file of the server's that could not be read or written.
    "40": ("unavailable", _LATER),
    "58": ("unavailable", _LATER),
    "53100": ("no_space", _ROOM),
    "53": ("unavailable", _LATER),
    # Not "busy": that is a directory's, of which a copy is read then.
    "55P03": ("timeout", "Somebody else holds a lock on the table: run it again later."),
    "57014": ("timeout", "The statement was ended from outside, or by statement_timeout: raise that for DB_USER."),
    "57": ("unavailable", _LATER),
    "08": ("unreachable", _REACH),
    "XX001": ("damaged_postgres", "PostgreSQL found its own files damaged: look at its log before anything else."),
    "XX002": ("damaged_postgres", "PostgreSQL found its own files damaged: look at its log before anything else."),
}
# Text of a connection that failed or broke → code, next step. In this order.
_TEXTS = (
    (r'database ".*" does not exist', "no_database", "Create the database, or correct DB_NAME."),
    (r"no encryption|SSL off|does not support SSL|SSL error|certificate|root\.crt|sslrootcert", "tls", _TLS),
    (r"authentication|no password supplied|role \".*\" |pg_hba|not permitted to log in", "unauthorized", _SIGN_IN),
    (r"too many (clients|connections)|remaining connection slots|starting up|shutting down|recovery mode", "unavailable", _LATER),
    (r"timeout expired|timed out", "timeout", _REACH),
)


def fault(action: str, error: Exception, settings: PostgresSettings) -> ChromaError:
    """Return the typed error for what psycopg raised; the password is in none.

    Args:
        action: what was attempted on what, "Could not …".
    """
    text = " ".join(str(error).split()).rstrip(".")
    if settings.password:
        text = text.replace(settings.password, "***")
    message = f"{action} in {settings.place}: {text[:500]}."
    state = getattr(error, "sqlstate", None) or ""
    known = _STATES.get(state) or _STATES.get(state[:2])
    if known:
        return ChromaError(known[0], message, known[1])
    if state:
        return ChromaError("postgres_error", message, _LOOK)
    for pattern, code, hint in _TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return ChromaError(code, message, hint)
    return ChromaError("unreachable", message, _REACH)
