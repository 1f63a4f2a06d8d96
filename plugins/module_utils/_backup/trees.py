# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into the repository, made in scratch: one tree for each kind of backup. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import check_migrations, open_directory, read_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import MIGRATIONS
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import DirectorySource, choose
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import Parent
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.reading import read_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import mark
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    API,
    COLD,
    COLLECTION,
    DATA,
    DATASET,
    MANIFEST,
    BackupCollection,
    BackupManifest,
    encode_manifest,
    utc,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import reading_room, remove_tree
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import PAUSE, TRIES, About, take

# Errors of a copy under the lock that a copy of a stopped server does not have.
_COLD_HELPS = frozenset({"pause_exceeded", "lock_lost", "busy"})
# A server may be writing while the schema is read: what is of two moments is read again.
_LOOKS, _BETWEEN = 5, 0.5


@dataclass(frozen=True)
class Source:
    """What is backed up, and how.

    Args:
        path: data directory.
        live: whether a server may be writing; None finds out.
        pause: seconds that writers may have to wait.
        tries: how often a hot copy is tried, each with such a pause.
        chroma_version, chroma_image: of the server; empty where nobody knows.
        stopped: stops the server for the length of a ``with`` block; None where there is nobody who could.
    """

    path: Path
    live: bool | None = None
    pause: float = PAUSE
    tries: int = TRIES
    chroma_version: str = ""
    chroma_image: str = ""
    stopped: Callable[[], AbstractContextManager[object]] | None = None


