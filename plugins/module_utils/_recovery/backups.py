# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest verified backup, as far as a recovery needs it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import followed, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Dataset, open_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import BACKUP
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Stream, read_parts, schema_of
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.collection import collection_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import Resolution
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import read_manifest_of
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import DATABASE_FILES
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    DATA,
    FULL,
    INCREMENT,
    BackupCollection,
    BackupManifest,
)

# Of the backup; another one may be whole.
_DAMAGE = ("damaged_repository", "damaged_backup", "broken_chain", "invalid_manifest", "damaged", "not_verified")


class Backups:
    """The newest verified backup of a data directory, brought from the repository piece by piece, when it is asked for.

    Args:
        repository: opens it; None without one: then there is no backup of anything.
        path: the data directory.
        room: an empty folder for what is brought.

    Attributes:
        warnings: what is to be said of the repository.
    """

    def __init__(self, repository: Callable[[], Repository] | None, path: Path, room: Path) -> None:
        self._path, self._room = path, room
        self.warnings: list[str] = []
        self._repository = repository() if repository else None
        self._datasets: dict[str, Dataset | None] = {}
        self.resolution: Resolution | None = None
        self.manifest: BackupManifest | None = None
        if self._repository is not None:
            self._choose(self._repository)

    def find(self, collection: str, label: str = "") -> BackupCollection | None:
        """Return a collection of the backup by its id, or else by ``tenant/database/name``."""
        known = self.manifest.collections if self.manifest else ()
        by_id = next((each for each in known if each.id == collection), None)
        return by_id or next((each for each in known if label and each.label == label), None)

    def of_segment(self, segment: str) -> BackupCollection | None:
        """Return the collection that an index belonged to."""
        return self.find(self._segments.get(segment, ""))

    def stream(self, collection: BackupCollection) -> Stream:
        """Return the records of a collection; they are brought when they are read. Where they can't be, there are none, and a warning."""

        def schema() -> Any:
            dataset = self._dataset(collection)
            empty = table_schema((), collection.dimension, collection.name, collection.space)
            return schema_of(dataset, dataset.sources[0]) if dataset else empty

        def read() -> Iterator[Any]:
            dataset = self._dataset(collection)
            return read_parts(dataset, dataset.sources[0]) if dataset else iter(())

        return Stream(BACKUP, collection.dimension, collection.count, schema, read)

    @cached_property
    def _segments(self) -> dict[str, str]:
        """Segment → collection, as the chain's base has it; those of increments have no index in it."""
        if self._repository is None or self.resolution is None:
            return {}
        tree = self._room / "catalogue"
        try:
            self._repository.restore(self.resolution.base.snapshot, tree, tuple(f"{DATA}/{each}" for each in DATABASE_FILES))
            with open_directory(tree / DATA, scratch=self._room) as directory:
                return {each.vector.id: each.id for each in directory.collections() if each.vector}
        except ChromaError as error:
            if error.code not in _DAMAGE:
                raise
            self.warnings.append(f"Whose the folders are could not be read from backup {self.resolution.base.id}: {error.message}")
            return {}

    def _choose(self, repository: Repository) -> None:
        catalogue = followed(catalogue_of(repository.snapshots()), read_instance(self._path))
        self.warnings += filter(None, [unreadable(repository)])
        for backup in _candidates(catalogue):
            chain = Resolution(backup, catalogue.chain(backup).backups)
            try:
                self.manifest = read_manifest_of(repository, catalogue, chain)
            except ChromaError as error:
                if error.code not in _DAMAGE:
                    raise
                self.warnings.append(f"Backup {backup.id} is not used: {error.message}")
            else:
                self.resolution = chain
                return
        self.warnings.append("There is no verified backup of this directory in the repository.")

    def _dataset(self, collection: BackupCollection) -> Dataset | None:
        if collection.id not in self._datasets:
            self._datasets[collection.id] = self._brought(collection)
        return self._datasets[collection.id]

    def _brought(self, collection: BackupCollection) -> Dataset | None:
        if self._repository is None or self.resolution is None:
            return None
        room = self._room / re.sub("[^0-9a-f-]", "", collection.id)
        room.mkdir()
        try:
            return open_dataset(open_store(str(collection_dataset(self._repository, self.resolution, collection.id, room))))
        except ChromaError as error:
            if error.code not in _DAMAGE:
                raise
            self.warnings.append(f"{collection.label} could not be read from backup {self.resolution.backup.id}: {error.message}")
            return None


def _candidates(catalogue: Catalogue) -> list[Backup]:
    """Return the backups of the whole directory that were read back, newest first."""
    whole = (each for each in reversed(catalogue.backups) if each.kind in (FULL, INCREMENT) and not each.pending)
    return [each for each in whole if catalogue.chain(each).verified]
