# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants, databases, collections and segments as rows, however broken they are. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding, some

_THRESHOLD = re.compile(r'"sync_threshold": *(\d{1,12})')
VECTOR, METADATA = "VECTOR", "METADATA"

# Columns that are read here, by table, and the migration that brings each table; those of the first migrations have none.
TABLES: Mapping[str, tuple[str, ...]] = {
    "tenants": ("id",),
    "databases": ("id", "name", "tenant_id"),
    "collections": ("id", "name", "dimension", "database_id"),
    "collection_metadata": ("collection_id", "key", "str_value", "int_value", "float_value"),
    "segments": ("id", "type", "scope", "collection"),
    "segment_metadata": ("segment_id", "key"),
    "embeddings": ("id", "segment_id", "embedding_id", "seq_id"),
    "embedding_metadata": ("id", "key", "string_value", "int_value", "float_value", "bool_value"),
    "embedding_fulltext_search_content": ("id", "c0"),
    "embedding_fulltext_search_docsize": ("id",),
    "max_seq_id": ("segment_id", "seq_id"),
    "embeddings_queue": ("seq_id", "operation", "topic", "id", "vector", "encoding"),
}
LATER: Mapping[tuple[str, int], tuple[str, str]] = {
    ("metadb", 6): ("embedding_metadata_array", "key"),
    ("sysdb", 7): ("collections", "config_json_str"),
    ("sysdb", 10): ("collections", "schema_str"),
    ("embeddings_queue", 2): ("embeddings_queue_config", "config_json_str"),
}


@dataclass(frozen=True)
class Entry:
    """A row of ``collections``.

    Args:
        label: ``tenant/database/name``.
        topic: of its entries in the write-ahead log.
        threshold: after how many entries its index is saved.
    """

    id: str
    name: str
    label: str
    database: str
    dimension: Any
    configuration: Any = None
    schema: Any = None
    topic: str = ""
    threshold: int = 1000


@dataclass(frozen=True)
class Part:
    """A row of ``segments``."""

    id: str
    type: str
    scope: str
    collection: str


