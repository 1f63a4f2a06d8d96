# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening a repository, which the first operation that needs it makes. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import NAME as INSTANCE
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.leftovers import History, read_history
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot


def existing(settings: RepositorySettings, gone: Gone, known: Sequence[Snapshot] = ()) -> Repository | None:
    """Open the repository, see :func:`open_repository`; return None where the first backup would create it."""
    try:
        return open_repository(settings, gone=gone, known=known)
    except ChromaError as error:
        if error.code != "no_repository":
            raise
        return None


def open_or_create(settings: RepositorySettings, directory: Path | None, gone: Gone = lambda _hostname: False) -> Repository:
    """Open the repository that takes the restore points of collections, or make it where there is none.

    Args:
        directory: data directory of the server; None without access to it.

    Raises:
        ChromaError: see :func:`open_repository` and :func:`refuse_lost`.
    """
    repository = existing(settings, gone)
    if repository is None:
        if directory:
            refuse_lost(directory, read_history(directory), settings)
        repository = open_repository(settings, create=True, gone=gone)
    return repository


def refuse_lost(directory: Path, history: History, settings: RepositorySettings) -> None:
    """Refuse to make a repository where the directory's backups were in one: most likely a volume is not mounted.

    Raises:
        ChromaError: ``no_repository``.
    """
    instance = read_instance(directory)
    if instance and (instance, settings.location) in history.repositories:
        raise ChromaError(
            "no_repository",
            f"There is no repository at {settings.location} any more, and backups of {directory} went there.",
            f"Mount its volume, or correct repository. If it is lost: remove {directory / PRIVATE / INSTANCE}, and the backups begin anew.",
        )
