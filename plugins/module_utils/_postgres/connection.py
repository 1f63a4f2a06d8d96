# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to PostgreSQL. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.faults import fault
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings, parse_table
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import psycopg, require_psycopg, sql

OLDEST = 14
# Seconds until the server has to answer, and without a sign of life until a connection counts as broken.
_CONNECT = 15
_KEEPALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
# Milliseconds; keepalives are not sent while something waits to be acknowledged. Long, because a server that is only slow to take what
# is copied, as during a checkpoint, counts, too (Linux, tcp(7)).
_UNACKNOWLEDGED = 180_000
# A client that was killed is noticed so fast, also while a query computes, so that its locks are free for the next one (14 and later).
_NOTICED = "1s"
# What was reported as committed is on disk.
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "10s",
    "default_transaction_isolation": "read committed",
    "client_encoding": "UTF8",
    # Records are read in the order in which they were written, each time.
    "synchronize_seqscans": "off",
}


@dataclass(frozen=True)
class Postgres:
    """An open connection, and the names of the tables in it.

    Args:
        connection: of psycopg, in autocommit mode.
        schema: the table's, resolved.
        table: without its schema.
    """

    connection: Any
    settings: PostgresSettings
    schema: str
    table: str

    def name(self, suffix: str = "") -> Any:
        """Return the quoted name of a table beside the backup table, as psycopg's SQL takes it."""
        return sql.Identifier(self.schema, self.table + suffix)

    def quoted(self, suffix: str = "") -> str:
        """Return the same as text, for ``regclass``."""
        text: str = self.name(suffix).as_string(self.connection)
        return text

    def rows(self, query: str, parameters: tuple[Any, ...] = (), **names: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, none of one that has none.

        Args:
            query: with ``{name}`` for each of ``names`` (psycopg's composables), and ``%s`` for each of ``parameters``.
        """
        if parameters:  # then a percent sign in a name has to be told from a placeholder
            names = {key: sql.SQL(value.as_string(self.connection).replace("%", "%%")) for key, value in names.items()}
        cursor = self.connection.execute(sql.SQL(query).format(**names), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def key(self, what: str) -> int:
        """Return the number of an advisory lock: of this table, for this purpose."""
        digest = hashlib.sha256("\0".join(("thinkube.chroma", self.schema, self.table, what)).encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    @contextlib.contextmanager
    def attempting(self, action: str) -> Iterator[None]:
        """Turn what psycopg raises into a ChromaError, see :func:`faults.fault`."""
        try:
            yield
        except psycopg.Error as error:
            raise fault(action, error, self.settings) from error


@contextlib.contextmanager
def connected(settings: PostgresSettings) -> Iterator[Postgres]:
    """Connect for the length of a ``with`` block.

    Raises:
        ChromaError: ``missing_library``; ``old_postgres``; ``unsupported`` (an encoding other than UTF8); ``not_found`` (the schema);
            see :mod:`faults`.
    """
    require_psycopg()
    wanted = parse_table(settings.table)
    try:
        connection = psycopg.connect(
            host=settings.host,
            port=settings.port,
            dbname=settings.name,
            user=settings.user,
            password=settings.password or None,
            sslmode=settings.sslmode,
            sslrootcert=settings.sslrootcert or None,
            connect_timeout=_CONNECT,
            application_name="thinkube.chroma",
            autocommit=True,
            # Behind a pooler a prepared statement may be another connection's.
            prepare_threshold=None,
            tcp_user_timeout=_UNACKNOWLEDGED,
            **_KEEPALIVE,
        )
    except psycopg.Error as error:
        raise fault("Could not connect to PostgreSQL", error, settings) from error
    # psycopg's own context manager would commit; nothing is open here that should be.
    with contextlib.closing(connection):
        postgres = Postgres(connection, settings, wanted.schema, wanted.table)
        with postgres.attempting("Could not look at PostgreSQL"):
            _check_server(postgres)
            assignments = ", ".join("set_config(%s, %s, false)" for _each in _SESSION)
            postgres.rows(f"SELECT {assignments}", tuple(word for each in _SESSION.items() for word in each))
            # Where the server's system can't tell (Windows) it is refused, and the lock of a killed client stays until its query ends.
            with contextlib.suppress(psycopg.errors.InvalidParameterValue):
                postgres.rows("SELECT set_config('client_connection_check_interval', %s, false)", (_NOTICED,))
            schema = _schema(postgres)
        yield Postgres(connection, settings, schema, wanted.table)


def _check_server(postgres: Postgres) -> None:
    version = postgres.connection.info.server_version // 10000
    if version < OLDEST:
        message = f"PostgreSQL {version} answers for {postgres.settings.place}."
        raise ChromaError("old_postgres", message, f"Version {OLDEST} or later is needed: upgrade it, or give another server.")
    encoding = postgres.rows("SHOW server_encoding")[0][0]
    if encoding != "UTF8":
        message = f"The encoding of {postgres.settings.place} is {encoding}."
        raise ChromaError("unsupported", message, "Chroma's texts are Unicode: create a database with ENCODING 'UTF8'.")


def _schema(postgres: Postgres) -> str:
    if not postgres.schema:
        found = postgres.rows("SELECT current_schema()")[0][0]
        if found is None:
            message = f"No schema of the search path exists in {postgres.settings.place}."
            raise ChromaError("not_found", message, "Write schema.table into BACKUP_TABLE.")
        return str(found)
    if not postgres.rows("SELECT 1 FROM pg_namespace WHERE nspname = %s", (postgres.schema,)):
        message = f"There is no schema {postgres.schema!r} in {postgres.settings.place}."
        raise ChromaError("not_found", message, "Create it, or correct BACKUP_TABLE.")
    return postgres.schema
