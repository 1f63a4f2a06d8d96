# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doing what a plan says: first the quarantine, on disk and with its manifest; then the change. FOR INTERNAL COLLECTION USE ONLY.

Each thing that is done can be done again: rows that are gone are not found, folders that have moved are not there. So whoever finds a
quarantine that was begun does all of it once more.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.lineage import end_lineage
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import folders, fulltext, image, pieces, rows
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import (
    ACTED,
    FOLDERS,
    PIECES,
    Quarantine,
    make_place,
    place_of,
    publish,
    write,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import FULL_TEXT, RepairPlan
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import Writer
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import kept_out, refuse_running
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree, sync

# What of a finding is worth keeping.
_KEPT = ("id", "severity", "collection", "segment", "message")

# Instead of a number of commits: whether the database of before was kept.
_UNTRIED, _FAILED = -1, -2


@dataclass(frozen=True)
class Prepared:
    """A quarantine that is on disk, with nothing moved yet.

    Args:
        stamps: what the folders looked like when they were read.
        kept_log: whether the log entries of no collection have to stay.
    """

    quarantine: Quarantine
    stamps: Mapping[str, folders.Stamp]
    kept_log: bool


def prepare(directory: Path, identifier: str, plan: RepairPlan, report: Report, live: bool) -> Prepared:
    """Write the quarantine and its manifest; nothing is changed.

    Raises:
        ChromaError: ``no_space``, ``forbidden``, ``busy``, ``unsupported``.
        Damaged: the directory is not what it was when it was validated.
    """
    place = make_place(directory, identifier)
    try:
        database = directory / DATABASE
        with Writer(database, None) as writer, writer.transaction():
            pass  # What a server that was killed has left half done is taken back by that, as the next server would.
        counts = rows.collect(place / rows.ROWS, database, plan.steps, live)
        kept_log = rows.keep_log(place / rows.ROWS, database)
        steps = tuple(each for each in plan.steps if not (kept_log and each.finding == "CHR064"))
        names = folders.wanted(directory, steps)
        stamps, checksums = folders.look(directory, names)
        changes = pieces.plan_pieces(directory, steps)
        if changes:
            pieces.keep(directory, place, changes)
        sync(place / rows.ROWS, place)
        quarantine = Quarantine(
            id=identifier,
            live=live,
            steps=tuple({**each.as_result(), "subject": each.subject} for each in steps),
            findings=tuple(_kept(report)),
            folders=names,
            pieces=changes,
            changed={path: (was, "") for path, was in pieces.checksums(directory, changes).items()},
            rows={table: number for table, number in counts.items() if not (kept_log and table == "embeddings_queue")},
            rebuilt=any(each.how == FULL_TEXT for each in steps),
            checksums={**checksums, **_own(place)},
        )
        return Prepared(publish(directory, place, quarantine), stamps, kept_log)
    except BaseException:
        remove_tree(place)
        raise


def act(directory: Path, quarantine: Quarantine, stamps: Mapping[str, folders.Stamp] | None, live: bool) -> Quarantine:
    """Do what a quarantine was made for, and write what became of it.

    Args:
        stamps: of :func:`prepare`; None where another process made it and died: then nobody knows what the database was before.
        live: whether a server may be writing.

    Returns:
        The quarantine, in state ``acted``.

    Raises:
        ChromaError: ``conflict`` where somebody else has written to a file that is to be changed.
    """
    place, database = place_of(directory, quarantine.id), directory / DATABASE
    if quarantine.pieces:
        refuse_running(directory)
    if "embeddings_queue" in quarantine.rows:
        # The log may count from a smaller number now, and an increment goes by these numbers.
        end_lineage(directory)
    try:
        difference = _change(directory, place, quarantine, stamps, live)
    finally:
        (place / image.BEFORE).unlink(missing_ok=True)
    if quarantine.pieces:
        with kept_out(directory):
            pieces.check_unchanged(directory, place, quarantine.pieces, quarantine.changed)
            pieces.put(directory, quarantine.pieces)
    counts = rows.drop_untaken(place / rows.ROWS, database)
    sync(place / rows.ROWS)
    moved = folders.taken(place, quarantine.folders)
    now = pieces.checksums(directory, quarantine.pieces)
    known = {name: each for folder in moved for name, each in _of(folder, quarantine.checksums).items()}
    done = dataclasses.replace(
        quarantine,
        state=ACTED,
        live=live,
        folders=moved,
        rows=counts,
        database=difference,
        changed={path: (was, now[path]) for path, (was, _none) in quarantine.changed.items()},
        checksums={**known, **_own(place)},
    )
    return write(place, done)


def changes_database(quarantine: Quarantine) -> bool:
    """Return whether a repair writes to the database."""
    return bool(quarantine.rows) or quarantine.rebuilt


def _change(
    directory: Path, place: Path, quarantine: Quarantine, stamps: Mapping[str, folders.Stamp] | None, live: bool
) -> image.Difference | None:
    """Remove the rows, build the index, move the folders; return what the database was before and is afterwards, if that is known."""
    there = stamps if stamps is not None else _unchanged(directory, quarantine)
    with Writer(directory / DATABASE, place / rows.ROWS) as writer:
        keep = stamps is not None and changes_database(quarantine) and _has_room(writer, place, live)
        commits = _UNTRIED
        work = list(rows.windows(writer, live))
        # Beside a server one transaction for each piece of work, so that writers come in between.
        for group in [[each] for each in work] if live else [work]:
            with writer.transaction():
                if keep and commits == _UNTRIED:
                    commits = _keep(writer, place)
                for table, above, upto in group:
                    rows.remove(writer, table, above, upto, quarantine.rebuilt)
                if any(table == "embeddings_queue" for table, _above, _upto in group):
                    rows.check_log(writer)
        with writer.transaction():
            if keep and commits == _UNTRIED:
                commits = _keep(writer, place)
            if any(each["finding"] == "CHR066" for each in quarantine.steps):
                rows.clear_nulls(writer)
            if quarantine.rebuilt:
                fulltext.rebuild(writer)
            folders.move(writer, directory, place, quarantine.folders, there)
        if commits < 0:
            return None
        with writer.transaction():
            # Where somebody has written in between, the bytes of before are those of nothing.
            if writer.commits() != commits:
                return None
            return image.compare(writer.handle, place / image.BEFORE, place / image.BLOCKS)


def _keep(writer: Writer, place: Path) -> int:
    """Copy the database, and return the number of its commits; a full volume costs the very bytes, and is no reason to fail."""
    try:
        image.keep(writer.handle, place / image.BEFORE)
    except OSError:
        (place / image.BEFORE).unlink(missing_ok=True)
        return _FAILED
    return writer.commits()


def _has_room(writer: Writer, place: Path, live: bool) -> bool:
    size = os.fstat(writer.handle).st_size
    if live and size > image.LIVE_BYTES:
        return False
    try:
        check_room(place, 2 * size)
    except ChromaError:
        return False
    return True


def _unchanged(directory: Path, quarantine: Quarantine) -> Mapping[str, folders.Stamp]:
    """Return the stamps of the folders that still hold what the manifest says; by that an undo knows them again, so others stay."""
    stamps, checksums = folders.look(directory, [name for name in quarantine.folders if (directory / name).is_dir()])
    return {name: each for name, each in stamps.items() if _of(name, checksums) == _of(name, quarantine.checksums)}


def _of(folder: str, checksums: Mapping[str, str]) -> dict[str, str]:
    return {name: each for name, each in checksums.items() if name.startswith(f"{FOLDERS}/{folder}/")}


def _own(place: Path) -> dict[str, str]:
    """Return the checksums of the quarantine's own files."""
    return {name: image.sha256_of(place / name) for name in (rows.ROWS, PIECES, image.BLOCKS) if (place / name).is_file()}


def _kept(report: Report) -> list[dict[str, object]]:
    return [{**{key: each.as_result()[key] for key in _KEPT}, "subject": each.subject} for each in report.findings]
