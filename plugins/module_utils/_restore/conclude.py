# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a swap: its restore point is proven, and only then what it replaced is removed. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.point import prove_restore_point, settle_restore_point
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import finish, keep_aside
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import (
    FINISHED,
    SWAPPED,
    Swap,
    kept_folder,
    read_swap,
    replaced_folder,
)


def conclude(repository: Repository, directory: Path, done: Swap) -> bool:
    """Prove the restore point of a settled swap and remove what the swap left; return whether it was proven.

    Raises:
        ChromaError: ``not_verified``: what was there before is in :func:`swap.kept_folder` then, for somebody to look at; ``not_found``
            and those of the repository: it stays, and the next operation that has a repository tries again.
    """
    proven = False
    if is_left(directory, done):
        try:
            # Where it is gone, it was proven: the kill came behind that.
            if done.restore_point and replaced_folder(directory, done).is_dir():
                prove_restore_point(repository, directory, done)
                proven = True
            settle_restore_point(repository, done)
        except ChromaError as error:
            if error.code == "not_verified":
                # An undo means this one nevertheless, and no older one.
                with contextlib.suppress(ChromaError):
                    settle_restore_point(repository, done)
                keep_aside(directory, done)
            finish(directory, keep=True)
            raise
    finish(directory)
    return proven


def is_left(directory: Path, done: Swap) -> bool:
    """Return whether a swap was done and nobody has concluded it."""
    return done.state == SWAPPED or (done.state == FINISHED and replaced_folder(directory, done).is_dir())


def conclude_left(repository: Repository, directory: Path) -> str:
    """Conclude what a restore that died left, where there is anything; return what is to be said of it, empty for nothing.

    For every operation that holds the lock of the directory, after :func:`recover.recover`, and has a repository: what failed is no reason
    to fail, and stays.
    """
    done = read_swap(directory)
    if done is None or not is_left(directory, done):
        return ""
    try:
        conclude(repository, directory, done)
    except ChromaError as error:
        said = left_over(directory, done, error)
        emit("warning", message=said)
        return said
    return ""


def left_over(directory: Path, done: Swap, error: ChromaError) -> str:
    """Say what became of what was replaced where its restore point could not be proven."""
    if not replaced_folder(directory, done).is_dir():
        return f"{error.message} {error.hint}"
    return (
        f"What was there before restoring {done.backup} is still on the volume, because its restore point {done.restore_point} could not "
        f"be compared: {error.message} The next backup or restore tries again; another restore moves it to {kept_folder(directory, done)}."
    )
