# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to recover. FOR INTERNAL COLLECTION USE ONLY.

Damaged collections, folders that belong to none, and collections that only the backup has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, Damaged, Segment, StoredCollection, is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import folders
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.backups import Backups
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import DAMAGED, KINDS, MISSING, ORPHAN
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import View, value
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection

# What another copy would have as well.
_COPIED = ("CHR083",)
# SQLite's file itself, or a table that all of them share.
_EVERYWHERE = ("CHR001", "CHR002", "CHR005")
_SAMPLE = 500
VECTOR, METADATA = "VECTOR", "METADATA"


@dataclass(frozen=True)
class Remains:
    """What is left of one collection.

    Args:
        kind: ``damaged``, ``orphan`` or ``missing``.
        stored: as SQLite says it; made up from what is known where SQLite says nothing. Its ``vector`` is the folder, if there is one.
        known: whether SQLite has the collection.
        backup: the same one there.
        findings: identifiers of what is wrong with it.
        state: hash of the folder's files and of the rows, without its name.
        notes: what was concluded and is not certain, in words.
    """

    kind: str
    stored: StoredCollection
    known: bool
    backup: BackupCollection | None
    findings: tuple[str, ...]
    state: str
    notes: tuple[str, ...] = ()

    @property
    def segment(self) -> str:
        """Name of the folder; empty where there is none."""
        return self.stored.vector.id if self.stored.vector else ""

    def called(self, wanted: str) -> bool:
        """Return whether a user means it by a name, ``tenant/database/name``, or the id of collection or segment."""
        one = self.stored
        return wanted in (one.name, f"{one.tenant}/{one.database}/{one.name}", one.id, self.segment)


def scan(view: View, backups: Backups, kinds: Sequence[str], room: Path) -> tuple[Remains, ...]:
    """Look for all there is to recover.

    Args:
        view: of the data directory.
        backups: the newest verified one, if there is any.
        kinds: what to look for; all of them where SQLite's file can't be read, for then nothing of it was deleted on purpose.
        room: for a copy of SQLite's file where an interrupted transaction has to be rolled back to validate it.

    Raises:
        ChromaError: those of :func:`_fsck.runner.validate` and of the repository.
    """
    strays = _strays(view)
    found: list[Remains] = []
    kinds = KINDS if view.database is None else kinds
    if DAMAGED in kinds:
        for stored, findings in _damaged(view, room):
            own, notes = _with_folder(view, stored, strays, backups)
            found.append(_remains(view, DAMAGED, own, True, backups.find(own.id, _label(own)), findings, notes))
    owned = {each.segment for each in found}
    strays = [each for each in strays if each.name not in owned]
    if ORPHAN in kinds:
        found += [_orphan(view, each, backups) for each in strays]
    absent = _absent(view, backups, found)
    if MISSING in kinds:
        found += [_remains(view, MISSING, _from_backup(each, None), False, each, ()) for each in absent]
    if left := _left(0 if ORPHAN in kinds else len(strays), 0 if MISSING in kinds else len(absent)):
        backups.warnings.append(left)
    return tuple(found)


def _absent(view: View, backups: Backups, found: Sequence[Remains]) -> list[BackupCollection]:
    """Return the collections of the backup that are nowhere in the directory."""
    met = {each.backup.id for each in found if each.backup}
    known = {each.id for each in view.collections} | {_label(each) for each in view.collections} | met
    return [each for each in (backups.manifest.collections if backups.manifest else ()) if not {each.id, each.label} & known]


def _left(orphans: int, absent: int) -> str:
    """Say what there is of the kinds that were not asked for; empty where there is nothing."""
    what = [f"{orphans} folders of no collection ({ORPHAN})"] if orphans else []
    what += [f"{absent} collections that only the backup has ({MISSING})"] if absent else []
    return (
        f"Left out, as what was deleted on purpose looks the same: {' and '.join(what)}. Name these kinds to recover them." if what else ""
    )


