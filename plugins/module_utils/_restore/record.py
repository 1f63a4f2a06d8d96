# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore in the journal. FOR INTERNAL COLLECTION USE ONLY.

That it begins has to be written, or it does not begin. After that, a journal for which there is no room must not keep a server down,
nor turn a restore that is done into one that failed: it is a warning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal

RESTORE, UNDO = "restore", "undo-restore"


class Record:
    """An entry that was begun; see :func:`recorded`.

    Args:
        warnings: takes that a line could not be written.

    Attributes:
        facts: what its end is to say.
    """

    def __init__(self, journal: Journal, entry: Entry, warnings: list[str]) -> None:
        self.facts: dict[str, Any] = {}
        self._journal, self._entry, self._warnings = journal, entry, warnings

    def step(self, name: str, **facts: Any) -> None:
        """Say what the operation does now."""
        self._written(lambda: self._journal.step(self._entry, name, **facts))

    def end(self, status: str, **facts: Any) -> None:
        """Say how it ended."""
        self._written(lambda: self._journal.end(self._entry, status, **self.facts, **facts))

    def _written(self, write: Callable[[], None]) -> None:
        try:
            write()
        except ChromaError as error:
            if error.message not in self._warnings:
                self._warnings.append(error.message)


def points_made(directory: Path) -> set[str]:
    """Return the ids of the restore points that restores and undos of a directory made, as its journal has them.

    Raises:
        ChromaError: see :meth:`Journal.lines`.
    """
    lines = (each for each in Journal.of(directory).lines() if each.operation in (RESTORE, UNDO))
    return {str(each.facts.get("restore_point", "")) for each in lines} - {""}


@contextlib.contextmanager
def recorded(directory: Path, operation: str, warnings: list[str], **facts: Any) -> Iterator[Record]:
    """Journal a ``with`` block, and end the entries of attempts that were killed: under the lock of the directory none is at work.

    Raises:
        ChromaError: see :meth:`Journal.begin`; nothing was done then.
    """
    journal = Journal.of(directory)
    for entry in journal.open_entries():
        if entry.operation in (RESTORE, UNDO):
            journal.end(entry, "interrupted")
    record = Record(journal, journal.begin(operation, **facts), warnings)
    try:
        yield record
    except BaseException as error:
        reason = {"code": error.code, "message": error.message} if isinstance(error, ChromaError) else {"error": type(error).__name__}
        record.end("failed", **reason)
        raise
    record.end("done")
