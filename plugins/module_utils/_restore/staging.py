# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup, brought from the repository onto the data volume and proven there, beside what is served. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof, not_verified, verify_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import release, running
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.replay import apply_increment, prove_ids
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import open_rowids
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.plan import RestorePlan, schema_of_release
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import STAGING
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    DATA,
    MANIFEST,
    RESTORE_POINT,
    BackupManifest,
    parse_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder, remove_tree, sync
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import copy_still, read_moment
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Of the repository or of a backup's content: another backup may be whole.
_DAMAGE = ("damaged_backup", "damaged_repository", "invalid_manifest", "not_verified", "chroma_failed", "broken_chain", "damaged")
# Seconds for one answer: of a batch into a large index.
_TIMEOUT = 600.0


@dataclass(frozen=True)
class Staged:
    """What is ready to be swapped in.

    Args:
        data: its entries.
        manifest: what they are; where increments were replayed, with the ids that collections have now.
        proof: None of a restore point, which may be of damaged data: its bytes were compared by restic.
        differs: where collections that increments brought are not as they were, beside their records.
        rounded: records that increments brought with a float in their metadata of which Chroma 1.x holds a neighbour, see
            :mod:`_dataset.floats`.
    """

    data: Path
    manifest: BackupManifest
    proof: Proof | None
    differs: tuple[Mapping[str, Any], ...] = ()
    rounded: int = 0

    def warnings(self) -> list[str]:
        """Return what is to be said of it."""
        said = [f"{each['collection']}: {each['what']} is {each['server']}, and was {each['dataset']}." for each in self.differs]
        if self.rounded:
            said.append(
                f"Chroma keeps neighbours of some floats in the metadata of {self.rounded} replayed records: see docs/increments.md."
            )
        return said + (self.proof.warnings() if self.proof else [])


def stage(repository: Repository, plan: RestorePlan, directory: Path, operation: str, advice: Callable[[Backup], str]) -> Staged:
    """Bring a backup onto the data volume, and prove it there: everything that can fail does so while the server still runs.

    Args:
        plan: which backup.
        directory: the data directory.
        operation: name of the folder in ``.thinkube-chroma/staging``; an error leaves nothing in it.
        advice: says what can be restored instead of a backup that is damaged.

    Raises:
        ChromaError: those of the repository and of the proof, naming the backup of the chain that is at fault; ``no_space``.
    """
    folder = private_folder(directory) / STAGING / operation
    remove_tree(folder)
    folder.mkdir(mode=0o700, parents=True)
    chain = plan.resolution
    at_fault = chain.base
    try:
        manifest = bring(repository, chain.base, folder / "tree")
        data = folder / "tree" / DATA
        data.mkdir(exist_ok=True)  # a restore point of nothing but an empty folder
        differs: tuple[Mapping[str, Any], ...] = ()
        rounded = 0
        if chain.increments:
            with _Replay(data, manifest, folder) as replay:
                for each in chain.increments:
                    at_fault = each
                    replay.follow(repository, each)
                at_fault = chain.backup
                replay.prove()
            manifest = _as_replayed(data, replay.manifest, folder)
            differs, rounded = replay.differs, replay.rounded
        proof = None if manifest.kind == RESTORE_POINT else _prove(data, manifest, folder)
        _make_durable(data, directory)
    except ChromaError as error:
        remove_tree(folder)
        if error.code in _DAMAGE:
            # Chroma may have failed for want of memory, which its own hint says: another backup needs as much.
            error.hint = f"{error.hint} {advice(at_fault)}" if error.code == "chroma_failed" else advice(at_fault)
            error.result = {"backup": at_fault.id, **error.result}
        raise
    except BaseException:
        remove_tree(folder)
        raise
    return Staged(data, manifest, proof, differs, rounded)


def needs_copy(manifest: BackupManifest) -> bool:
    """Return whether this environment's Chroma would migrate a backup: then it is shown a copy, and the server migrates the original."""
    here = schema_of_release(release())
    return manifest.kind != RESTORE_POINT and dict(manifest.migrations) != here


def bring(repository: Repository, backup: Backup, tree: Path) -> BackupManifest:
    """Restore the tree of one backup, and return its manifest.

    Raises:
        ChromaError: those of the repository; ``invalid_manifest``, ``newer_backup``.
    """
    with Progress("restore", backup.bytes, "bytes") as progress:
        repository.restore(backup.snapshot, tree, progress=progress)
    return read_manifest(tree, backup)


