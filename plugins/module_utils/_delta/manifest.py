# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a delta consists of: the files of a data directory and the collections in it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, check_path, known, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import encode as document
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id

FORMAT, VERSION = "thinkube.chroma/delta", 1
# The first is written last, and is what makes a delta; the second is written first, and says that the rest is an attempt of ours.
MANIFEST, UNVERIFIED = "delta.json", "delta.json.unverified"
BLOCK = 1 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class DeltaFile:
    """One file: its path in the directory, with slashes, its size in bytes and its SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DeltaCollection:
    """One collection; ``count`` includes records that are only in the write-ahead log."""

    id: str
    name: str
    tenant: str
    database: str
    dimension: int | None
    count: int


@dataclass(frozen=True)
class DeltaManifest:
    """The content of ``delta.json``.

    Attributes:
        id: of the attempt; the last part of the prefix.
        created: UTC, ISO 8601.
        chroma_version: of the ``chromadb`` package beside which it was made; empty where there is none.
    """

    id: str
    created: str
    chroma_version: str
    collections: tuple[DeltaCollection, ...]
    files: tuple[DeltaFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(each.bytes for each in self.files)

    @property
    def records(self) -> int:
        """Records of all collections."""
        return sum(each.count for each in self.collections)


def check_directory(directory: Path) -> None:
    """Refuse what is no data directory, before anything is closed for it.

    Raises:
        ChromaError: ``not_chroma_directory``.
    """
    if not (directory / DATABASE).is_file():
        message = f"{directory} is no data directory of Chroma: it has no {DATABASE}."
        raise ChromaError("not_chroma_directory", message, "Give the directory that chromadb.PersistentClient was given.")


def plan(directory: Path, scratch: Path | None = None) -> DeltaManifest:
    """Read a directory that nobody writes to, and return what a delta of it consists of.

    Args:
        directory: holds ``chroma.sqlite3``.
        scratch: see :func:`open_directory`.

    Raises:
        ChromaError: ``not_chroma_directory``; ``newer_chroma``; ``damaged``; ``directory_changed`` while it was read; ``forbidden``;
            ``unsupported`` where something in it is neither a file nor a folder.
    """
    with open_directory(directory, scratch) as opened:
        collections = tuple(
            DeltaCollection(each.id, each.name, each.tenant, each.database, each.dimension, opened.count(each))
            for each in opened.collections()
        )
        files = tuple(_read(directory, path) for path in sorted(_files(directory)))
        opened.check_unchanged()
    now = datetime.now(UTC)
    return DeltaManifest(new_id(now), now.isoformat(timespec="seconds"), _chroma_version(), collections, files)


def encode(manifest: DeltaManifest) -> bytes:
    """Return the content of ``delta.json``."""
    return document(FORMAT, VERSION, manifest)


def parse(content: bytes, where: str) -> DeltaManifest:
    """Read and check the content of ``delta.json``.

    Raises:
        ChromaError: ``invalid_delta`` where it cannot be used, or where a later release of this collection wrote it.
    """
    try:
        loaded = load(content, FORMAT, VERSION, "invalid_delta", f"The delta {where}")
        manifest = DeltaManifest(
            id=str(loaded["id"]),
            created=str(loaded["created"]),
            chroma_version=str(loaded["chroma_version"]),
            collections=tuple(DeltaCollection(**known(DeltaCollection, each)) for each in loaded["collections"]),
            files=tuple(DeltaFile(**known(DeltaFile, each)) for each in loaded["files"]),
        )
        for each in manifest.files:
            _check(each)
        if len({each.path for each in manifest.files}) != len(manifest.files):
            raise ValueError("a file is named twice")
    except INVALID as error:
        raise invalid(where, f"its manifest can't be used: {reason(error)}") from error
    return manifest


def invalid(where: str, reason: str) -> ChromaError:
    """Return the error of a delta that is not what was uploaded."""
    hint = "Upload it again; look at the object store and the network between where this comes back."
    return ChromaError("invalid_delta", f"The delta {where} is not what was uploaded: {reason}.", hint)


def _check(file: DeltaFile) -> None:
    """Refuse what would lead a reader out of the directory, or is no file."""
    check_path(file.path)
    if not isinstance(file.bytes, int) or file.bytes < 0 or not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"size or checksum of {file.path} is no such thing")


def _files(directory: Path) -> Iterator[str]:
    def raised(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for folder, folders, names in os.walk(directory, onerror=raised):
        if Path(folder) == directory and PRIVATE in folders:
            folders.remove(PRIVATE)
        for name in [*names, *folders]:
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                message = f"{path} is neither a file nor a folder: Chroma writes no such thing, and an object store can't hold it."
                raise ChromaError("unsupported", message, "Look what it is, and move it elsewhere.")
            if stat.S_ISREG(mode):
                yield path.relative_to(directory).as_posix()


def _read(directory: Path, path: str) -> DeltaFile:
    digest, size = hashlib.sha256(), 0
    try:
        with (directory / path).open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise _unreadable(directory / path, error) from error
    return DeltaFile(path, size, digest.hexdigest())


def _unreadable(path: Path, error: OSError) -> ChromaError:
    if isinstance(error, PermissionError):
        return ChromaError("forbidden", f"Could not read {path}: {error.strerror}.", "Run it as the user who owns the data directory.")
    hint = "Look whether another process writes there, then at the disk; run it again."
    return ChromaError("directory_changed", f"Could not read {path}: {error.strerror}.", hint)


def _chroma_version() -> str:
    try:
        return importlib.metadata.version("chromadb")
    except importlib.metadata.PackageNotFoundError:
        return ""
