# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that is ours on a data volume, and rooms in it that nobody leaves behind. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import needs_copy
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SCRATCH = "scratch"


def private_folder(directory: Path) -> Path:
    """Return the folder of ours in a data directory, and make it first where it is absent: on the same file system, so reflinks work.

    Raises:
        ChromaError: ``forbidden`` where it can't be made; ``conflict`` where its name is something else's.
    """
    folder = directory / PRIVATE
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise ChromaError("conflict", f"{folder} is there and no folder.", "Move it away.") from error
        message = f"{folder} could not be made: {error.strerror}."
        raise ChromaError("forbidden", message, "Run it as the user that Chroma runs as, with the volume mounted writable.") from error
    if folder.is_symlink():
        raise ChromaError("conflict", f"{folder} is a symbolic link, which would lead out of the volume.", "Remove it.")
    return folder


def sync(*paths: Path) -> None:
    """Wait until files, or the entries of folders, are on disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def scratch(directory: Path, operation: str) -> Iterator[Path]:
    """Make an empty folder ``.thinkube-chroma/scratch/<operation>`` for the length of a ``with`` block.

    Those of operations that died are removed first: each is locked by its owner, and the kernel drops a dead owner's lock.

    Args:
        directory: the data directory.
        operation: a name for a folder, usually the backup's id.

    Raises:
        ChromaError: ``forbidden``, ``conflict``; ``busy`` where an operation of the same name is at work.
    """
    rooms = private_folder(directory) / SCRATCH
    rooms.mkdir(mode=0o700, exist_ok=True)
    remove_leftovers(directory)
    with _locked(rooms / f"{operation}.lock") as lock:
        if lock is None:
            raise ChromaError("busy", f"Another operation {operation} works in {rooms}.", "Wait until it is done.")
        room = rooms / operation
        room.mkdir(mode=0o700)
        try:
            yield room
        finally:
            remove_tree(room)
            lock.unlink()


@contextlib.contextmanager
def reading_room(directory: Path, write: bool) -> Iterator[Path | None]:
    """Yield where the database of a data directory may be copied to, if an interrupted transaction has to be rolled back to read it.

    That is the data volume, for it is large; the temporary directory of a Job is not.

    Args:
        directory: the data directory.
        write: whether anything may be written to it.

    Returns:
        A folder in ``scratch``; None for the system's temporary directory, or where nothing has to be rolled back.

    Raises:
        ChromaError: see :func:`scratch`; ``no_space``, ``forbidden``.
    """
    database = directory / DATABASE
    with contextlib.ExitStack() as stack:
        room = None
        if write and database.is_file() and (os.path.exists(f"{database}-journal") or needs_copy(database)):
            try:
                room = stack.enter_context(scratch(directory, f"look-{secrets.token_hex(4)}"))
            except OSError as error:
                code = "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "forbidden"
                message = f"A folder in {directory / PRIVATE} could not be made: {error.strerror}."
                raise ChromaError(code, message, "Look at the volume, its room and its owner.") from error
        yield room


def remove_leftovers(directory: Path) -> list[str]:
    """Remove what operations that died left in ``scratch``; return their names. What a living one works in stays."""
    rooms = directory / PRIVATE / SCRATCH
    if rooms.is_symlink() or not rooms.is_dir():
        return []
    removed = []
    for name in sorted({each.name.removesuffix(".lock") for each in rooms.iterdir()}):
        with _locked(rooms / f"{name}.lock") as lock:
            if lock is not None:
                remove_tree(rooms / name)
                lock.unlink()
                removed.append(name)
    return removed


def remove_tree(path: Path) -> None:
    """Remove a folder or file; links are removed, not followed. What is absent is no error.

    A process that was killed may still have its last file open, so a folder may be full again: it is tried twice more.
    """
    for left in (2, 1, 0):
        try:
            if path.is_symlink() or path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path)
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
        except OSError:
            if not left:
                raise
        else:
            return


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Path | None]:
    """Hold a lock file; yield None where somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file between our open and our lock.
            mine = os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path))
        except BlockingIOError:
            mine = False
        yield path if mine else None
    finally:
        os.close(descriptor)
