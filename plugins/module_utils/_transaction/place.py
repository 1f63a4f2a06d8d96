# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a transaction takes place: the server, the journal, the repository. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload

# Names in the journal.
DELETE, RENAME, UNDO = "delete-collection", "rename-collection", "undo-collection"


@dataclass(frozen=True)
class Place:
    """What a transaction works with.

    Args:
        client: the server; its tenant and database are meant.
        repository: opens, and by the first backup creates, what takes the restore point; None where there is none.
        location: of that repository, for the journal.
        path: data directory of that server; None without access to it.
        journal_path: without access to it: another directory, for the journal and the lock alone.
        workload: the server on a cluster; None on a bare host.
        scratch: a directory for what is made meanwhile; None for the data volume, or the system's temporary directory.
        force: whether a collection with records may be deleted or renamed without a restore point.
        times: attempts at a restore point at most.
    """

    client: ChromaClient
    repository: Callable[[], Repository] | None = None
    location: str = ""
    path: Path | None = None
    journal_path: Path | None = None
    workload: Workload | None = None
    scratch: Path | None = None
    force: bool = False
    times: int = 3

    @property
    def directory(self) -> Path | None:
        """The directory that has journal and lock; None where nothing is written down."""
        return self.path or self.journal_path

    @property
    def journal(self) -> Journal | None:
        """The journal of that directory."""
        return Journal.of(self.directory) if self.directory else None

    @property
    def instance(self) -> str:
        """The instance of the data directory, see :mod:`_backup.instance`; empty where it has none, or nobody reaches it."""
        return read_instance(self.path) if self.path else ""

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``, ``not_found``.
        """
        if self.repository and self.directory is None:
            message = "A restore point without a journal is of no use: nobody would know what it is for."
            raise ChromaError("invalid_value", message, "Set path to the data directory, or journal_path to another one that stays.")
        for each in filter(None, (self.journal_path, self.scratch)):
            if not each.is_dir():
                raise ChromaError("not_found", f"There is no directory {each}.", "Create it, or correct journal_path and scratch_path.")

    def refuse_unkept(self, label: str, records: int) -> None:
        """Refuse a collection with records that would be changed without a restore point.

        Args:
            label: ``tenant/database/name``.

        Raises:
            ChromaError: ``no_restore_point``.
        """
        if records and self.repository is None and not self.force:
            hint = "Set repository (and path or journal_path), so that it can be undone; or force: true, if nobody will miss it."
            raise ChromaError("no_restore_point", f"Collection {label} has {records} records and would get no restore point.", hint)


def points_in_use(directory: Path) -> set[str]:
    """Return the ids of the restore points that transactions which have no end may need."""
    return {str(each.facts["restore_point"]) for each in _open(directory)} - {""}


def unfinished(directory: Path) -> list[str]:
    """Say which transactions were interrupted, for operations that have no way to the server and so can't finish them."""
    return [
        f"{each.operation} of {each.facts['collection']} was interrupted. The next deletion, renaming or undo of a collection finishes it."
        for each in _open(directory)
    ]


def _open(directory: Path) -> list[Entry]:
    return [each for each in Journal.of(directory).open_entries() if each.operation in (DELETE, RENAME, UNDO)]
