# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PostgreSQL, and which table in it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleFallbackNotFound

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PORT, SSL_MODE, TABLE = 5432, "prefer", "chroma_data"
# Names of PostgreSQL have at most 63 bytes (NAMEDATALEN - 1); the longest that is added to the table's is "_generations".
_MOST = 63
MOST_TABLE = _MOST - len("_generations")

# Option → environment variable.
VARIABLES = {
    "db_host": "DB_HOST",
    "db_port": "DB_PORT",
    "db_name": "DB_NAME",
    "db_user": "DB_USER",
    "db_password": "DB_PASSWORD",
    "db_sslmode": "DB_SSLMODE",
    "db_sslrootcert": "DB_SSLROOTCERT",
    "backup_table": "BACKUP_TABLE",
}


@dataclass(frozen=True)
class PostgresSettings:
    """How to reach a PostgreSQL database, and the table that holds what is exported.

    Args:
        host: name, address, or directory of a Unix socket.
        name, user: of the database, and whoever signs in.
        password: empty where the server asks for none, or libpq finds it in a password file.
        port: TCP port, or number of the socket.
        sslmode: one of :data:`SSL_MODES`, see libpq.
        sslrootcert: file of PEM certificates that the server's is checked with; empty for libpq's own.
        table: ``table`` or ``schema.table``.
    """

    host: str
    name: str
    user: str
    password: str = field(default="", repr=False)
    port: int = PORT
    sslmode: str = SSL_MODE
    sslrootcert: str = ""
    table: str = TABLE

    @property
    def place(self) -> str:
        """The database, for messages."""
        return f"database {self.name} at {self.host}:{self.port}"


@dataclass(frozen=True)
class TableName:
    """A table, as a user names it.

    Args:
        schema: empty for the first one of the search path.
    """

    schema: str
    table: str


def postgres_spec() -> dict[str, dict[str, Any]]:
    """Return the argument spec of the options of fragment ``postgres``."""
    own: dict[str, dict[str, Any]] = {
        "db_host": {"type": "str", "required": True},
        "db_port": {"type": "int", "default": PORT},
        "db_name": {"type": "str", "required": True},
        "db_user": {"type": "str", "required": True},
        "db_password": {"type": "str", "no_log": True},
        "db_sslmode": {"type": "str", "choices": list(SSL_MODES), "default": SSL_MODE},
        "db_sslrootcert": {"type": "path"},
        "backup_table": {"type": "str", "default": TABLE},
    }
    return {name: {**spec, "fallback": (_variable, [VARIABLES[name]])} for name, spec in own.items()}


def _variable(name: str) -> str:
    """Return an environment variable; one that is empty is none, as a Secret's key that nobody filled."""
    if value := os.environ.get(name):
        return value
    raise AnsibleFallbackNotFound


def settings_from(params: Mapping[str, Any]) -> PostgresSettings:
    """Return the settings that the options of a module say.

    Raises:
        ChromaError: ``invalid_value``, see :func:`checked`.
    """
    return checked(
        PostgresSettings(
            host=params["db_host"],
            name=params["db_name"],
            user=params["db_user"],
            password=params["db_password"] or "",
            port=params["db_port"],
            sslmode=params["db_sslmode"],
            sslrootcert=params["db_sslrootcert"] or "",
            table=params["backup_table"],
        )
    )


def settings_from_environment(environ: Mapping[str, str] | None = None) -> PostgresSettings:
    """Return the settings that the variables ``DB_…`` and ``BACKUP_TABLE`` say.

    Args:
        environ: other variables than this process has.

    Raises:
        ChromaError: ``invalid_value`` where one is absent or can't be right.
    """
    source = os.environ if environ is None else environ
    found = {name: source.get(variable) or None for name, variable in VARIABLES.items()}
    absent = [VARIABLES[name] for name in ("db_host", "db_name", "db_user") if not found[name]]
    if absent:
        message = f"There is no {' and no '.join(absent)} in the environment."
        raise ChromaError("invalid_value", message, "Set the variables that docs/postgres.md names.")
    text = found["db_port"] or str(PORT)
    if not text.isdecimal():
        raise ChromaError("invalid_value", f"DB_PORT is {text!r}, which is no port.", "Set a number, or leave it out for 5432.")
    usual = {"db_sslmode": SSL_MODE, "backup_table": TABLE}
    return settings_from({**found, **{name: found[name] or value for name, value in usual.items()}, "db_port": int(text)})


def checked(settings: PostgresSettings) -> PostgresSettings:
    """Return settings that can be right.

    Raises:
        ChromaError: ``invalid_value``.
    """
    for name, text in (("DB_HOST", settings.host), ("DB_NAME", settings.name), ("DB_USER", settings.user)):
        if not text or not _is_text(text):
            raise ChromaError("invalid_value", f"{name} is {text!r}, which is no name.", "Correct the value.")
    if not 0 < settings.port < 65536:
        raise ChromaError("invalid_value", f"DB_PORT is {settings.port}, which is no port.", "Set a number from 1 to 65535.")
    if settings.sslmode not in SSL_MODES:
        raise ChromaError("invalid_value", f"DB_SSLMODE is {settings.sslmode!r}.", f"Set one of {', '.join(SSL_MODES)}.")
    parse_table(settings.table)
    return settings


def parse_table(text: str) -> TableName:
    """Return the parts of ``table`` or ``schema.table``. Any other character is part of a name: names are always quoted.

    Raises:
        ChromaError: ``invalid_value``.
    """
    schema, dot, table = text.rpartition(".")
    if not table or (dot and not schema) or "." in schema or not _is_text(text):
        raise ChromaError("invalid_value", f"BACKUP_TABLE is {text!r}.", "Set table or schema.table.")
    for part, most in ((schema, _MOST), (table, MOST_TABLE)):
        if len(part.encode("utf-8", "replace")) > most:
            message = f"The name {part!r} in BACKUP_TABLE is longer than {most} bytes."
            raise ChromaError("invalid_value", message, "Shorten it: PostgreSQL would cut it off.")
    return TableName(schema, table)


def _is_text(text: str) -> bool:
    """Whether PostgreSQL takes a text: it has neither NUL nor half a character."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
