# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is left of a collection to its sources, and to what they yield. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DEFAULT_SPACE, Damaged, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import stored_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.backups import Backups
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.merge import Merged
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import Parts, Tally
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem, priority_of
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import Generation
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.rows import LogVectors, Rows, log_dimension
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.salvage import Index, Salvage, look
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.scan import Remains
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Ids, Stream
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import View, value
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.words import said

# 0.5 and 0.6 keep the number as eight bytes, the largest first.
_NEWER = """
SELECT embedding_id FROM embeddings WHERE segment_id = ?1
    AND ((typeof(seq_id) = 'integer' AND seq_id > ?2) OR (typeof(seq_id) = 'blob' AND seq_id > ?3))
"""


@dataclass(frozen=True)
class Assembled:
    """The sources of one collection, opened.

    Args:
        remains: what it is about.
        parts: its sources.
        dimension: of the vectors; None where nothing says, and there are none.
        space, space_from: distance function, and who says it.
        notes: what is wrong with the sources, in words.
    """

    remains: Remains
    parts: Parts
    dimension: int | None
    space: str
    space_from: str
    notes: tuple[str, ...]

    @property
    def merged(self) -> Merged | None:
        """The sources as one; None where there is no vector to be had."""
        if self.dimension is None:
            return None
        return Merged(self.parts, self.dimension, self.remains.stored.name, self.space)


@contextlib.contextmanager
def assembled(view: View, remains: Remains, backups: Backups, generation: Generation | None) -> Iterator[Assembled]:
    """Open the sources of a collection for the length of a ``with`` block.

    Raises:
        ChromaError: those of repository and PostgreSQL; what is damaged in the directory only makes a source the poorer.
    """
    notes = [*view.notes, *remains.notes]
    with contextlib.ExitStack() as stack:
        space, space_from = _space(view, remains)
        streams = _streams(remains, backups, generation)
        index = _index(view, remains, streams, notes)
        stored = replace(remains.stored, dimension=_dimension(view, remains, index, streams))
        salvage = _salvage(index, stored, space, notes)
        if salvage is not None:
            stack.callback(salvage.close)
            stored = replace(stored, dimension=salvage.dimension)
        yield _assembled(view, replace(remains, stored=stored), salvage, streams, (space, space_from), notes)


def _assembled(
    view: View, remains: Remains, salvage: Salvage | None, streams: tuple[Stream, ...], space: tuple[str, str], notes: list[str]
) -> Assembled:
    stored, dimension = remains.stored, remains.stored.dimension
    rows = _rows(view, stored, notes)
    labelled = salvage is not None and salvage.labelled
    log, deleted = None, Ids()
    if view.database is not None and dimension and stored.topic:
        log = LogVectors(view.database, stored, dimension, salvage.holds if salvage is not None and labelled else lambda _name: False)
        deleted.add_hashes(log.deleted)
    # What the log has is not all there was, and of a table that lost some rows nobody knows whose these were.
    lost = rows is None or not _stored_rows(view, stored) or any("table embeddings " in each for each in view.notes)
    if salvage is not None and "CHR070" in remains.findings:
        notes.append("the index may be older than the records: where a vector was changed since, it is the one from before")
    if salvage is not None and labelled and (older := _older(view, remains, log)):
        notes.append(
            f"the vectors of {older} records may be older ones: they were written after their index was saved, and the log is gone"
        )
    if rows is not None and rows.note:
        notes.append(rows.note)
    if salvage is not None and not labelled and not lost:
        notes.append(f"whose the {salvage.holding.vectors} vectors of its folder are is not known any more")
    if salvage is not None and salvage.scaled:
        notes.append("the lengths of the vectors are gone, so that each has length 1")
    used = None if salvage is None or (not labelled and not lost) else salvage
    # What SQLite's file lost is named in words; the ids are in another table.
    texts = any("embedding_metadata" in each for each in view.notes)
    parts = Parts(rows, log if log is not None and log.holding.records else None, used, streams, lost, texts, labelled, deleted)
    return Assembled(remains, parts, dimension, *space, tuple(notes))


def rehearse(one: Assembled) -> Tally:
    """Read all records once and count them: what a plan says is what was read."""
    tally = Tally()
    merged = one.merged
    if merged is None:
        tally.lost = max((each.holding.records for each in one.parts.all), default=0)
        return tally
    for _batch in merged.batches(tally):
        pass
    return tally


