# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full snapshots: a tree of a manifest and the copied directory. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import changed
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.copying import Copier
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import Copied, check_room, copy_hot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    DATA,
    FULL,
    HOT,
    MANIFEST,
    RESTORE_POINT,
    STOPPED,
    BackupCollection,
    BackupManifest,
    encode_manifest,
    utc,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import Listing, list_files

# Measured on busy cores: the saving of an index leaves gaps of up to 18 ms. See docs/snapshots.md.
SETTLE = 0.1
PAUSE = 30.0
TRIES = 3
# Seconds to wait for the lock; nobody else waits then.
PATIENCE = 60.0


@dataclass(frozen=True)
class About:
    """What a directory does not say about a backup of it.

    Args:
        id: of the backup, from ``manifest.new_id``.
        kind: ``full`` or ``restore-point``; the latter may be of a damaged directory.
        mode: how it is called where it is copied without a lock: ``stopped``, or ``cold`` where it was stopped for that.
        chroma_version, chroma_image: of the server; empty where nobody knows.
    """

    id: str
    kind: str = FULL
    mode: str = STOPPED
    chroma_version: str = ""
    chroma_image: str = ""


def take(
    source: Path,
    target: Path,
    about: About,
    *,
    live: bool | None = None,
    pause: float = PAUSE,
    tries: int = TRIES,
    settle: float = SETTLE,
    patience: float = PATIENCE,
) -> BackupManifest:
    """Make a tree of a manifest and a consistent copy of a data directory. What is counted is counted in the copy.

    Args:
        source: the data directory. The process must not have its ``chroma.sqlite3`` open.
        target: the tree: an empty folder, or an absent one in a folder that is there; in the data directory only below
            ``.thinkube-chroma``. An error leaves nothing in it.
        live: whether a server may be writing: then under the write lock. None takes the lock where that is possible: a server in another
            pod can't be seen from here. False copies without one, and fails where something changes meanwhile.
        pause, tries, settle, patience: see :func:`copy_hot`.

    Returns:
        The manifest, which lies in the tree too.

    Raises:
        ChromaError: ``not_chroma_directory``, ``not_found``, ``not_empty``, ``invalid_value``, ``directory_changed``, ``newer_chroma``, and
            those of :func:`copy_hot`; ``unsupported`` where an index is a link to elsewhere.
        Damaged: what is needed to count is damaged; a restore point is made all the same.
    """
    require_data_libraries()
    _check_places(source, target, about)
    data = target / DATA
    made = not target.exists()
    try:
        data.mkdir(parents=True)
        copied, mode = _copy(source, data, about, live, pause, tries, settle, patience)
        manifest = _describe(source, data, about, copied, mode)
        _write(target / MANIFEST, encode_manifest(manifest))
    except BaseException:
        for each in [target] if made else list(target.iterdir()):
            remove_tree(each)
        raise
    return manifest


def read_moment(directory: DataDirectory) -> dict[str, Any]:
    """Return what a manifest says of a directory's content: migrations, position, tenants, databases and collections with their counts.

    Raises:
        Damaged: ``log`` or ``sqlite``.
    """
    last = [wal.position(row[0]) for row in directory.database.rows("SELECT max(seq_id) FROM embeddings_queue")]
    return {
        "migrations": dict(directory.migrations),
        # The log is emptied up to where all segments are; their positions remain.
        "position": max(0, *(each or 0 for each in (*last, *wal.positions(directory.database).values()))),
        "tenants": directory.tenants,
        "databases": directory.databases,
        "collections": tuple(
            BackupCollection(
                each.id,
                each.name,
                each.tenant,
                each.database,
                each.metadata,
                each.configuration,
                each.schema,
                each.dimension,
                each.space,
                directory.count(each),
            )
            for each in directory.collections()
        ),
    }


