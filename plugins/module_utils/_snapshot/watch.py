# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a data directory belongs to a copy, and whether it moves. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DATA_FILE,
    DATABASE,
    HEADER_FILE,
    LABELS_FILE,
    LENGTH_FILE,
    LINKS_FILE,
    PRIVATE,
    is_uuid,
)

JOURNALS = (f"{DATABASE}-journal", f"{DATABASE}-wal")
# So many times longer than others an index has to stand still whose label map, which is written last, is absent or older than the rest:
# it is being saved, or was not saved to the end when a server died, or never.
UNFINISHED = 10


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does: size, times in nanoseconds, inode.

    ``blocks`` are bytes on disk; a file system may find its blocks later, so they are not compared.
    """

    size: int
    mtime: int
    ctime: int
    inode: int
    blocks: int = field(compare=False, default=0)


@dataclass(frozen=True)
class Listing:
    """What a directory holds.

    Args:
        files: name below the directory → stamp; SQLite's files and those of all folders that are indexes or look like one.
        strange: names of links and special files where a file or folder of Chroma's would be; they are neither followed nor copied.
    """

    files: Mapping[str, Stamp]
    strange: tuple[str, ...] = ()

    @property
    def blocks(self) -> int:
        """Bytes on disk."""
        return sum(each.blocks for each in self.files.values())


def list_files(directory: Path, journals: bool = False) -> Listing:
    """List what is copied; nothing is opened, so no lock of this process is lost.

    Folders that are no index are left out: ``.thinkube-chroma``, ``lost+found`` and what others put there.

    Args:
        journals: with SQLite's journals, which belong to the state of a directory that nobody has locked.
    """
    files: dict[str, Stamp] = {}
    strange: list[str] = []
    for name in (DATABASE, *(JOURNALS if journals else ())):
        _note(directory, name, files, strange)
    for entry in _entries(directory):
        if entry.name == PRIVATE or not (is_uuid(entry.name) or _looks_like_index(entry)):
            continue
        if entry.is_dir(follow_symlinks=False):
            for each in _entries(Path(entry.path)):
                _note(directory, f"{entry.name}/{each.name}", files, strange)
        elif entry.is_symlink():
            strange.append(entry.name)
    return Listing(files, tuple(sorted(strange)))


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda each: each.name)
    except FileNotFoundError:
        return []


def _looks_like_index(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and any(os.path.lexists(f"{entry.path}/{name}") for name in (HEADER_FILE, DATA_FILE))


def _note(directory: Path, name: str, files: dict[str, Stamp], strange: list[str]) -> None:
    try:
        about = os.lstat(directory / name)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(about.st_mode):
        files[name] = Stamp(about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_blocks * 512)
    elif not stat.S_ISDIR(about.st_mode):
        strange.append(name)


class Watch:
    """Looks at a directory again and again, and knows since when each file of an index has stood still.

    By a monotonic clock: the files' own times are compared with each other only, so it does not matter where the clock is set.

    Args:
        directory: the data directory.
        settle: for so long a file has to stand still, seconds.
    """

    def __init__(self, directory: Path, settle: float) -> None:
        self._directory = directory
        self.settle = settle
        self._since: dict[str, float] = {}
        self.listing = Listing({})
        self.look()

    def look(self) -> Listing:
        """Look once."""
        before, self.listing = self.listing, list_files(self._directory)
        now = time.monotonic()
        for name in {*before.files, *self.listing.files}:
            if before.files.get(name) != self.listing.files.get(name):
                self._since[name] = now
        return self.listing

    def still(self) -> set[str]:
        """Return the files of indexes that have stood still for long enough."""
        now = time.monotonic()
        return {
            name
            for name in self.listing.files
            if name != DATABASE and now - self._since[name] >= (self.settle * UNFINISHED if self._unfinished(name) else self.settle)
        }

    def settled(self) -> bool:
        """Return whether no index is being saved: each stands still, and nothing of one has vanished just now."""
        now = time.monotonic()
        gone = any(now - since < self.settle for name, since in self._since.items() if name not in self.listing.files)
        return not gone and self.still() == {name for name in self.listing.files if name != DATABASE}

    def _unfinished(self, name: str) -> bool:
        folder = name.partition("/")[0]
        files = [self.listing.files.get(f"{folder}/{each}") for each in (LABELS_FILE, DATA_FILE, HEADER_FILE, LENGTH_FILE, LINKS_FILE)]
        newest = max(each.mtime if each else 0 for each in files)
        return files[0] is None or files[0].mtime < newest
