# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore point: what a directory held before it was replaced, whatever state that is in. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import errno
import os
import tarfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import SWAPPED, UNDONE, tags_of, verified_tags
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import changed
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import Swap, kept_folder, replaced_folder
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.copier import copy_file
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    COLD,
    DATA,
    MANIFEST,
    RESTORE_POINT,
    STOPPED,
    BackupManifest,
    encode_manifest,
    new_id,
    utc,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import read_moment
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import Listing, list_files

# What a file system without hard links, or with a limit to them, answers.
_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES)
# Bytes that are compared at once.
_PART = 1 << 20


def take_restore_point(repository: Repository, directory: Path, undoes: str, paused: bool, chroma_version: str = "") -> str:
    """Bring what a stopped directory holds into the repository, and return the backup's id.

    Nobody undoes with it before the swap that it is for has been done: see :func:`settle_restore_point`.

    Args:
        repository: takes it.
        directory: nobody writes to it.
        undoes: id of the backup that is about to be restored.
        paused: whether the server was stopped for this.
        chroma_version: release of the server that wrote it.

    Raises:
        ChromaError: ``directory_changed`` where somebody writes all the same; those of the repository.
    """
    name, moment = new_id(), datetime.now(UTC)
    number = catalogue_of(repository.snapshots()).next_number
    with scratch(directory, name) as tree:
        before = list_files(directory, journals=True)
        _link(directory, tree / DATA, before)
        manifest = _describe(directory, tree, name, utc(moment), before, paused, chroma_version)
        (tree / MANIFEST).write_bytes(encode_manifest(manifest))
        tags = tags_of(manifest, number, f"undoes={undoes}", instance=read_instance(directory))
        with Progress("restore point", before.blocks, "bytes") as progress:
            repository.backup(tree, tags, moment, progress)
        _check_unchanged(directory, before)
    return name


def prove_restore_point(repository: Repository, directory: Path, swap: Swap) -> None:
    """Compare the restore point of a swap, as the repository gives it back, with what the swap moved aside, byte by byte.

    It is compared while it comes, so no room is needed.

    Raises:
        ChromaError: ``not_verified``; ``not_found`` where the repository does not have it; those of the repository.
    """
    began = time.monotonic()
    backup = catalogue_of(repository.snapshots()).require(swap.restore_point)
    replaced = replaced_folder(directory, swap)
    there = list_files(replaced, journals=True)
    with Progress("verify restore point", there.blocks, "bytes") as progress:
        different = repository.read_folder(backup.snapshot, DATA, partial(_compare, replaced, set(there.files), progress))
    if different:
        raise ChromaError(
            "not_verified",
            f"The restore point {backup.id} does not come back from the repository as it was: {different}.",
            f"What was there before is kept in {kept_folder(directory, swap)}: copy it elsewhere, and look at the repository's storage.",
            {"restore_point": backup.id},
        )
    if not backup.verified:
        repository.retag(backup.snapshot, add=verified_tags(datetime.now(UTC), time.monotonic() - began))


def _compare(replaced: Path, names: set[str], progress: Progress, archive: IO[bytes]) -> str:
    """Return the first file that an archive has otherwise than a folder, or that only one of them has; empty where they are equal."""
    try:
        with tarfile.open(fileobj=archive, mode="r|") as members:
            for each in members:
                name = each.name.removeprefix(f"{DATA}/")
                if each.isdir():
                    continue
                content = members.extractfile(each)
                if name not in names or content is None or not _equal(content, replaced / name, progress):
                    return name
                names.remove(name)
    except tarfile.TarError:
        # It was cut off, of which restic says why.
        return "its archive"
    return min(names, default="")


def _equal(content: IO[bytes], path: Path, progress: Progress) -> bool:
    with path.open("rb") as file:
        while part := content.read(_PART):
            if file.read(len(part)) != part:
                return False
            progress.advance(len(part))
        return not file.read(1)


def settle_restore_point(repository: Repository, swap: Swap) -> None:
    """Note what a swap made of restore points: its own is what an undo brings back from now on, and what it brought in is undone."""
    catalogue = catalogue_of(repository.snapshots())
    point = catalogue.find(swap.restore_point)
    if point is not None and not point.swapped:
        repository.retag(point.snapshot, add=(SWAPPED,))
    brought = catalogue.find(swap.backup)
    if brought is not None and brought.kind == RESTORE_POINT and not brought.undone:
        repository.retag(brought.snapshot, add=(UNDONE,))


def _link(directory: Path, target: Path, listing: Listing) -> None:
    """Put the files into a tree without copying them: a second name for each, or a copy where the file system knows no such thing."""
    target.mkdir()
    for name in listing.files:
        (target / name).parent.mkdir(exist_ok=True)
        try:
            os.link(directory / name, target / name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise ChromaError(
                    "copy_failed", f"{directory / name} could not be kept: {error.strerror}.", "Look at the volume."
                ) from error
            _copy(directory, target, name)


def _copy(directory: Path, target: Path, name: str) -> None:
    try:
        copy_file(directory, target, name, os.getppid())
    except OSError as error:
        code = "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "copy_failed"
        raise ChromaError(code, f"{directory / name} could not be copied: {error.strerror}.", "Look at the volume and its room.") from error


def _describe(directory: Path, tree: Path, name: str, moment: str, listing: Listing, paused: bool, chroma_version: str) -> BackupManifest:
    damaged, found = "", {}
    try:
        with open_directory(tree / DATA, scratch=tree) as opened:
            found = read_moment(opened)
    except ChromaError as error:
        # The restore point is its files, whether anybody can count in them or not.
        if error.code not in ("damaged", "not_chroma_directory", "newer_chroma", "no_space", "copy_failed"):
            raise
        damaged = error.message.replace(str(tree / DATA), str(directory))
    return BackupManifest(
        name,
        RESTORE_POINT,
        moment,
        COLD if paused else STOPPED,
        chroma_version=chroma_version,
        source=str(directory),
        bytes=sum(each.size for each in listing.files.values()),
        damaged=damaged,
        **found,
    )


def _check_unchanged(directory: Path, before: Listing) -> None:
    """Times of the directory entry change when a file gets a second name; content's do not."""
    after = list_files(directory, journals=True)
    if _content(before) != _content(after):
        raise changed(directory)


def _content(listing: Listing) -> dict[str, tuple[int, int, int]]:
    return {name: (each.size, each.mtime, each.inode) for name, each in listing.files.items()}
