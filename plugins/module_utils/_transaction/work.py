# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The surroundings of one run: its lock, its room, and its entry in the journal. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import check_place
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place


@dataclass
class Work:
    """One run.

    Args:
        place: where it takes place.
        check: whether it only looks.

    Attributes:
        finished: what became of transactions that had been interrupted.
        warnings: what is to be said.
    """

    place: Place
    check: bool = False
    finished: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _opened: Repository | None = None

    @property
    def repository(self) -> Repository | None:
        """The repository, opened when it is needed first; None where there is none."""
        if self._opened is None and self.place.repository is not None:
            self._opened = self.place.repository()
            self.warnings.extend(filter(None, [unreadable(self._opened)]))
        return self._opened

    @contextlib.contextmanager
    def room(self) -> Iterator[Path]:
        """Yield an empty folder; it is removed in the end."""
        place = self.place
        with contextlib.ExitStack() as stack:
            if place.path and not place.scratch:
                yield stack.enter_context(scratch(place.path, f"transaction-{secrets.token_hex(4)}"))
            else:
                yield stack.enter_context(temporary_room("transaction", place.scratch))

    def begin(self, operation: str, **facts: Any) -> Record:
        """Begin an entry of the journal; nothing may have been changed yet.

        Raises:
            ChromaError: see :meth:`Journal.begin`.
        """
        journal = self.place.journal
        return Record(journal, journal.begin(operation, **facts) if journal else None, self.warnings)

    def resume(self, entry: Entry) -> Record:
        """Go on with an entry whose operation died."""
        return Record(self.place.journal, entry, self.warnings)

    def said(self) -> dict[str, Any]:
        """Return what every result has."""
        return {"finished": self.finished, "warnings": self.warnings}


class Record:
    """An entry of the journal, where there is one.

    Args:
        warnings: takes that an end could not be written: what was done stays done.
    """

    def __init__(self, journal: Journal | None, entry: Entry | None, warnings: list[str]) -> None:
        self._journal, self._entry, self._warnings = journal, entry, warnings

    @property
    def number(self) -> int | None:
        """Its number in the journal."""
        return self._entry.n if self._entry else None

    def step(self, name: str, /, **facts: Any) -> None:
        """Say what is done next; it must not be done where that can't be written.

        Raises:
            ChromaError: see :meth:`Journal.begin`.
        """
        if self._journal and self._entry:
            self._journal.step(self._entry, name, **facts)

    def end(self, status: str, /, **facts: Any) -> None:
        """Say how it ended."""
        if self._journal and self._entry:
            try:
                self._journal.end(self._entry, status, **facts)
            except ChromaError as error:
                self._warnings.append(error.message)

    def fail(self, status: str, error: BaseException) -> None:
        """Say that it ended by an error."""
        self.end(status, **reason(error))


def reason(error: BaseException) -> dict[str, str]:
    """Return what the journal says of an error."""
    return {"code": error.code, "message": error.message} if isinstance(error, ChromaError) else {"error": type(error).__name__}


@contextlib.contextmanager
def locked(place: Place, operation: str, check: bool = False) -> Iterator[Work]:
    """Hold the lock of a place for the length of a ``with`` block, after what died operations left on the data volume was made good.

    Args:
        check: only look: nothing is locked or made good.

    Raises:
        ChromaError: ``lock_held``; see :meth:`Place.check` and :func:`_restore.recover.recover`.
    """
    place.check()
    with contextlib.ExitStack() as stack:
        if place.path:
            check_place(place.path)
        if place.directory and not check:
            stack.enter_context(held(place.directory, operation))
        work = Work(place, check)
        if place.path and not check:
            work.warnings += recover(place.path, place.workload).warnings
        yield work


def facts_of(client: ChromaClient, **facts: Any) -> dict[str, Any]:
    """Return what an entry begins with: which server and database are meant, and more."""
    where = client.connection
    return {"url": where.url, "tenant": where.tenant, "database": where.database, **facts}
