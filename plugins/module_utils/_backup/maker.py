# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making what a plan says. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.kept import Kept
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import BackupPlan
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.run import NothingChanged
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source, make_collection, make_full, make_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS, Parent, parse_parent
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload, start_again
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    COLLECTION,
    FULL,
    INCREMENT,
    MANIFEST,
    BackupManifest,
    encode_manifest,
    parse_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import read_moment
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files

# Why an increment can't be, where a full backup can.
_FULL_INSTEAD = frozenset(
    {"broken_chain", "damaged_repository", "invalid_manifest", "newer_backup", "not_found", "pause_exceeded", "unsupported"}
)


class Maker:
    """Makes the tree of a plan; where an increment turns out to be impossible and nobody insisted, that of a full backup.

    Args:
        order, source: what is asked for.
        repository: has the parent of an increment.
        plan: what was decided.
        name: id of the backup.
        room: an empty folder in scratch.
        workload: the server on a cluster; it is wanted again before each attempt.
        kept: what the last backup kept.

    Attributes:
        plan: what was made in the end.
        kept: with the files of what the next increment can follow on.
        warnings: what is to be said of it.
    """

    def __init__(
        self,
        order: Order,
        source: Source,
        repository: Repository,
        plan: BackupPlan,
        name: str,
        room: Path,
        workload: Workload | None,
        kept: Kept,
    ) -> None:
        self.plan = plan
        self.kept = kept
        self.warnings: list[str] = []
        self._workload = workload
        self._order, self._source, self._repository = order, source, repository
        self._name, self._room = name, room

    def make(self, tree: Path) -> BackupManifest:
        """Make the tree."""
        manifest = self._make(tree)
        if (anchors := tree / ANCHORS).is_file():
            self.kept = Kept((), self._name, (tree / MANIFEST).read_text("utf-8"), anchors.read_text("utf-8"))
        return manifest

    def _make(self, tree: Path) -> BackupManifest:
        # An attempt that failed may have stopped it, although it never heard so.
        if self._workload:
            start_again(self._workload)
        self.warnings.clear()
        if self.plan.kind == COLLECTION:
            return make_collection(self._source, self._order.collection, self._name, tree, self.warnings.append)
        if self.plan.parent is not None:
            try:
                return self._increment(tree, self.plan.parent)
            except ChromaError as error:
                if self._order.kind == INCREMENT or error.code not in _FULL_INSTEAD:
                    raise
                emit("message", message=f"{error.message} So this will be a full backup.")
                self._repository.confirm()
                self.plan = BackupPlan(FULL, error.message)
                remove_tree(tree)
                if self._order.verify:
                    check_room(self._room, list_files(self._source.path).blocks)
        return make_full(self._source, self._name, tree, self.warnings.append)

    def _increment(self, tree: Path, backup: Backup) -> BackupManifest:
        parent, before = self._parent(backup)
        manifest = make_increment(self._source, self._name, tree, parent, self._room)
        if moment(manifest) == moment(before):
            raise NothingChanged
        return manifest

    def _parent(self, backup: Backup) -> tuple[Parent, BackupManifest]:
        """Return what the next increment has to know of a backup."""
        manifest, anchors = self.kept.files_of(backup) or self._fetched(backup)
        parent, before = parse_parent(anchors, backup.id), parse_manifest(manifest, backup.id)
        self.kept = Kept((), backup.id, manifest.decode(), anchors.decode())
        return parent, before

    def _fetched(self, backup: Backup) -> tuple[bytes, bytes]:
        """Bring manifest and anchors of a backup from the repository."""
        with tempfile.TemporaryDirectory(dir=self._room) as folder:
            self._repository.restore(backup.snapshot, Path(folder), (MANIFEST, ANCHORS))
            try:
                return Path(folder, MANIFEST).read_bytes(), Path(folder, ANCHORS).read_bytes()
            except FileNotFoundError as error:
                message = f"Backup {backup.id} has no {Path(str(error.filename)).name}, which an increment needs."
                raise ChromaError("broken_chain", message, "Make a full backup.") from error


def unchanged(path: Path, manifest: BackupManifest) -> bool:
    """Return whether nothing was written to a directory since a backup; False too where it is written at this moment."""
    try:
        with open_directory(path) as directory:
            now = BackupManifest(manifest.id, manifest.kind, manifest.created, manifest.mode, **read_moment(directory))
    except ChromaError:
        return False
    return moment(now) == moment(manifest)


def moment(manifest: BackupManifest) -> tuple[object, ...]:
    """Return what differs where anything was written: each write has a place in the log, but for those of collections themselves."""
    read = parse_manifest(encode_manifest(manifest), manifest.id)
    return read.position, read.migrations, read.tenants, read.databases, read.collections
