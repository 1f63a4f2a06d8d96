# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ids a chain of backups holds at each of its points. FOR INTERNAL COLLECTION USE ONLY.

An increment says of what is gone only which rowids live on; this says whose they were. It lies in a SQLite file of its own, so that memory
does not grow with the records: about 60 bytes on disk for each.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import ranges
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import ROWID, Increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import broken
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import Standing, read_rows, segment_of, standing
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest

_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
CREATE TABLE collections (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, staged TEXT NOT NULL);
CREATE TABLE records (collection INTEGER NOT NULL, id TEXT NOT NULL, place INTEGER, origin INTEGER NOT NULL,
    PRIMARY KEY (collection, id)) WITHOUT ROWID;
CREATE TABLE gone (collection INTEGER NOT NULL, id TEXT NOT NULL);
CREATE TEMP TABLE written (id TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE dead (place INTEGER PRIMARY KEY);
"""
_ROWS = 65536


class RowIds:
    """The ids of a chain at one of its points; see :func:`open_rowids`.

    Attributes:
        last: the backup at which it stands.
        points: how many increments it has followed.
    """

    def __init__(self, connection: sqlite3.Connection, base: BackupManifest, only: Sequence[str] | None) -> None:
        self._connection = connection
        self._only = None if only is None else set(only)
        self.base, self.base_records, self.last = base.id, base.records, base
        self.points = 0

    def collections(self) -> tuple[BackupCollection, ...]:
        """Return the collections of this point."""
        return self.last.collections

    def staged(self, collection: str) -> str:
        """Return the id that a collection has in the directory where the chain is replayed; a copy of the base keeps the base's."""
        found = self._rows("SELECT staged FROM collections WHERE id = ?", collection)
        return str(found[0][0]) if found else ""

    def stage(self, collection: str, staged: str) -> None:
        """Note the id that a collection was given there."""
        self._rows("UPDATE collections SET staged = ? WHERE id = ?", staged, collection)

    def count(self, collection: str) -> int:
        """Return how many records a collection has at this point."""
        return int(self._rows("SELECT count(*) FROM records WHERE collection = ?", self._number(collection))[0][0])

    def origins(self, collection: str, ids: Sequence[str]) -> list[int | None]:
        """Return which backup of the chain holds each record as it is at this point.

        Returns:
            0 for the base, n for its n-th increment, None where there is no such record.
        """
        number = self._number(collection)
        sql = "SELECT origin FROM records WHERE collection = ? AND id = ?"
        found = (self._connection.execute(sql, (number, each)).fetchone() for each in ids)
        return [each[0] if each else None for each in found]

    def gone(self, collection: str, page: int = 1000) -> Iterator[list[str]]:
        """Yield the ids that the last increment removed from a collection."""
        cursor = self._connection.execute("SELECT id FROM gone WHERE collection = ? ORDER BY id", (self._number(collection),))
        while some := cursor.fetchmany(page):
            yield [str(row[0]) for row in some]

    def begin(self, database: Database, now: Standing, stored: StoredCollection, collection: BackupCollection) -> None:
        """Take the ids of a collection from the base.

        Raises:
            ChromaError: ``broken_chain``.
        """
        self._rows("INSERT INTO collections (id, staged) VALUES (?, ?)", collection.id, collection.id)
        if not self._wanted(collection.id):
            return
        number, share = self._number(collection.id), collection.count / max(1, self.base_records)
        rows = read_rows(database, stored, now, now.position, share)
        sql = "SELECT id, embedding_id FROM embeddings WHERE segment_id = ? ORDER BY embedding_id"
        for batch in database.arrow(sql, (segment_of(stored),), (pa.int64(), pa.string())):
            places = batch.column(0).to_numpy()
            kept = batch.filter(pa.array(ranges.within(rows.alive, places)))
            self._insert(number, kept.column(1).to_pylist(), kept.column(0).to_pylist())
        new = [each for each in rows.pending.records if each not in rows.pending_rowids]
        self._insert(number, new, [None] * len(new))
        if self.count(collection.id) != collection.count:
            raise self._unlike(self.last, collection)

    def follow(self, increment: Increment) -> None:
        """Go on to the next point of the chain.

        Raises:
            ChromaError: ``broken_chain`` where the increment follows on another backup, or not on what this one holds.
        """
        manifest = increment.manifest
        if manifest.parent != self.last.id or manifest.base != self.base:
            what = f"Increment {manifest.id} follows on {manifest.parent}, and what is at hand is {self.last.id} of base {self.base}"
            raise broken(what, {"backup": manifest.id, "missing": manifest.parent})
        self.points += 1
        self._connection.execute("DELETE FROM gone")
        known = {str(row[0]) for row in self._rows("SELECT id FROM collections")}
        for each in known - {each.id for each in manifest.collections}:
            self._rows("DELETE FROM records WHERE collection = ?", self._number(each))
            self._rows("DELETE FROM collections WHERE id = ?", each)
        changed = {each.id for each in increment.changes.collections}
        before = {each.id: each for each in self.last.collections}
        for collection in manifest.collections:
            if collection.id not in known:
                self._rows("INSERT INTO collections (id, staged) VALUES (?, '')", collection.id)
            if not self._wanted(collection.id):
                continue
            if collection.id in changed:
                self._follow(increment, collection)
            elif collection.id not in before or before[collection.id].count != collection.count:
                raise self._unlike(manifest, collection)
        self.last = manifest

    def _follow(self, increment: Increment, collection: BackupCollection) -> None:
        number = self._number(collection.id)
        self._connection.execute("DELETE FROM written")
        for batch in increment.batches(collection.id, _ROWS):
            rows = zip(batch.column("id").to_pylist(), batch.column(ROWID).to_pylist(), strict=True)
            self._connection.executemany("INSERT INTO written VALUES (?, ?)", rows)
        self._find_dead(number, increment.alive.collections[collection.id].alive)
        # A rowid that was given to another record is that one's now; what had none yet has one now, or is gone.
        others = "collection = ? AND id NOT IN (SELECT id FROM written)"
        lost = "(place IS NULL OR place IN (SELECT place FROM dead) OR place IN (SELECT place FROM written))"
        self._rows(f"INSERT INTO gone SELECT collection, id FROM records WHERE {others} AND {lost}", number)
        self._rows(f"DELETE FROM records WHERE {others} AND {lost}", number)
        self._rows("INSERT OR REPLACE INTO records SELECT ?, id, place, ? FROM written", number, self.points)
        if self.count(collection.id) != collection.count:
            raise self._unlike(increment.manifest, collection)

    def _find_dead(self, number: int, alive: Any) -> None:
        self._connection.execute("DELETE FROM dead")
        cursor = self._connection.execute("SELECT place FROM records WHERE collection = ? AND place IS NOT NULL", (number,))
        while some := cursor.fetchmany(_ROWS):
            places = pa.array([row[0] for row in some], pa.int64()).to_numpy()
            dead = places[~ranges.within(alive, places)].tolist()
            self._connection.executemany("INSERT OR IGNORE INTO dead VALUES (?)", ((each,) for each in dead))

    def _insert(self, number: int, ids: list[str], places: list[int | None]) -> None:
        rows = ((number, name, place) for name, place in zip(ids, places, strict=True))
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, 0)", rows)

    def _wanted(self, collection: str) -> bool:
        return self._only is None or collection in self._only

    def _number(self, collection: str) -> int:
        found = self._rows("SELECT number FROM collections WHERE id = ?", collection)
        return int(found[0][0]) if found else -1

    def _rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def _unlike(self, manifest: BackupManifest, collection: BackupCollection) -> Exception:
        found = self.count(collection.id)
        message = f"With backup {manifest.id} collection {collection.name} has {found} records instead of {collection.count}"
        return broken(message, {"backup": manifest.id, "collection": collection.id})


@contextlib.contextmanager
def open_rowids(data: Path, base: BackupManifest, file: Path, only: Sequence[str] | None = None) -> Iterator[RowIds]:
    """Read the ids of a base backup, for the length of a ``with`` block.

    Args:
        data: copy of the directory, as it was backed up: before Chroma opens it.
        base: its manifest.
        file: a path for the ids; must not exist, and is removed at the end.
        only: ids of the collections whose records are wanted; None means all.

    Raises:
        ChromaError: what the reader raises; ``broken_chain`` where the copy is not what the manifest says.
    """
    require_data_libraries()
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")  # for good: nobody else reads the file, and it is removed at the end
        rowids = RowIds(connection, base, only)
        with open_database(data, file.parent) as database:
            now = standing(database)
            stored = {each.id: each for each in now.collections}
            for collection in base.collections:
                if collection.id not in stored:
                    raise broken(f"The copy of backup {base.id} has no collection {collection.name}", {"backup": base.id})
                rowids.begin(database, now, stored[collection.id], collection)
        yield rowids
    finally:
        connection.close()
        file.unlink(missing_ok=True)
