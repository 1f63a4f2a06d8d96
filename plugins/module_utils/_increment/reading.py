# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an increment from a data directory, live or not. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, changed, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import OutOfTime, WriteLock, write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import ranges
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import CONTENT, Changes, encode_changes
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import (
    ANCHORS,
    Anchor,
    Parent,
    ParentCollection,
    encode_parent,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.spool import finish, spool, spool_path
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import (
    SPREAD,
    Rows,
    Standing,
    check_history,
    check_rows,
    choose_anchors,
    read_rows,
    segment_of,
    standing,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.vectors import SETTLED, Index, Moved, Source
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    HOT,
    INCREMENT,
    MANIFEST,
    STOPPED,
    BackupCollection,
    BackupManifest,
    encode_manifest,
    utc,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import SETTLE

# How often an index is opened before the lock; under it, as often as there is time.
_OPENINGS = 3


def read_increment(
    path: Path,
    tree: Path,
    parent: Parent,
    backup: str,
    *,
    live: bool = True,
    pause: float = 30.0,
    chroma_version: str = "",
    chroma_image: str = "",
    scratch: Path | None = None,
) -> BackupManifest:
    """Read what changed in a data directory since another backup, and write it as an increment's tree.

    Args:
        path: of the data directory; nothing in it is changed.
        tree: an empty directory for the increment; an error leaves nothing in it.
        parent: the backup that it follows on, from its ``anchors.json``.
        backup: id of the increment.
        live: a server may write: all is read under SQLite's write lock. Otherwise nobody may write, which is checked.
        pause: seconds that the lock may be held at most.
        chroma_version, chroma_image: of the server, for the manifest.
        scratch: for a copy of the database, where an interrupted transaction has to be rolled back first.

    Returns:
        The manifest, which was written as well.

    Raises:
        ChromaError: ``broken_chain`` where the directory is not the later state of the parent; ``pause_exceeded``; ``unsupported``;
            ``busy``, ``forbidden``; ``directory_changed`` where it was not live; ``damaged``, for example where a vector is nowhere.
    """
    require_data_libraries()
    try:
        manifest = _read(path, tree, parent, backup, live, pause, scratch)
        manifest = replace(manifest, chroma_version=chroma_version, chroma_image=chroma_image)
        (tree / MANIFEST).write_bytes(encode_manifest(manifest))
    except BaseException:
        for each in tree.iterdir():
            remove_tree(each)
        raise
    return manifest


def _read(path: Path, tree: Path, parent: Parent, backup: str, live: bool, pause: float, scratch: Path | None) -> BackupManifest:
    """Write all but the manifest, and return that."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(open_database(path, scratch))
        reader = _Reader(path, database, tree, parent)
        stack.callback(reader.close)
        reader.prepare()
        # Of a database that had to be copied the original is not read any more, only watched.
        locked = live and database.file == database.path
        began = time.monotonic()
        held = WriteLock(0, datetime.now(UTC), began, began + pause)
        try:
            with write_lock(database.path, pause) if locked else contextlib.nullcontext(held) as held:
                now = reader.read(held)
        except OutOfTime as error:
            message = f"What changed in {path} could not be read within {pause:g} s, the time that writers may be made to wait."
            raise ChromaError("pause_exceeded", message, "Make a full backup instead, or allow a longer pause.") from error
        if not locked and database.state() != database.began:
            raise changed(path)
        tenants = tuple(str(row[0]) for row in reader.tenants)
        databases = tuple((str(tenant), str(name)) for tenant, name in reader.databases)
    (tree / ANCHORS).write_bytes(content := encode_parent(replace(reader.after, id=backup)))
    collections = tuple(finish(tree, each) for each in reader.touched)
    (tree / CONTENT).parent.mkdir(exist_ok=True)
    (tree / CONTENT).write_bytes(encode_changes(Changes(hashlib.sha256(content).hexdigest(), collections)))
    return BackupManifest(
        backup,
        INCREMENT,
        utc(held.moment),
        HOT if locked else STOPPED,
        parent=parent.id,
        base=parent.base,
        pause_seconds=round(held.seconds, 3),
        lock_attempts=int(locked),
        migrations=dict(now.migrations),
        position=now.position,
        source=str(path),
        bytes=sum(each.stat().st_size for each in tree.rglob("*") if each.is_file()),
        tenants=tenants,
        databases=databases,
        collections=tuple(_described(each, reader.after) for each in now.collections),
    )


class _Reader:
    """The parts of one reading.

    Attributes:
        after: what the next increment has to know of this one; its id is the parent's until the caller sets it.
        touched: ids of the collections that something was written to.
        tenants, databases: rows of those tables.
    """

    def __init__(self, path: Path, database: Database, tree: Path, parent: Parent) -> None:
        self._path, self._database, self._tree, self._parent = path, database, tree, parent
        self._indexes: dict[str, Index] = {}
        self.after = parent
        self.touched: list[str] = []
        self.tenants: list[tuple[object, ...]] = []
        self.databases: list[tuple[object, ...]] = []

    def close(self) -> None:
        """Close the files of all indexes."""
        for each in self._indexes.values():
            each.close()

    def prepare(self) -> None:
        """Do before the lock what need not be done under it: load the driver, and the label maps of collections that changed."""
        self._database.load()
        now = standing(self._database)
        check_history(self._database, now, self._parent)
        for collection in now.collections:
            if self._untouched(collection, now) is None:
                for _each in range(_OPENINGS):
                    # What is damaged is told under the lock, where it is no save that is going on.
                    with contextlib.suppress(Moved, Damaged):
                        self._index(collection, lambda: None, SETTLED)
                        break

    def read(self, held: WriteLock) -> Standing:
        """Read all while nobody writes."""
        now = standing(self._database)
        check_history(self._database, now, self._parent)
        self.tenants = self._database.rows("SELECT id FROM tenants ORDER BY id")
        self.databases = self._database.rows("SELECT tenant_id, name FROM databases ORDER BY tenant_id, name")
        found: dict[str, ParentCollection] = {}
        every: list[Rows] = []
        for collection in now.collections:
            before = self._untouched(collection, now)
            if before is None:
                rows = self._changed(collection, now, held)
                every.append(rows)
                before = ParentCollection(segment_of(collection), now.at(self._database, collection), rows.count, rows.alive)
            found[collection.id] = before
            held.check_time()
        self.after = Parent(self._parent.id, self._parent.base, now.position, now.newest, found, self._anchors(every))
        return now

    def _changed(self, collection: StoredCollection, now: Standing, held: WriteLock) -> Rows:
        before = self._parent.collections.get(collection.id)
        after = before.position if before else 0
        rows = read_rows(self._database, collection, now, after, self._share(collection))
        check_rows(collection, rows, before, self._parent)
        if len(rows.changed) or rows.pending.records:
            self._spool(collection, now, rows, held)
        self.touched.append(collection.id)
        return rows

    def _spool(self, collection: StoredCollection, now: Standing, rows: Rows, held: WriteLock) -> None:
        wait = SETTLED
        while True:
            try:
                index = self._index(collection, held.check_time, wait)
                with index.still() if index else contextlib.nullcontext():
                    source = Source(self._database, collection, index, now.positions)
                    for _records in spool(self._database, collection, rows, source, spool_path(self._tree, collection.id)):
                        held.check_time()
                return
            except Moved:
                held.check_time()
            except Damaged:
                # Perhaps a save that paused for a moment. What is damaged still is so after the longest pause of one.
                if wait > SETTLED:
                    raise
                wait = SETTLE
                self._forget(collection)

    def _index(self, collection: StoredCollection, check: Callable[[], None], wait: float) -> Index | None:
        """Return the index of a collection, opened anew where its files moved since."""
        if collection.vector is None or not (folder := self._path / collection.vector.id).is_dir():
            return None
        if index := self._indexes.get(folder.name):
            try:
                with index.still():
                    return index
            except Moved:
                self._forget(collection)
        self._indexes[folder.name] = Index(folder, collection, check, wait)
        return self._indexes[folder.name]

    def _forget(self, collection: StoredCollection) -> None:
        """Close the index of a collection."""
        index = self._indexes.pop(collection.vector.id, None) if collection.vector else None
        if index is not None:
            index.close()

    def _untouched(self, collection: StoredCollection, now: Standing) -> ParentCollection | None:
        """Return what the parent says of a collection, where nothing was written to it since."""
        before = self._parent.collections.get(collection.id)
        if before is None or now.at(self._database, collection) != before.position:
            return None
        sql = "SELECT 1 FROM embeddings_queue WHERE seq_id > ? AND topic = ? LIMIT 1"
        return None if self._database.rows(sql, (before.position, collection.topic)) else before

    def _share(self, collection: StoredCollection) -> float:
        """Return about which share of all rows a collection has; of a new one nothing is known."""
        counts = {name: each.count for name, each in self._parent.collections.items()}
        return counts.get(collection.id, 0) / max(1, sum(counts.values()))

    def _anchors(self, every: list[Rows]) -> tuple[Anchor, ...]:
        some = {rowid for rows in every for each in (ranges.ranges_of(rows.changed), rows.alive) for rowid in ranges.pick(each, SPREAD)}
        return choose_anchors(self._database, some | {each.rowid for each in self._parent.anchors})


def _described(collection: StoredCollection, after: Parent) -> BackupCollection:
    return BackupCollection(
        collection.id,
        collection.name,
        collection.tenant,
        collection.database,
        dict(collection.metadata),
        collection.configuration,
        collection.schema,
        collection.dimension,
        collection.space,
        after.collections[collection.id].count,
    )
