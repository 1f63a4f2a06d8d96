# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore point of one collection. FOR INTERNAL COLLECTION USE ONLY.

Its dataset stays on this machine until the transaction has ended: what is deleted is exactly what it holds, and it brings that back.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.run import Making, Step
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import make_collection_by_api
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import open_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, requests, rows_per_request
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.verify import Difference, differences, not_verified, stored
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.staging import bring
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATASET, BackupManifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree

# Ids that are deleted by one request.
PAGE = 5000
# Seconds that the server may be away while records are brought back.
_PATIENCE = 60.0


@dataclass(frozen=True)
class RestorePoint:
    """A restore point.

    Args:
        id: of the backup.
        records: that it holds.
        dataset: the same on this machine.
    """

    id: str
    records: int
    dataset: Path

    def pages(self, rows: int = PAGE, check: bool = False) -> Iterator[Rows]:
        """Yield its records, so many at a time.

        Args:
            check: read all of them and hold them against their checksums first.
        """
        dataset = open_dataset(open_store(str(self.dataset)))
        [source] = dataset.sources
        if check:
            dataset.check(source, True)
        limit = rows_per_request(source.collection.dimension or 1, False, rows)
        yield from dataset.pages(source, limit)


def compare(client: ChromaClient, collection: Collection, rows: Rows, patience: Patience) -> tuple[list[Difference], list[Difference]]:
    """Return which records of a restore point a collection does not have, and which it has otherwise: others have written those."""
    seen = differences(rows, patience(lambda: stored(client, collection, rows)), collection.space, client.legacy)
    absent = [each for each in seen if each.parts == ("missing",)]
    return absent, [each for each in seen if each.parts != ("missing",)]


def take_point(
    repository: Repository,
    client: ChromaClient,
    collection: Collection,
    name: str,
    room: Path,
    step: Step,
    times: int = 3,
    instance: str = "",
) -> RestorePoint:
    """Back a collection up by the API, and read it back from the repository.

    Each record is compared with its checksum then; Chroma does not open it, for that takes as long as writing it.

    Args:
        name: id of the backup.
        room: an empty folder.
        step: told what is done next.
        times: attempts at most.
        instance: of the data directory; empty where it is not known.

    Raises:
        ChromaError: see :class:`Making`; nothing was changed on the server.
    """
    require_data_libraries()
    work, dataset = room / "backup", room / "dataset"
    work.mkdir()
    counts: list[int] = []

    def make(tree: Path) -> BackupManifest:
        manifest = make_collection_by_api(client, collection.name, name, tree)
        [made] = manifest.collections
        if made.id != collection.id:
            raise ChromaError("collection_changed", f"Collection {collection.name} was replaced by another one.", "Run it again.")
        remove_tree(dataset)
        shutil.copytree(tree / DATASET, dataset, copy_function=_link)
        counts[:] = [made.count]
        return manifest

    catalogue = catalogue_of(repository.snapshots())
    Making(name, repository, catalogue, work, make, step, instance=instance, times=times, most_opened=0).run()
    return RestorePoint(name, counts[0], dataset)


def bring_point(repository: Repository, name: str, room: Path) -> RestorePoint:
    """Bring a restore point from the repository.

    Args:
        room: an empty folder.

    Raises:
        ChromaError: ``not_found``; those of the repository and of its proof.
    """
    require_data_libraries()
    backup = catalogue_of(repository.snapshots()).require(name)
    manifest = bring(repository, backup, room / "tree")
    return RestorePoint(name, manifest.records, room / "tree" / DATASET)


def put_back(client: ChromaClient, collection: Collection, point: RestorePoint) -> int:
    """Add the records of a restore point that a collection does not have, and read them back. What it has otherwise is newer, and stays.

    Returns:
        How many of them others have written anew.

    Raises:
        ChromaError: ``not_verified``; those of the dataset, and what the server answers.
    """
    patience = Patience(_PATIENCE)
    most = patience(lambda: client.max_batch_size)
    newer = 0
    for rows in point.pages(min(most, PAGE), check=True):
        absent, others = compare(client, collection, rows, patience)
        newer += len(others)
        if not absent:
            continue
        wanted = rows.take([each.row for each in absent])
        for _rows, payload in requests(wanted, not client.legacy, most):
            # An upsert would replace what somebody writes in this moment.
            patience(partial(client.write, collection, "add", payload))
        absent, others = compare(client, collection, wanted, patience)
        if absent:
            raise not_verified(collection.name, len(absent), len(wanted), absent)
        newer += len(others)
    return newer


def _link(source: str, target: str) -> None:
    """Give a file a second name; copy it where the file system knows no such thing."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(source, target)
