# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a directory stands: positions, rows, anchors; and whether it is the later state of a backup. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import check_migrations, read_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pending import Pending, checked, read_pending
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import ranges
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import (
    ANCHORS,
    Anchor,
    Newest,
    Parent,
    ParentCollection,
    broken,
    encode_parent,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest

# Rows that are kept to know a directory by: so many evenly spread, and so many of those written last.
SPREAD, LATEST = 48, 16

# A collection with a larger share of all rows is found by a scan of the table: it is in the order of rowids, the index is not.
_SCANNED = 0.25

# Migrations of the log: 0.4 numbers it per process of compaction and keeps all; from 0.5 on it is purged and counted as 1.x does.
_OLDEST_LOG = 2
# Of the records' tables: below it a server removes the log of a deleted collection, and may give its numbers again.
_KEEPS_LOG = 5


@dataclass(frozen=True)
class Standing:
    """A database at one moment.

    Args:
        migrations: version of each schema.
        position: the last ``seq_id`` that the log has given.
        newest: entry of the log.
        positions: of each segment, see :func:`wal.positions`.
        collections: all.
    """

    migrations: Mapping[str, int]
    position: int
    newest: Newest | None
    positions: Mapping[str, int | None]
    collections: tuple[StoredCollection, ...]

    def at(self, database: Database, collection: StoredCollection) -> int:
        """Return the position of a collection's METADATA segment; ``damaged`` where it is no number."""
        return checked(database, collection, self.positions.get(segment_of(collection), 0))


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that a collection has in table ``embeddings``.

    Args:
        alive: ``(k, 2)`` int64 ranges of the rowids of the records that live; those that the log deletes are left out.
        changed: ``(n,)`` int64, ascending: those that were written beyond a position and that the log does not change once more.
        pending: what the log makes of records.
        pending_rowids: rowid of each of ``pending.records`` that has a row.
    """

    alive: Any
    changed: Any
    pending: Pending
    pending_rowids: Mapping[str, int]

    @property
    def count(self) -> int:
        """Records, those included that are only in the log."""
        return ranges.size(self.alive) + len(self.pending.records) - len(self.pending_rowids)


def segment_of(collection: StoredCollection) -> str:
    """Return the id of the METADATA segment; empty where there is none."""
    return collection.metadata_segment.id if collection.metadata_segment else ""


def standing(database: Database) -> Standing:
    """Read where a database stands.

    Raises:
        ChromaError: ``unsupported`` for the log of 0.4; what :func:`check_migrations` and :func:`read_collections` raise.
    """
    migrations = check_migrations(database)
    if migrations.get("embeddings_queue", 0) < _OLDEST_LOG:
        message = f"{database.path} is in use by Chroma 0.4, whose log cannot tell what changed."
        raise ChromaError("unsupported", message, "Make full backups of it, or upgrade it.")
    positions = wal.positions(database)
    found = database.rows("SELECT seq_id, topic, id, created_at FROM embeddings_queue ORDER BY seq_id DESC LIMIT 1")
    newest = Newest(int(found[0][0]), *map(str, found[0][1:])) if found else None
    position = max([newest.seq_id if newest else 0, *(each for each in positions.values() if each is not None)])
    return Standing(migrations, position, newest, positions, read_collections(database))


def read_rows(database: Database, collection: StoredCollection, now: Standing, after: int, share: float) -> Rows:
    """Read which rows a collection has, and which were written beyond a position.

    Args:
        share: about so much of all rows of the table it has, 0 to 1.
    """
    segment = segment_of(collection)
    pending = read_pending(database, collection, now.positions)
    # Of 0.x and of what was upgraded from it: 8 bytes, big endian. Anything else counts as changed.
    flag = (
        f"CASE typeof(seq_id) WHEN 'integer' THEN seq_id > {after:d}"
        f" WHEN 'blob' THEN length(seq_id) <> 8 OR seq_id > x'{after:016x}' ELSE 1 END"
    )
    scanned = share > _SCANNED
    sql = f"SELECT id, {flag} FROM embeddings WHERE {'+' if scanned else ''}segment_id = ?"
    found: list[Any] = []
    changed = [np.empty(0, np.int64)]
    for batch in database.arrow(sql, (segment,), (pa.int64(), pa.int64())):
        rowids, flags = batch.column(0).to_numpy(), batch.column(1).to_numpy()
        found.append(ranges.ranges_of(rowids) if scanned else rowids)
        changed.append(rowids[flags != 0])
    # The table is in the order of rowids, its index is not.
    alive = ranges.joined(found) if scanned else ranges.ranges_of(np.sort(np.concatenate([np.empty(0, np.int64), *found])))
    replaced = _rowids(database, segment, pending.replaced)
    stays = {name: rowid for name, rowid in replaced.items() if name in pending.records}
    gone = np.array([rowid for name, rowid in replaced.items() if name not in stays], np.int64)
    written = np.setdiff1d(np.concatenate(changed), np.array(list(replaced.values()), np.int64))
    return Rows(ranges.without(alive, gone), written, pending, stays)


def anchors_at(database: Database, rowids: Iterable[int]) -> dict[int, tuple[Anchor, str]]:
    """Return rows of table ``embeddings``, and the segment of each; absent ones are left out."""
    text = str(list(rowids))
    sql = "SELECT e.id, e.embedding_id, e.seq_id, e.created_at, e.segment_id FROM json_each(?) j CROSS JOIN embeddings e ON e.id = j.value"
    return {
        int(rowid): (Anchor(int(rowid), str(name), wal.position(seq_id) or 0, str(created)), str(segment))
        for rowid, name, seq_id, created, segment in database.rows(sql, (text,))
    }


def choose_anchors(database: Database, rowids: Iterable[int]) -> tuple[Anchor, ...]:
    """Return anchors among some rows: those written last, and others evenly spread."""
    found = sorted((each for each, _segment in anchors_at(database, rowids).values()), key=lambda each: each.seq_id)
    latest, others = found[-LATEST:], sorted(found[:-LATEST], key=lambda each: each.rowid)
    return (*latest, *others[:: max(1, len(others) // SPREAD)])


def check_history(database: Database, now: Standing, parent: Parent) -> None:
    """Refuse a directory that is not the later state of what the parent was made of: restored, reset, or another one.

    Raises:
        ChromaError: ``broken_chain``.
    """
    where = database.path
    if now.position < parent.position or (now.newest and now.newest.seq_id < parent.position) or (parent.newest and not now.newest):
        raise broken(
            f"The log of {where} stands at {now.newest.seq_id if now.newest else 0}, that of backup {parent.id} did at {parent.position}"
        )
    if parent.newest:
        found = database.rows("SELECT topic, id, created_at FROM embeddings_queue WHERE seq_id = ?", (parent.newest.seq_id,))
        if found and tuple(map(str, found[0])) != (parent.newest.topic, parent.newest.id, parent.newest.created):
            raise broken(f"Entry {parent.newest.seq_id} of the log of {where} is another one than in backup {parent.id}")
    current = {each.id: each for each in now.collections}
    for name, before in parent.collections.items():
        if name not in current:
            if now.migrations.get("metadb", 0) < _KEEPS_LOG:
                raise broken(f"Collection {name} of backup {parent.id} was deleted: a server of 0.x may give numbers of its log again")
        elif segment_of(current[name]) != before.segment or now.at(database, current[name]) < before.position:
            raise broken(f"Collection {current[name].name} of {where} is at an earlier point of its log than in backup {parent.id}")
    _check_anchors(database, now, parent)


def _check_anchors(database: Database, now: Standing, parent: Parent) -> None:
    """A row may be as it was, or be gone, or have been written since; nothing else."""
    limits = {each.segment: each.position for each in parent.collections.values()}
    found = anchors_at(database, (each.rowid for each in parent.anchors))
    for anchor in parent.anchors:
        if anchor.rowid in found and found[anchor.rowid][0] != anchor:
            row, segment = found[anchor.rowid]
            # What a later collection holds was written later.
            if row.seq_id <= limits.get(segment, parent.position):
                raise broken(f"Row {anchor.rowid} of {database.path} is another one than in backup {parent.id}: the directory was replaced")


def check_rows(collection: StoredCollection, rows: Rows, before: ParentCollection | None, parent: Parent) -> None:
    """Refuse rows that were not written since the parent, and were not there either.

    Raises:
        ChromaError: ``broken_chain``.
    """
    written = np.union1d(rows.changed, np.array(list(rows.pending_rowids.values()), np.int64))
    untouched = ranges.without(rows.alive, written)
    if ranges.missing(before.alive if before else rows.alive[:0], untouched):
        message = f"Collection {collection.name} has records that are older than backup {parent.id}, which does not have them"
        raise broken(f"{message}: the directory was replaced")


def mark(data: Path, tree: Path, manifest: BackupManifest) -> Parent:
    """Write ``anchors.json`` of a full backup, so that increments can follow on it.

    Args:
        data: the copy that was made; nobody writes to it.
        tree: of the backup; the file goes to its root.
        manifest: of the backup.

    Raises:
        ChromaError: what the reader raises; ``unsupported`` for 0.4.
    """
    require_data_libraries()
    with open_database(data, tree) as database:
        now = standing(database)
        total = int(database.rows("SELECT count(*) FROM embeddings")[0][0])
        counts = {each.id: each.count for each in manifest.collections}
        rows = {each.id: read_rows(database, each, now, 0, counts.get(each.id, 0) / max(1, total)) for each in now.collections}
        latest = [row[0] for row in database.rows(f"SELECT id FROM embeddings ORDER BY seq_id DESC LIMIT {LATEST}")]
        some = [rowid for each in rows.values() for rowid in ranges.pick(each.alive, SPREAD)]
        found = {
            each.id: ParentCollection(segment_of(each), now.at(database, each), rows[each.id].count, rows[each.id].alive)
            for each in now.collections
        }
        anchors = choose_anchors(database, {*some, *latest})
    parent = Parent(manifest.id, manifest.id, now.position, now.newest, found, anchors)
    (tree / ANCHORS).write_bytes(encode_parent(parent))
    return parent


def _rowids(database: Database, segment: str, names: Sequence[str]) -> dict[str, int]:
    found = {}
    for name in names:
        rows = database.rows("SELECT id FROM embeddings WHERE segment_id = ? AND embedding_id = ?", (segment, name))
        if rows:
            found[name] = int(rows[0][0])
    return found
