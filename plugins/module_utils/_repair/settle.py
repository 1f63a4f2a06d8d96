# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking again after a repair, and closing it; also for one whose process died. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import LOCK_HELD, RETRYABLE, exit_code
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import pieces
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.act import act
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import (
    BEGUN,
    DONE,
    STUCK,
    UNDOING,
    UNSETTLED,
    Quarantine,
    new_places,
    place_of,
    quarantines,
    read,
    write,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import PURGE, REPAIR, UNDO
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.revert import revert
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rows import ROWS
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import worded
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree

# What may pass, besides what _operation.py calls so.
_PASSING = frozenset({"forbidden", "missing_library", "no_space", "server_running"})
# Findings that are repaired in files.
_OF_FILES = frozenset({"CHR034", "CHR055"})
# What clients and servers bring about while a repair is looked at again, and a repair never does.
_OF_OTHERS = frozenset({"CHR019", "CHR038", "CHR063", "CHR065", "CHR066", "CHR083"})
_LEAVINGS = frozenset({"CHR016", "CHR017", "CHR064", "CHR080", "CHR081", "CHR082", "CHR085"})


@dataclass(frozen=True)
class Closed:
    """A repair that was looked at again.

    Args:
        left: keys of its findings that are still there, see :attr:`Finding.key`: they changed meanwhile, or a server left new ones.
        warnings: what could not be looked at.
    """

    quarantine: Quarantine
    left: frozenset[tuple[str, str, str, str]] = frozenset()
    warnings: tuple[str, ...] = ()


def close(directory: Path, quarantine: Quarantine, live: bool, known: Collection[str] | None = None) -> Closed:
    """Validate a directory after a repair; take the repair back where it is not right.

    Args:
        quarantine: in state ``acted``.
        live: whether a server may be writing.
        known: what the validation before the repair could not look at either; None where that is not known.

    Raises:
        ChromaError: ``not_verified``, after all of it was taken back.
    """
    report = validate(directory, live=live)
    if live and not report.decided:
        # A busy server was in the way, perhaps.
        report = validate(directory, live=live)
    wrong = problems(directory, quarantine, report, live)
    unseen = [*report.skipped, *report.unconfirmed]
    if not wrong and (live or known is None or set(unseen) <= set(known)):
        there = frozenset(each.key for each in report.findings) & {_key(each, "finding") for each in quarantine.steps}
        done = write(place_of(directory, quarantine.id), dataclasses.replace(quarantine, state=DONE))
        return Closed(done, there, tuple(f"After the repair this was not read back: {each}" for each in unseen))
    revert(directory, quarantine, live)
    found = "; ".join([f"{each.kind.id} {each.collection} {each.message}".replace("  ", " ") for each in wrong[:5]] or unseen[:5])
    raise ChromaError(
        "not_verified",
        f"After the repair {quarantine.id} {directory} was not right: {found} All of it was taken back.",
        "Run data.validate. What another repair does not mend either: 42_recover or 30_restore.",
        {"quarantine": quarantine.id, "found": [each.as_result() for each in wrong[:20]]},
    )


def problems(directory: Path, quarantine: Quarantine, report: Report, live: bool) -> list[Finding]:
    """Return what should be gone and is not, and what is new."""
    repaired = {_key(each, "finding") for each in quarantine.steps}
    before = {_key(each, "id") for each in quarantine.findings}
    wrong = []
    for each in report.of_data:
        if each.key in repaired:
            if not live or _is_ours(directory, quarantine, each):
                wrong.append(each)
        elif each.key not in before and each.kind.id not in _OF_OTHERS and not (live and each.kind.id in _LEAVINGS):
            wrong.append(each)
    return wrong


def unsettled(directory: Path) -> list[Quarantine]:
    """Return the repairs and undos that were begun and have no end; one that was changed since is none, and is refused by its undo."""
    found = []
    for place in quarantines(directory):
        with contextlib.suppress(ChromaError):
            found.append(read(place))
    return [each for each in found if each.state in UNSETTLED]


@dataclass(frozen=True)
class Settled:
    """What became of repairs and undos that were begun.

    Args:
        completed: ids of those that are at their end.
        warnings: sentences about those that can't be brought there, and about quarantines that can't be read.
    """

    completed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def settle(directory: Path, live: bool) -> Settled:
    """Bring repairs and undos to their end whose process died, and end their entries in the journal.

    Under the lock of the directory. What can't be brought to its end, for somebody has written since, or for the directory or the
    quarantine is damaged, is kept as it is, in state ``stuck``: it must not keep others from working, least of all a restoration.

    Raises:
        ChromaError: what hinders that and may pass, such as ``busy``, ``server_running``, ``no_space``; the next run tries again.
    """
    with worded(directory):
        return _settle_all(directory, live)


def _settle_all(directory: Path, live: bool) -> Settled:
    for place in new_places(directory):
        remove_tree(place)
    completed, warnings = [], _unreadable(directory)
    found = unsettled(directory)
    if found:
        require_data_libraries()
    for each in found:
        try:
            warnings += _settle(directory, each, live)
            completed.append(each.id)
        except ChromaError as error:
            if error.code in _PASSING or exit_code(error.code) in (RETRYABLE, LOCK_HELD):
                raise
            place = place_of(directory, each.id)
            was = "undo" if read(place).state == UNDOING else "repair"
            reason = f"The {was} {each.id} was interrupted, and can't be brought to its end: {error.message}"
            write(place, dataclasses.replace(read(place), state=STUCK, reason=reason))
            warnings.append(f"{reason} What it took away is kept in {place}.")
    _end_entries(directory)
    return Settled(tuple(completed), tuple(warnings))


def needs_stop(directory: Path, quarantine: Quarantine) -> bool:
    """Return whether a repair or undo that was begun can only be brought to its end while the server does not run."""
    return bool(quarantine.pieces) and _untouched(directory, quarantine)


def _settle(directory: Path, quarantine: Quarantine, live: bool) -> tuple[str, ...]:
    if quarantine.state == UNDOING:
        revert(directory, quarantine, live)
        return ()
    if quarantine.state == BEGUN:
        if not _untouched(directory, quarantine):
            # A server has saved the index since: what was to be changed in its files is not there any more. The rest goes on.
            steps = tuple(each for each in quarantine.steps if each["finding"] not in _OF_FILES)
            quarantine = dataclasses.replace(quarantine, steps=steps, pieces=(), changed={})
        quarantine = act(directory, quarantine, None, live)
    try:
        return close(directory, quarantine, live).warnings
    except ChromaError as error:
        if error.code != "not_verified":
            raise
        return (error.message,)


def _untouched(directory: Path, quarantine: Quarantine) -> bool:
    """Return whether nobody but the repair has written to the files that it changes; also where the quarantine has lost their bytes."""
    try:
        pieces.check_unchanged(directory, place_of(directory, quarantine.id), quarantine.pieces, quarantine.changed)
    except ChromaError:
        return False
    return True


def _unreadable(directory: Path) -> list[str]:
    """Return a sentence for each quarantine whose manifest can't be used."""
    found = []
    for place in quarantines(directory):
        try:
            read(place)
        except ChromaError as error:
            found.append(f"{error.message} {error.hint}")
    return found


def _end_entries(directory: Path) -> None:
    journal = Journal.of(directory)
    if journal.path.exists():
        for entry in journal.open_entries():
            if entry.operation in (REPAIR, UNDO, PURGE):
                journal.end(entry, "interrupted")


def _key(said: object, name: str) -> tuple[str, str, str, str]:
    values = said if isinstance(said, dict) else {}
    return values[name], values["collection"], values["segment"], values["subject"]


def _is_ours(directory: Path, quarantine: Quarantine, found: Finding) -> bool:
    """Return whether a finding is about the very rows or folder that were taken away; a server leaves new ones all the time."""
    if found.subject in quarantine.folders:
        return True
    numbers = [row for row in found.rows if isinstance(row, int)]
    if not numbers:
        return found.kind.id not in _LEAVINGS
    marks = ",".join(map(str, numbers))
    path = place_of(directory, quarantine.id) / ROWS
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (found.subject,)).fetchone():
            return found.kind.id not in _LEAVINGS
        column = "rowid_" if found.kind.id not in ("CHR081", "CHR082") else "id"
        return store.execute(f'SELECT 1 FROM "{found.subject}" WHERE "{column}" IN ({marks})').fetchone() is not None
