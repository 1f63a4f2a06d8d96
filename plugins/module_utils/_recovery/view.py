# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment of SQLite's file, mended so far that it can be read. FOR INTERNAL COLLECTION USE ONLY.

It is a copy: recovery writes into the server that has the original open, and small damage of the catalogue (a position that is no number,
a configuration that is no JSON) keeps nobody from reading the records. Indexes are read where they lie.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, changed, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import check_migrations, read_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, Damaged, StoredCollection, is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import OutOfTime, write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.rebuild import is_malformed, rebuild
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.copying import Copier
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files

# Seconds that writers may have to wait while SQLite's file is copied, and that the lock is waited for.
_PAUSE, _PATIENCE = 30.0, 60.0
_JOURNALS = (f"{DATABASE}-journal", f"{DATABASE}-wal")
# More than anybody ever writes.
_BEYOND = 1 << 40
# Tables whose loss costs no record, by the columns that are read of them.
_EMPTY = {
    "collection_metadata": "collection_id, key, str_value, int_value, float_value, bool_value",
    "segment_metadata": "segment_id, key, str_value, int_value, float_value, bool_value",
    "max_seq_id": "segment_id, seq_id",
    "tenants": "id",
}


@dataclass(frozen=True)
class View:
    """A data directory as it was at one moment.

    Args:
        path: of the directory; the folders are there.
        copy: directory of SQLite's copy.
        database: that copy; None where it can't be read.
        collections: as they are stored.
        segments: id → scope and collection, of all there are.
        reason: why SQLite's file can't be read; empty where it can.
        notes: what could not be read of it where it is malformed.
        unsure: ids of the collections whose configuration is lost.
        metadata_lost: whether metadata of collections are.
    """

    path: Path
    copy: Path
    database: Database | None = None
    collections: tuple[StoredCollection, ...] = ()
    segments: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    unsure: frozenset[str] = frozenset()
    metadata_lost: bool = False

    def is_unsure(self, collection: str) -> bool:
        """Return whether what SQLite still says of a collection's settings may be less than it said."""
        return self.metadata_lost or collection in self.unsure


@contextlib.contextmanager
def open_view(path: Path, room: Path) -> Iterator[View]:
    """Copy SQLite's file, under its write lock where that can be had, and open the copy for the length of a ``with`` block.

    Args:
        path: data directory; nothing in it is changed.
        room: an empty folder, elsewhere or in ``.thinkube-chroma``.

    Raises:
        ChromaError: ``newer_chroma``, ``busy``, ``pause_exceeded``, ``no_space``, ``directory_changed``.
    """
    with contextlib.ExitStack() as stack:
        yield _mended(path, room, stack)


def _mended(path: Path, room: Path, stack: contextlib.ExitStack) -> View:
    if not (path / DATABASE).is_file():
        return View(path, room, reason=f"{DATABASE} is missing")
    _copy(path, room)
    notes = rebuild(room / DATABASE) if is_malformed(room / DATABASE) else []
    unsure, made = _mend(room / DATABASE)
    metadata_lost = "collection_metadata" in made or any("table collection_metadata " in each for each in notes)
    return replace(_opened(path, room, stack), notes=tuple(notes), unsure=unsure, metadata_lost=metadata_lost)


def _opened(path: Path, room: Path, stack: contextlib.ExitStack) -> View:
    try:
        database = stack.enter_context(open_database(room, room))
        check_migrations(database)
        segments = {
            str(name): (str(scope), str(owner)) for name, scope, owner in database.rows("SELECT id, scope, collection FROM segments")
        }
        return View(path, room, database, read_collections(database), segments)
    except ChromaError as error:
        if error.code not in ("damaged", "not_chroma_directory"):
            error.message = error.message.replace(str(room), str(path))
            raise
        detail = error.detail if isinstance(error, Damaged) else error.message.replace(str(room), str(path))
        return View(path, room, reason=f"{DATABASE} can't be read: {detail.rstrip('.')}")


