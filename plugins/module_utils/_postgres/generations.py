# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generations of a collection: which there are, which counts, which are left over. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import GENERATIONS

_FIELDS = (
    "generation, tenant, database, collection, source, source_id, fingerprint, to_char(created AT TIME ZONE 'UTC',"
    ' \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), records, dimension, space, metadata::text, configuration::text, schema::text,'
    " embedding_function::text, columns::text, checksum, current, accepted,"
    " extract(epoch FROM clock_timestamp() - verified)::float8"
)


@dataclass(frozen=True)
class Generation:
    """One state of one collection in PostgreSQL.

    Args:
        number: identifies it.
        source: ``directory`` or ``server``.
        source_id: UUID of the collection there.
        fingerprint: of a directory's state; None of a server.
        created: ISO 8601, UTC.
        dimension: of the vectors; None while it has none.
        metadata, configuration, schema, embedding_function: of the collection, as in ``_dataset.manifest.DatasetCollection``.
        columns: of the records' metadata.
        checksum: of all records, see ``frames``.
        current: whether it is the one that counts.
        accepted: whether its number of records was said to be right (``allow_shrink``), however few they are.
        age: seconds since it was last found to be what its source is, by PostgreSQL's clock.
    """

    number: int
    tenant: str
    database: str
    collection: str
    source: str
    source_id: str
    fingerprint: str | None
    created: str
    records: int
    dimension: int | None
    space: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    embedding_function: Mapping[str, Any] | None
    columns: tuple[Column, ...]
    checksum: str
    current: bool
    accepted: bool = False
    age: float = 0.0

    @property
    def place(self) -> tuple[str, str, str]:
        """Tenant, database and name of the collection."""
        return self.tenant, self.database, self.collection

    @property
    def arrow_schema(self) -> Any:
        """The Arrow schema of its records."""
        return table_schema(self.columns, self.dimension, self.collection, self.space)

    @property
    def suffix(self) -> str:
        """What its table's name ends with."""
        return f"_g{self.number}"

    def view(self) -> dict[str, Any]:
        """Return it as a user is shown it."""
        fields = ("collection", "tenant", "database", "records", "dimension", "space", "source", "created", "current")
        return {"generation": self.number, **{name: getattr(self, name) for name in fields}}


def generations(postgres: Postgres) -> tuple[Generation, ...]:
    """Return all generations, the newest first; none where there are no tables."""
    if not postgres.rows("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", (postgres.quoted(GENERATIONS),)):
        return ()
    # Of one whose table somebody removed nothing is left to be protected, or read.
    rows = postgres.rows(
        f"SELECT {_FIELDS} FROM {{generations}} WHERE EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = %s::regclass AND c.relname = %s || generation) ORDER BY generation DESC",
        (postgres.quoted(), f"{postgres.table}_g"),
        generations=postgres.name(GENERATIONS),
    )
    return tuple(map(_generation, rows))


def find_generation(
    postgres: Postgres, collection: str, number: int | None = None, tenant: str = "", database: str = ""
) -> Generation | None:
    """Return the current generation of a collection, or another one of it; None where there is none.

    Args:
        collection: its name, or its id at the source.
        number: of another generation than the current one.
        tenant, database: that it comes from; empty for any.

    Raises:
        ChromaError: ``conflict`` where collections of several databases have that name.
    """
    found = [
        each
        for each in generations(postgres)
        if collection in (each.collection, each.source_id)
        and tenant in ("", each.tenant)
        and database in ("", each.database)
        and (each.current if number is None else each.number == number)
    ]
    if len(found) > 1:
        places = ", ".join(f"{each.tenant}/{each.database} ({each.source_id})" for each in found)
        message = f"Collections of several databases are called {collection} in table {postgres.table}: {places}."
        raise ChromaError("conflict", message, "Name it by its id, or name its database.")
    return found[0] if found else None


def _generation(row: Sequence[Any]) -> Generation:
    *texts, named = (None if each is None else json.loads(each) for each in row[11:16])
    columns = tuple(Column(each["name"], each["key"], each["type"]) for each in named or ())
    return Generation(*(*row[:11], *texts, columns, *row[16:]))
