# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Increments that cannot be: another history, missing parents, damaged parts, locks that last too long, readers that die."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from chains import DIMENSION, Chain, state_of, write

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.merge import merge_increments
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.replay import apply_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import open_rowids
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]
COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"


class Live:
    """A server with one collection, and a chain that begins with its first 60 records."""

    def __init__(self, server: servers.Server, root: Path) -> None:
        self.server = server
        self.client = ChromaClient(Connection(server.url, timeout=120))
        self.collection = self.client.create_collection("live", None, {"space": "l2", "sync_threshold": 40, "batch_size": 10})
        self.upsert(0, 60)
        self.chain = Chain(server.data, root)
        self.chain.base()

    def upsert(self, first: int, count: int, vector: float = 0.0) -> None:
        """Write numbered records."""
        ids = [f"id-{each}" for each in range(first, first + count)]
        write(self.client, self.collection, "upsert", ids, embeddings=[[each + vector] * DIMENSION for each in range(count)], documents=ids)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """Run one."""
    (tmp_path / "data").mkdir()
    (tmp_path / "trees").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        yield Live(server, tmp_path / "trees")


def refused(chain: Chain) -> str:
    """Return why no increment follows; nothing that could be taken for one is left."""
    with pytest.raises(ChromaError) as caught:
        chain.increment()
    assert caught.value.code == "broken_chain"
    tree = chain.root / str(len(chain.trees))
    tree.rmdir()  # it is empty
    return caught.value.message


def restored(data: Path, copy: Path) -> None:
    """Put an older copy in place of a directory."""
    shutil.rmtree(data)
    shutil.copytree(copy, data)


@pytest.mark.parametrize("written", [0, 30, 200])
def test_older_data_were_restored(live, tmp_path, written):
    """Whether or not the log is beyond where it was; by updates, by new records, by what came back."""
    old = tmp_path / "old"
    shutil.copytree(live.chain.trees[0] / DATA, old)
    live.upsert(0, 20, 0.5)
    live.upsert(60, 40)
    live.client.delete(live.collection, ["id-7"])
    live.chain.increment()
    os.kill(live.server.pid, signal.SIGKILL)
    restored(live.server.data, old)
    with servers.running(NEWEST, data=live.server.data) as server:
        live.client = ChromaClient(Connection(server.url))
        if written:
            live.upsert(30, written, 0.25)
        print(refused(live.chain))