def item_of(one: Assembled, tally: Tally, usual: tuple[str, str]) -> PlanItem:
    """Return what a plan says of a collection; its target's name is found afterwards.

    Args:
        usual: tenant and database of what nobody knows the place of.
    """
    remains, stored = one.remains, one.remains.stored
    sources = tuple({"name": each.name, **each.holding.view(), "used": tally.vectors.get(each.name, 0)} for each in one.parts.all)
    item = PlanItem(
        id=hashlib.sha256(f"{remains.kind}/{remains.state}".encode()).hexdigest()[:16],
        kind=remains.kind,
        segment=remains.segment,
        collection=stored.id if remains.known or remains.backup else "",
        name=stored.name,
        tenant=stored.tenant or usual[0],
        database=stored.database or usual[1],
        target="",
        records=tally.records + tally.lost,
        recoverable=tally.records,
        lost=tally.lost,
        bare=tally.bare,
        relabelled=tally.relabelled,
        dimension=one.dimension,
        space=one.space,
        space_from=one.space_from,
        sources=sources,
        findings=remains.findings,
        priority=priority_of(remains.kind, tally.bare, tally.records),
    )
    return replace(item, said=said(item, tally, one.notes))


def _space(view: View, remains: Remains) -> tuple[str, str]:
    # l2 is also what is left where the place that said another one is lost.
    if remains.known and (remains.stored.space != DEFAULT_SPACE or not view.is_unsure(remains.stored.id)):
        return remains.stored.space, "sqlite"
    return (remains.backup.space, "backup") if remains.backup else (DEFAULT_SPACE, "guess")


def _streams(remains: Remains, backups: Backups, generation: Generation | None) -> tuple[Stream, ...]:
    stored = remains.stored
    found: list[Stream | None] = [backups.stream(remains.backup) if remains.backup else None]
    if generation is not None and stored.name:
        found.append(generation(stored.name, stored.tenant, stored.database))
    return tuple(each for each in found if each is not None and each.holding.vectors)


def _index(view: View, remains: Remains, streams: Sequence[Stream], notes: list[str]) -> Index | None:
    folder = view.path / remains.segment if remains.segment else None
    if folder is None or not folder.is_dir():
        if remains.segment:
            notes.append("its folder is missing")
        return None
    stored = remains.stored
    said_by = [_logged(view, stored), stored.dimension, *(each.dimension for each in streams)]
    links = stored_settings(stored).get("max_neighbors")
    index = look(folder, tuple(each for each in said_by if each), 2 * links if isinstance(links, int) else None)
    if index.header is None or index.header.count:  # one that was never saved lacks nothing
        notes += index.notes
    return index


def _dimension(view: View, remains: Remains, index: Index | None, streams: Sequence[Stream]) -> int | None:
    """Return the dimension of the vectors: as they are in the log and in the index, before what SQLite says."""
    header = index.header.dimension if index and index.header else None
    known = (_logged(view, remains.stored), header, remains.stored.dimension, *(each.dimension for each in streams))
    return next((each for each in known if each), None)


def _logged(view: View, stored: StoredCollection) -> int | None:
    with contextlib.suppress(Damaged):
        return log_dimension(view.database, stored.topic) if view.database is not None and stored.topic else None
    return None


def _salvage(index: Index | None, stored: StoredCollection, space: str, notes: list[str]) -> Salvage | None:
    if index is None or index.header is None or not index.header.count:
        return None
    if stored.dimension and index.header.dimension != stored.dimension:
        notes.append(f"its folder has vectors of {index.header.dimension} numbers, not of {stored.dimension}, and is not used")
        return None
    try:
        return Salvage(index, stored.name, space)
    except Damaged as error:
        notes.append(f"{error.path.name}: {error.detail.rstrip('.')}")
        return None


def _rows(view: View, stored: StoredCollection, notes: list[str]) -> Rows | None:
    if view.database is None:
        notes.append(view.reason)
        return None
    try:
        return Rows(view.copy, view.database, stored, stored.dimension)
    except Damaged as error:
        notes.append(f"its rows in SQLite can't be read: {error.detail.rstrip('.')}")
        return None


def _older(view: View, remains: Remains, log: LogVectors | None) -> int:
    """Return how many records were written after the index was saved, and are not in the log any more: their vectors may be newer ones."""
    segment = remains.stored.metadata_segment
    position = wal.positions(view.database).get(remains.segment) if view.database is not None else None
    if view.database is None or segment is None or not position:
        return 0
    names = [str(row[0]) for row in view.database.rows(_NEWER, (segment.id, position, position.to_bytes(8, "big")))]
    return len(names) - (int(log.has(names).sum()) if log is not None else 0)


def _stored_rows(view: View, stored: StoredCollection) -> int:
    segment = stored.metadata_segment.id if stored.metadata_segment else ""
    return value(view.database, "SELECT count(*) FROM embeddings WHERE segment_id = ?", segment) or 0