def _damaged(view: View, room: Path) -> Iterator[tuple[StoredCollection, tuple[str, ...]]]:
    """Yield the collections with severe findings, and these."""
    if view.database is None:
        return
    report = validate(view.path, scratch=room)
    wrong: dict[str, set[str]] = {}
    everywhere: set[str] = set()
    for each in report.findings:
        if each.kind.id in _EVERYWHERE:
            everywhere.add(each.kind.id)
        elif each.kind.severity == SEVERE and each.collection and each.kind.id not in _COPIED:
            wrong.setdefault(each.collection, set()).add(each.kind.id)
    for stored in view.collections:
        # Where the database's row is gone, its id stands in the label.
        labels = [label for label in wrong if label == _label(stored) or (not stored.database and label.rpartition("/")[2] == stored.name)]
        if labels or everywhere:
            yield stored, tuple(sorted({each for label in labels for each in wrong[label]} | everywhere))


def _strays(view: View) -> list[Path]:
    """Return the folders with vectors that belong to no collection."""
    living = {each.id for each in view.collections}
    used = {name for name, (_scope, owner) in view.segments.items() if owner in living}
    return [each for each in folders(view.path) if is_uuid(each.name) and each.name not in used and not _is_empty(each)]


def _is_empty(folder: Path) -> bool:
    """Return whether nothing was ever in an index, as far as its header says so."""
    if not (folder / DATA_FILE).is_file() or not (folder / DATA_FILE).stat().st_size:
        return True
    with contextlib.suppress(Damaged):
        return read_header(folder).count == 0
    return False


def _with_folder(
    view: View, stored: StoredCollection, strays: Sequence[Path], backups: Backups
) -> tuple[StoredCollection, tuple[str, ...]]:
    """Return a damaged collection with the folder of its index, or with its rows, also where SQLite no longer says which these are.

    The ids alone don't say whose a folder is: a collection that was deleted and made again has the same ones.
    """
    names = [name for name, (scope, owner) in view.segments.items() if owner == stored.id and scope == VECTOR]
    there = [each for each in names if (view.path / each).is_dir() and is_uuid(each)]
    if there and (stored.vector is None or stored.vector.id not in there):
        stored = replace(stored, vector=_segment(there[0], stored.id))
    if view.database is None:
        return stored, ()
    if there and stored.metadata_segment is None:
        rows = [each for each in _owners(view.database, view.path / there[0])[0] if each not in view.segments]
        if len(rows) == 1:
            note = "SQLite does not say which rows are its records: those with the ids of its index are taken for them"
            return replace(stored, metadata_segment=Segment(rows[0], "", METADATA, stored.id)), (note,)
    if not there and stored.metadata_segment is not None:
        fitting = [each for each in strays if stored.metadata_segment.id in _owners(view.database, each)[0]]
        said_by = {each: backups.of_segment(each.name) for each in fitting}
        of_it = [each for each, backup in said_by.items() if backup is not None and backup.id == stored.id]
        unknown = [each for each, backup in said_by.items() if backup is None] if not names else []
        if len(of_it or unknown) == 1:
            [folder] = of_it or unknown
            note = f"SQLite does not say which folder is its index: {folder.name} has its ids and is taken for it"
            return replace(stored, vector=_segment(folder.name, stored.id)), () if of_it else (note,)
    return stored, ()


