# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collection: its index, its label map, its log and its records against each other. FOR INTERNAL COLLECTION USE ONLY.

Ids are compared as 64-bit hashes, sorted: 8 bytes for each record and no dictionary of them. Two different ids of a million have the
same hash once in 37 million directories, and then a difference of that one id is overlooked, never invented.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap, read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import LABELS_FILE, Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import METADATA, Entry, Part
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import SUSPECTS, Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SHOWN, Finding, finding, some
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import Files, check_files, stamp
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.log import LACKS, changes, check_lag, membership, usable

_PAGE = 50_000
# Pickle instructions that call something: REDUCE, INST, OBJ, NEWOBJ, EXT1 to EXT4, NEWOBJ_EX.
_CALLS = re.compile(r"unsafe|makes an object|instruction 0x(52|69|6f|81|82|83|84|92)\b")


@dataclass(frozen=True)
class Seen:
    """What the folder of an index said, while it had the stamp.

    Args:
        findings: without collection and segment.
        files: None where there is no folder.
        labels: None where there is no usable label map.
    """

    stamp: tuple[Any, ...]
    findings: tuple[Finding, ...]
    files: Files | None
    labels: LabelMap | None


class CollectionCheck:
    """The check of one collection with one index; run again, it reads the files again only where they changed.

    Args:
        entry, part: the collection and its VECTOR segment.
        directory: that holds the folders.
        modern: whether the schema is one of 1.x.
    """

    def __init__(self, entry: Entry, part: Part, directory: Path, modern: bool) -> None:
        self.entry, self.part, self.modern = entry, part, modern
        self.folder = directory / part.id
        self._seen: Seen | None = None

    def __call__(self, database: Database, suspects: Collection[str] | None = None) -> list[Finding]:
        """Return what is wrong with the collection; nothing where it was deleted meanwhile.

        Args:
            suspects: the only ids to compare; all where None.
        """
        segments = "SELECT count(*) FROM segments WHERE id = ? AND collection = ?"
        if not database.value(segments, (self.part.id, self.entry.id)):
            return []
        seen = self._look(database)
        if half := self._half_saved(database, seen):
            seen = replace(seen, findings=half)
        return [
            finding(each.kind.id, each.message, self.entry.label, self.part.id, each.subject, each.rows)
            for each in (*seen.findings, *self._against_log(database, seen, suspects))
        ]

    def again(self, database: Database, found: Sequence[Finding]) -> list[Finding]:
        """Look once more, but of the ids only at those that were found: that fits into a lock, however many there are."""
        return self(database, {str(row) for each in found for row in each.rows})

    def prepare(self, database: Database) -> None:
        """Read the files, so that under a lock nothing is left to do but to see that they are still the same."""
        self._look(database)

    def _look(self, database: Database) -> Seen:
        """Read the files, unless they are as they were."""
        dimension = database.value("SELECT dimension FROM collections WHERE id = ?", (self.entry.id,))
        now = (dimension, *stamp(self.folder))
        if self._seen is None or self._seen.stamp != now:
            if len(now) == 1:
                self._seen = Seen(now, (), None, None)
            else:
                files = check_files(self.folder, dimension, database.check_time)
                labels, found = check_labels(self.folder, files)
                self._seen = Seen(now, (*files.findings, *found), files, labels)
        return self._seen

    def _position(self, database: Database, segment: str) -> Any:
        """Return the raw position of a segment; None where there is none."""
        return database.value("SELECT seq_id FROM max_seq_id WHERE segment_id = ?", (segment,))

    def _half_saved(self, database: Database, seen: Seen) -> tuple[Finding, ...]:
        """Return what is to be said of the files of an index whose first save was interrupted; nothing where the log lacks some of it."""
        if not seen.findings or (self.folder / LABELS_FILE).exists() or self._position(database, self.part.id) is not None:
            return ()
        if database.value(LACKS, (self.entry.id,)):
            return ()
        message = f"The first save of the index was interrupted: it has no {LABELS_FILE}; the log holds all records."
        return (finding("CHR019", message), *unread(seen.findings))

    def _against_log(self, database: Database, seen: Seen, suspects: Collection[str] | None) -> Iterator[Finding]:
        """Compare which ids the index has, with the log replayed, with those of the records."""
        sql = "SELECT id FROM segments WHERE collection = ? AND scope = ?"
        records = [str(row[0]) for row in database.rows(sql, (self.entry.id, METADATA))]
        if len(records) != 1:
            return  # CHR013 or CHR015 says so.
        last = database.value("SELECT max(seq_id) FROM embeddings_queue")
        raw = self._position(database, self.part.id)
        start = usable(raw, last)
        if raw is None and seen.labels is not None:
            # 0.4 keeps it there.
            start = usable(seen.labels.max_seq_id, last)
            if start is None and seen.labels.max_seq_id is not None:
                yield finding("CHR062", f"The label map's position is {seen.labels.max_seq_id}, the log ends at {last}.")
        start = start or 0
        yield from _check_log_vectors(database, self.entry.topic, start)
        if self.modern:
            # 1.x does not know the position that 0.4 keeps in the label map, and begins at the beginning.
            yield from _check_null_documents(database, self.entry.topic, 0 if raw is None else start)
        behind = membership(changes(database, self.entry.topic, start))
        wanted = membership(changes(database, self.entry.topic, usable(self._position(database, records[0]), last) or 0))
        ids = _Ids(lambda: _record_ids(database, records[0], suspects), wanted, suspects)
        if ids.doubles:
            names = ids.names(ids.doubles)
            yield finding("CHR087", f"{len(ids.doubles)} ids have more than one record: {_some(names, ids.doubles)}.", rows=names)
        if seen.files is None:
            yield from self._without_folder(ids, behind, started=raw is not None)
            return
        if seen.labels is None and raw is not None and not seen.findings:
            yield finding("CHR050", f"{LABELS_FILE} does not exist, but the index was saved before.")
            return
        if seen.labels is None and any(each.kind.id in ("CHR050", "CHR051", "CHR052") for each in seen.findings):
            return  # No id of the index is known; that is said already.
        yield from check_lag(database, self.entry.topic, self.entry.threshold, start)
        labels = seen.labels
        indexed = _Ids(lambda: [] if labels is None else _map_ids(labels, suspects), behind, suspects)
        if np.array_equal(ids.hashes, indexed.hashes):
            return
        if len(lost := np.setdiff1d(ids.hashes, indexed.hashes, assume_unique=True)):
            names = ids.names(lost)
            message = f"{len(lost)} of {len(ids.hashes)} records are neither in the index nor in the log: {_some(names, lost)}."
            yield finding("CHR070", message, rows=names)
        if len(extra := np.setdiff1d(indexed.hashes, ids.hashes, assume_unique=True)):
            names = indexed.names(extra)
            message = f"{len(extra)} of {len(indexed.hashes)} vectors belong to ids that have no record: {_some(names, extra)}."
            yield finding("CHR071", message, rows=names)

    def _without_folder(self, ids: _Ids, behind: Mapping[str, bool], started: bool) -> Iterator[Finding]:
        """Decide what a missing folder means: nothing, a delay, or a loss."""
        logged = _Ids(list, behind, None)
        if len(lost := np.setdiff1d(ids.hashes, logged.hashes, assume_unique=True)):
            names = ids.names(lost)
            message = f"Folder {self.part.id} does not exist; of {len(ids.hashes)} records the log lacks {len(lost)}: {_some(names, lost)}."
            yield finding("CHR018", message, rows=names)
        elif started:
            yield finding("CHR018", f"Folder {self.part.id} does not exist, but the index was saved before.")
        elif len(ids.hashes):
            message = f"Folder {self.part.id} does not exist; the log holds all {len(ids.hashes)} records."
            yield finding("CHR019", message, rows=ids.names(ids.hashes))


