# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a generation: a table of its own, filled, proven, then switched to; and removing those that are too many.
FOR INTERNAL COLLECTION USE ONLY.

Until the switch, one transaction, the new table is no partition: nobody sees it. What a killed export leaves is such a table that no row
of ``<table>_generations`` names; the next one removes it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import overlapped
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import (
    FIELDS,
    HEADER,
    TRAILER,
    Frames,
    checksum_text,
    embedding_head,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import COLUMNS, GENERATIONS, OURS, Layout
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.values import jsonb
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import psycopg, sql

# Seconds that the switch waits for whoever changes the table, and that a removal makes readers wait at most.
_SWITCH, _REMOVE = "60s", "2s"
# Classes of SQLSTATE: PostgreSQL found damage in its own files, or could not read one.
_BROKEN = ("XX", "58")

# The bytes of each row as they were sent, hashed as ``frames.digests`` does. The vectors come last: they are the longest to append.
_CHECKSUM = """
SELECT count(*), coalesce(sum(('x' || encode(substr(sha256(
    {fields}
    || int4send(octet_length(id)) || convert_to(id, 'UTF8')
    || coalesce(int4send(octet_length(document)) || convert_to(document, 'UTF8'), {null})
    || coalesce(int4send(octet_length(uri)) || convert_to(uri, 'UTF8'), {null})
    || coalesce(int4send(octet_length(metadata::text) + 1) || {version} || convert_to(metadata::text, 'UTF8'), {null})
    || coalesce(int4send(octet_length(exact)) || exact, {null})
    || {length} || {send}(embedding)
), 1, 8), 'hex'))::bit(64)::bigint), 0)
FROM {table}
"""


@contextlib.contextmanager
def exporting(postgres: Postgres) -> Iterator[None]:
    """Hold the table's lock for the length of a ``with`` block; PostgreSQL gives it back where this process or the server dies.

    Raises:
        ChromaError: ``lock_held``.
    """
    key = postgres.key("export")
    if not postgres.rows("SELECT pg_try_advisory_lock(%s)", (key,))[0][0]:
        holder = postgres.rows(
            "SELECT pid, client_addr::text FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
            " AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 1",
            ((key >> 32) & 0xFFFFFFFF, key & 0xFFFFFFFF),
        )
        who = f" (PostgreSQL's process {holder[0][0]}, from {holder[0][1] or 'a socket'})" if holder else ""
        message = f"Another export into table {postgres.table} runs at this moment{who}."
        raise ChromaError("lock_held", message, "Wait until it has ended, and run this again.")
    try:
        yield
    finally:
        # With the connection the lock is gone, too.
        with contextlib.suppress(psycopg.Error):
            postgres.rows("SELECT pg_advisory_unlock(%s)", (key,))


def begin(postgres: Postgres) -> int:
    """Make an empty table for the next generation, and return its number."""
    (number,) = postgres.rows("SELECT nextval(pg_get_serial_sequence(%s, 'generation'))", (postgres.quoted(GENERATIONS),))[0]
    name = postgres.name(f"_g{number}")
    with postgres.connection.transaction():
        # The check spares PostgreSQL to look at each row when it becomes a partition.
        postgres.rows(
            "CREATE TABLE {name} (LIKE {table} INCLUDING STORAGE, CHECK (generation = {number}))",
            name=name,
            table=postgres.name(),
            number=sql.Literal(number),
        )
        postgres.rows("ALTER TABLE {name} ALTER generation SET DEFAULT {number}", name=name, number=sql.Literal(number))
        postgres.rows("COMMENT ON TABLE {name} IS {mark}", name=name, mark=sql.Literal(OURS))
    return int(number)


def fill(postgres: Postgres, number: int, batches: Iterable[Frames]) -> tuple[int, str]:
    """Copy rows into a generation's table, while the next ones are made.

    Returns:
        How many there were, and their checksum.
    """
    total = count = 0
    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=postgres.name(f"_g{number}"), columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    with postgres.connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)

        def write(rows: Frames) -> None:
            nonlocal total, count
            copy.write(rows.data)
            total, count = total + rows.checksum, count + rows.records

        overlapped(batches, write)
        copy.write(TRAILER)
    return count, checksum_text(total)


def measured(postgres: Postgres, layout: Layout, number: int, dimension: int | None) -> tuple[int, str]:
    """Return how many records PostgreSQL holds of a generation, and their checksum, computed from what it stored."""

    def literal(value: bytes) -> Any:
        return sql.SQL("{}::bytea").format(sql.Literal("\\x" + value.hex()))

    count, total = postgres.rows(
        _CHECKSUM,
        fields=literal(FIELDS),
        null=literal(b"\xff\xff\xff\xff"),
        version=literal(b"\x01"),
        length=literal(embedding_head(dimension or 0, layout.embedding)[:4]),
        send=layout.send,
        table=postgres.name(f"_g{number}"),
    )[0]
    return int(count), checksum_text(int(total))


