# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of nobody, on their way to quarantine and back. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import stamp
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.image import sha256_of
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import FOLDERS
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import FOLDER, Step
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import Writer
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

Stamp = tuple[Any, ...]


def wanted(directory: Path, steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the names of the folders that steps are about, those that are there; a link to elsewhere is none."""
    names = [step.subject if step.how == FOLDER else step.segment for step in steps if step.how == FOLDER or step.finding == "CHR012"]
    return tuple(sorted({name for name in names if (directory / name).is_dir() and not (directory / name).is_symlink()}))


def look(directory: Path, names: Iterable[str]) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Read folders before they move.

    Returns:
        What each looked like before it was read, and the SHA-256 of each file by the path that it will have in the quarantine.
    """
    stamps, checksums = {}, {}
    for name in names:
        stamps[name] = stamp(directory / name)
        for file in _files(directory / name):
            checksums[f"{FOLDERS}/{file.relative_to(directory)}"] = sha256_of(file)
    return stamps, checksums


def move(writer: Writer, directory: Path, place: Path, names: Iterable[str], stamps: Mapping[str, Stamp]) -> None:
    """Move folders to quarantine, those that still belong to nobody and have not changed since they were read.

    Args:
        writer: in a transaction: nobody makes a segment meanwhile.
        stamps: of :func:`look`; a folder without one stays.
    """
    for name in (each for each in names if each in stamps):
        used = writer.rows("SELECT count(*) FROM c.segments WHERE id = ?", (name,))[0][0]
        if not used and (directory / name).is_dir() and stamp(directory / name) == stamps[name]:
            os.rename(directory / name, place / FOLDERS / name)
    sync(directory, place / FOLDERS)


def back(directory: Path, place: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Move folders back that are in quarantine; return their names."""
    came = []
    for name in taken(place, names):
        os.rename(place / FOLDERS / name, directory / name)
        came.append(name)
    sync(directory, place / FOLDERS)
    return tuple(came)


def taken(place: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return which folders are in quarantine."""
    return tuple(name for name in names if (place / FOLDERS / name).is_dir())


def check_places(directory: Path, place: Path, names: Iterable[str]) -> None:
    """Check that nothing is where folders are to come back.

    Raises:
        ChromaError: ``conflict``.
    """
    for name in taken(place, names):
        if os.path.lexists(directory / name):
            message = f"{directory / name} is there again, so what is in quarantine can't come back."
            raise ChromaError("conflict", message, "Find out who made it. If it is nobody's, move it away, and run this again.")


def _files(folder: Path) -> list[Path]:
    found = [Path(root) / name for root, _folders, names in os.walk(folder) for name in names]
    return sorted(file for file in found if file.is_file() and not file.is_symlink())
