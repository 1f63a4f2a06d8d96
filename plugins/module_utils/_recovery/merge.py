# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sources of one collection as one: each part of a record from the first source that has it. FOR INTERNAL COLLECTION USE ONLY.

Those of a directory can be asked for some ids at any time; a backup and PostgreSQL are read once, from beginning to end. So records that
lack something wait until then: what grows with their number is their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import vectors_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.merge import cast_batch
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery import batches
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import RecoverySource
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import One, Parts, Tally, Waiting
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Ids

# Lost records that are named.
_SHOWN = 5


class Merged:
    """A collection out of several sources.

    Args:
        parts: its sources.
        dimension: of the vectors.
        name, space: of the collection.
    """

    def __init__(self, parts: Parts, dimension: int, name: str, space: str) -> None:
        self._parts, self._dimension = parts, dimension
        texts = (parts.rows, *(parts.streams if parts.rows_lost or parts.texts_lost else ()))
        self._columns = batches.columns_for([each for each in texts if each is not None])
        self.schema = table_schema(self._columns, dimension, name, space)
        self._by_id = [each for each in (parts.log, parts.salvage if parts.labelled else None) if each is not None]

    def batches(self, tally: Tally) -> Iterator[Any]:
        """Yield all records that have a vector, each once, in the same order each time.

        Args:
            tally: counts them, and those that have none.
        """
        parts, seen = self._parts, Ids()
        if parts.salvage is None or parts.labelled or not parts.rows_lost:
            yield from self._named(seen, tally)
            return
        vectors = Ids()
        for batch in self._named(seen, tally):
            vectors.add_hashes(batches.vector_hashes(batch))
            yield batch
        yield from self._relabelled(parts.salvage, vectors, seen, tally)

    def _named(self, seen: Ids, tally: Tally) -> Iterator[Any]:
        """Yield the records whose ids are known.

        Args:
            seen: gets their ids.
        """
        parts = self._parts
        no_vector, no_row = Waiting(), Waiting()
        if parts.rows is not None:
            for batch in parts.rows.batches():
                batch = batches.masked(batch, ~seen.mask(batch.column("id")) & batches.are_first(batch.column("id")))
                seen.add(batch.column("id"))
                yield from self._complete(self._cast(batch), no_vector, no_row, tally)
        for source in self._by_id if parts.rows_lost else ():
            for batch in self._listed(source, seen, no_vector):
                if parts.streams:
                    no_row.add(batch.column("id"))
                else:
                    yield self._bare(batch, source, tally)
        for stream in parts.streams:
            yield from self._streamed(stream, seen, no_vector, no_row, tally)
        for ids in no_row.left():
            yield from self._left(ids, tally)
        if parts.salvage is not None and not parts.rows_lost:
            for batch in parts.salvage.batches():
                ids = batch.column("id")
                tally.strangers += int((~(seen.mask(ids) | parts.deleted.mask(ids))).sum())
        for ids in no_vector.left():
            tally.lost += len(ids)
            tally.first_lost += ids.slice(0, _SHOWN - len(tally.first_lost)).to_pylist()

    def _listed(self, source: RecoverySource, seen: Ids, no_vector: Waiting) -> Iterator[Any]:
        """Yield the records of the log or the label map that have a vector and were not met before."""
        for batch in source.batches():
            ids = batch.column("id")
            batch = batches.masked(batch, ~(seen.mask(ids) | self._parts.deleted.mask(ids)))
            seen.add(batch.column("id"))
            there = batches.with_vector(batch)
            no_vector.add(batch.column("id").filter(pa.array(~there)))
            if there.any():
                yield batches.masked(batch, there)

    def _streamed(self, stream: RecoverySource, seen: Ids, no_vector: Waiting, no_row: Waiting, tally: Tally) -> Iterator[Any]:
        """Yield what waited for this source, and records that only it has where SQLite's rows are lost."""
        if not self._parts.rows_lost and not len(no_vector) and not len(no_row):
            return
        for batch in stream.batches(None if self._parts.rows_lost else _together(no_vector, no_row)):
            there = batches.with_vector(batch)
            waiting = no_vector.among(batch.column("id")) & there
            if waiting.any():
                yield from self._mended(stream, batches.masked(batch, waiting), no_vector, tally)
            listed = no_row.among(batch.column("id"))
            if listed.any():
                no_row.done(batch.column("id").filter(pa.array(listed)))
                yield from self._listed_there(stream, batches.masked(batch, listed), tally)
            if not self._parts.rows_lost:
                continue
            ids = batch.column("id")
            new = there & ~(seen.mask(ids) | self._parts.deleted.mask(ids))
            if new.any():
                found = self._cast(batches.masked(batch, new))
                seen.add(found.column("id"))
                tally.records += found.num_rows
                tally.gave(stream, found.num_rows)
                yield found

    def _listed_there(self, stream: RecoverySource, batch: Any, tally: Tally) -> Iterator[Any]:
        """Yield records with the text of a stream and the newest vector that there is."""
        found = self._with_vectors(self._cast(batch), [*self._by_id, One(stream, batch)], tally, instead=True)
        there = batches.with_vector(found)
        tally.records += int(there.sum())
        tally.lost += int((~there).sum())
        if there.any():
            yield batches.masked(found, there)

    def _mended(self, stream: RecoverySource, batch: Any, no_vector: Waiting, tally: Tally) -> Iterator[Any]:
        """Yield records that lacked nothing but the vector; those that only the label map names come from the stream altogether."""
        ids = batch.column("id")
        no_vector.done(ids)
        rest = np.ones(batch.num_rows, np.bool_)
        for rows in self._parts.rows.batches(ids) if self._parts.rows is not None else ():
            where = pc.index_in(rows.column("id"), value_set=ids).to_numpy(zero_copy_only=False)
            rest[where] = False
            yield batches.replaced(self._cast(rows), vectors_of(batch.column("vector").take(pa.array(where))))
        if rest.any():
            yield self._cast(batches.masked(batch, rest))
        tally.records += batch.num_rows
        tally.gave(stream, batch.num_rows)

    def _complete(self, batch: Any, no_vector: Waiting, no_row: Waiting, tally: Tally) -> Iterator[Any]:
        """Yield those of some rows that the log and the index have vectors of; the others wait, and those that lost their text."""
        bare = batches.is_bare(batch) if self._parts.texts_lost else np.zeros(batch.num_rows, np.bool_)
        if self._parts.streams and bare.any():
            no_row.add(batch.column("id").filter(pa.array(bare)))
            batch, bare = batches.masked(batch, ~bare), bare[~bare]
        batch = self._with_vectors(batch, self._by_id, tally)
        there = batches.with_vector(batch)
        no_vector.add(batch.column("id").filter(pa.array(~there)))
        tally.records += int(there.sum())
        tally.bare += int((there & bare).sum())
        if there.any():
            yield batches.masked(batch, there)

    def _with_vectors(self, batch: Any, sources: Sequence[RecoverySource | One], tally: Tally, instead: bool = False) -> Any:
        """Return a batch with the vectors that sources have of its records.

        Args:
            instead: also of records that have one.
        """
        ids, count = batch.column("id"), batch.num_rows
        found, there = np.zeros((count, self._dimension), np.float32), np.zeros(count, np.bool_)
        if not instead:
            there = batches.with_vector(batch)
            found[there] = vectors_of(batch.column("vector").drop_null()) if there.any() else 0
        for source in sources:
            missing = ids.filter(pa.array(~there))
            for other in source.batches(missing) if len(missing) else ():
                usable = batches.with_vector(other)
                where = pc.index_in(other.column("id"), value_set=ids).to_numpy(zero_copy_only=False)[usable]
                found[where] = vectors_of(other.column("vector").drop_null())
                there[where] = True
                tally.gave(source, len(where))
        return batches.replaced(batch, found, ~there)

    def _bare(self, batch: Any, source: RecoverySource, tally: Tally) -> Any:
        tally.records += batch.num_rows
        tally.bare += batch.num_rows
        tally.gave(source, batch.num_rows)
        return self._cast(batch)

    def _left(self, ids: Any, tally: Tally) -> Iterator[Any]:
        """Yield records of which nobody has more than the vector."""
        for source in self._by_id:
            for batch in source.batches(ids) if len(ids) else ():
                batch = batches.masked(batch, batches.with_vector(batch))
                yield self._bare(batch, source, tally)
                ids = ids.filter(pc.invert(pc.is_in(ids, value_set=batch.column("id"))))
        tally.lost += len(ids)
        tally.first_lost += ids.slice(0, _SHOWN - len(tally.first_lost)).to_pylist()

    def _relabelled(self, salvage: RecoverySource, known: Ids, seen: Ids, tally: Tally) -> Iterator[Any]:
        """Yield vectors whose ids are gone, without those that another source has under their id."""
        for batch in salvage.batches():
            batch = batches.masked(batch, ~(known.mask_hashes(batches.vector_hashes(batch)) | seen.mask(batch.column("id"))))
            if batch.num_rows:
                tally.relabelled += batch.num_rows
                yield self._bare(batch, salvage, tally)

    def _cast(self, batch: Any) -> Any:
        return cast_batch(batch, self.schema, self._columns)


def _together(*waiting: Waiting) -> Any:
    return pa.concat_arrays([ids for each in waiting for ids in each.left()])