def read_manifest(tree: Path, backup: Backup) -> BackupManifest:
    """Return the manifest of a tree that came back from the repository.

    Raises:
        ChromaError: ``invalid_manifest``, ``newer_backup``.
    """
    try:
        content = (tree / MANIFEST).read_bytes()
    except OSError as error:
        message = f"Backup {backup.id} has no manifest that can be read: {error.strerror}."
        raise ChromaError("invalid_manifest", message, "Use another backup; chroma_backup_info (backups) lists them.") from error
    return parse_manifest(content, backup.id)


class _Replay:
    """A Chroma that serves the base in staging, and takes one increment after the other; a context manager.

    Args:
        data: the base, before Chroma opened it.
        base: its manifest.
        folder: for the increments, the log and the ids.

    Attributes:
        manifest: of the point that was reached.
        differs, rounded: see :class:`Staged`.
    """

    def __init__(self, data: Path, base: BackupManifest, folder: Path) -> None:
        self._data, self._folder = data, folder
        self.manifest = base
        self.differs: tuple[Mapping[str, Any], ...] = ()
        self.rounded = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Replay:
        with contextlib.ExitStack() as stack:
            self._ids = stack.enter_context(open_rowids(self._data, self.manifest, self._folder / "ids.sqlite3"))
            url = stack.enter_context(running(self._data, self._folder / "replay.log"))
            self._client = ChromaClient(Connection(url, timeout=_TIMEOUT, retries=0))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def follow(self, repository: Repository, increment: Backup) -> None:
        """Bring an increment from the repository and replay it."""
        tree = self._folder / increment.id
        self.manifest = bring(repository, increment, tree)
        applied = apply_increment(self._client, tree, self._ids)
        self.differs += applied.differs
        self.rounded += applied.rounded
        remove_tree(tree)

    def prove(self) -> None:
        """Give emptied collections their dimension, and compare which ids Chroma holds with those of the chain."""
        for each in self.manifest.collections:
            if each.dimension and not each.count:
                place = self._client.within(tenant=each.tenant, database=each.database)
                _set_dimension(place, place.require_collection(each.name), each.dimension)
        prove_ids(self._client, self._ids)


def _set_dimension(place: ChromaClient, collection: Collection, dimension: int) -> None:
    """Give a collection the dimension that it had from records which are gone: it gets it from the first one that it ever has."""
    if collection.dimension is None:
        place.write(collection, "upsert", json.dumps({"ids": ["dimension"], "embeddings": [[1.0] * dimension]}).encode())
        place.delete(collection, ["dimension"])


def _as_replayed(data: Path, wanted: BackupManifest, folder: Path) -> BackupManifest:
    """Return the manifest of what a replay made: no API gives a collection an id, and a schema grows by itself."""
    with open_directory(data, folder) as directory:
        made = dataclasses.replace(wanted, **read_moment(directory))
    have, want = ({each.label: (each.count, each.dimension, each.space) for each in one.collections} for one in (made, wanted))
    if have != want or made.databases != wanted.databases:
        wrong = next((label for label in sorted(have.keys() | want.keys()) if have.get(label) != want.get(label)), "databases")
        raise not_verified(
            wanted, wrong, f"{want.get(wrong)} were kept, and {have.get(wrong)} came of the replay (records, dimension, space)"
        )
    return made


def _prove(data: Path, manifest: BackupManifest, folder: Path) -> Proof:
    if not needs_copy(manifest):
        return verify_directory(data, manifest, folder)
    copy = folder / "proof"
    copy.mkdir()
    copy_still(data, copy)
    proof = verify_directory(copy, manifest, folder)
    remove_tree(copy)
    return proof


def _make_durable(data: Path, directory: Path) -> None:
    """Give all the server's owner and modes, and wait until it is on disk: what is swapped in must survive a loss of power."""
    like = directory.stat()
    present = next((each.stat() for each in (directory / "chroma.sqlite3", directory) if each.exists()), like)
    for folder, _folders, names in os.walk(data, topdown=False):
        for path in (*(Path(folder) / name for name in names), Path(folder)):
            _own(path, present, like)
            sync(path)


def _own(path: Path, owner: os.stat_result, parent: os.stat_result) -> None:
    about = path.stat()
    if os.geteuid() == 0 and (about.st_uid, about.st_gid) != (owner.st_uid, owner.st_gid):
        os.chown(path, owner.st_uid, owner.st_gid)
    # Folders as the directory itself is, files at least as their owner needs them.
    mode = stat.S_IMODE(parent.st_mode) | 0o700 if path.is_dir() else stat.S_IMODE(about.st_mode) | 0o600
    if mode != stat.S_IMODE(about.st_mode):
        os.chmod(path, mode)
