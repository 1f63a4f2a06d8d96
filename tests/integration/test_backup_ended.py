# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are told to end (SIGTERM), and prunes that are killed between any two of their changes to the repository.

Nobody waits for a lock, the server runs, nothing that counts is lost, and the next run removes what was left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import backing_up
import interference
import object_store
import pytest
import repositories
import servers
from restoring import Place
from test_restore_cluster import Cluster, upsert

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import lock_holder
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

NEWEST = servers.VERSIONS[-1]

# A module whose process is told to end when it calls a function; what that would have done is not done before it hears of it.
ENDED = """
import importlib, os, runpy, signal, sys
owner, _dot, attribute = sys.argv[1].rpartition(".")
module = sys.argv[2]
sys.argv = [module, sys.argv[3]]
found = importlib.import_module("ansible_collections.thinkube.chroma.plugins.module_utils." + owner)
function = getattr(found, attribute)
def told(*arguments, **options):
    print("told", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return function(*arguments, **options)
setattr(found, attribute, told)
runpy.run_module("ansible_collections.thinkube.chroma.plugins.modules." + module, run_name="__main__")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("place") / "data"
    data.mkdir()
    with servers.running(NEWEST, data=data) as running:
        backing_up.upsert(running.url, "books", range(300))
        yield running


@pytest.mark.parametrize("function", ["_snapshot.hot._copy_locked", "_backup.run.prove"], ids=["under-the-lock", "verification"])
def test_one_that_is_told_to_end_lets_the_writers_go_and_leaves_what_the_next_one_removes(function, server, tmp_path):
    settings = repositories.settings(tmp_path / "repository")
    first = backing_up.make(server.data, settings, "full")["backup"]["id"]
    file = tmp_path / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": backing_up.options(settings, path=server.data, kind="full")}))
    environ = {**os.environ, "PYTHONPATH": str(backing_up.COLLECTIONS)}
    command = [sys.executable, "-c", ENDED, function, "chroma_backup", str(file)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, "told" in done.stderr) == (128 + signal.SIGTERM, True), done.stderr
    assert lock_holder(server.data / "chroma.sqlite3") == 0
    began = time.monotonic()
    backing_up.upsert(server.url, "books", range(5), seed=4)
    print(f"a write took {time.monotonic() - began:.3f} s")
    # It had time to tidy up, but for what only the repository can remove.
    assert backing_up.leftovers(server.data) == []
    assert Journal.of(server.data).open_entries() == []
    assert not repositories.locks(tmp_path / "repository")
    left = [each.id for each in backing_up.catalogue(settings).backups if each.pending]
    assert len(left) == (function == "_backup.run.prove")
    made = backing_up.run("chroma_backup", backing_up.options(settings, path=server.data), tmp_path)
    assert not made.get("failed"), made
    assert made["repaired"]["removed"] == left
    assert (made["backup"]["parent"], made["backup"]["records"], bool(made["backup"]["verified"])) == (first, 300, True)
    assert [each.id for each in backing_up.catalogue(settings).backups] == [first, made["backup"]["id"]]


def test_one_that_is_told_to_end_while_the_server_is_stopped_starts_it(tmp_path):
    place = Place(tmp_path)
    with serve() as api:
        cluster = Cluster(api, place)
        try:
            upsert(cluster.url, 0, 40)
            # So short a pause is always exceeded, and then the server is stopped for the copy.
            cold = {**cluster.options(), "start_timeout": None, "pause": 1e-6, "pause_tries": 1, "kind": "full"}
            process = place.start("chroma_backup", **cold)
            while cluster.seen[-1]:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=300)
            assert process.returncode == 128 + signal.SIGTERM
            assert (cluster.paused, cluster.seen[-1], cluster.count()) == (False, 1, 40)
            assert backing_up.leftovers(place.data) == []
            made = place.module("chroma_backup", **cold)
            assert not made.get("failed"), made
            assert (made["backup"]["mode"], made["backup"]["records"], bool(made["backup"]["verified"])) == ("cold", 40, True)
            assert (cluster.paused, cluster.seen[-1], cluster.count()) == (False, 1, 40)
        finally:
            cluster.stop()


# What a prune changes in the repository, in this order.
CHANGES = {
    "the first backup goes": ("DELETE", "/snapshots/", 1),
    "what is kept is packed anew": ("PUT", "/data/", 1),
    "the new index comes": ("PUT", "/index/", 1),
    "the old index goes": ("DELETE", "/index/", 1),
    "the packs go": ("DELETE", "/data/", 1),
}


@pytest.fixture(scope="module")
def store():
    with object_store.running() as running:
        yield running


@pytest.fixture(scope="module")
def stored(store, tmp_path_factory):
    """A directory with three backups in an object store, of which the first two may go."""
    data = tmp_path_factory.mktemp("stored") / "data"
    data.mkdir()
    settings, backups = repositories.in_store(store, "prune"), []
    with servers.running(NEWEST, data=data) as server:
        for seed in range(3):
            backing_up.upsert(server.url, "books", range(100 * seed, 300 + 100 * seed), seed=seed)
            backups.append(backing_up.make(data, settings, "full", verify=seed == 2)["backup"]["id"])
    return data, backups


class Kill:
    """Kills a process when it sends the n-th request of a kind, which is not done."""

    def __init__(self, method: str, part: str, number: int) -> None:
        self.method, self.part, self.left = method, part, number
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, method: str, path: str, _number: int) -> str | None:
        if self.process is None or method != self.method or self.part not in path:
            return None
        self.left -= 1
        if self.left > 0:
            return None
        self.process.kill()
        return "hang"


def test_a_prune_that_is_killed_between_its_changes_is_gone_on_with_by_the_next_one(store, stored, tmp_path):
    data, backups = stored
    settings = repositories.in_store(store, "prune")
    for name, change in CHANGES.items():
        named = [each for each in backups[:2] if backing_up.catalogue(settings).find(each)]
        kill = Kill(*change)
        with interference.proxy(store.endpoint, kill) as proxy:
            options = backing_up.options(repositories.in_store(store, "prune", proxy.url), path=data, backups=named or None)
            with backing_up.started("chroma_backup_prune", options, tmp_path) as kill.process:
                output, _errors = kill.process.communicate(timeout=300)
        assert kill.process.returncode == -signal.SIGKILL, (name, output)
        assert backing_up.catalogue(settings).require(backups[2]).verified
    said = backing_up.run("chroma_backup_prune", backing_up.options(settings, path=data), tmp_path)
    assert not said.get("failed"), said
    assert Journal.of(data).open_entries() == []
    assert [each.id for each in backing_up.catalogue(settings).backups] == backups[2:]
    opened = open_repository(settings)
    opened.check(read_data=True)
    [kept] = opened.snapshots()
    opened.restore(kept.snapshot, tmp_path / "back")
    # Nothing is left that nobody needs.
    assert re.search(r"unused size after prune:\s+0 B", repositories.by_hand(settings, "prune", "--dry-run").stdout)