def silent(_warning: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Look:
    """What a directory is, before anything is made of it: versions of its schemas, and its collections as ``tenant/database/name``."""

    migrations: dict[str, int]
    collections: tuple[str, ...]


def look_at(path: Path, write: bool = False) -> Look:
    """Read the schema of a data directory and which collections it has.

    Args:
        path: the data directory.
        write: whether something may be written to it meanwhile, see :func:`reading_room`.

    Raises:
        ChromaError: ``not_chroma_directory``, ``newer_chroma``, ``busy``; ``directory_changed`` where it is written all the while; those
            of :func:`open_database` and :func:`reading_room`.
        Damaged: ``sqlite`` or ``schema``.
    """
    for attempt in range(_LOOKS):
        try:
            with reading_room(path, write) as room, open_database(path, room) as database:
                migrations = dict(check_migrations(database))
                return Look(migrations, tuple(f"{each.tenant}/{each.database}/{each.name}" for each in read_collections(database)))
        except ChromaError as error:
            if error.code not in ("busy", "directory_changed") or attempt == _LOOKS - 1:
                raise
        time.sleep(_BETWEEN)
    raise AssertionError("the loop returns or raises")


def one_collection(name: str, known: tuple[str, ...], where: str) -> str:
    """Return the ``tenant/database/name`` that a name means.

    Raises:
        ChromaError: ``not_found``; ``invalid_value`` where several are called so.
    """
    if name in known:
        return name
    choose([name], [each.rpartition("/")[2] for each in known], where)
    found = [each for each in known if each.rpartition("/")[2] == name]
    if len(found) > 1:
        raise ChromaError("invalid_value", f"{len(found)} collections are called {name}.", f"Name one of them: {', '.join(found)}.")
    return found[0]


def newest_schema() -> dict[str, int]:
    """Return the versions that a directory of this environment's Chroma has: what increments can be replayed with."""
    return {name: len(steps) for name, steps in MIGRATIONS.items()}


def make_full(source: Source, name: str, tree: Path, warn: Callable[[str], None] = silent) -> BackupManifest:
    """Make the tree of a full backup; where writers would have to wait for too long, with the server stopped.

    Args:
        name: id of the backup.
        tree: absent or empty.
        warn: told where the server is slow to come back: the copy is right then.

    Raises:
        ChromaError: see :func:`_snapshot.take.take`; ``pause_exceeded`` where nobody can stop the server.
    """
    about = About(name, chroma_version=source.chroma_version, chroma_image=source.chroma_image)
    try:
        manifest = take(source.path, tree, about, live=source.live, pause=source.pause, tries=source.tries)
    except ChromaError as error:
        if error.code not in _COLD_HELPS:
            raise
        if source.stopped is None:
            hint = f"{error.hint} Stop the server, run this again, and start it afterwards."
            raise ChromaError(error.code, error.message, hint, error.result) from error
        manifest = _cold(source, tree, replace(about, mode=COLD), warn)
    if dict(manifest.migrations) == newest_schema():
        mark(tree / DATA, tree, manifest)
    return manifest


def _cold(source: Source, tree: Path, about: About, warn: Callable[[str], None]) -> BackupManifest:
    if source.stopped is None:
        raise AssertionError("somebody has to stop the server")
    manifest = None
    try:
        with source.stopped():
            manifest = take(source.path, tree, about, live=False)
    except ChromaError as error:
        # Stopping it once more for another copy would bring it back no sooner.
        if manifest is None:
            raise
        warn(f"The server was stopped for the copy, and is not known to be back: {error.message}")
    return manifest


def make_increment(source: Source, name: str, tree: Path, parent: Parent, scratch: Path) -> BackupManifest:
    """Make the tree of an increment; see :func:`_increment.reading.read_increment`."""
    tree.mkdir()
    return read_increment(
        source.path,
        tree,
        parent,
        name,
        live=source.live is not False,
        pause=source.pause,
        chroma_version=source.chroma_version,
        chroma_image=source.chroma_image,
        scratch=scratch,
    )


def make_collection(source: Source, label: str, name: str, tree: Path, warn: Callable[[str], None] = silent) -> BackupManifest:
    """Make the tree of one collection, from a consistent copy of its directory.

    Args:
        label: ``tenant/database/name`` of the collection.

    Raises:
        ChromaError: see :func:`make_full` and :func:`_dataset.export.export`.
    """
    copy = tree.with_name(f"{tree.name}-copy")
    try:
        manifest = make_full(source, name, copy, warn)
        with open_directory(copy / DATA, scratch=copy) as directory:
            export(DirectorySource(directory), open_store(str(tree / DATASET)), Wanted([label]))
    finally:
        remove_tree(copy)
    return _described(manifest, tree, tuple(each for each in manifest.collections if each.label == label))


def make_collection_by_api(client: ChromaClient, collection: str, name: str, tree: Path, version: str = "") -> BackupManifest:
    """Make the tree of one collection of a server that only its API reaches: its records are of no single moment.

    Args:
        client: the server; its tenant and database are looked into.
        collection: name of the collection.
        version: release of the server; empty where nobody knows. One of 0.x says it itself.

    Raises:
        ChromaError: see :func:`_dataset.export.export`.
    """
    created = utc()
    export(ServerSource(client), store := open_store(str(tree / DATASET)), Wanted([collection]))
    [found] = read_manifest(store).collections
    manifest = BackupManifest(
        name, COLLECTION, created, API, chroma_version=version or (client.version if client.legacy else ""), source=client.connection.url
    )
    manifest = replace(manifest, tenants=(found.tenant,), databases=((found.tenant, found.database),))
    return _described(manifest, tree, (_collection(found),))


def _described(manifest: BackupManifest, tree: Path, collections: tuple[BackupCollection, ...]) -> BackupManifest:
    size = sum(each.stat().st_size for each in tree.rglob("*") if each.is_file())
    described = replace(manifest, kind=COLLECTION, collections=collections, bytes=size)
    (tree / MANIFEST).write_bytes(encode_manifest(described))
    return described


def _collection(found: DatasetCollection) -> BackupCollection:
    return BackupCollection(
        found.id,
        found.name,
        found.tenant,
        found.database,
        found.metadata,
        found.configuration,
        found.schema,
        found.dimension,
        found.space,
        found.records,
    )
