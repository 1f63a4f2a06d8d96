# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory of Chroma: what is in it, and its records. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, changed, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DATABASE,
    MIGRATIONS,
    Damaged,
    Segment,
    StoredCollection,
    is_uuid,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pending import read_pending
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.records import Records
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.values import largest_text
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

BYTES_PER_BATCH = 16 << 20

_TABLES = ("migrations", "collections", "segments", "embeddings", "embedding_metadata", "embeddings_queue", "max_seq_id", "databases")


class DataDirectory:
    """An open data directory; use :func:`open_directory`.

    Args:
        path: of the directory.
        database: opened; also for other queries of the caller's, see :class:`Database`.

    Raises:
        ChromaError: ``newer_chroma``, ``directory_changed`` since the database was opened.
        Damaged: ``sqlite`` or ``schema``.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.database = database
        self.migrations = check_migrations(database)
        self.tenants = tuple(str(row[0]) for row in database.rows("SELECT id FROM tenants ORDER BY id"))
        self.databases = tuple(
            (str(tenant), str(name)) for tenant, name in database.rows("SELECT tenant_id, name FROM databases ORDER BY tenant_id, name")
        )
        self._collections = read_collections(database)
        self._opened: tuple[str, Records] | None = None
        # The database's state from before the catalogue was read. The folders' may be later: they are read after this.
        self._began = self._fingerprint(database.began)
        self.check_unchanged()

    def close(self) -> None:
        """Close what was opened for the collection that was read last."""
        if self._opened:
            self._opened[1].close()
            self._opened = None

    def collections(self) -> tuple[StoredCollection, ...]:
        """Return all collections, by tenant, database and name."""
        return self._collections

    def fingerprint(self) -> str:
        """Return a text that differs after every change: SQLite's change counter, sizes and times of all files."""
        return self._fingerprint(self.database.state())

    def _fingerprint(self, state: str) -> str:
        files = [f"{DATABASE}:{state}"]
        for each in self._collections:
            folder = self.path / each.vector.id if each.vector else None
            for file in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
                about = file.stat()
                files.append(f"{file.parent.name}/{file.name}:{about.st_size}-{about.st_mtime_ns}")
        return "\n".join(files)

    def check_unchanged(self) -> None:
        """Check that nothing has changed since the directory was opened.

        Raises:
            ChromaError: ``directory_changed``.
        """
        if self.fingerprint() != self._began:
            raise changed(self.path)

    def count(self, collection: StoredCollection) -> int:
        """Return how many records a collection has, those included that are only in the log."""
        pending = read_pending(self.database, collection, wal.positions(self.database))
        segment = collection.metadata_segment.id if collection.metadata_segment else ""
        stored = self.database.rows("SELECT count(*) FROM embeddings WHERE segment_id = ?", (segment,))[0][0]
        return int(stored) - pending.stored + len(pending.records)

    def schema(self, collection: StoredCollection) -> Any:
        """Return the ``pa.Schema`` of a collection's table; all its batches have it.

        Raises:
            Damaged: see :meth:`batches`.
        """
        return self._records(collection).schema

    def batches(self, collection: StoredCollection, bytes_per_batch: int = BYTES_PER_BATCH, start: int = 0) -> Iterator[Any]:
        """Yield the records of a collection as ``pa.RecordBatch``, in an order that is the same each time.

        A record whose vector is nowhere (its segment's folder is missing) has a null vector. Vectors are float32 as the
        server returns them: those of l2 and ip in all bits, those of cosine but for a rounding.

        Args:
            bytes_per_batch: about so large are they.
            start: so many records are left out; they are not read. A reading that was interrupted after n records goes on with n.

        Raises:
            Damaged: something that is needed is damaged.
            ChromaError: ``directory_changed``, also at the end.
        """
        records = self._records(collection)
        try:
            for batch in records.batches(bytes_per_batch, start):
                self.check_unchanged()
                yield batch
        except Damaged:
            # Halves of two states fit together as little as what is damaged.
            self.check_unchanged()
            raise
        self.check_unchanged()

    @cached_property
    def _largest_text(self) -> int:
        return largest_text(self.database)

    def _records(self, collection: StoredCollection) -> Records:
        if self._opened is None or self._opened[0] != collection.id:
            self.close()
            try:
                self._opened = (collection.id, Records(self.path, self.database, collection, lambda: self._largest_text))
            except Damaged:
                self.check_unchanged()  # as in batches
                raise
        return self._opened[1]


