# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that checks have seen, in PostgreSQL beside the exports. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import OURS
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import sql
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.plan import ENDED, STALE, Fault

SUFFIX = "_faults"
_COLUMNS = (
    "fault, collection, verdict, generation, token::text, target, recovered, alerted, owing, switched, first_seen, last_seen, ended, "
    "extract(epoch FROM now() - first_seen)::float8"
)
_TABLE = """
CREATE TABLE {faults} (
    fault bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL, database text NOT NULL, collection text NOT NULL, verdict text NOT NULL, generation bigint,
    first_seen timestamptz NOT NULL DEFAULT now(), last_seen timestamptz NOT NULL DEFAULT now(), ended timestamptz,
    token uuid NOT NULL DEFAULT gen_random_uuid(), target text NOT NULL DEFAULT '', recovered bigint, verified timestamptz,
    alerted text NOT NULL DEFAULT '', owing text[] NOT NULL DEFAULT '{{}}', switched boolean NOT NULL DEFAULT false
)
"""


class FaultRecord:
    """The table ``<BACKUP_TABLE>_faults``.

    Args:
        postgres: the open connection; each method is one statement, committed when it returns.
        tenant, database: of the collections.
    """

    def __init__(self, postgres: Postgres, tenant: str, database: str) -> None:
        self._postgres = postgres
        self._place = (tenant, database)

    @contextlib.contextmanager
    def held(self, collection: str) -> Iterator[None]:
        """Be the only check of a collection for the length of a ``with`` block, and create the table where it is absent.

        Raises:
            ChromaError: ``lock_held`` where another check of it runs; ``conflict`` where a table of that name is not ours.
        """
        key = self._postgres.key("\0".join(("check", *self._place, collection)))
        if not self._rows("SELECT pg_try_advisory_lock(%s)", (key,))[0][0]:
            message = f"Another check of collection {collection} runs, with the same {self._postgres.settings.place}."
            raise ChromaError("lock_held", message, "Wait until it has ended; a recovery takes as long as an import.")
        try:
            self._ensure()
            yield
        finally:
            # A connection that broke has given it back.
            with contextlib.suppress(ChromaError):
                self._rows("SELECT pg_advisory_unlock(%s)", (key,))

    def faults(self, collection: str) -> list[Fault]:
        """Return the faults that count for a check of this collection, the oldest first; see :func:`plan.plan_check`."""
        if not self._exists():
            return []
        found = self._rows(
            f"SELECT {_COLUMNS} FROM {{faults}} WHERE (ended IS NULL OR switched) AND tenant = %s AND database = %s "
            "AND verdict <> %s AND (collection = %s OR (target = %s AND recovered IS NOT NULL)) ORDER BY fault",
            (*self._place, STALE, collection, collection),
        )
        return [_fault(row) for row in found]

    def stale(self, collection: str) -> Fault | None:
        """Return the fault that a collection is not exported, while it lasts."""
        if not self._exists():
            return None
        found = self._rows(
            f"SELECT {_COLUMNS} FROM {{faults}} WHERE ended IS NULL AND verdict = %s AND tenant = %s AND database = %s AND collection = %s",
            (STALE, *self._place, collection),
        )
        return _fault(found[0]) if found else None

    def untold(self, collection: str) -> list[Fault]:
        """Return the faults of a collection, or that it is the target of, of whose end somebody could not be told."""
        found = self._rows(
            f"SELECT {_COLUMNS} FROM {{faults}} WHERE ended IS NOT NULL AND alerted = %s AND owing <> '{{{{}}}}' "
            "AND tenant = %s AND database = %s AND (collection = %s OR target = %s) ORDER BY fault",
            (ENDED, *self._place, collection, collection),
        )
        return [_fault(row) for row in found]

    def begin(self, fault: Fault) -> Fault:
        """Store a fault that was seen for the first time, and return it with its number."""
        [(number, token)] = self._rows(
            "INSERT INTO {faults} (tenant, database, collection, verdict, generation) VALUES (%s, %s, %s, %s, %s) "
            "RETURNING fault, token::text",
            (*self._place, fault.collection, fault.verdict, fault.generation),
        )
        return replace(fault, number=number, token=token)

    def seen(self, fault: Fault, verdict: str) -> Fault:
        """Note that a fault still lasts, and as what."""
        self._rows(
            "UPDATE {faults} SET last_seen = now(), verdict = %s, generation = %s WHERE fault = %s",
            (verdict, fault.generation, fault.number),
        )
        return replace(fault, verdict=verdict)

    def aim(self, fault: Fault, target: str, generation: int) -> Fault:
        """Note the collection that a fault's data are brought back into, before that is made, and from which generation."""
        self._rows("UPDATE {faults} SET target = %s, generation = %s WHERE fault = %s", (target, generation, fault.number))
        return replace(fault, target=target, generation=generation)

    def recovered(self, fault: Fault, records: int) -> Fault:
        """Note that the data are back, and were read back equal."""
        self._rows("UPDATE {faults} SET recovered = %s, verified = now() WHERE fault = %s", (records, fault.number))
        return replace(fault, recovered=records)

    def told(self, fault: Fault, what: str, owing: tuple[str, ...]) -> Fault:
        """Note how far somebody was told of a fault, and the names of the channels that could not be."""
        self._rows("UPDATE {faults} SET alerted = %s, owing = %s WHERE fault = %s", (what, list(owing), fault.number))
        return replace(fault, told=what, owing=owing)

    def end(self, fault: Fault, switched: bool) -> None:
        """Note that a fault is over; ``switched`` where that is because readers use its target now."""
        self._rows(
            "UPDATE {faults} SET ended = coalesce(ended, now()), switched = %s WHERE fault = %s",
            (switched, fault.number),
        )

    def _ensure(self) -> None:
        if self._exists():
            return
        with self._postgres.attempting("Could not make the table of faults"), self._postgres.connection.transaction():
            # Of two checks of two collections, each may be the first.
            self._rows("SELECT pg_advisory_xact_lock(%s)", (self._postgres.key("faults"),))
            if not self._exists():
                self._rows(_TABLE)
                self._postgres.rows("COMMENT ON TABLE {faults} IS {mark}", faults=self._postgres.name(SUFFIX), mark=sql.Literal(OURS))

    def _exists(self) -> bool:
        [(there, comment)] = self._rows(
            "SELECT to_regclass(%s) IS NOT NULL, obj_description(to_regclass(%s), 'pg_class')", (self._postgres.quoted(SUFFIX),) * 2
        )
        if there and comment != OURS:
            message = f"There is a table {self._postgres.table + SUFFIX!r} in schema {self._postgres.schema!r} which no check made."
            raise ChromaError("conflict", message, "Choose another BACKUP_TABLE. Nothing was changed.")
        return bool(there)

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._postgres.attempting("Could not read or write the faults"):
            return self._postgres.rows(query, parameters, faults=self._postgres.name(SUFFIX))


def _fault(row: tuple[Any, ...]) -> Fault:
    fault = Fault(*row)
    return replace(fault, owing=tuple(fault.owing))