def _orphan(view: View, folder: Path, backups: Backups) -> Remains:
    """Return what is known about a folder: from the backup whose it was, and which rows are its records."""
    backup = backups.of_segment(folder.name)
    owner = view.segments.get(folder.name, ("", ""))[1] or (backup.id if backup else "")
    rows, topic = "", f"persistent://default/default/{owner}" if owner else ""
    if view.database is not None:
        beside = [name for name, (scope, of) in view.segments.items() if owner and of == owner and scope == METADATA]
        seen, seen_topic = _owners(view.database, folder)
        living = {each.metadata_segment.id for each in view.collections if each.metadata_segment}
        dead = [each for each in seen if each not in living]
        # 0.5 and 0.6 keep the rows of all that were deleted: of two with these ids nobody knows which it was.
        rows = beside[0] if beside else dead[0] if len(dead) == 1 else ""
        if seen_topic and seen_topic not in {each.topic for each in view.collections}:
            topic = seen_topic
    name = backup.name if backup else ""
    if backup is not None and any(each.id == backup.id or _label(each) == backup.label for each in view.collections):
        # A collection of that name, or that very one, is there and well: this folder is an older state of it, or of a namesake.
        backup = None
    stored = _from_backup(backup, folder.name) if backup else _unknown(folder, owner)
    part = Segment(rows, "", METADATA, stored.id) if rows else None
    stored = replace(stored, name=name, metadata_segment=part, topic=topic)
    return _remains(view, ORPHAN, stored, False, backup, ("CHR017",))


def _owners(database: Database, folder: Path) -> tuple[list[str], str]:
    """Return the METADATA segments, and the topic of the log, that the ids of a label map are found in."""
    try:
        ids = read_labels(folder, torn=True).ids
    except Damaged:
        return [], ""
    sample = json.dumps(ids.slice(0, _SAMPLE).to_pylist())
    least = min(len(ids), _SAMPLE) / 2
    sql = "SELECT segment_id FROM embeddings WHERE embedding_id IN (SELECT value FROM json_each(?)) GROUP BY segment_id HAVING count(*) > ?"
    log = (
        "SELECT topic FROM embeddings_queue WHERE id IN (SELECT value FROM json_each(?))"
        " GROUP BY topic ORDER BY count(DISTINCT id) DESC LIMIT 1"
    )
    owners: list[str] = []
    with contextlib.suppress(Damaged):
        owners = [str(each) for (each,) in database.rows(sql, (sample, least))]
    return owners, str(value(database, log, sample) or "")


def _remains(
    view: View,
    kind: str,
    stored: StoredCollection,
    known: bool,
    backup: BackupCollection | None,
    findings: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Remains:
    return Remains(kind, stored, known, backup, findings, _state(view, stored, backup), notes)


def _state(view: View, stored: StoredCollection, backup: BackupCollection | None) -> str:
    """Return a hash that is another one where the folder, the rows, the log or the backup are others."""
    parts: list[Any] = [stored.id, stored.vector.id if stored.vector else "", stored.space, stored.dimension]
    folder = view.path / stored.vector.id if stored.vector else None
    for file in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
        about = file.stat()
        parts.append([file.name, about.st_size, about.st_mtime_ns])
    segment = stored.metadata_segment.id if stored.metadata_segment else ""
    for sql, parameter in (
        ("SELECT count(*) || '-' || max(id) || '-' || hex(max(seq_id)) FROM embeddings WHERE segment_id = ?", segment),
        ("SELECT count(*) || '-' || max(seq_id) FROM embeddings_queue WHERE topic = ?", stored.topic),
    ):
        parts.append(value(view.database, sql, parameter))
    parts.append([backup.id, backup.count] if backup else None)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _from_backup(backup: BackupCollection, segment: str | None) -> StoredCollection:
    return StoredCollection(
        backup.id,
        backup.name,
        backup.tenant,
        backup.database,
        backup.dimension,
        backup.metadata,
        backup.configuration,
        backup.schema,
        _segment(segment, backup.id) if segment else None,
        None,
    )


def _unknown(folder: Path, owner: str) -> StoredCollection:
    """Return a collection of which only the folder is left."""
    nothing: Mapping[str, Any] = {}
    return StoredCollection(owner or folder.name, "", "", "", None, nothing, None, None, _segment(folder.name, owner), None)


def _segment(name: str, owner: str) -> Segment:
    return Segment(name, "", VECTOR, owner)


def _label(stored: StoredCollection) -> str:
    return f"{stored.tenant}/{stored.database}/{stored.name}"
