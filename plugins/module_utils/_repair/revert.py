# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a repair back. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import folders, image, pieces, rows
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.act import changes_database
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import UNDOING, UNDONE, Quarantine, place_of, write
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import Writer
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import kept_out, refuse_running


@dataclass(frozen=True)
class Reverted:
    """What came back.

    Args:
        exact: whether the very bytes of before are there again.
        rows: number of rows by table, where they came back one by one.
        folders: their names.
    """

    quarantine: Quarantine
    exact: bool
    folders: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)


def is_exact(directory: Path, quarantine: Quarantine, live: bool) -> bool:
    """Return whether the very bytes can come back: nobody has written to the database since, and no server has it open."""
    if not changes_database(quarantine):
        return True
    database = directory / DATABASE
    journal = Path(f"{database}-journal")
    if live or quarantine.database is None or not database.is_file() or (journal.exists() and journal.stat().st_size):
        return False
    return image.sha256_of(database) == quarantine.database.after


def check(directory: Path, quarantine: Quarantine) -> None:
    """Refuse what can't come back, as far as that is to be seen without a lock.

    Raises:
        ChromaError: ``conflict``; ``server_running`` where files are concerned that it has open.
    """
    folders.check_places(directory, place_of(directory, quarantine.id), quarantine.folders)
    if quarantine.pieces:
        # Whoever has written has to stop no server for it.
        pieces.check_unchanged(directory, place_of(directory, quarantine.id), quarantine.pieces, quarantine.changed)
        refuse_running(directory)


def revert(directory: Path, quarantine: Quarantine, live: bool) -> Reverted:
    """Bring back what a repair took away; whatever the moment in which it is killed, doing it again completes it.

    Raises:
        ChromaError: ``conflict``, ``damaged_quarantine``, ``busy``, ``server_running``: nothing was changed, unless it was an undo
            that had been begun before.
    """
    place, former = place_of(directory, quarantine.id), quarantine
    check(directory, quarantine)
    there = _is_back(directory, quarantine)
    exact = there or is_exact(directory, quarantine, live)
    if exact and not there and changes_database(quarantine):
        refuse_running(directory)
    quarantine = write(place, dataclasses.replace(quarantine, state=UNDOING, exact=exact))
    try:
        came = _database(directory, place, quarantine)
    except Exception:
        # Nothing has been changed yet: it is what it was. A signal may come after the change: then the next run completes it.
        if not _is_back(directory, quarantine):
            write(place, former)
        raise
    if quarantine.pieces:
        with kept_out(directory):
            pieces.check_unchanged(directory, place, quarantine.pieces, quarantine.changed)
            pieces.back(directory, place, quarantine.pieces)
    names = folders.back(directory, place, quarantine.folders)
    for name in (image.BEFORE, image.RESTORED):
        # Of a process that was killed.
        (place / name).unlink(missing_ok=True)
    quarantine = write(place, dataclasses.replace(quarantine, state=UNDONE))
    return Reverted(quarantine, exact, names, came)


def _is_back(directory: Path, quarantine: Quarantine) -> bool:
    """Return whether an undo that was begun has brought the very bytes of the database back, and nobody has written to it since."""
    if quarantine.state != UNDOING or not quarantine.exact or quarantine.database is None:
        return False
    return (directory / DATABASE).is_file() and image.sha256_of(directory / DATABASE) == quarantine.database.before


def _database(directory: Path, place: Path, quarantine: Quarantine) -> dict[str, int]:
    if not changes_database(quarantine):
        return {}
    database = directory / DATABASE
    if not quarantine.exact:
        with Writer(database, place / rows.ROWS) as writer, writer.transaction():
            return rows.put_back(writer)
    difference = quarantine.database
    if difference is None:
        raise AssertionError("an exact undo knows what the database was")
    if image.sha256_of(database) != difference.before:
        with kept_out(directory) as handle:
            if handle is None:
                hint = "Run it as the user that Chroma runs as, with the volume mounted writable."
                raise ChromaError("forbidden", f"{database} could not be opened for writing.", hint)
            image.bring_back(handle, database, place / image.BLOCKS, place / image.RESTORED, difference)
    return dict(quarantine.rows)
