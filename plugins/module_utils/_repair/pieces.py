# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of an index's files that a repair changes; the server does not run meanwhile. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile, read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, HEADER_FILE, LABELS_FILE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.image import sha256_of
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import PIECES, Piece, damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import FILE, Step
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

_CHUNK = 1 << 20
# Of an element: hnswlib's mark of a deletion is bit 0 of its third byte (hnswalg.h, markDeletedInternal).
_MARK, _DELETED = 2, 1
# More vectors without label than this are no leftover of a killed save.
_MOST = 10_000


def plan_pieces(directory: Path, steps: Sequence[Step]) -> tuple[Piece, ...]:
    """Return what steps change in files.

    Raises:
        Damaged: a file is not what it was when it was validated.
        ChromaError: ``unsupported`` where too much would change.
    """
    found: list[Piece] = []
    for step in (each for each in steps if each.how == FILE):
        found += _tail(directory, step.segment) if step.finding == "CHR034" else _unlabelled(directory, step.segment)
    return tuple(found)


def keep(directory: Path, place: Path, pieces: Sequence[Piece]) -> None:
    """Write the former bytes to the quarantine."""
    with (place / PIECES).open("wb") as out:
        for each in pieces:
            with (directory / each.path).open("rb") as file:
                file.seek(each.offset)
                left = each.length
                while left and (chunk := file.read(min(left, _CHUNK))):
                    out.write(chunk)
                    left -= len(chunk)
    sync(place / PIECES)


def put(directory: Path, pieces: Sequence[Piece]) -> None:
    """Change the files."""
    for path in sorted({each.path for each in pieces}):
        with (directory / path).open("r+b") as file:
            for each in (each for each in pieces if each.path == path):
                if each.now:
                    file.seek(each.offset)
                    file.write(bytes.fromhex(each.now))
                else:
                    file.truncate(each.offset)
            file.flush()
            os.fsync(file.fileno())


def back(directory: Path, place: Path, pieces: Sequence[Piece]) -> None:
    """Bring the former bytes back; done twice it is the same."""
    if not pieces:
        return
    with (place / PIECES).open("rb") as source:
        for each in pieces:
            with (directory / each.path).open("r+b") as file:
                file.seek(each.offset)
                left = each.length
                while left and (chunk := source.read(min(left, _CHUNK))):
                    file.write(chunk)
                    left -= len(chunk)
                file.flush()
                os.fsync(file.fileno())


def checksums(directory: Path, pieces: Sequence[Piece]) -> dict[str, str]:
    """Return the SHA-256 of each file with pieces."""
    return {path: sha256_of(directory / path) for path in sorted({each.path for each in pieces})}


def check_unchanged(directory: Path, place: Path, pieces: Sequence[Piece], changed: Mapping[str, tuple[str, str]]) -> None:
    """Check that nobody but a repair or its undo has written to files, however far these came before they were killed.

    Args:
        changed: SHA-256 of each file before the repair, and afterwards; by path.

    Raises:
        ChromaError: ``conflict``; ``damaged_quarantine``.
    """
    if changed and not (place / PIECES).is_file():
        raise damaged(place, f"{PIECES} is gone")
    for path, (was, _now) in changed.items():
        if not (directory / path).is_file() or _former(directory / path, place, pieces, path) != was:
            message = f"{path} has been written by somebody else since the repair was planned: nothing is changed in it."
            raise ChromaError("conflict", message, "Leave it: a server has saved the index anew.")


def _former(file: Path, place: Path, pieces: Sequence[Piece], path: str) -> str:
    """Return the SHA-256 of a file with the former bytes in their places; empty where neither these nor the new ones are there."""
    starts, start = [], 0
    for each in pieces:
        starts.append(start)
        start += each.length
    ours = sorted((each.offset, number) for number, each in enumerate(pieces) if each.path == path)
    digest = hashlib.sha256()
    with file.open("rb") as now, (place / PIECES).open("rb") as store:
        for offset, number in ours:
            _hash(digest.update, now, offset - now.tell())
            store.seek(starts[number])
            if not _hash_piece(digest.update, now, store, pieces[number]):
                return ""
        _hash(digest.update, now, None)
    return digest.hexdigest()


def _hash(update: Callable[[bytes], None], file: BinaryIO, length: int | None) -> None:
    while (length is None or length > 0) and (chunk := file.read(_CHUNK if length is None else min(length, _CHUNK))):
        update(chunk)
        length = None if length is None else length - len(chunk)


def _hash_piece(update: Callable[[bytes], None], file: BinaryIO, store: BinaryIO, piece: Piece) -> bool:
    """Add the former bytes; return whether a file has these, the new ones, or of an end that is cut off as much as has come back."""
    left = piece.length
    while left and (former := store.read(min(left, _CHUNK))):
        there = file.read(len(former))
        if there != former and there != bytes.fromhex(piece.now) and (piece.now or not former.startswith(there)):
            return False
        update(former)
        left -= len(former)
    return not left


def _tail(directory: Path, segment: str) -> list[Piece]:
    """Return what is beyond the last whole element, or beyond the capacity."""
    header = read_header(directory / segment / HEADER_FILE)
    path = f"{segment}/{DATA_FILE}"
    size = (directory / path).stat().st_size
    kept = min(size, header.max_elements * header.element_bytes) // header.element_bytes * header.element_bytes
    return [Piece(path, kept, size - kept)] if header.data_bytes <= kept < size else []


def _unlabelled(directory: Path, segment: str) -> list[Piece]:
    """Return the marks of elements that the label map has no id for."""
    folder = directory / segment
    header = read_header(folder / HEADER_FILE)
    known = read_labels(folder / LABELS_FILE).labels.astype(np.uint64)
    found: list[Piece] = []
    with VectorFile(folder, header) as file:
        for first, chunk in file.elements():
            marks = chunk["flags"].astype(np.uint8)
            for row in np.flatnonzero(((marks & _DELETED) == 0) & ~np.isin(chunk["label"], known)).tolist():
                place = (first + row) * header.element_bytes + _MARK
                found.append(Piece(f"{segment}/{DATA_FILE}", place, 1, f"{int(marks[row]) | _DELETED:02x}"))
            if len(found) > _MOST:
                message = f"More than {_MOST} vectors of {segment} have no label."
                raise ChromaError("unsupported", message, "Recover the collection (42_recover), and leave CHR055 out of the repair.")
    return found
