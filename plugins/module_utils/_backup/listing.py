# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listing backups, and which of them a damage of the repository concerns. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of, holds
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.table import render
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.ticking import ticking
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import as_result, select
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import KINDS, MANIFEST, parse_manifest

NO_DAMAGE: dict[str, Any] = {"backups": [], "files": [], "packs": [], "complaints": []}


@dataclass(frozen=True)
class Filter:
    """Which backups are listed.

    Args:
        backup: this one; ``not_found`` where it is not there.
        kind, collection, verified, since: see :func:`catalogue.select`.
    """

    backup: str = ""
    kind: str = ""
    collection: str = ""
    verified: bool | None = None
    since: datetime | None = None

    def check(self) -> None:
        """Refuse what can't be meant: ``invalid_value``."""
        if self.kind and self.kind not in KINDS:
            raise ChromaError("invalid_value", f"kind is {self.kind!r}.", f"Choose one of {', '.join(KINDS)}.")


def list_backups(settings: RepositorySettings, wanted: Filter, check: bool = False, gone: Gone = lambda _hostname: False) -> dict[str, Any]:
    """List the backups of a repository, newest first.

    Args:
        check: read the whole repository, and say which backups are damaged.
        gone: says whether a host that left a lock in the repository is gone for sure.

    Returns:
        ``backups`` (see :func:`catalogue.as_result`, and ``damaged`` where that was checked), ``damage``, ``newest`` (the id of the newest
        that was proven and can be restored; empty for none), ``table``, ``unreadable`` (ids of snapshots that nobody can read, and that may
        be any backup), ``warnings``.

    Raises:
        ChromaError: ``not_found``, ``invalid_value``; see :func:`open_repository`.
    """
    wanted.check()
    repository = open_repository(settings, gone=gone)
    catalogue = catalogue_of(repository.snapshots())
    found = _found(repository, catalogue, wanted)
    damage = _check(repository) if check else NO_DAMAGE
    said = unreadable(repository)
    newest = catalogue.newest(verified=True)
    hurt = {each.id for each in catalogue.backups if set(damage["backups"]) & {needed.id for needed in catalogue.chain(each).backups}}
    return {
        "backups": [{**as_result(catalogue, each), **({"damaged": each.id in hurt} if check else {})} for each in found],
        "damage": damage,
        "newest": newest.id if newest else "",
        "table": [*render(catalogue, found, datetime.now(UTC), hurt), *([said] if said else [])],
        "unreadable": list(repository.unreadable),
        "warnings": [said] if said else [],
    }


def _found(repository: Repository, catalogue: Catalogue, wanted: Filter) -> list[Backup]:
    if wanted.backup:
        return [catalogue.require(wanted.backup)]
    found = select(catalogue, wanted.kind, wanted.collection, wanted.verified, wanted.since)
    return [each for each in found if not wanted.collection or _holds(repository, each, wanted.collection)]


def _holds(repository: Repository, backup: Backup, name: str) -> bool:
    """Return whether a backup holds a collection; its manifest is asked where the tags do not say it."""
    known = holds(backup, name)
    if known is None:
        manifest = parse_manifest(repository.read_file(backup.snapshot, MANIFEST), backup.id)
        return any(name in (each.name, each.label) for each in manifest.collections)
    return known


def _check(repository: Repository) -> dict[str, Any]:
    try:
        with ticking("check"):
            repository.check(read_data=True, lock=False)
    except ChromaError as error:
        if error.code != "damaged_repository":
            raise
        return {key: list(error.result.get(key, ())) for key in NO_DAMAGE}
    return NO_DAMAGE
