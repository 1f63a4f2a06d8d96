# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base backup and increments of a directory that a real server writes to, and what the server said at each of these moments."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import holds
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.merge import merge_increments
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS, Parent, parse_parent
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.reading import read_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import mark
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA, BackupManifest, new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils._values import COSINE_TOLERANCE

DIMENSION = 6
PLACES = (("default_tenant", "default_database"), ("default_tenant", "more"), ("second", "other"))

# (tenant, database, name) → what the server says of the collection, and its records by id.
State = dict[tuple[str, str, str], tuple[dict[str, Any], dict[str, dict[str, Any]]]]


def state_of(url: str) -> State:
    """Return all that a server holds."""
    found: State = {}
    for tenant, database in PLACES:
        place = ChromaClient(Connection(url, tenant=tenant, database=database))
        if place.tenant_exists() and place.database_exists():
            for each in place.list_collections():
                rows = {row["id"]: row for row in place.get(each, page=500)}
                assert len(rows) == place.count(each)
                about = {"metadata": dict(each.metadata), "configuration": dict(each.configuration), "dimension": each.dimension}
                found[tenant, database, each.name] = ({**about, "function": each.embedding_function, "space": each.space}, rows)
    return found


def same(found: State, wanted: State, settings: bool = True) -> None:
    """Check that two states are equal: vectors in every bit, or in space cosine within a rounding; metadata with the types of values."""
    assert sorted(found) == sorted(wanted)
    for key, (about, rows) in wanted.items():
        said, have = found[key]
        if settings:
            assert said == about, key
        assert sorted(have) == sorted(rows), (key, sorted(set(have) ^ set(rows))[:5])
        for name, row in rows.items():
            same_record(have[name], row, about["space"])


def same_record(have: dict[str, Any], want: dict[str, Any], space: str) -> None:
    """Check that two records are equal."""
    assert (have["document"], have["uri"]) == (want["document"], want["uri"]), (have, want)
    one, other = have["metadata"] or {}, want["metadata"] or {}
    assert one.keys() == other.keys(), (have, want)
    assert all(holds(one[key], other[key]) for key in other), (have, want)
    first, second = np.array(have["embedding"], np.float32), np.array(want["embedding"], np.float32)
    if space == "cosine":
        assert np.abs(first - second).max() <= COSINE_TOLERANCE * np.linalg.norm(second.astype(np.float64)), (have, want)
    else:
        assert first.tobytes() == second.tobytes(), (have, want)


@dataclass
class Chain:
    """Trees of a base and its increments.

    Args:
        data: the live directory.
        root: for the trees.
    """

    data: Path
    root: Path
    trees: list[Path] = field(default_factory=list)
    manifests: list[BackupManifest] = field(default_factory=list)

    def base(self, live: bool = True) -> BackupManifest:
        """Make the base."""
        tree = self.root / "0"
        manifest = take(self.data, tree, About(new_id()), live=live)
        mark(tree / DATA, tree, manifest)
        self.trees, self.manifests = [tree], [manifest]
        return manifest

    def parent(self) -> Parent:
        """Return the last backup as the next one's parent."""
        return parse_parent((self.trees[-1] / ANCHORS).read_bytes(), "the last one")

    def increment(self, **options: Any) -> BackupManifest:
        """Make an increment on the last one."""
        tree = self.root / str(len(self.trees))
        tree.mkdir()
        manifest = read_increment(self.data, tree, self.parent(), new_id(), **options)
        self.trees.append(tree)
        self.manifests.append(manifest)
        return manifest


def write(client: ChromaClient, collection: Collection, action: str, ids: Sequence[str], **columns: Any) -> None:
    """Send one request as it is."""
    client.write(collection, action, json.dumps({"ids": list(ids), **columns}).encode())


