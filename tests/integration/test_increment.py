# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Increments: each point of a chain is what the server said at its moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import servers
from chains import Chain, State, Writer, directories, merged, numbered, same, small, state_of

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import open_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.merge import merge_increments
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.replay import Applied, apply_increment, prove_ids
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import open_rowids
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]


@pytest.mark.parametrize("version", servers.VERSIONS[1:])
def test_each_point_of_a_chain_read_without_chroma_is_what_the_server_said(version, tmp_path):
    """Records, spaces and collections; the writer changes all that can be changed."""
    data, root = tmp_path / "data", tmp_path / "trees"
    data.mkdir()
    root.mkdir()
    with servers.running(version, data=data) as server:
        writer = Writer(server.url, 1, lists=version == NEWEST)
        for _each in range(3):
            writer.turn()
        chain, states = Chain(data, root), []
        chain.base()
        states.append(state_of(server.url))
        for _each in range(10 if version == NEWEST else 3):
            writer.turn()
            states.append(state_of(server.url))
            manifest = chain.increment()
            assert manifest.records == sum(len(rows) for _about, rows in states[-1].values())
    for number, state in enumerate(states):
        same(merged(root / "0", chain.trees[1 : number + 1], tmp_path / "ids"), state, settings=False)


def test_each_point_of_a_chain_replayed_by_chroma_is_what_the_server_said(tmp_path):
    data, root, staging = tmp_path / "data", tmp_path / "trees", tmp_path / "staging"
    data.mkdir()
    root.mkdir()
    with servers.running(NEWEST, data=data) as server:
        writer = Writer(server.url, 2, lists=True)
        for _each in range(3):
            writer.turn()
        chain, states = Chain(data, root), []
        chain.base()
        states.append(state_of(server.url))
        for _each in range(10):
            writer.turn()
            states.append(state_of(server.url))
            chain.increment()
    shutil.copytree(root / "0" / DATA, staging)
    with open_rowids(staging, chain.manifests[0], tmp_path / "ids") as ids, servers.running(NEWEST, data=staging) as server:
        client = ChromaClient(Connection(server.url))
        same(state_of(server.url), states[0])
        for tree, state in zip(chain.trees[1:], states[1:], strict=True):
            applied = apply_increment(client, tree, ids)
            print(applied)
            same(state_of(server.url), state)
            assert prove_ids(client, ids) == sum(len(rows) for _about, rows in state.values())


def test_rowids_that_are_given_to_others(tmp_path):
    data, root = directories(tmp_path)
    with servers.running(NEWEST, data=data) as server:
        place = ChromaClient(Connection(server.url))
        one, other = small(place, "one"), small(place, "other")
        numbered(place, one, 0, 30, metadatas=[{"list": [each, 1]} for each in range(30)])
        chain = Chain(data, root)
        chain.base()
        place.delete(one, [f"id-{each}" for each in range(20, 30)])
        numbered(place, other, 100, 10)
        first = state_of(server.url)
        chain.increment()
        place.delete(other, [f"id-{each}" for each in range(100, 110)])
        numbered(place, one, 25, 10)
        second = state_of(server.url)
        chain.increment()
    rowids = [
        {
            record["rowid"]
            for each in open_increment(tree).changes.collections
            for batch in open_increment(tree).batches(each.id)
            for record in batch.to_pylist()
        }
        for tree in chain.trees[1:]
    ]
    assert rowids[0] == rowids[1]
    same(merged(root / "0", chain.trees[1:2], tmp_path / "ids"), first, settings=False)
    same(merged(root / "0", chain.trees[1:], tmp_path / "ids"), second, settings=False)
    replayed(chain, [first, second], tmp_path)


def replayed(chain: Chain, states: list[State], tmp_path: Path) -> list[Applied]:
    """Replay a chain on a copy of its base; each point is the wanted state."""
    staging, done = tmp_path / "staging", []
    shutil.copytree(chain.trees[0] / DATA, staging)
    with open_rowids(staging, chain.manifests[0], tmp_path / "ids") as ids, servers.running(NEWEST, data=staging) as server:
        client = ChromaClient(Connection(server.url))
        for tree, state in zip(chain.trees[1:], states, strict=True):
            done.append(apply_increment(client, tree, ids))
            same(state_of(server.url), state)
            assert prove_ids(client, ids) == sum(len(rows) for _about, rows in state.values())
    return done


