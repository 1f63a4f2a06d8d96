# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections of a data directory or a server as new generations in PostgreSQL. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import state_key
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import DirectorySource, Source, SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held_if_writable
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import making
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres, connected
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import Frames, frames
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation, generations
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.retention import KEEP, KEEP_DAYS, largest, too_many
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import (
    MOST_DIMENSIONS,
    VECTOR,
    Layout,
    ensure_layout,
    read_layout,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress, emit
from ansible_collections.thinkube.chroma.plugins.module_utils._psycopg import psycopg
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import MARK as RECOVERY
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA, new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.half import half_done
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import MARK as FAULT

EXPORT = "export-postgres"
SHRINK_SHARE = 0.5
# What is wrong with one collection, and says nothing of the others.
_OF_COLLECTION = frozenset(
    {
        "collection_changed",
        "damaged",
        "invalid_embedding",
        "missing_vectors",
        "not_verified",
        "server_error",
        "source_empty",
        "source_incomplete",
        "source_shrunken",
        "unsupported",
    }
)
# A server writes to the directory.
_LIVE = ("busy", "directory_changed")


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Args:
        collections: names, ids, or ``tenant/database/name``; None means all.
        embedding_type: one of ``schema.EMBEDDINGS``.
        keep_generations: that are kept beside each current one.
        keep_days: of which the last generation is kept, too.
        shrink_share: of the largest generation's records may be gone, 0 to 1.
        allow_shrink: whether more may be; from then on that number counts.
    """

    collections: Sequence[str] | None = None
    embedding_type: str = "auto"
    keep_generations: int = KEEP
    keep_days: int = KEEP_DAYS
    shrink_share: float = SHRINK_SHARE
    allow_shrink: bool = False


@dataclass
class Done:
    """What became of the collections so far; of two attempts, the second goes on with it.

    Args:
        halves: see :func:`_transaction.half.half_done`; nothing is known of a server.
        collections: id → what the user is shown.
        removed: numbers of generations.
        where: table and type of the vectors.
        refused: why the first one was not exported that was not.
    """

    halves: Mapping[str, str] = field(default_factory=dict)
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)
    refused: ChromaError | None = None

    def result(self) -> dict[str, Any]:
        """Return it as a user is shown it."""
        changed = bool(self.removed) or any(each["status"] in ("exported", "planned") for each in self.collections.values())
        return {"changed": changed, **self.where, "collections": list(self.collections.values()), "removed": sorted(self.removed)}


def export_directory(
    path: str, settings: PostgresSettings, wanted: Wanted, check: bool = False, scratch: str | None = None
) -> dict[str, Any]:
    """Export collections of a data directory, live or not.

    It is read as it is. Where a server turns out to write to it, a consistent copy is made, and read. Its lock is held, where that is
    possible: no other operation deletes or fills a collection meanwhile.

    Args:
        scratch: directory for that copy.

    Returns, Raises:
        See :func:`export_server`, and what the reader of directories and ``_snapshot.take`` report.
    """
    done, original = Done(), Path(path)
    with contextlib.ExitStack() as stack:
        if not check and (original / DATABASE).is_file():
            stack.enter_context(held_if_writable(original, EXPORT))
        try:
            with open_directory(path, scratch) as directory:
                # After it was opened: what begins later is seen as a change.
                done.halves = _halves(original)
                return _export(DirectorySource(directory), settings, wanted, check, done)
        except ChromaError as error:
            if error.code not in _LIVE:
                raise
        folder = stack.enter_context(temporary_room("export", scratch))
        copy = folder / "copy"
        take(original, copy, About(new_id()))
        with open_directory(copy / DATA, scratch) as directory:
            done.halves = _halves(original)
            return _export(_Copy(directory), settings, wanted, check, done)


def export_server(client: ChromaClient, settings: PostgresSettings, wanted: Wanted, check: bool = False) -> dict[str, Any]:
    """Export collections of a server's database by its API.

    Returns:
        ``changed``, ``table``, ``embedding_type``, ``collections`` (each with its ``status``), ``removed``.

    Raises:
        ChromaError: ``lock_held``; ``source_empty``, ``source_incomplete``, ``source_shrunken``, ``missing_vectors``,
            ``collection_changed`` and others of one collection, after the others were exported; those of connection, layout and source;
            with the same in its result.
    """
    return _export(ServerSource(client), settings, wanted, check, Done())


class _Copy(DirectorySource):
    """A copy, of which the same state has another fingerprint each time."""

    lasts = 0.0


def check_whole(collection: SourceCollection, halves: Mapping[str, str]) -> None:
    """Refuse a collection that an operation has left half, or has at work at this moment.

    Args:
        halves: see :func:`_transaction.half.half_done`.

    Raises:
        ChromaError: ``source_incomplete``.
    """
    label = f"{collection.tenant}/{collection.database}/{collection.name}"
    if said := halves.get(collection.id) or halves.get(label):
        what, hint = f"{said} has not ended", "The next deletion, renaming or undo of a collection finishes it."
    elif RECOVERY in collection.metadata:
        what, hint = f"a recovery fills it ({RECOVERY} in its metadata)", "42_recover completes or removes it."
    elif FAULT in collection.metadata:
        what = f"a check or an import from PostgreSQL fills it ({FAULT} in its metadata)"
        hint = "The next 45_check_collection, or the same 44_import_postgres again, completes it; else delete it."
    else:
        return
    message = f"Collection {collection.name} may be half: {what}."
    raise ChromaError("source_incomplete", message, f"{hint} The current generation stays.")


def check_source(collection: SourceCollection, best: Generation | None, wanted: Wanted) -> None:
    """Refuse a source that lost what PostgreSQL still has.

    Args:
        best: see :func:`retention.largest`.

    Raises:
        ChromaError: ``source_empty`` or ``source_shrunken``.
    """
    if best is None or wanted.allow_shrink:
        return
    hint = "Run 40_validate, or look who removed them; set allow_shrink where that was intended. The current generation stays."
    had = f"generation {best.number} of {best.created} has {best.records}"
    if best.records and not collection.records:
        raise ChromaError("source_empty", f"Collection {collection.name} is empty, and {had}.", hint)
    if collection.records < (1 - wanted.shrink_share) * best.records:
        message = f"Collection {collection.name} has {collection.records} records, and {had}."
        raise ChromaError("source_shrunken", message, hint)


def check_wanted(wanted: Wanted) -> None:
    """Refuse settings that can't be meant.

    Raises:
        ChromaError: ``invalid_value``.
    """
    if wanted.keep_generations < 0:
        raise ChromaError("invalid_value", f"keep_generations is {wanted.keep_generations}.", "0 keeps none for their number.")
    if wanted.keep_days < 0:
        raise ChromaError("invalid_value", f"keep_days is {wanted.keep_days}.", "0 keeps none for their day.")
    if not 0 <= wanted.shrink_share <= 1:
        raise ChromaError("invalid_value", f"shrink_share is {wanted.shrink_share}.", "Set a share from 0 to 1.")


def _halves(directory: Path) -> Mapping[str, str]:
    """Return :func:`half_done`; nothing where the journal is another user's, who lets nobody read it."""
    try:
        return half_done(directory)
    except ChromaError as error:
        if error.code != "forbidden":
            raise
        emit("warning", message=f"{error.message} Whether a transaction has left a collection half is not known.")
        return {}


def _export(source: Source, settings: PostgresSettings, wanted: Wanted, check: bool, done: Done) -> dict[str, Any]:
    check_wanted(wanted)
    with connected(settings) as postgres:
        try:
            with postgres.attempting("Could not export"):
                _work(source, postgres, wanted, check, done)
        except ChromaError as error:
            error.result = {**done.result(), **error.result}
            raise
    if done.refused:
        raise ChromaError(done.refused.code, done.refused.message, done.refused.hint, done.result())
    return done.result()


def _work(source: Source, postgres: Postgres, wanted: Wanted, check: bool, done: Done) -> None:
    collections = source.select(wanted.collections)
    layout = read_layout(postgres, wanted.embedding_type)
    done.where = {"table": f"{postgres.schema}.{postgres.table}", "embedding_type": layout.embedding}
    if check:
        _each(source, postgres, layout, collections, wanted, True, done)
        return
    with making.exporting(postgres):
        layout = ensure_layout(postgres, wanted.embedding_type)
        done.where["embedding_type"] = layout.embedding
        done.removed += making.drop_leftovers(postgres)
        _each(source, postgres, layout, collections, wanted, False, done)


def _each(
    source: Source, postgres: Postgres, layout: Layout, collections: Sequence[SourceCollection], wanted: Wanted, check: bool, done: Done
) -> None:
    """Export one collection after the other; what is wrong with one does not keep the others."""
    with Progress("export", total=sum(each.records for each in collections)) as progress:
        for collection in collections:
            if collection.id in done.collections:
                continue
            every = _generations(postgres, collection)
            current = next((each for each in every if each.current), None)
            number = current.number if current else None
            about: dict[str, Any] = {"collection": collection.name, "tenant": collection.tenant, "database": collection.database}
            about |= {"records": collection.records, "generation": number, "previous": number, "code": None, "message": ""}
            try:
                check_whole(collection, done.halves)
                check_source(collection, largest(every), wanted)
                if current and _unchanged(source, postgres, layout, collection, current):
                    about["status"] = "unchanged"
                    if not check:
                        making.confirm(postgres, current.number, wanted.allow_shrink)
                elif check:
                    about["status"] = "planned"
                else:
                    made = _generation(source, postgres, layout, collection, wanted.allow_shrink, progress)
                    about |= {"status": "exported", "generation": made}
            except ChromaError as error:
                if error.code not in _OF_COLLECTION:
                    raise
                about |= {"status": "refused", "code": error.code, "message": f"{error.message} {error.hint}"}
                done.refused = done.refused or error
            done.collections[collection.id] = about
            if not check:
                doomed = too_many(_generations(postgres, collection), wanted.keep_generations, wanted.keep_days)
                done.removed += [each.number for each in doomed if making.remove(postgres, each)]


def _generations(postgres: Postgres, collection: SourceCollection) -> list[Generation]:
    place = (collection.tenant, collection.database, collection.name)
    return [each for each in generations(postgres) if each.place == place]


def _unchanged(source: Source, postgres: Postgres, layout: Layout, collection: SourceCollection, current: Generation) -> bool:
    """Whether the current generation is of the same state of the same directory, and still as it was exported."""
    if current.fingerprint is None or current.source_id != collection.id or current.fingerprint != _fingerprint(source, collection):
        return False
    return making.intact(postgres, layout, current)


def _fingerprint(source: Source, collection: SourceCollection) -> str | None:
    """Return the state of a directory; of a server or a copy nothing can be called the same."""
    return state_key(source.fingerprint([collection])) if math.isinf(source.lasts) else None


def _generation(
    source: Source, postgres: Postgres, layout: Layout, collection: SourceCollection, accepted: bool, progress: Progress
) -> int:
    """Make a generation of one collection the current one, and return its number."""
    fingerprint = _fingerprint(source, collection)
    schema = source.schema(collection)
    columns, dimension = columns_of(schema), getattr(schema.field("vector").type, "list_size", None)
    if layout.embedding == VECTOR and (dimension or 0) > MOST_DIMENSIONS:
        message = f"The vectors of collection {collection.name} have {dimension} dimensions, pgvector takes {MOST_DIMENSIONS}."
        raise ChromaError("unsupported", message, "Set embedding_type to real[], with another BACKUP_TABLE.")

    def rows() -> Iterator[Frames]:
        for batch in source.batches(collection, 0):
            yield frames(batch, columns, layout.embedding, collection.name)
            progress.advance(batch.num_rows)

    number = making.begin(postgres)
    try:
        records, checksum = making.fill(postgres, number, rows())
        source.confirm([collection])
        if records != collection.records:
            message = f"{records} records of collection {collection.name} were read, and {collection.records} were counted before."
            raise ChromaError("collection_changed", message, "Run it again when nobody writes. The current generation stays.")
        if (found := making.measured(postgres, layout, number, dimension)) != (records, checksum):
            message = f"PostgreSQL holds {found[0]} records of collection {collection.name}, {records} were sent, or not the same ones."
            raise ChromaError("not_verified", message, "Look at PostgreSQL's log. The current generation stays.")
        facts = {"source": source.kind, "fingerprint": fingerprint, "records": records, "dimension": dimension}
        making.switch(postgres, number, collection, {**facts, "columns": columns, "checksum": checksum, "accepted": accepted})
    except BaseException:
        # Where the connection is gone, the next export does it.
        with contextlib.suppress(psycopg.Error):
            making.drop_leftovers(postgres)
        raise
    if not any(each.number == number and each.current for each in _generations(postgres, collection)):
        message = f"Generation {number} of collection {collection.name} is not the current one after it was made so."
        raise ChromaError("not_verified", message, "Look who else writes to these tables.")
    return number