def intact(postgres: Postgres, layout: Layout, generation: Generation) -> bool:
    """Return whether PostgreSQL still holds a generation as it was exported."""
    try:
        return measured(postgres, layout, generation.number, generation.dimension) == (generation.records, generation.checksum)
    except psycopg.Error as error:
        if (error.sqlstate or "")[:2] in _BROKEN:
            return False
        raise


def switch(postgres: Postgres, number: int, collection: SourceCollection, facts: dict[str, Any]) -> None:
    """Make a proven generation the current one of its collection, in one transaction.

    Args:
        facts: ``source``, ``fingerprint``, ``records``, ``dimension``, ``columns``, ``checksum``, ``accepted`` of the generation.
    """
    generations, name = postgres.name(GENERATIONS), postgres.name(f"_g{number}")
    place = (collection.tenant, collection.database, collection.name)
    with postgres.connection.transaction():
        postgres.rows("SELECT set_config('lock_timeout', %s, true)", (_SWITCH,))
        postgres.rows(
            "UPDATE {generations} SET current = false WHERE current AND (tenant, database, collection) = (%s, %s, %s)",
            place,
            generations=generations,
        )
        postgres.rows(
            "INSERT INTO {generations} VALUES"
            " (%s, %s, %s, %s, %s, %s, %s, now(), %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), true, %s)",
            (
                number,
                *place,
                facts["source"],
                collection.id,
                facts["fingerprint"],
                facts["records"],
                facts["dimension"],
                collection.space,
                _json(collection.metadata),
                _json(collection.configuration),
                _json(collection.schema),
                _json(collection.embedding_function),
                _json([vars(each) for each in facts["columns"]]),
                facts["checksum"],
                facts["accepted"],
            ),
            generations=generations,
        )
        postgres.rows(
            "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ({number})",
            table=postgres.name(),
            name=name,
            number=sql.Literal(number),
        )


def confirm(postgres: Postgres, number: int, accepted: bool) -> None:
    """Note that a generation was found to be what its source is, and as it was exported.

    Args:
        accepted: its number of records is said to be right.
    """
    postgres.rows(
        "UPDATE {generations} SET verified = clock_timestamp(), accepted = accepted OR %s WHERE generation = %s",
        (accepted, number),
        generations=postgres.name(GENERATIONS),
    )


def drop_leftovers(postgres: Postgres) -> list[int]:
    """Remove tables that killed exports left: made by us, named as a generation's, and known to no row; the lock is held.

    Returns:
        Their numbers.
    """
    found = postgres.rows(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relkind = 'r'"
        " AND starts_with(relname, %s) AND obj_description(c.oid, 'pg_class') = %s"
        " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)",
        (postgres.schema, f"{postgres.table}_g", OURS),
    )
    known = {number for (number,) in postgres.rows("SELECT generation FROM {generations}", generations=postgres.name(GENERATIONS))}
    numbers = [int(each[1]) for (name,) in found if (each := re.fullmatch(r"_g(\d+)", name.removeprefix(postgres.table)))]
    removed = sorted(set(numbers) - known)
    for number in removed:
        postgres.rows("DROP TABLE {name}", name=postgres.name(f"_g{number}"))
    return removed


def remove(postgres: Postgres, generation: Generation) -> bool:
    """Remove a generation; one that somebody reads is left for the next time.

    Returns:
        Whether it was removed.
    """
    with contextlib.suppress(psycopg.errors.LockNotAvailable), postgres.connection.transaction():
        postgres.rows("SELECT set_config('lock_timeout', %s, true)", (_REMOVE,))
        if not postgres.rows("SELECT pg_try_advisory_xact_lock(%s)", (postgres.key(generation.suffix),))[0][0]:
            return False
        postgres.rows("DELETE FROM {generations} WHERE generation = %s", (generation.number,), generations=postgres.name(GENERATIONS))
        postgres.rows("DROP TABLE {name}", name=postgres.name(generation.suffix))
        return True
    return False


@contextlib.contextmanager
def reading(postgres: Postgres, generation: Generation) -> Iterator[None]:
    """Keep a generation from being removed for the length of a ``with`` block.

    Raises:
        ChromaError: ``not_found`` where it was removed just before.
    """
    key = postgres.key(generation.suffix)
    postgres.rows("SELECT pg_advisory_lock_shared(%s)", (key,))
    try:
        if not postgres.rows("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", (postgres.quoted(generation.suffix),)):
            message = f"Generation {generation.number} of table {postgres.table} was just removed by an export."
            raise ChromaError("not_found", message, "Take the current one.")
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            postgres.rows("SELECT pg_advisory_unlock_shared(%s)", (key,))


def _json(value: Any) -> str | None:
    """Return a value for a column of type json."""
    return None if value is None else jsonb(value)
