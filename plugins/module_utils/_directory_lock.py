# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of one data directory: at most one operation works on it. FOR INTERNAL COLLECTION USE ONLY.

On a cluster the Lease (``_lock``) comes before it and names the Job. This one is the kernel's: whoever dies gives it back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import utc
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder

NAME = "lock"


@contextlib.contextmanager
def held(directory: Path, operation: str) -> Iterator[None]:
    """Hold the lock of a data directory for the length of a ``with`` block; the file stays, it says who had the lock last.

    Args:
        directory: the data directory.
        operation: what is done, for whoever meets the lock.

    Raises:
        ChromaError: ``lock_held``, naming the other; ``forbidden`` or ``no_space`` where the file can't be written.
    """
    path = private_folder(directory) / NAME
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"{path} could not be opened: {error.strerror}."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ChromaError("no_space", message, "Make room on the data volume, and run it again.") from error
        raise ChromaError("forbidden", message, "Run it as the user that Chroma runs as, with the volume mounted writable.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held_by(directory, os.pread(handle, 1000, 0)) from error
        content = json.dumps({"operation": operation, "pid": os.getpid(), "host": os.uname().nodename, "since": utc()}).encode()
        # Who meets the lock should know who has it; that there is no room for this is no reason not to have it.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, content, 0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def held_if_writable(directory: Path, operation: str) -> Iterator[None]:
    """Hold the lock for an operation that only reads; where its file can't be written, it is enough that nobody holds it.

    Raises:
        ChromaError: ``lock_held``, naming the other.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(directory, operation))
        except ChromaError as error:
            if error.code not in ("forbidden", "no_space"):
                raise
            if (content := _content_of_held(directory)) is not None:
                raise _held_by(directory, content) from error
        yield


def is_held(directory: Path) -> bool:
    """Return whether an operation works on a data directory at this moment; nothing is written for that."""
    return _content_of_held(directory) is not None


def _content_of_held(directory: Path) -> bytes | None:
    """Return what the lock's file says, where somebody holds it."""
    try:
        handle = os.open(directory / PRIVATE / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 1000, 0)
    finally:
        os.close(handle)
    return None


def _held_by(directory: Path, content: bytes) -> ChromaError:
    try:
        holder = json.loads(content)
        who = f"a {holder['operation']} of process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        holder, who = {}, "another operation"
    hint = "Wait until it has ended, and run this again."
    return ChromaError("lock_held", f"The data directory {directory} is in use by {who}.", hint, {"holder": holder})
