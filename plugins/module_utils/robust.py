# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting and renaming collections so that it can be undone, for programs of your own: docs/collections.md.

Needs no Ansible beyond ansible-core's ``module_utils``, but restic and pyarrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.opening import open_or_create
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import check_apart, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings, check_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

__all__ = ["ChromaError", "RobustManager", "StoreSettings", "safe_delete_collection", "safe_rename_collection"]

# Seconds for one answer: of a large batch in a large index.
_TIMEOUT = 300.0


@dataclass(frozen=True)
class RobustManager:
    """A server, and where restore points and journal are.

    Args:
        url: of the server.
        repository: a directory, or ``s3://bucket/prefix``.
        password: of the repository; empty where ``password_file`` has it.
        path: data directory of the server, where it can be reached; it has the journal then.
        journal_path: where it can't, another directory that stays, for the journal.
        token: of the server.
        tenant, database: that are meant.
        ca_path: PEM certificates that are trusted instead of the system's.
        store: how to reach an object store.
        restic_path: the program restic.
    """

    url: str
    repository: str
    password: str = field(default="", repr=False)
    password_file: str = ""
    path: Path | str | None = None
    journal_path: Path | str | None = None
    token: str | None = field(default=None, repr=False)
    tenant: str = "default_tenant"
    database: str = "default_database"
    ca_path: str | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    restic_path: str = "restic"

    def safe_delete_collection(self, collection_name: str) -> dict[str, Any]:
        """Delete a collection, see :func:`_transaction.delete.delete_collection`.

        Returns:
            What was done, ``restore_point`` and ``entry`` among it.

        Raises:
            ChromaError: ``not_found`` where there is none; otherwise its records are as they were, unless ``rolled_back`` in the result
                says otherwise.
        """
        place = self._place(create=True)
        done = delete_collection(place, collection_name)
        if not done["collection"] and not done["finished"]:
            place.client.require_collection(collection_name)
        return done

    def safe_rename_collection(self, old_name: str, new_name: str) -> dict[str, Any]:
        """Rename a collection, see :func:`_transaction.rename.rename_collection`.

        Raises:
            ChromaError: ``not_found``, ``conflict`` where the new name is taken, and more; it has its old name then.
        """
        return rename_collection(self._place(create=True), old_name, new_name)

    def undo(self, entry: int | None = None) -> dict[str, Any]:
        """Undo a deletion or renaming, by default the last one that was not undone; see :func:`_transaction.undo.undo_collection`."""
        return undo_collection(self._place(create=False), entry)

    def _place(self, create: bool) -> Place:
        settings = RepositorySettings(self.repository, self.password, self.password_file, self.store, self.restic_path)
        check_settings(settings)
        path = Path(self.path) if self.path else None
        if path:
            check_apart(settings, path)
        connection = Connection(self.url, self.token, tenant=self.tenant, database=self.database, ca_path=self.ca_path, timeout=_TIMEOUT)
        return Place(
            ChromaClient(connection),
            partial(open_or_create, settings, path) if create else partial(open_repository, settings),
            settings.location,
            path,
            Path(self.journal_path) if self.journal_path else None,
        )


def safe_delete_collection(collection_name: str, **settings: Any) -> dict[str, Any]:
    """Delete a collection; ``settings`` are those of :class:`RobustManager`."""
    return RobustManager(**settings).safe_delete_collection(collection_name)


def safe_rename_collection(old_name: str, new_name: str, **settings: Any) -> dict[str, Any]:
    """Rename a collection; ``settings`` are those of :class:`RobustManager`."""
    return RobustManager(**settings).safe_rename_collection(old_name, new_name)
