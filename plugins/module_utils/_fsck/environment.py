# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the directory lies: mount, file system, free space, folders. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, DATABASE, HEADER_FILE, PRIVATE, is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding

MOUNTS = Path("/proc/self/mountinfo")
# SQLite: https://www.sqlite.org/faq.html#q5, "locking is broken on many NFS implementations"; the others are no better.
NETWORK = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.mount-s3",
        "fuse.gcsfuse",
        "fuse.blobfuse2",
        "fuse.rclone",
        "fuse.davfs2",
    ]
)
EPHEMERAL = frozenset(["overlay", "aufs", "tmpfs", "ramfs"])
# Below this a save of the index or a commit fails.
NO_ROOM = 32 << 20
# Percent of a volume that should stay free; of a large one these bytes are enough.
RESERVE, ENOUGH = 10, 10 << 30


@dataclass(frozen=True)
class Mount:
    """A mount: where, of what type, and from what."""

    point: str
    type: str
    source: str


def mount_of(path: Path, mounts: str) -> Mount | None:
    """Return the mount that a path lies on.

    Args:
        path: absolute, without symbolic links.
        mounts: text of ``/proc/self/mountinfo`` (format: proc(5)).
    """
    found: Mount | None = None
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if not separator or len(fields) < 5 or len(rest) < 2:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        # The last of equals hides the others.
        if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, rest[0], rest[1])
    return found


def check_mount(mount: Mount | None, mounted: bool) -> list[Finding]:
    """Check the type of a file system.

    Args:
        mounted: demand one that survives the container.
    """
    if mount is None:
        return []
    if mount.type in NETWORK:
        return [finding("CHR100", f"{mount.point} is a {mount.type} file system ({mount.source}).")]
    if mounted and mount.type in EPHEMERAL:
        return [finding("CHR101", f"No volume is mounted here: {mount.point} is {mount.type}.")]
    return []


def check_room(free: int, total: int, rewrite: int) -> list[Finding]:
    """Check the free space of a file system.

    Args:
        free, total: of the file system, bytes.
        rewrite: bytes of the largest thing that is written anew in one go.
    """
    if free < NO_ROOM:
        return [finding("CHR103", f"{free >> 20} MiB are free.")]
    if free < rewrite or free < min(total * RESERVE // 100, ENOUGH):
        return [finding("CHR102", f"{free >> 20} of {total >> 20} MiB are free; the largest rewrite takes {rewrite >> 20} MiB.")]
    return []


def largest_rewrite(sizes: Sequence[tuple[str, int, int]]) -> int:
    """Return the bytes of the largest index's vectors and of SQLite's file, of which a vacuum makes a copy.

    Args:
        sizes: from :func:`snapshot`.
    """
    vectors = [size for name, size, _time in sizes if name.endswith(f"/{DATA_FILE}")]
    return max(vectors, default=0) + sum(size for name, size, _time in sizes if name.endswith(f"/{DATABASE}"))


def check_environment(path: Path, mounted: bool, rewrite: int) -> list[Finding]:
    """Check where a directory lies; ``rewrite`` is for :func:`check_room`."""
    real = path.resolve()
    mounts = MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
    room = os.statvfs(real)
    return [
        *check_mount(mount_of(real, mounts), mounted),
        *check_room(room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize, rewrite),
    ]


def check_readable(path: Path) -> list[Finding]:
    """Check that each file can be opened."""
    found = []
    for file in files(path):
        if not os.access(file, os.R_OK):
            found.append(finding("CHR006", f"{file.relative_to(path)} cannot be opened by user {os.geteuid()}.", subject=file.name))
    return found


def check_folders(path: Path, database: Database) -> list[Finding]:
    """Check that each folder of an index belongs to a segment: its name is the segment's id, never the collection's."""
    known = {str(row[0]) for row in database.rows("SELECT id FROM segments")}
    found = []
    for folder in folders(path):
        if folder.name not in known:
            size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            found.append(finding("CHR017", f"Folder {folder.name} ({size} bytes) belongs to no segment.", subject=folder.name))
    return found


def folders(path: Path) -> list[Path]:
    """Return the folders that are indexes, or look as if they were; never our own, where copies of them may lie."""
    return [each for each in sorted(path.iterdir()) if each.name != PRIVATE and each.is_dir() and _is_index(each)]


def _is_index(folder: Path) -> bool:
    return is_uuid(folder.name) or any((folder / name).exists() for name in (HEADER_FILE, DATA_FILE))


def files(path: Path) -> list[Path]:
    """Return SQLite's file and those of all indexes."""
    found = [file for folder in folders(path) for file in sorted(folder.iterdir()) if file.is_file()]
    return [path / DATABASE, *found] if (path / DATABASE).exists() else found


def snapshot(path: Path) -> Sequence[tuple[str, int, int]]:
    """Return sizes and times of all files: equal twice means that nobody wrote between."""
    seen = []
    # A commit in WAL mode changes nothing but the log.
    for file in (*files(path), *(path / f"{DATABASE}{suffix}" for suffix in ("-journal", "-wal"))):
        try:
            about = file.stat()
        except FileNotFoundError:
            continue  # Not there, or gone since it was listed: then the next look differs.
        seen.append((str(file), about.st_size, about.st_mtime_ns))
    return seen