def _copy(path: Path, room: Path) -> None:
    with Progress("copy", None, "bytes") as progress, Copier(path, room, progress) as copier:
        if not copier.reflink:
            check_room(room, 2 * (path / DATABASE).stat().st_size, f"a copy of {DATABASE}")
        try:
            with write_lock(path / DATABASE, _PAUSE, _PATIENCE) as lock:
                copier.copy([DATABASE], lock.until)
        except OutOfTime as error:
            message = f"{path / DATABASE} could not be copied within {_PAUSE:g} s, and so long writers wait."
            raise ChromaError("pause_exceeded", message, "Run it with the server stopped.") from error
        except ChromaError as error:
            # Nothing can write to a volume that is mounted read-only, and Chroma opens no damaged file.
            if error.code not in ("forbidden", "damaged", "unsupported"):
                raise
            _copy_still(path, room)


def _copy_still(path: Path, room: Path) -> None:
    names = [each for each in (DATABASE, *_JOURNALS) if (path / each).is_file()]
    before = {each: stamp for each, stamp in list_files(path, journals=True).files.items() if each in names}
    for name in names:
        shutil.copyfile(path / name, room / name)
    if {each: stamp for each, stamp in list_files(path, journals=True).files.items() if each in names} != before:
        raise changed(path)


def _mend(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Let the copy be read: what is no record is replaced by nothing.

    Returns:
        The ids of the collections that have no configuration any more, and the names of the tables that were lost.
    """
    unsure: set[str] = set()
    made: set[str] = set()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        there = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "migrations" not in there:
            return frozenset(), frozenset()
        for table, columns in _EMPTY.items():
            if table not in there:
                connection.execute(f"CREATE TABLE {table} ({columns})")
                made.add(table)
        for act in (_mend_positions, partial(_mend_configurations, unsure), _mend_ids):
            with contextlib.suppress(sqlite3.Error):
                act(connection)
    return frozenset(unsure), frozenset(made)


def _mend_positions(connection: sqlite3.Connection) -> None:
    """Set positions that are no number, or beyond all that was ever written, to the last entry that the segment's records are of."""
    last = connection.execute("SELECT max(seq_id) FROM embeddings_queue").fetchone()[0]
    for segment, stored in connection.execute("SELECT segment_id, seq_id FROM max_seq_id").fetchall():
        found = wal.position(stored)
        # What the log no longer holds can't be applied again, and applying the rest twice changes nothing.
        if found is not None and found < _BEYOND and (last is None or found <= last):
            continue
        seen = connection.execute("SELECT seq_id FROM embeddings WHERE segment_id = ?", (segment,))
        known = [each for each in (wal.position(row[0]) for row in seen) if each is not None]
        connection.execute("UPDATE max_seq_id SET seq_id = ? WHERE segment_id = ?", (max(known, default=0), segment))


def _mend_configurations(unsure: set[str], connection: sqlite3.Connection) -> None:
    """Leave out configurations that are no JSON; add the ids of the collections that have none then."""
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(collections)")} & {"config_json_str", "schema_str"}
    for column in columns:
        broken = f"{column} IS NOT NULL AND NOT json_valid({column})"
        unsure.update(str(row[0]) for row in connection.execute(f"SELECT id FROM collections WHERE {broken}"))
        connection.execute(f"UPDATE collections SET {column} = NULL WHERE {broken}")
    for column in columns:
        unsure.difference_update(str(row[0]) for row in connection.execute(f"SELECT id FROM collections WHERE {column} IS NOT NULL"))


def _mend_ids(connection: sqlite3.Connection) -> None:
    """Give an index a name that can be a folder's; there is none of that name."""
    for (name,) in connection.execute("SELECT id FROM segments WHERE scope = 'VECTOR'").fetchall():
        if not is_uuid(str(name)):
            connection.execute("UPDATE segments SET id = ? WHERE id = ?", (str(uuid.uuid4()), name))


def value(database: Database | None, sql: str, *parameters: Any) -> Any:
    """Return the first value of a query; None where there is none, or the table is damaged."""
    if database is None:
        return None
    with contextlib.suppress(Damaged):
        found = database.rows(sql, parameters)
        return found[0][0] if found else None
    return None