@contextlib.contextmanager
def open_directory(path: Path | str, scratch: Path | str | None = None) -> Iterator[DataDirectory]:
    """Open a data directory for the length of a ``with`` block; nothing in it is changed.

    Args:
        path: holds ``chroma.sqlite3``.
        scratch: directory for a copy of SQLite's file, where an interrupted transaction has to be rolled back first;
            the system's temporary directory by default.

    Raises:
        ChromaError: ``not_chroma_directory``, ``newer_chroma``, ``busy``, ``directory_changed``.
        Damaged: ``sqlite`` or ``schema``.
    """
    path = Path(path)
    with open_database(path, Path(scratch) if scratch else None) as database:
        directory = DataDirectory(path, database)
        try:
            yield directory
        finally:
            directory.close()


def check_migrations(database: Database) -> Mapping[str, int]:
    """Return the version of each of the three schemas.

    Raises:
        ChromaError: ``newer_chroma`` where one is not known here; ``not_chroma_directory`` where there are none.
        Damaged: ``schema`` where a table is missing.
    """
    if not database.columns("migrations"):
        raise ChromaError("not_chroma_directory", f"{database.path} is no database of Chroma.", "Give Chroma's data directory.")
    versions = {str(name): version for name, version in database.rows("SELECT dir, max(version) FROM migrations GROUP BY dir")}
    if not all(isinstance(version, int) for version in versions.values()):
        raise Damaged("schema", database.path, "the version of a migration is no number.")
    newer = [f"{name} {version}" for name, version in versions.items() if version > len(MIGRATIONS.get(name, ()))]
    if newer:
        message = f"{database.path} is in use by a newer version of Chroma: this collection does not know migration {', '.join(newer)}."
        raise ChromaError("newer_chroma", message, "Update the collection thinkube.chroma, or export by the server's url.")
    absent = [table for table in _TABLES if not database.columns(table)]
    if absent:
        raise Damaged("schema", database.path, f"table {', '.join(absent)} is missing.")
    return versions


def read_collections(database: Database) -> tuple[StoredCollection, ...]:
    """Return all collections of a database, by tenant, database and name.

    Raises:
        Damaged: ``schema`` where a configuration is no JSON, or the id of a collection or of its index no UUID.
    """
    columns = database.columns("collections")
    optional = [name if name in columns else "NULL" for name in ("config_json_str", "schema_str", "topic")]
    segments: dict[str, dict[str, Segment]] = {}
    for name, kind, scope, owner in database.rows("SELECT id, type, scope, collection FROM segments"):
        segments.setdefault(str(owner), {})[str(scope)] = Segment(str(name), str(kind), str(scope), str(owner))
    metadata = _metadata(database, "collection_metadata", "collection_id")
    index_metadata = _metadata(database, "segment_metadata", "segment_id")
    rows = database.rows(
        f"SELECT c.id, c.name, coalesce(d.tenant_id, ''), coalesce(d.name, ''), c.dimension, {', '.join(optional)} FROM collections c"
        " LEFT JOIN databases d ON d.id = c.database_id ORDER BY 3, 4, 2, 1"
    )
    found = []
    for name, title, tenant, owner, dimension, configuration, schema, topic in rows:
        parts = segments.get(name, {})
        vector = parts.get("VECTOR")
        _check_id(database, title, "id", name)
        if vector:
            _check_id(database, title, "index", vector.id)
        found.append(
            StoredCollection(
                str(name),
                str(title),
                str(tenant),
                str(owner),
                dimension if isinstance(dimension, int) and dimension > 0 else None,
                metadata.get(str(name), {}),
                _json(database, title, configuration),
                _json(database, title, schema),
                vector,
                parts.get("METADATA"),
                index_metadata.get(vector.id, {}) if vector else {},
                # The prefix is that of the default settings; nothing but a test of Chroma's own ever had another.
                str(topic or f"persistent://default/default/{name}"),
            )
        )
    return tuple(found)


def _check_id(database: Database, title: Any, of: str, name: Any) -> None:
    """Refuse what is no UUID: it becomes the name of a folder, and every release of Chroma makes UUIDs only."""
    if not is_uuid(str(name)):
        raise Damaged("schema", database.path, f"the {of} of collection {title} is {str(name)[:80]!r}, which is no UUID.")


def _metadata(database: Database, table: str, owner: str) -> dict[str, dict[str, Any]]:
    flag = "bool_value" if "bool_value" in database.columns(table) else "NULL"
    found: dict[str, dict[str, Any]] = {}
    for name, key, text, number, real, truth in database.rows(
        f"SELECT {owner}, key, str_value, int_value, float_value, {flag} FROM {table}"
    ):
        value = bool(truth) if truth is not None else next((each for each in (text, number, real) if each is not None), None)
        found.setdefault(str(name), {})[str(key)] = value
    return found


def _json(database: Database, name: str, text: Any) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged("schema", database.path, f"the configuration of collection {name} is no JSON.") from error
    return value if isinstance(value, dict) and value else None
