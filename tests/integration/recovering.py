# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories to recover from, with what their server said while they were whole, and an older backup of each."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broken
import filling
import numpy as np
import pytest
import servers
from chains import same_record
from restoring import Place

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Columns
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import rows_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import assembled
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.backups import Backups
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import Tally
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import KINDS
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import MARK
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.scan import Remains, scan
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import open_view
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = "1.5.9"
NAMES = ("books", "few", "angles")
# id → the record, as a server says it.
Records = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Whole:
    """A directory before anything was broken.

    Args:
        place: its directory, and a repository with a backup of its state before the last third was written.
        records: of each collection of the default database.
        ids: of the collections.
        saved: ids of ``books`` whose vectors are in the index, and not in the log any more.
    """

    version: str
    place: Place
    early: Path
    records: Mapping[str, Records]
    ids: Mapping[str, str]
    saved: frozenset[str]

    def copy(self, root: Path) -> tuple[Place, broken.Scene]:
        """Copy it, to be broken."""
        shutil.copytree(self.place.root, root)
        place = Place(root)
        return place, broken.Scene(place.data, self.version, self.early)


_made: dict[str, Whole] = {}


def once(version: str, factory: pytest.TempPathFactory) -> Whole:
    """Return the directory of a release, which all tests of a session share: it is copied to be broken."""
    if version not in _made:
        _made[version] = build(version, factory.mktemp(f"whole-{version}"))
    return _made[version]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return the directory of the newest release."""
    return once(NEWEST, tmp_path_factory)


@pytest.fixture(scope="session")
def torn(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a directory of which two collections are damaged: ``books`` lost its label map, ``angles`` its header."""
    place, scene = whole.copy(tmp_path_factory.mktemp("torn") / "place")
    (scene.folder() / "index_metadata.pickle").unlink()
    (scene.folder("angles") / "header.bin").write_bytes(b"torn")
    return place


@pytest.fixture
def damaged(torn: Place, whole: Whole, tmp_path: Path) -> tuple[Place, broken.Scene]:
    """Copy that directory."""
    shutil.copytree(torn.root, tmp_path / "place")
    return Place(tmp_path / "place"), broken.Scene(tmp_path / "place" / "data", NEWEST, whole.early)


def build(version: str, root: Path) -> Whole:
    """Make a directory with ``filling.build`` and a collection in space cosine, and back up what it was before half of that came."""
    place = Place(root / "place")
    place.root.mkdir()
    late, private = root / "late", root / "private"
    filling.build(version, late, early=root / "early")
    shutil.copytree(root / "early", place.data, dirs_exist_ok=True)
    place.backup()
    (place.data / PRIVATE).rename(private)
    shutil.rmtree(place.data)
    # The mark by which backups know their directory goes on with it.
    late.rename(place.root / "data")
    private.rename(place.data / PRIVATE)
    with servers.running(version, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        angles = filling.create(client, "angles", **({"hnsw:space": "cosine"} if client.legacy else {}))
        if not client.legacy:
            client.delete_collection("angles")
            angles = client.create_collection("angles", {"title": "Angles"}, {"sync_threshold": filling.THRESHOLD, "space": "cosine"})
        filling.write(client, angles, range(80), lists=version in filling.LISTS)
        records = {name: served(client, name) for name in NAMES}
        ids = {name: client.require_collection(name).id for name in NAMES}
    scene = broken.Scene(place.data, version, root / "early")
    logged = {str(row[0]) for row in scene.sql("SELECT id FROM embeddings_queue WHERE topic = ? AND vector IS NOT NULL", scene.topic())}
    return Whole(version, place, root / "early", records, ids, frozenset(set(records["books"]) - logged))


def served(client: ChromaClient, name: str) -> Records:
    """Return the records of a collection."""
    return {each["id"]: each for each in client.get(client.require_collection(name), page=500)}


def recover(place: Place, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module on a directory."""
    return place.module("chroma_recover", check=check, path=str(place.data), **options)


def names(client: ChromaClient) -> set[str]:
    """Return the names of the collections of a database."""
    return {each.name for each in client.list_collections()}


def assert_none_is_half(client: ChromaClient) -> None:
    """Check that no collection is one that a recovery is still writing."""
    assert not [each.name for each in client.list_collections() if MARK in each.metadata]


def recovered(path: Path, remains: Remains, view: Any, backups: Backups) -> tuple[Records, Tally, str]:
    """Return what the sources of one collection yield, without any server."""
    tally, found = Tally(), {}
    with assembled(view, remains, backups, None) as one:
        if one.merged is None:
            return {}, tally, one.space
        for batch in one.merged.batches(tally):
            assert batch.column("vector").null_count == 0
            columns = columns_of(batch.schema)
            plain = {each.name: each.key for each in columns if each.type not in ("json", "nulls")}
            rows = rows_of(batch, Columns(metadata=plain))
            for number, name in enumerate(rows.ids):
                assert name not in found
                found[name] = {
                    "embedding": np.array(rows.vectors[number]),
                    "document": rows.documents[number],
                    "metadata": rows.metadatas[number],
                    "uri": rows.uris[number],
                }
    assert tally.records == len(found)
    return found, tally, one.space


@contextlib.contextmanager
def looked(path: Path, repository: Any = None) -> Iterator[tuple[Any, Backups, tuple[Remains, ...]]]:
    """Look at a directory as a recovery does."""
    with tempfile.TemporaryDirectory() as folder:
        rooms = [Path(folder) / name for name in ("sqlite", "backup", "validation")]
        for each in rooms:
            each.mkdir()
        with open_view(path, rooms[0]) as view:
            backups = Backups(repository, path, rooms[1])
            yield view, backups, scan(view, backups, KINDS, rooms[2])


def same(found: Records, wanted: Records, space: str = "l2") -> None:
    """Check that records are equal, vectors in every bit, or in space cosine within a rounding."""
    for name, record in found.items():
        same_record(record, wanted[name], space)


def same_vectors(found: Records, wanted: Records) -> None:
    """Check that the vectors are equal in every bit."""
    for name, record in found.items():
        assert np.array(record["embedding"], np.float32).tobytes() == np.array(wanted[name]["embedding"], np.float32).tobytes(), name


def details(result: Mapping[str, Any]) -> str:
    """Return a module's result as text, for the message of a test that fails."""
    return json.dumps({key: result.get(key) for key in ("msg", "code", "table", "details", "warnings", "done")}, indent=1)