def test_tenants_databases_and_collections_that_come_change_and_go(tmp_path):
    """Also two that exchange their names, one that is made again under its old name, and one that moves into another database."""
    data, root = directories(tmp_path)
    with servers.running(NEWEST, data=data) as server:
        place, more = (ChromaClient(Connection(server.url, database=name)) for name in ("default_database", "more"))
        more.create_database()
        one, other, again, gone = (small(place, name) for name in ("one", "other", "again", "gone"))
        for number, each in enumerate((one, other, again, gone)):
            numbered(place, each, number * 100, 50)
        numbered(more, small(more, "dropped"), 0, 50)
        chain = Chain(data, root)
        chain.base()
        place.update_collection(one, name="between")
        place.update_collection(other, name="one", metadata={"described": True, "real": 0.5})
        place.update_collection(one, name="other")
        place.delete_collection("again")
        function = {"type": "known", "name": "default", "config": {}}
        numbered(place, place.create_collection("again", {"made": "again"}, {"space": "cosine"}, function), 7, 5)
        place.delete_collection("gone")
        more.delete_database()
        second = place.within(tenant="second", database="other")
        second.create_tenant()
        second.create_database()
        numbered(second, small(second, "gone", space="ip", ef_search=33), 3, 60)
        second.create_collection("empty", None, {"space": "ip"})
        first = state_of(server.url)
        chain.increment()
        again = place.require_collection("again")
        place.update_collection(again, metadata={})
        place.update_collection(again, configuration={"ef_search": 77})
        last = state_of(server.url)
        manifest = chain.increment()
    assert (sorted(manifest.tenants), len(manifest.databases)) == (["default_tenant", "second"], 2)
    same(merged(root / "0", chain.trees[1:], tmp_path / "ids"), last, settings=False)
    done = replayed(chain, [first, last], tmp_path)
    assert done[0].differs == done[1].differs == ()
    assert done[1].changed == ("default_tenant/default_database/again",)


def test_a_collection_of_a_chain_as_a_dataset_under_another_name(tmp_path):
    """What restoring one collection does: the merge is exported, and imported beside the living one."""
    data, root = directories(tmp_path)
    with servers.running(NEWEST, data=data) as server:
        writer = Writer(server.url, 3, lists=True)
        place = writer.client
        collection = writer.create(place)
        writer.records(place, collection, 8)
        chain = Chain(data, root)
        chain.base()
        for _each in range(3):
            writer.records(place, collection, 8)
            chain.increment()
        state = state_of(server.url)
        writer.records(place, collection, 8)
        with merge_increments(root / "0", chain.trees[1:], tmp_path / "ids", only=[collection.id]) as source:
            export(source, open_store(str(tmp_path / "dataset")), Wanted(collections=[collection.id]))
        request = ImportRequest(rename={collection.name: "restored"})
        import_dataset(open_store(str(tmp_path / "dataset")), place, request)
        [found] = [each for key, each in state_of(server.url).items() if key[2] == "restored"]
    same({("", "", ""): found}, {("", "", ""): next(iter(state.values()))})


def test_a_directory_that_0x_wrote_and_1x_goes_on_with(tmp_path):
    """Positions of 0.x are bytes, those of 1.x numbers."""
    data, root = directories(tmp_path)
    with servers.running("0.6.3", data=data) as server:
        writer = Writer(server.url, 4, lists=False)
        writer.turn()
        writer.turn()
    with servers.running(NEWEST, data=data):
        pass  # the process that migrates may stumble over what it migrated: filling.upgrade
    with servers.running(NEWEST, data=data) as server:
        chain, states = Chain(data, root), []
        chain.base()
        for seed in (5, 6):
            writer = Writer(server.url, seed, lists=True)
            for each in writer.client.list_collections():
                writer.records(writer.client, each, 3)
            states.append(state_of(server.url))
            manifest = chain.increment()
            changed = sum(each.records for each in open_increment(chain.trees[-1]).changes.collections)
            assert 0 < changed < manifest.records
    for number, state in enumerate(states, 1):
        # 1.x says l2 of all that 0.x made.
        found = merged(root / "0", chain.trees[1 : number + 1], tmp_path / "ids")
        same(found, {key: (found[key][0], rows) for key, (_about, rows) in state.items()}, settings=False)
