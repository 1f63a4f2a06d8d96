# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A quarantine: what a repair took away, and its manifest. FOR INTERNAL COLLECTION USE ONLY.

``<data>/.thinkube-chroma/quarantine/<id>/`` holds ``manifest.json``, ``folders/<name>``, ``rows.sqlite3``, ``pieces.bin`` and
``blocks.bin``. The manifest is on disk before anything moves. It has a checksum of itself and of every other file, and the state tells
how far it got.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, check_path, known, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.image import Difference, sha256_of
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import is_id, utc
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder, sync

QUARANTINE, MANIFEST, FOLDERS, PIECES = "quarantine", "manifest.json", "folders", "pieces.bin"
FORMAT, VERSION = "thinkube.chroma/quarantine", 1

# States. Begun: not known how far it got. Acted: all is done and not yet validated. Undoing: not known how far that got. Stuck: it was
# one of these, and can't be brought to its end; it is kept until somebody has looked at it.
# Kept: no repair, but what somebody deletes on purpose, to be read and never to be put back.
BEGUN, ACTED, DONE, UNDOING, UNDONE, STUCK, KEPT = "begun", "acted", "done", "undoing", "undone", "stuck", "kept"
STATES = (BEGUN, ACTED, DONE, UNDOING, UNDONE, STUCK, KEPT)
UNSETTLED = (BEGUN, ACTED, UNDOING)
# How the folder of one is called that is not whole yet.
NEW = ".new-"
_NAME = re.compile(r"[^/\0]{1,255}")


@dataclass(frozen=True)
class Piece:
    """Bytes of an index's file that a repair changed.

    Args:
        path: of the file, relative to the data directory.
        offset: in the file, bytes.
        length: of the former bytes, which are in ``pieces.bin`` one after the other.
        now: what is there instead, hexadecimal; empty where the file ends at ``offset``.
    """

    path: str
    offset: int
    length: int
    now: str = ""


@dataclass(frozen=True)
class Quarantine:
    """The content of ``manifest.json``.

    Args:
        id: of the repair.
        created: UTC.
        state: see above.
        live: whether it was made beside a server.
        steps: what is repaired, as the module returns it, and the key of each finding.
        findings: all that the validation had found, as the module of the validation returns them.
        folders: names of those that go.
        pieces: of files that change.
        changed: SHA-256 of each file with pieces, before and after; by path.
        rows: number of rows by table.
        database: what tells the database before and after; None where that is not known.
        rebuilt: whether the full-text index is built anew.
        exact: whether an undo that was begun brings the very bytes back.
        reason: why it is stuck, or kept.
        checksums: SHA-256 of each other file, by path relative to the quarantine.
    """

    id: str
    created: str = field(default_factory=utc)
    state: str = BEGUN
    live: bool = False
    steps: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    folders: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    database: Difference | None = None
    rebuilt: bool = False
    exact: bool = False
    reason: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)


def place_of(directory: Path, identifier: str) -> Path:
    """Return the folder of a quarantine."""
    return directory / PRIVATE / QUARANTINE / identifier


def quarantines(directory: Path) -> list[Path]:
    """Return the folders of all quarantines, the newest last; also of those whose manifest is gone."""
    folder = directory / PRIVATE / QUARANTINE
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if is_id(each.name) and each.is_dir() and not each.is_symlink())


def new_places(directory: Path) -> list[Path]:
    """Return the folders of quarantines that were never whole: nothing has moved there yet."""
    folder = directory / PRIVATE / QUARANTINE
    return [] if folder.is_symlink() else sorted(folder.glob(f"{NEW}*"))


def make_place(directory: Path, identifier: str) -> Path:
    """Make the folder of a new quarantine, under a name of its own until :func:`publish`."""
    folder = private_folder(directory) / QUARANTINE
    folder.mkdir(mode=0o700, exist_ok=True)
    place = folder / f"{NEW}{identifier}"
    place.mkdir(mode=0o700)
    (place / FOLDERS).mkdir(mode=0o700)
    sync(folder, folder.parent)
    return place


def publish(directory: Path, place: Path, quarantine: Quarantine) -> Quarantine:
    """Write the manifest of a new quarantine, and give its folder its name: from now on it is one."""
    write(place, quarantine)
    place.rename(place_of(directory, quarantine.id))
    sync(place.parent)
    return quarantine


def write(place: Path, quarantine: Quarantine) -> Quarantine:
    """Write the manifest: when this returns, it is on disk as a whole; before, the former one is."""
    content = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(quarantine)}
    made = place / f".{MANIFEST}.new"
    with made.open("wb") as file:
        file.write(json.dumps({**content, "sha256": _digest(content)}, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    made.rename(place / MANIFEST)
    sync(place)
    return quarantine


def read(place: Path) -> Quarantine:
    """Read a manifest and check that it is as it was written.

    Raises:
        ChromaError: ``damaged_quarantine``; ``newer_backup`` where a later release wrote it.
    """
    try:
        loaded = load((place / MANIFEST).read_bytes(), FORMAT, VERSION, "newer_backup", f"Quarantine {place.name}")
        if loaded.pop("sha256") != _digest(loaded):
            raise ValueError("it was changed since it was written")
        return _parsed(loaded, place.name)
    except (*INVALID, OSError) as error:
        raise damaged(place, f"its manifest can't be used: {reason(error)}") from error


def check_files(place: Path, quarantine: Quarantine) -> None:
    """Check each file against its checksum.

    Raises:
        ChromaError: ``damaged_quarantine``, naming the first that is gone or differs.
    """
    for name, wanted in quarantine.checksums.items():
        file = place / name
        if file.is_symlink() or not file.is_file():
            raise damaged(place, f"{name} is gone")
        if sha256_of(file) != wanted:
            raise damaged(place, f"{name} is not what it was")


def damaged(place: Path, detail: str) -> ChromaError:
    """Return the error of a quarantine that can't be believed."""
    hint = "Nothing was changed. Look at the volume and at who has written to it; what the repair took away is in no use by Chroma."
    return ChromaError("damaged_quarantine", f"Quarantine {place}: {detail}.", hint, {"quarantine": place.name})


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parsed(loaded: Mapping[str, Any], name: str) -> Quarantine:
    difference = loaded["database"]
    found = Quarantine(
        **{
            **known(Quarantine, loaded),
            "steps": tuple(loaded["steps"]),
            "findings": tuple(loaded["findings"]),
            "folders": tuple(loaded["folders"]),
            "pieces": tuple(Piece(**known(Piece, each)) for each in loaded["pieces"]),
            "changed": {path: (was, now) for path, (was, now) in loaded["changed"].items()},
            "database": Difference(**known(Difference, difference)) if difference else None,
        }
    )
    if found.id != name or found.state not in STATES:
        raise ValueError(f"it is of {found.id}, in state {found.state!r}")
    if not all(_NAME.fullmatch(each) and each not in (".", "..", PRIVATE) for each in found.folders):
        raise ValueError("a folder's name leads elsewhere")
    for path in (*found.checksums, *found.changed, *(each.path for each in found.pieces)):
        check_path(path)
    return found
