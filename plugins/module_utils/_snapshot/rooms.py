# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary room that is given back also where an operation is killed. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Seconds in which a folder that was just made gets its lock, and that no operation lasts.
_YOUNG, _OLD = 60.0, 2 * 86400.0


@contextlib.contextmanager
def temporary_room(operation: str, scratch: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Give an empty folder for the length of a ``with`` block, after those that killed operations of that name left were removed.

    The kernel's lock on a folder says that its operation lives, on this node and, where the file system keeps locks, on others.

    Args:
        operation: is part of the folder's name.
        scratch: where; the system's directory for temporary files where it is None.
    """
    # Nobody else's folder is called so: an export of somebody's may be chroma-export-20261121, and lie in the same place.
    prefix = f".thinkube-chroma-{operation}-"
    for left in Path(scratch or tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_unheld(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=scratch) as folder, _opened(Path(folder)) as handle:
        with contextlib.suppress(OSError):  # a file system without locks; then its age protects it
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield Path(folder)


def _remove_unheld(folder: Path) -> None:
    # What is another user's, or is being removed at this moment, is not ours to remove.
    with contextlib.suppress(OSError), _opened(folder) as handle:
        age = time.time() - os.fstat(handle).st_mtime
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # no locks here, as on some network volumes
            age -= _OLD
        if age < _YOUNG:
            return
        # What can't be removed costs room and nothing else; the next operation tries again.
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
