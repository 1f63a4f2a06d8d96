# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository's first use. FOR INTERNAL COLLECTION USE ONLY.

restic writes a key and then the config, which that key encrypts. One that was killed between the two leaves a key that fits nothing, and
two at once leave two keys of which one fits. Neither may be left: restic would try the wrong one and call the repository damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import WRONG_PASSWORD, no_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.place import ABSENT, BEGUN, DAMAGED, EMPTY, FOREIGN, MADE, Place
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic

# Seconds after which another that began at the same moment has written its config: making a key takes it one or two.
_SETTLE = 4.0


def create(restic: Restic, place: Place) -> bool:
    """Make a repository where there is none; return False where another made it meanwhile.

    Raises:
        ChromaError: see :func:`refuse`; ``not_found`` where its volume is not there; what restic answers.
    """
    if place.settings.is_local:
        place.check_parent()
    with _alone(place):
        state = place.state()
        if state == BEGUN and not place.settings.is_local:
            time.sleep(_SETTLE)  # perhaps by another one that is still at it
            state = place.state()
        refuse(place, state, wanted=True)
        if state == MADE:
            return False
        for key in _keys(place):
            place.remove(f"keys/{key}")
        outcome = restic.run("init")
        if outcome.code and not place.settings.is_local and "already" in outcome.text:
            time.sleep(_SETTLE)  # another one has written its key, and its config follows
            if place.state() == MADE:
                return False
        if outcome.code:
            raise restic.fault("Could not create a repository at", outcome)
    if not place.settings.is_local:
        time.sleep(_SETTLE)
        _keep_fitting_keys(restic, place)
    return True


def refuse(place: Place, state: str, *, wanted: bool) -> None:
    """Raise where a place without a config is not one for a new repository, or where none is wanted.

    Raises:
        ChromaError: ``foreign_repository``, ``damaged_repository`` or ``no_repository``.
    """
    where = place.settings.location
    if state == FOREIGN:
        raise ChromaError(
            "foreign_repository",
            f"{where} is no repository of backups, and something else is there.",
            "Choose an empty place for the backups, or correct repository.",
        )
    if state == DAMAGED:
        raise ChromaError(
            "damaged_repository",
            f"The repository {where} has lost its file config; its data are there.",
            "Put the file config back from a copy of the repository. Without one, choose another place for new backups.",
        )
    if not wanted and state in (ABSENT, EMPTY, BEGUN):
        raise no_repository(where)


def _keys(place: Place) -> list[str]:
    return [path.removeprefix("keys/") for path in place.store.files("keys") if path.startswith("keys/")]


def _keep_fitting_keys(restic: Restic, place: Place) -> None:
    """Remove the keys of a new repository that don't open its config: two made it at the same moment, and one config is left."""
    keys = _keys(place)
    if len(keys) < 2:
        return
    for each in keys:
        outcome = restic.run("cat", "config", "--no-lock", "--key-hint", each)
        if outcome.code and outcome.code != WRONG_PASSWORD:
            place.remove(f"keys/{each}")


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Let one process of this host create a repository in a directory; an object store has no such thing."""
    if not place.settings.is_local:
        yield
        return
    directory: Path = place.settings.directory
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise store_fault(f"Could not create the repository {directory}", error, local=True) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