class _Ids:
    """A set of ids: those of a source, changed by what the log says; as hashes.

    Args:
        source: returns pages of ids, the same each time.
        changed: id → whether it exists afterwards.
        suspects: the only ids that are asked for; all where None.
    """

    def __init__(self, source: Callable[[], Iterable[list[str]]], changed: Mapping[str, bool], suspects: Collection[str] | None) -> None:
        if suspects is not None:
            changed = {name: exists for name, exists in changed.items() if name in suspects}
        self.source, self.changed = source, changed
        pages = [np.fromiter(map(hash, page), np.int64, len(page)) for page in source()]
        stored = np.concatenate(pages) if pages else np.empty(0, np.int64)
        unique = np.unique(stored)
        self.doubles = [] if len(unique) == len(stored) else _doubles(stored)
        if changed:
            there = np.fromiter((hash(name) for name, exists in changed.items() if exists), np.int64)
            gone = np.fromiter((hash(name) for name, exists in changed.items() if not exists), np.int64)
            unique = np.setdiff1d(np.union1d(unique, there), gone, assume_unique=True)
        self.hashes = unique

    def names(self, hashes: Any) -> list[str]:
        """Return the ids of hashes, sorted, at most :data:`SUSPECTS` of them."""
        wanted = set(map(int, hashes[:SUSPECTS]))
        names: list[str] = []
        for page in (*self.source(), list(self.changed)):
            for name in page:
                if hash(name) in wanted:
                    wanted.discard(hash(name))
                    names.append(name)
            if not wanted:
                break
        return sorted(names)


def _some(names: list[str], hashes: Any) -> str:
    """Return the first few names, and how many more there are."""
    return some([*map(repr, names), *[""] * (len(hashes) - len(names))])


def _doubles(stored: Any) -> list[int]:
    values, counts = np.unique(stored, return_counts=True)
    found: list[int] = values[counts > 1].tolist()
    return found