class Writer:
    """Changes everything that can be changed, by chance but the same each time.

    Args:
        url: of the server.
        seed: of the chance.
        lists: whether metadata may hold lists.
    """

    def __init__(self, url: str, seed: int, lists: bool) -> None:
        self.client = ChromaClient(Connection(url))
        self.chance = random.Random(seed)
        self.lists = lists
        self.made = 0

    def place(self) -> ChromaClient:
        """Return a client of one of the databases, which is made where it is absent."""
        tenant, database = self.chance.choice(PLACES)
        place = self.client.within(tenant=tenant, database=database)
        if not place.tenant_exists():
            place.create_tenant()
        if not place.database_exists():
            place.create_database()
        return place

    def create(self, place: ChromaClient) -> Collection:
        """Make a collection that is saved after few records."""
        self.made += 1
        space = self.chance.choice(["l2", "ip", "cosine"])
        metadata: dict[str, Any] = {"number": self.made, "real": 0.5} if self.made % 2 else {}
        name = f"{space}-{self.made}"
        if place.legacy:
            metadata |= {"hnsw:batch_size": 10, "hnsw:sync_threshold": 40}
            return place.create_collection(name, metadata, {"space": space})
        return place.create_collection(name, metadata, {"space": space, "sync_threshold": 40, "batch_size": 10})

    def vectors(self, count: int) -> list[list[float]]:
        """Return vectors of float32 numbers."""
        return [[float(np.float32(self.chance.gauss(0, 3))) for _n in range(DIMENSION)] for _row in range(count)]

    def metadata(self) -> dict[str, Any] | None:
        """Return metadata of all types; now and then none."""
        chance = self.chance
        made: dict[str, Any] = {
            "text": chance.choice(["", "plain", "Ü 🙂 漢字", "nul\x00inside"]),
            "id": chance.choice([0, -1, 2**53 + 1, -(2**63)]),
            "real": chance.choice([0.0, 0.1, chance.random(), 3.0]),
            "flag": chance.random() < 0.5,
            "mixed": chance.choice([1, 2.5, "three", True]),
        }
        if self.lists:
            made["strs"] = [chance.choice(["a", "b\n"]) for _each in range(chance.randrange(1, 4))]
            made["mixed"] = chance.choice([made["mixed"], [1, 2], [0.5]])
        return {key: value for key, value in made.items() if chance.random() < 0.6} or None

    def records(self, place: ChromaClient, collection: Collection, rounds: int) -> None:
        """Add, upsert, update and delete records, existing and absent ones; delete the newest and add others, so that rowids return."""
        chance = self.chance
        for number in range(rounds):
            ids = list(dict.fromkeys(f"id-{chance.randrange(90)}" for _each in range(12)))
            action = chance.choice(["add", "add", "upsert", "vector", "metadata", "document", "delete", "again", "new"])
            columns: dict[str, Any] = {"embeddings": self.vectors(len(ids))}
            if action == "delete":
                place.delete(collection, ids[:5])
                continue
            if action == "again":
                place.delete(collection, ids)
                action = "add"
            if action == "new":
                newest = [f"new-{number}-{each}" for each in range(6)]
                write(place, collection, "add", newest, embeddings=self.vectors(6), documents=newest)
                place.delete(collection, newest)
                ids, action = [f"{each} again" for each in newest], "add"
                columns = {"embeddings": self.vectors(6)}
            if action in ("add", "upsert", "metadata"):
                columns["metadatas"] = [self.metadata() for _each in ids]
            if action in ("add", "upsert", "document") and chance.random() < 0.8:
                columns["documents"] = [chance.choice(["", f"document {each}", "Ü 🙂"]) for each in ids]
            if action in ("add", "upsert") and chance.random() < 0.4:
                columns["uris"] = [f"file:///{chance.randrange(9)}" for _each in ids]
            if action in ("metadata", "document"):
                del columns["embeddings"]
            if action not in ("add", "upsert"):
                # 1.5.9 ignores an update of an absent id, and applies it after all once that id is added and anything else is written.
                have = {row["id"] for row in place.get(collection, ids, include=())}
                kept = [place for place, name in enumerate(ids) if name in have]
                ids, columns = [ids[each] for each in kept], {key: [values[each] for each in kept] for key, values in columns.items()}
                action = "update"
            if ids:
                write(place, collection, action, ids, **columns)

    def turn(self, rounds: int = 6) -> None:
        """Change some collections; make, rename, describe, empty and delete some."""
        chance = self.chance
        for _each in range(3):
            place = self.place()
            have = place.list_collections()
            if len(have) < 3:
                self.records(place, self.create(place), rounds)
            for each in have:
                action = chance.random()
                # A server of 0.x forgets the log of a deleted collection: no increment follows on that.
                if action < 0.12 and not place.legacy:
                    place.delete_collection(each.name)
                    continue
                if action < 0.24:
                    self.made += 1
                    _update(place, each, name=f"{each.space}-{self.made}")
                elif action < 0.36:
                    kept = {key: value for key, value in each.metadata.items() if key.startswith("hnsw:")}  # of 0.x
                    _update(place, each, metadata={**kept, "described": chance.random() < 0.5, "number": self.made})
                elif action < 0.42:
                    place.delete(each, [row["id"] for row in place.get(each, include=())])
                    continue
                elif action < 0.5 and not place.legacy:
                    _update(place, each, configuration={"ef_search": chance.randrange(10, 300)})
                if action > 0.2:
                    self.records(place, each, chance.randrange(1, rounds))


def _update(place: ChromaClient, collection: Collection, **changes: Any) -> None:
    """Change a collection; again where Chroma's own writers were in each other's way, which SQLite tells one of them at once."""
    for pause in (0.1, 0.5, 2.0):
        try:
            return place.update_collection(collection, **changes)
        except ChromaError as error:
            if "database is locked" not in error.message:
                raise
            time.sleep(pause)
    place.update_collection(collection, **changes)


def merged(base: Path, trees: list[Path], file: Path) -> State:
    """Return what a chain holds, read without Chroma, in the form of a server's answer."""
    found: State = {}
    with merge_increments(base, trees, file) as source:
        for each in source.select(None):
            schema = source.schema(each)
            rows = {}
            for batch in source.batches(each, 0):
                batch.validate(full=True)
                assert batch.schema.equals(schema, check_metadata=True)
                for record in batch.to_pylist():
                    kept = {one.key: record[one.name] for one in columns_of(schema) if one.key and record[one.name] is not None}
                    assert record["id"] not in rows
                    fields = {"embedding": record["vector"], "document": record["document"], "uri": record["uri"]}
                    rows[record["id"]] = {"id": record["id"], **fields, "metadata": kept or None}
            assert len(rows) == each.records
            found[each.tenant, each.database, each.name] = ({"space": each.space}, rows)
    return found


def directories(tmp_path: Path) -> tuple[Path, Path]:
    """Make a data directory and one for trees."""
    data, root = tmp_path / "data", tmp_path / "trees"
    data.mkdir()
    root.mkdir()
    return data, root


def small(place: ChromaClient, name: str, **settings: Any) -> Collection:
    """Make a collection that is saved after few records."""
    return place.create_collection(name, None, {"space": "l2", "sync_threshold": 40, "batch_size": 10, **settings})


def numbered(place: ChromaClient, collection: Collection, first: int, count: int, **columns: Any) -> None:
    """Upsert records that say which they are."""
    ids = [f"id-{each}" for each in range(first, first + count)]
    vectors = [[float(each)] * DIMENSION for each in range(first, first + count)]
    write(place, collection, "upsert", ids, embeddings=vectors, documents=ids, **columns)
