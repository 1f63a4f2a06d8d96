# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchanging a data directory's content for what was staged; a kill at any moment can be made good. FOR INTERNAL COLLECTION USE ONLY.

The directory is the root of its volume and can't be renamed itself; its entries are. ``swap.json`` is on disk before the first of them
moves and says which entries go and which come. How far it got is seen from where they are: a rename is done or not done, so
nothing that is noted can disagree with what is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.lineage import end_lineage
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE, is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import folders as indexes
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import (
    BACK,
    FINISHED,
    FORWARD,
    GIVEN_UP,
    REMOVED,
    REPLACED,
    STAGING,
    STRAYS,
    SWAPPED,
    Swap,
    kept_folder,
    read_swap,
    replaced_folder,
    write_swap,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree, sync

# SQLite's own, in either mode of its journal.
DATABASE_FILES = (DATABASE, *(f"{DATABASE}-{suffix}" for suffix in ("journal", "wal", "shm")))


def entries(directory: Path) -> tuple[str, ...]:
    """Return the names of the entries that are Chroma's, whatever state they are in; others stay, as ``lost+found`` does."""
    folders = {each.name for each in indexes(directory)}
    return tuple(sorted(each for each in os.listdir(directory) if each in DATABASE_FILES or is_uuid(each) or each in folders))


def swap(directory: Path, operation: str, backup: str, restore_point: str, staged: Path, content: str = "") -> Swap:
    """Exchange the content of a directory for what was staged; the server must be stopped.

    What was there before is in ``.thinkube-chroma/replaced/<operation>`` afterwards, until :func:`finish`.

    Args:
        staged: folder below ``.thinkube-chroma`` whose entries come in.
        content: of that, for :class:`Swap`.

    Raises:
        ChromaError: ``swap_failed``, and ``settled`` in its result: all is as before, or else the server must not be started before
            the next :func:`settle`.
    """
    private = directory / PRIVATE
    try:
        begun = Swap(
            operation, backup, restore_point, str(staged.relative_to(private)), entries(directory), entries(staged), content=content
        )
        if (former := read_swap(directory)) is not None:
            # From here on nobody knows of it any more.
            keep_aside(directory, former)
        folder = replaced_folder(directory, begun)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # an attempt for which there was no room has made it
        if os.listdir(folder):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        sync(private / REPLACED, private)
        # No increment of what comes in may follow on a backup of what goes.
        end_lineage(directory)
        write_swap(directory, begun)
    except OSError as error:
        raise _failed(directory, error) from error
    done = settle(directory)
    if done is None or done.state != SWAPPED:
        message = f"Not all that was to come into {directory} was there any more. All is as it was before."
        raise ChromaError("swap_failed", message, "Run it again.", {"settled": True})
    return done


def settle(directory: Path) -> Swap | None:
    """Bring a swap to its end that was begun, and return it; None where there is none.

    It is completed where all that comes in is there, and taken back otherwise. A server that somebody started on half a directory has
    written entries of its own: they go to ``.thinkube-chroma/strays``, and nothing of them is deleted.

    Raises:
        ChromaError: ``swap_failed``, ``invalid_swap``.
    """
    found = read_swap(directory)
    if found is None or found.settled:
        return found
    try:
        if found.state == FORWARD and not _complete(directory, found):
            found = _set_state(directory, found, BACK)
        if found.state == FORWARD:
            return _set_state(directory, _forward(directory, found), SWAPPED)
        return _set_state(directory, _back(directory, found), GIVEN_UP)
    except OSError as error:
        raise _failed(directory, error) from error


def finish(directory: Path, keep: bool = False) -> None:
    """Close a settled swap and remove what it left: that is in the repository, as a restore point, or has been put back.

    ``swap.json`` stays, with its state: a Job's next attempt finds there that the restore was done.

    Args:
        keep: leave what was there before, because its restore point is not proven.
    """
    found = read_swap(directory)
    if found is None or not found.settled:
        return
    private, replaced = directory / PRIVATE, replaced_folder(directory, found)
    remove_tree(private / REMOVED)
    if not keep and replaced.is_dir():
        # In one step: half of it would be taken for what was there before.
        os.rename(replaced, private / REMOVED)
        sync(replaced.parent, private)
    if found.state == SWAPPED:
        _set_state(directory, found, FINISHED)
    for name in (REMOVED, STAGING):
        remove_tree(private / name)
    # What another swap replaced may be in it, or an empty folder of one that died before it began.
    for folder in (*private.glob(f"{REPLACED}/*"), private / REPLACED):
        with contextlib.suppress(OSError):
            folder.rmdir()


def keep_aside(directory: Path, swap: Swap) -> Path | None:
    """Move what a settled swap replaced to where no operation looks for it again; return that place, None where there is nothing.

    For what can't be proven to be in the repository: somebody has to decide what becomes of it.
    """
    replaced = replaced_folder(directory, swap)
    if not replaced.is_dir() or not os.listdir(replaced):
        return None
    folder = kept_folder(directory, swap)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    os.rename(replaced, folder)
    sync(folder.parent, replaced.parent, directory / PRIVATE)
    return folder


def _complete(directory: Path, swap: Swap) -> bool:
    """Return whether each entry that comes in is staged, or in place already."""
    staged, replaced = _folders(directory, swap)
    waiting, moved = set(_names(staged)), set(swap.old) <= set(_names(replaced))
    return all(name in waiting or (moved and os.path.lexists(directory / name)) for name in swap.new)


def _forward(directory: Path, swap: Swap) -> Swap:
    staged, replaced = _folders(directory, swap)
    waiting = set(_names(staged)) & set(swap.new)
    gone = set(_names(replaced))
    # Where all is in place already, what else is there was written by a server since, and belongs to the new data.
    if waiting or not set(swap.old) <= gone:
        for name in swap.old:
            if name not in gone:
                os.rename(directory / name, replaced / name)
        sync(replaced, directory)
        _set_aside(directory, swap, set(swap.new) - waiting)
        for name in sorted(waiting):
            os.rename(staged / name, directory / name)
    sync(directory, staged, replaced)
    return swap


def _back(directory: Path, swap: Swap) -> Swap:
    staged, replaced = _folders(directory, swap)
    gone, waiting = set(_names(replaced)), set(_names(staged))
    # Nothing came in before the last of the old ones was gone.
    if set(swap.old) <= gone:
        for name in swap.new:
            if name not in waiting and os.path.lexists(directory / name):
                os.rename(directory / name, staged / name)
    sync(staged, directory)
    _set_aside(directory, swap, set(swap.old) - gone)
    for name in swap.old:
        if name in gone:
            os.rename(replaced / name, directory / name)
    sync(directory, staged, replaced)
    return swap


def _set_aside(directory: Path, swap: Swap, ours: set[str]) -> None:
    """Move to ``strays`` what stands in the directory and is none of ours."""
    folder = directory / PRIVATE / STRAYS / swap.operation
    for name in entries(directory):
        if name not in ours:
            folder.mkdir(parents=True, exist_ok=True)
            os.rename(directory / name, folder / f"{len(os.listdir(folder)):04}-{name}")
            sync(folder, directory)


def _folders(directory: Path, swap: Swap) -> tuple[Path, Path]:
    return directory / PRIVATE / swap.staged, directory / PRIVATE / REPLACED / swap.operation


def _names(folder: Path) -> list[str]:
    """Return what is in a folder; one that somebody removed is made again, for what is to go back into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.listdir(folder)


def _set_state(directory: Path, swap: Swap, state: str) -> Swap:
    changed = dataclasses.replace(swap, state=state)
    write_swap(directory, changed)
    return changed


def _failed(directory: Path, error: OSError) -> ChromaError:
    """Take back what was done, and return what is to be said of it."""
    try:
        found = read_swap(directory)
        if found is not None and not found.settled:
            found = _set_state(directory, found, BACK)
            _set_state(directory, _back(directory, found), GIVEN_UP)
        settled = True
    except OSError:
        settled = False
    message = f"The content of {directory} could not be exchanged: {error.strerror}: {error.filename}."
    if settled:
        return ChromaError("swap_failed", f"{message} All is as it was before.", "Look at the cause, and run it again.", {"settled": True})
    hint = "Do not start the server: repair the cause and run it again, which completes it or takes it back."
    return ChromaError("swap_failed", f"{message} Nor could that be taken back.", hint, {"settled": False})