def _check_places(source: Path, target: Path, about: About) -> None:
    if not source.is_dir() or (about.kind != RESTORE_POINT and DATABASE not in list_files(source).files):
        hint = "Give the directory that holds chroma.sqlite3: /data in images of 1.x, /chroma/chroma in those of 0.x."
        raise ChromaError("not_chroma_directory", f"{source} is no data directory of Chroma.", hint)
    if not target.parent.is_dir():
        raise ChromaError("not_found", f"{target.parent}, where the copy is to lie, does not exist.", "Make it first.")
    real, ours = target.resolve(), source.resolve()
    if real.is_relative_to(ours) and not real.is_relative_to(ours / PRIVATE):
        raise ChromaError("invalid_value", f"{target} lies in the directory that is to be copied.", "Give a place outside of it.")
    if target.exists() and any(target.iterdir()):
        raise ChromaError("not_empty", f"{target} is not empty.", "Give an empty directory, or one that does not exist.")


def _copy(
    source: Path, data: Path, about: About, live: bool | None, pause: float, tries: int, settle: float, patience: float
) -> tuple[Copied, str]:
    if live is not False:
        try:
            return copy_hot(source, data, pause=pause, tries=tries, settle=settle, patience=patience), HOT
        except ChromaError as error:
            # Nothing can write to a volume that is mounted read-only, and Chroma opens no damaged file.
            if live or error.code not in ("forbidden", "damaged"):
                raise
            for each in data.iterdir():
                remove_tree(each)
    return copy_still(source, data), about.mode


def copy_still(source: Path, target: Path) -> Copied:
    """Copy a data directory that nobody writes to, whatever state it is in, with SQLite's journals.

    Raises:
        ChromaError: ``directory_changed``, ``no_space``, ``copy_failed``.
    """
    before = list_files(source, journals=True)
    moment = utc()
    with Progress("copy", before.blocks, "bytes") as progress, Copier(source, target, progress) as copier:
        if not copier.reflink:
            check_room(target, before.blocks)
        copied = copier.copy(sorted(before.files))
        if list_files(source, journals=True) != before or set(copied) != set(before.files):
            raise changed(source)
        return Copied(moment, 0.0, 0, copier.shared, before)


def _describe(source: Path, data: Path, about: About, copied: Copied, mode: str) -> BackupManifest:
    """Count in the copy, and check that it is whole."""
    _check_sizes(data, copied.listing)
    found: dict[str, Any] = {}
    damaged = ""
    try:
        # Where a transaction has to be rolled back, that is done in another copy beside this one.
        with open_directory(data, scratch=data.parent) as directory:
            found = read_moment(directory)
            _check_strange(source, directory, copied.listing)
    except ChromaError as error:
        if about.kind != RESTORE_POINT or error.code not in ("damaged", "not_chroma_directory", "newer_chroma"):
            raise
        damaged = error.message.replace(str(data), str(source))
        found = {}
    return BackupManifest(
        about.id,
        about.kind,
        copied.created,
        mode,
        pause_seconds=round(copied.pause, 3),
        lock_attempts=copied.attempts,
        reflink=copied.reflink,
        chroma_version=about.chroma_version,
        chroma_image=about.chroma_image,
        source=str(source),
        bytes=sum(each.size for each in copied.listing.files.values()),
        damaged=damaged,
        **found,
    )


def _check_sizes(data: Path, listing: Listing) -> None:
    there = list_files(data, journals=True).files
    if {name: each.size for name, each in there.items()} != {name: each.size for name, each in listing.files.items()}:
        raise ChromaError("copy_failed", f"The copy in {data} is not what was copied.", "Look at the volume's state, and try again.")


def _check_strange(source: Path, directory: DataDirectory, listing: Listing) -> None:
    """A link is not followed; where an index is one, the copy would lack its vectors."""
    indexes = {each.vector.id for each in directory.collections() if each.vector}
    for name in listing.strange:
        if name.partition("/")[0] in indexes:
            message = f"{source / name} is a link or a special file, but belongs to an index."
            raise ChromaError("unsupported", message, "Put the files themselves there, with the server stopped.")


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = path.with_name(f".{path.name}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