def _record_ids(database: Database, segment: str, suspects: Collection[str] | None) -> Iterator[list[str]]:
    """Yield the ids of a METADATA segment, by the index that SQLite keeps for their uniqueness."""
    if suspects is not None:
        # As bytes: what is no UTF-8 cannot be bound as text.
        names = [name.encode("utf-8", "surrogateescape") for name in suspects]
        marks = ", ".join(["CAST(? AS TEXT)"] * len(names))
        rows = database.rows(f"SELECT embedding_id FROM embeddings WHERE segment_id = ? AND embedding_id IN ({marks})", (segment, *names))
        yield [name for (name,) in rows]
        return
    above: Any = None
    while True:
        database.check_time()
        if above is None:
            rows = database.rows("SELECT embedding_id FROM embeddings WHERE segment_id = ? ORDER BY embedding_id LIMIT ?", (segment, _PAGE))
        else:
            rows = database.rows(
                "SELECT embedding_id FROM embeddings WHERE segment_id = ? AND embedding_id > ? ORDER BY embedding_id LIMIT ?",
                (segment, above, _PAGE),
            )
        yield [name for (name,) in rows]
        if len(rows) < _PAGE:
            return
        above = rows[-1][0]


def _map_ids(labels: LabelMap, suspects: Collection[str] | None) -> Iterator[list[str]]:
    ids = labels.ids
    if suspects is not None:
        names = [name for name in suspects if name.encode("utf-8", "replace").decode() == name]
        ids = ids.filter(pc.is_in(ids, pa.array(names, ids.type)))
    for first in range(0, len(ids), _PAGE):
        yield ids.slice(first, _PAGE).to_pylist()


def check_labels(folder: Path, files: Files) -> tuple[LabelMap | None, list[Finding]]:
    """Read the label map and hold it against the elements of the index."""
    path = folder / LABELS_FILE
    if not path.exists():
        # Before its first synchronisation an index has none.
        count = files.header.count if files.header else 0
        if not count:
            return None, []
        return None, [finding("CHR050", f"{LABELS_FILE} does not exist; the index has {count} elements.")]
    try:
        labels = read_labels(path, inverse=True)
    except Damaged as damage:
        kind = "CHR052" if _CALLS.search(damage.detail) else "CHR051"
        return None, [finding(kind, f"{LABELS_FILE} {damage.detail}")]
    found = []
    numbers = np.sort(labels.labels).astype(np.uint64)
    double = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(double):
        found.append(finding("CHR053", f"{len(double)} labels stand for several ids: {some(double.tolist())}.", subject="labels"))
    if not labels.inverse_matches:
        found.append(finding("CHR053", "The two halves of the label map, id to label and label to id, differ.", subject="inverse"))
    if files.labels is not None:
        found += _against_elements(labels, numbers, files)
    return labels, found


def unread(findings: Iterable[Finding]) -> list[Finding]:
    """Return what remains of the findings in the files of an index without label map, which no server reads: what SQLite says wrongly."""
    return [each for each in findings if each.kind.id == "CHR032"]


def _against_elements(labels: LabelMap, numbers: Any, files: Files) -> list[Finding]:
    found = []
    alive = np.sort(files.labels)
    twice = alive[1:][alive[1:] == alive[:-1]]
    if len(twice):
        found.append(finding("CHR053", f"{len(twice)} labels stand for several vectors: {some(twice.tolist())}.", subject="elements"))
    if np.array_equal(alive, numbers):
        return found
    # A file that is too short is a finding of its own; what it lacks is named here, by id.
    without = np.setdiff1d(numbers, alive)
    if len(without):
        where = np.flatnonzero(np.isin(labels.labels.astype(np.uint64), without))[:SHOWN]
        names = [repr(name) for name in labels.ids.take(where).to_pylist()] + [""] * (len(without) - len(where))
        found.append(finding("CHR054", f"{len(without)} of {len(labels)} labels have no vector: {some(names)}."))
    unknown = np.setdiff1d(alive, numbers)
    if len(unknown):
        found.append(finding("CHR055", f"{len(unknown)} vectors have labels that no id has: {some(unknown.tolist())}."))
    return found


def _check_null_documents(database: Database, topic: str, start: int) -> Iterator[Finding]:
    """Look for entries that 0.x wrote for records without document, and that 1.x panics on (seen: 0.6.3's, on 1.5.9)."""
    number, first = database.rows(
        "SELECT count(*), min(seq_id) FROM embeddings_queue WHERE seq_id > ? AND topic = ? AND"
        " (metadata LIKE '%\"chroma:document\": null%' OR metadata LIKE '%\"chroma:document\":null%')",
        (start, topic),
    )[0]
    if number:
        yield finding("CHR066", f"{number} log entries that are still to be read have a null as document; the first is {first}.")


def _check_log_vectors(database: Database, topic: str, start: int) -> Iterator[Finding]:
    """Look for vectors that are no numbers among those that the index will take from the log."""
    wrong: list[str] = []
    while True:
        database.check_time()
        rows = database.rows(
            "SELECT seq_id, id, vector FROM embeddings_queue WHERE seq_id > ? AND topic = ? ORDER BY seq_id LIMIT 1000", (start, topic)
        )
        for seq_id, name, vector in rows:
            start = seq_id
            if isinstance(vector, bytes) and len(vector) % 4 == 0 and not np.isfinite(np.frombuffer(vector, "<f4")).all():
                wrong.append(repr(name))
        if len(rows) < 1000:
            break
    if wrong:
        yield finding("CHR038", f"{len(wrong)} vectors in the log hold NaN or infinity: {some(wrong)}.", subject="log")