@dataclass(frozen=True)
class Catalogue:
    """All of it, small: a few rows for each collection.

    Args:
        columns: of each table that is there.
        migrations: directory, version, file name, text and hash of each.
        positions: segment → the raw value and SQLite's type of its ``max_seq_id``.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    migrations: Sequence[tuple[str, int, str, str, str]] = ()
    tenants: Sequence[str] = ()
    databases: Sequence[tuple[str, str, str]] = ()
    collections: Sequence[Entry] = ()
    segments: Sequence[Part] = ()
    positions: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    metadata_of: frozenset[str] = frozenset()
    settings_of: frozenset[str] = frozenset()

    def has(self, directory: str, version: int) -> bool:
        """Whether a migration was applied."""
        return any((row[0], row[1]) == (directory, version) for row in self.migrations)

    def label(self, collection: str) -> str:
        """Return ``tenant/database/name`` of a collection id, or the id."""
        return next((entry.label for entry in self.collections if entry.id == collection), collection)

    def parts(self, collection: str, scope: str) -> list[Part]:
        """Return the segments of a collection that have a scope."""
        return [part for part in self.segments if part.collection == collection and part.scope == scope]


def read_catalogue(database: Database) -> Catalogue:
    """Read all rows under one lock.

    Raises:
        OutOfTime: not within the budget.
        sqlite3.DatabaseError: damaged.
    """
    with database.hold():
        names = [str(row[0]) for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: tuple(str(row[1]) for row in database.rows(f'PRAGMA table_info("{name}")')) for name in names if '"' not in name}

        def table(name: str, *wanted: str) -> list[tuple[Any, ...]]:
            """Read columns; one that is absent is null, a table that is absent is empty."""
            there = columns.get(name, ())
            if not there:
                return []
            chosen = [each if each.split("(")[-1].rstrip(")") in there else "NULL" for each in wanted]
            return database.rows(f"SELECT {', '.join(chosen)} FROM {name}")

        databases = [(str(a), str(b), str(c)) for a, b, c in table("databases", "id", "name", "tenant_id")]
        homes = {identifier: f"{tenant}/{name}" for identifier, name, tenant in databases}
        thresholds = {
            str(owner): value
            for owner, key, value in table("collection_metadata", "collection_id", "key", "int_value")
            if key == "hnsw:sync_threshold" and isinstance(value, int)
        }
        return Catalogue(
            columns=columns,
            migrations=[
                (str(a), int(b), str(c), str(d), str(e))
                for a, b, c, d, e in table("migrations", "dir", "version", "filename", "sql", "hash")
            ],
            tenants=[str(row[0]) for row in table("tenants", "id")],
            databases=databases,
            collections=[
                Entry(
                    str(a),
                    str(b),
                    f"{homes.get(str(c), '?/?')}/{b}",
                    str(c),
                    d,
                    e,
                    f,
                    # The prefix is that of the default settings, whatever the tenant.
                    str(g or f"persistent://default/default/{a}"),
                    max(_threshold(e), _threshold(f), thresholds.get(str(a), 0)),
                )
                for a, b, c, d, e, f, g in table(
                    "collections", "id", "name", "database_id", "dimension", "config_json_str", "schema_str", "topic"
                )
            ],
            segments=[Part(str(a), str(b), str(c), str(d)) for a, b, c, d in table("segments", "id", "type", "scope", "collection")],
            positions={str(a): (b, str(c)) for a, b, c in table("max_seq_id", "segment_id", "seq_id", "typeof(seq_id)")},
            metadata_of=frozenset(str(row[0]) for row in table("collection_metadata", "DISTINCT(collection_id)")),
            settings_of=frozenset(str(row[0]) for row in table("segment_metadata", "DISTINCT(segment_id)")),
        )


def check_catalogue(database: Database) -> list[Finding]:
    """Read the catalogue and check its references."""
    catalogue = read_catalogue(database)
    return [*check_tables(catalogue), *check_references(catalogue), *check_ids(catalogue), *check_configurations(catalogue)]


def check_tables(catalogue: Catalogue) -> list[Finding]:
    """Say which tables and columns are missing, of those that the migrations brought."""
    wanted = {table: set(columns) for table, columns in TABLES.items()}
    for (directory, version), (table, column) in LATER.items():
        if catalogue.has(directory, version):
            wanted.setdefault(table, set()).add(column)
    found = []
    for table, columns in sorted(wanted.items()):
        missing = sorted(columns - set(catalogue.columns.get(table, ())))
        if missing:
            what = f"Table {table} lacks {', '.join(missing)}." if table in catalogue.columns else f"There is no table {table}."
            found.append(finding("CHR005", what, subject=table))
    return found


def check_references(catalogue: Catalogue) -> list[Finding]:
    """Check who belongs to whom, and that names are unique."""
    found: list[Finding] = []
    tenants, databases = set(catalogue.tenants), {row[0] for row in catalogue.databases}
    collections, segments = {entry.id for entry in catalogue.collections}, {part.id for part in catalogue.segments}
    for identifier, name, tenant in catalogue.databases:
        if tenant not in tenants:
            found.append(finding("CHR010", f"Database {name} belongs to tenant {tenant}, which does not exist.", subject=identifier))
    for (tenant, name), number in Counter((row[2], row[1]) for row in catalogue.databases).items():
        if number > 1:
            found.append(finding("CHR014", f"Tenant {tenant} has {number} databases of the name {name}.", subject=f"{tenant}/{name}"))
    for entry in catalogue.collections:
        if entry.database not in databases:
            found.append(
                finding("CHR011", f"Collection {entry.name} belongs to database {entry.database}, which does not exist.", entry.label)
            )
    same: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in catalogue.collections:
        same[(entry.database, entry.name)].append(entry)
    for entries in same.values():
        if len(entries) > 1:
            found.append(
                finding("CHR014", f"{len(entries)} collections have this name: {some([each.id for each in entries])}.", entries[0].label)
            )
    for part in catalogue.segments:
        if part.collection not in collections:
            message = f"Segment {part.id} ({part.scope}) belongs to collection {part.collection}, which does not exist."
            found.append(finding("CHR012", message, segment=part.id))
    for entry in catalogue.collections:
        for scope in (VECTOR, METADATA):
            parts = catalogue.parts(entry.id, scope)
            if not parts:
                found.append(finding("CHR013", f"The collection has no {scope} segment.", entry.label, subject=scope))
            elif len(parts) > 1:
                found.append(
                    finding(
                        "CHR015", f"It has {len(parts)} {scope} segments: {some([part.id for part in parts])}.", entry.label, subject=scope
                    )
                )
    for table, owners, known in (
        ("collection_metadata", catalogue.metadata_of, collections),
        ("segment_metadata", catalogue.settings_of, segments),
    ):
        orphans = sorted(owners - known)
        # 0.x leaves them wherever it deletes a collection.
        if orphans and catalogue.has("metadb", 5):
            found.append(finding("CHR016", f"{table} has rows of {len(orphans)} that do not exist: {some(orphans)}.", subject=table))
    return found


def check_ids(catalogue: Catalogue) -> list[Finding]:
    """Check that the ids of collections and segments are UUIDs."""
    found = []
    for entry in catalogue.collections:
        if not is_uuid(entry.id):
            found.append(finding("CHR021", f"The id of the collection is {entry.id[:80]!r}.", entry.label))
    for part in catalogue.segments:
        if not is_uuid(part.id):
            message = f"The id of its {part.scope} segment is {part.id[:80]!r}; no folder was looked at for it."
            found.append(finding("CHR021", message, catalogue.label(part.collection), subject=part.id))
    return found


def check_configurations(catalogue: Catalogue) -> list[Finding]:
    """Check that configurations and schemas are JSON objects, which Chroma parses before it loads a collection."""
    found = []
    for entry in catalogue.collections:
        for column, text in (("config_json_str", entry.configuration), ("schema_str", entry.schema)):
            if text is not None and not _is_object(text):
                found.append(finding("CHR020", f"{column} is no JSON object: {str(text)[:80]!r}.", entry.label, subject=column))
    return found


def _threshold(text: Any) -> int:
    """Return the largest threshold that a configuration names; 0.x stores one there that it does not use."""
    return max((int(number) for number in _THRESHOLD.findall(str(text or ""))), default=1000)


def _is_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False