def test_another_directory(live, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with servers.running(NEWEST, data=other) as server:
        client = ChromaClient(Connection(server.url))
        collection = client.create_collection("live", None, {"space": "l2"})
        write(client, collection, "upsert", [f"id-{each}" for each in range(100)], embeddings=[[0.5] * DIMENSION] * 100)
        print(refused(Chain(other, live.chain.root, live.chain.trees)))


@pytest.mark.parametrize("names", [("one", "other"), ("other", "one")])
def test_a_collection_that_0x_deleted(tmp_path, names):
    """Its log is forgotten with it, and the numbers are given once more: whether or not it was the one written to last."""
    (tmp_path / "data").mkdir()
    (tmp_path / "trees").mkdir()
    with servers.running("0.6.3", data=tmp_path / "data") as server:
        client = ChromaClient(Connection(server.url))
        for name in names:
            write(client, client.create_collection(name), "upsert", ["a", "b"], embeddings=[[0.5], [1.5]])
        chain = Chain(tmp_path / "data", tmp_path / "trees")
        chain.base()
        client.delete_collection("other")
        write(client, client.require_collection("one"), "upsert", list("abcdef"), embeddings=[[0.25]] * 6)
        print(refused(chain))


def test_the_log_of_0_4(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "trees").mkdir()
    with servers.running("0.4.24", data=tmp_path / "data"), pytest.raises(ChromaError) as caught:
        Chain(tmp_path / "data", tmp_path / "trees").base()
    assert caught.value.code == "unsupported"


def chain_of_three(live: Live) -> None:
    """Make three increments."""
    for each in range(3):
        live.upsert(each * 20, 30, each / 4)
        live.chain.increment()


def failures(chain: Chain, tmp_path: Path, trees: list[Path]) -> list[tuple[str, str, dict]]:
    """Return how a merge and a replay of a chain fail; the replay wrote nothing of the increment that it failed at."""
    found = []
    with pytest.raises(ChromaError) as caught, merge_increments(chain.trees[0], trees, tmp_path / "ids"):
        pass
    found.append((caught.value.code, caught.value.message, caught.value.result))
    staging = tmp_path / "staging"
    shutil.copytree(chain.trees[0] / DATA, staging)
    with open_rowids(staging, chain.manifests[0], tmp_path / "ids") as ids, servers.running(NEWEST, data=staging) as server:
        client = ChromaClient(Connection(server.url))
        apply_increment(client, trees[0], ids)
        before = state_of(server.url)
        with pytest.raises(ChromaError) as caught:
            apply_increment(client, trees[1], ids)
        found.append((caught.value.code, caught.value.message, caught.value.result))
        assert state_of(server.url) == before
    shutil.rmtree(staging)
    return found


def test_a_missing_parent_is_named(live, tmp_path):
    chain_of_three(live)
    missing = live.chain.manifests[2].id
    for code, message, result in failures(live.chain, tmp_path, [live.chain.trees[1], live.chain.trees[3]]):
        assert code == "broken_chain"
        assert missing in message
        assert result["missing"] == missing


@pytest.mark.parametrize("name", ["part", "changes.json", ANCHORS, "gone"])
def test_a_damaged_file_is_named_and_the_points_before_it_remain(live, tmp_path, name):
    chain_of_three(live)
    tree = live.chain.trees[2]
    [part] = tree.glob("increment/*/part-*.parquet")
    path = {"part": part, "gone": part, "changes.json": tree / "increment" / "changes.json", ANCHORS: tree / ANCHORS}[name]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if name == "gone":
        path.unlink()
    for code, message, _result in failures(live.chain, tmp_path, live.chain.trees[1:]):
        assert code == "damaged_backup"
        assert live.chain.manifests[2].id in message
        assert path.name in message
    with merge_increments(live.chain.trees[0], live.chain.trees[1:2], tmp_path / "ids") as source:
        assert sum(each.records for each in source.select(None)) == live.chain.manifests[1].records


def test_a_vector_that_is_nowhere(live):
    """Neither the log nor the index has it: a full backup keeps what there is; an increment would lose that it is lost."""
    live.upsert(0, 100, 0.5)
    os.kill(live.server.pid, signal.SIGKILL)
    [folder] = [each for each in live.server.data.iterdir() if each.is_dir() and not each.name.startswith(".")]
    shutil.rmtree(folder)
    with pytest.raises(ChromaError) as caught:
        live.chain.increment(live=False)
    assert caught.value.code == "damaged"
    assert "neither in the log nor in the index" in caught.value.message


def test_a_pause_that_is_too_short_is_not_exceeded(live):
    live.upsert(0, 30, 0.5)
    with pytest.raises(ChromaError) as caught:
        live.chain.increment(pause=0.0001)
    assert caught.value.code == "pause_exceeded"
    assert not list((live.chain.root / "1").iterdir())
    live.upsert(0, 30, 0.75)  # nobody holds the lock


READ = """
import pathlib, sys
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import reading
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import parse_parent
import time
before = reading._Reader.read
def slow(self, held):
    print("locked", flush=True)
    time.sleep(60)
    return before(self, held)
reading._Reader.read = slow
parent = parse_parent(pathlib.Path(sys.argv[2]).read_bytes(), "")
reading.read_increment(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3]), parent, "20260101T000000Z-abcdef", pause=float(sys.argv[4]))
"""


@pytest.mark.parametrize(("how", "pause"), [(signal.SIGKILL, 30.0), (signal.SIGSTOP, 5.0)])
def test_a_reader_that_dies_or_hangs_under_the_lock_keeps_nobody_waiting(live, tmp_path, how, pause):
    """A lock that is not given back ends with the process, or with the time that it was given."""
    live.upsert(0, 30, 0.5)
    tree = tmp_path / "tree"
    tree.mkdir()
    arguments = [str(live.server.data), str(live.chain.trees[0] / ANCHORS), str(tree), str(pause)]
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    with subprocess.Popen([sys.executable, "-c", READ, *arguments], env=environ, stdout=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"locked\n"
            with pytest.raises(sqlite3.OperationalError):
                sqlite3.connect(live.server.data / DATABASE, timeout=0).execute("BEGIN IMMEDIATE")
            reader.send_signal(how)
            began = time.monotonic()
            live.upsert(0, 30, 0.75)
            print(f"a write waited {time.monotonic() - began:.2f} s")
        finally:
            reader.kill()
    live.chain.increment()
