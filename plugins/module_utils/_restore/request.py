# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a restore, what it has to work with, and what the last one has to do with that. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import followed, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.conclude import is_left
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import STARTS, STOPS, Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import points_made
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import Recovered
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import (
    LATEST,
    Resolution,
    parse_moment,
    resolve,
    restore_point,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import FINISHED, SWAPPED, Swap, read_swap
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import RESTORE_POINT
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files

# It names folders.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class RestoreRequest:
    """What a user asks for.

    Args:
        path: the data directory.
        operation: name of this operation, the same for all attempts of a Job.
        backup: id, or ``latest``.
        as_of: a time instead, ISO 8601; empty for none.
        undo: bring back a restore point: ``backup`` is one.
        chroma_version: release of the server that is to serve the data; empty where nobody said.
        stops, starts: seconds that the server may take to stop, and to become ready.
    """

    path: Path
    operation: str
    backup: str = LATEST
    as_of: str = ""
    undo: bool = False
    chroma_version: str = ""
    stops: float = STOPS
    starts: float = STARTS

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``.
        """
        if not _NAME.fullmatch(self.operation):
            message = f"The name of the Job is {self.operation!r}."
            raise ChromaError("invalid_value", message, "Correct CHROMA_OPERATION_JOB: letters, digits, dots and dashes, at most 100.")
        if self.stops <= 0 or self.starts <= 0:
            message = f"stop_timeout is {self.stops:g} and start_timeout {self.starts:g}."
            raise ChromaError("invalid_value", message, "Give seconds above 0.")


@dataclass(frozen=True)
class Surroundings:
    """What a restore works with.

    Args:
        repository: opens it; not before what a dead operation left was made good, which needs no repository.
        workload: the server as Kubernetes runs it; None on a bare host.
        client: of the server, to ask it afterwards; None where there is none to be asked.
    """

    repository: Callable[[], Repository]
    workload: Workload | None = None
    client: ChromaClient | None = None


def resolved(catalogue: Catalogue, request: RestoreRequest) -> Resolution:
    """Return the backup that a request means; the newest one, and that of a time, is one of this directory.

    Raises:
        ChromaError: see :mod:`resolve`, :func:`record.points_made` and :func:`_backup.instance.followed`.
    """
    if request.undo:
        return restore_point(catalogue, request.backup, _points_made(request.path) if request.backup == LATEST else ())
    if request.backup == LATEST:
        catalogue = followed(catalogue, read_instance(request.path))
    return resolve(catalogue, request.backup, parse_moment(request.as_of) if request.as_of else None)


def _points_made(directory: Path) -> set[str]:
    """Return the ids of the restore points that a directory knows as its own."""
    last = read_swap(directory)
    # The journal may lack it: where there is no room for a line, a restore goes on.
    return points_made(directory) | ({last.restore_point} if last else set())


def is_done(recovered: Recovered, catalogue: Catalogue, request: RestoreRequest) -> bool:
    """Return whether the last swap is the one that is asked for, and nobody has written since.

    It is where an attempt of this operation did it, where this run completed it just now, and where one that was interrupted did it and no
    file has been touched since. Any other one may be long ago, or was told to be done.
    """
    done = recovered.swap
    if done is None or done.state not in (SWAPPED, FINISHED):
        return False
    untouched = done.state == SWAPPED and content_of(request.path) == done.content
    if not (done.operation == request.operation or recovered.completed or untouched):
        return False
    if request.undo and request.backup == LATEST:
        # Its own restore point is the newest one by now, and not what it was to bring back.
        return _brought_point(catalogue, done)
    # What can't be resolved is told by the restore that follows.
    with contextlib.suppress(ChromaError):
        return resolved(catalogue, request).backup.id == done.backup
    return False


def content_of(folder: Path) -> str:
    """Return what tells whether a file of a data directory was touched; a rename of its entries does not change it."""
    files = sorted((name, each.size, each.mtime, each.inode) for name, each in list_files(folder, journals=True).files.items())
    return hashlib.sha256(repr(files).encode()).hexdigest()


def meant(catalogue: Catalogue, request: RestoreRequest, done: Swap | None) -> RestoreRequest:
    """Name the restore point that an undo of the last restore means where that restore was not concluded, so no tag says it.

    Of an undo that died after its swap it is what that one was to bring back: it is asked for again.

    Raises:
        ChromaError: ``not_found`` where the last restore came into an empty directory: the newest restore point is of an earlier one.
    """
    if not (request.undo and request.backup == LATEST and done is not None and done.state in (SWAPPED, FINISHED)):
        return request
    again = _brought_point(catalogue, done) and is_left(request.path, done)
    if not done.restore_point and not again:
        raise ChromaError(
            "not_found",
            f"The last restore, of {done.backup}, came into an empty directory: there is nothing to undo.",
            "To bring back what an earlier restore replaced, name its restore point (restore_point); backups lists them.",
        )
    if not is_left(request.path, done):
        return request
    name = done.backup if _brought_point(catalogue, done) else done.restore_point
    return dataclasses.replace(request, backup=name or LATEST)


def _brought_point(catalogue: Catalogue, done: Swap) -> bool:
    backup = catalogue.find(done.backup)
    return backup is not None and backup.kind == RESTORE_POINT
