# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repair changed in ``chroma.sqlite3``, block by block, so that the very bytes can come back. FOR INTERNAL COLLECTION USE ONLY.

``blocks.bin`` holds the number (8 bytes, little endian) and the former content of each block of :data:`BLOCK` bytes that changed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.copier import clone
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

BLOCKS, BEFORE, RESTORED = "blocks.bin", "before.sqlite3", "restored.sqlite3"
BLOCK = 4096
_CHUNK = 256 * BLOCK
# A larger database is not copied beside a server, bytes: its writers wait meanwhile.
LIVE_BYTES = 32 << 20


@dataclass(frozen=True)
class Difference:
    """What tells the database before a repair from that after it: SHA-256 and size in bytes of both."""

    before: str
    before_bytes: int
    after: str
    after_bytes: int


def keep(handle: int, target: Path) -> None:
    """Copy the database, while nobody writes; shared blocks where the file system can.

    Args:
        handle: of the database, which stays open.
        target: of the copy.
    """
    size = os.fstat(handle).st_size
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if not clone(handle, copy):
            done = 0
            while done < size:
                sent = os.sendfile(copy, handle, done, min(_CHUNK, size - done))
                if not sent:
                    break
                done += sent
    finally:
        os.close(copy)


def compare(handle: int, before: Path, blocks: Path) -> Difference:
    """Write the blocks that differ, and return what tells the files from each other.

    Args:
        handle: of the database as it is now; nobody writes.
        before: the copy of before.
        blocks: is written.
    """
    was, now = hashlib.sha256(), hashlib.sha256()
    with before.open("rb") as old, blocks.open("wb") as out:
        old_bytes, new_bytes = os.fstat(old.fileno()).st_size, os.fstat(handle).st_size
        for start in range(0, max(old_bytes, new_bytes), _CHUNK):
            first, second = old.read(_CHUNK), os.pread(handle, _CHUNK, start)
            was.update(first)
            now.update(second)
            if first == second:
                continue
            for at in range(0, len(first), BLOCK):
                block = first[at : at + BLOCK]
                if block != second[at : at + BLOCK]:
                    out.write(((start + at) // BLOCK).to_bytes(8, "little") + block)
    sync(blocks)
    return Difference(was.hexdigest(), old_bytes, now.hexdigest(), new_bytes)


def bring_back(handle: int, database: Path, blocks: Path, made: Path, difference: Difference) -> None:
    """Make the database what it was before: a new file beside it, compared, and then in its place in one step.

    Args:
        handle: of the database, by which its lock is held: opened and closed a second time in this process, the lock would be gone.
        made: the new file, on the same file system.

    Raises:
        ChromaError: ``busy`` where somebody has written to it; ``damaged_quarantine`` where it does not become what it was. Nothing was
            changed then.
    """
    try:
        _make(handle, blocks, made, difference)
        if sha256_of(made) != difference.before:
            message = f"{blocks} does not bring the database back."
            raise ChromaError("damaged_quarantine", message, "Restore it from a backup (30_restore).")
        os.rename(made, database)
    finally:
        made.unlink(missing_ok=True)
    sync(database.parent)


def _make(handle: int, blocks: Path, made: Path, difference: Difference) -> None:
    keep(handle, made)
    about = os.fstat(handle)
    if os.geteuid() == 0:
        os.chown(made, about.st_uid, about.st_gid)
    made.chmod(about.st_mode & 0o7777)
    if sha256_of(made) != difference.after:
        raise ChromaError("busy", "Somebody has written to the database just now.", "Run it again: its rows come back one by one then.")
    with made.open("r+b") as file, blocks.open("rb") as source:
        file.truncate(difference.before_bytes)
        while head := source.read(8):
            number = int.from_bytes(head, "little")
            file.seek(number * BLOCK)
            file.write(source.read(min(BLOCK, difference.before_bytes - number * BLOCK)))
        file.flush()
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
