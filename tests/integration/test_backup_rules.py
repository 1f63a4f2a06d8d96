# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for each backup: whose it is, what comes before it, what it leaves, and that nothing is called proven that is not."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime

import backing_up
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup import attempts, run
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.operation import backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import pause
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.unit.module_utils.restore.test_restore_pause import cluster, workload

__all__ = ["cluster", "workload"]
NEWEST = servers.VERSIONS[-1]


@pytest.fixture
def data(tmp_path):
    """Return a directory that a server filled and left."""
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(150))
    return tmp_path / "data"


@pytest.fixture
def settings(tmp_path):
    return repositories.settings(tmp_path / "repository")


def write(data, *numbers, version=NEWEST):
    with servers.running(version, data=data) as server:
        backing_up.upsert(server.url, "books", range(*numbers))


def test_the_server_is_started_before_anything_that_may_fail(data, settings, cluster, workload):
    backing_up.make(data, settings)
    wrong = repositories.settings(settings.location, password="another")
    for operation in (
        lambda: backup(Order(source=Source(data)), wrong, workload, backing_up.nobody),
        lambda: prune(wrong, backing_up.nobody, Retention(), path=data, workload=workload),
    ):
        pause(workload, "chroma-restore-1")
        with pytest.raises(ChromaError) as refused:
            operation()
        assert refused.value.code == "wrong_password"
        assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_pause_that_failed_has_not_stopped_the_server_for_good(data, settings, cluster, workload, monkeypatch):
    monkeypatch.setattr(attempts, "delay", lambda _failures: 0.01)
    seen = []

    @contextlib.contextmanager
    def stopped():
        seen.append(cluster.replicas)
        pause(workload, "chroma-backup-1")
        if len(seen) == 1:
            raise ChromaError("cluster_unreachable", "The answer was lost.", "Wait.")
        yield

    source = Source(data, live=True, pause=1e-9, tries=1, stopped=stopped)
    made = backup(Order(source=source), settings, workload, backing_up.nobody)
    # It was wanted again when the second attempt began, and is now, though nobody started it in between.
    assert (seen, cluster.replicas, cluster.annotation) == ([1, 1], 1, None)
    assert (made["backup"]["mode"], made["backup"]["attempts"], bool(made["backup"]["verified"])) == ("cold", 2, True)


def test_a_refusal_makes_no_repository(data, settings, tmp_path):
    with pytest.raises(ChromaError) as refused:
        backing_up.make(data, settings, "increment")
    assert refused.value.code == "no_base"
    with held(data, "restore"), pytest.raises(ChromaError) as refused:
        backing_up.make(data, settings)
    assert refused.value.code == "lock_held"
    assert not (tmp_path / "repository").exists()
    assert not (data / ".thinkube-chroma" / "instance").exists()


def test_of_an_older_schema_a_full_one_each_interval_and_nothing_between(settings, tmp_path):
    (tmp_path / "older").mkdir()
    write(tmp_path / "older", 60, version="1.0.20")
    first = backing_up.make(tmp_path / "older", settings)
    write(tmp_path / "older", 60, 70, version="1.0.20")
    again = backing_up.make(tmp_path / "older", settings)
    assert (first["made"], again["made"], again["changed"], again["plan"]["kind"]) == (True, False, False, "nothing")
    assert again["backup"]["id"] == first["backup"]["id"]
    assert "younger than 24 hours" in again["plan"]["reason"]
    assert len(backing_up.catalogue(settings).backups) == 1


def test_two_directories_in_one_repository_do_not_follow_on_each_other(data, settings, tmp_path):
    shutil.copytree(data, tmp_path / "other")
    one = backing_up.make(data, settings)["backup"]
    other = backing_up.make(tmp_path / "other", settings)
    assert (other["backup"]["kind"], other["backup"]["parent"]) == ("full", "")
    assert len({one["instance"], other["backup"]["instance"]}) == 2
    write(data, 150, 160)
    made = backing_up.make(data, settings)["backup"]
    assert (made["kind"], made["parent"], made["instance"]) == ("increment", one["id"], one["instance"])
    assert backing_up.make(tmp_path / "other", settings)["made"] is False


def test_check_mode_says_whether_anything_would_change(data, settings, tmp_path):
    first = backing_up.make(data, settings)["backup"]["id"]
    planned = backing_up.make(data, settings, check=True)
    assert (planned["changed"], planned["made"], planned["backup"]["id"]) == (False, False, first)
    with backing_up.started("chroma_backup", backing_up.options(settings, path=data, kind="full"), tmp_path) as process:
        backing_up.kill_at(process, data, "verification")
    [left] = [each.id for each in backing_up.catalogue(settings).backups if each.pending]
    # There is nothing to back up, and something to tidy up.
    planned = backing_up.make(data, settings, check=True)
    assert (planned["changed"], planned["made"]) == (True, False)
    assert prune(settings, backing_up.nobody, Retention(), path=data, check=True)["changed"]
    done = backing_up.make(data, settings)
    assert (done["changed"], done["made"], done["repaired"]["removed"]) == (True, False, [left])
    assert backing_up.make(data, settings)["changed"] is False
    with servers.running(NEWEST, data=data) as server:
        ChromaClient(Connection(server.url)).create_collection("empty")
        assert backing_up.make(data, settings, check=True)["changed"]


def test_an_increment_whose_parent_went_meanwhile_is_not_called_verified(data, settings, monkeypatch):
    monkeypatch.setattr(attempts, "delay", lambda _failures: 0.01)
    first = backing_up.make(data, settings)["backup"]["id"]
    write(data, 150, 160)
    parent, prove = backing_up.catalogue(settings).require(first).snapshot, run.prove

    def and_somebody_prunes(*given, **more):
        proof = prove(*given, **more)
        repositories.by_hand(settings, "forget", parent)
        return proof

    monkeypatch.setattr(run, "prove", and_somebody_prunes)
    made = backing_up.make(data, settings)["backup"]
    assert (made["kind"], made["attempts"], made["chain_verified"], made["records"]) == ("full", 2, True, 160)
    assert [each.id for each in backing_up.catalogue(settings).backups] == [made["id"]]


def test_the_twin_of_a_backup_goes_and_the_backup_stays(data, settings, tmp_path):
    name = backing_up.make(data, settings)["backup"]["id"]
    repository = backing_up.open_repository(settings)
    [done] = repository.snapshots()
    [file] = (tmp_path / "repository" / "snapshots").iterdir()
    content = file.read_bytes()
    repository.retag(done.snapshot, ["note=1"], [])
    file.write_bytes(content)
    # Somebody's own, with the tags of a backup.
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "all.txt").write_text("all of it")
    tags = [argument for tag in done.tags for argument in ("--tag", tag)]
    assert repositories.by_hand(settings, "backup", ".", *tags, cwd=tmp_path / "thesis").returncode == 0
    assert prune(settings, backing_up.nobody, Retention(), check=True)["changed"]
    pruned = prune(settings, backing_up.nobody, Retention())
    assert (pruned["changed"], pruned["removed"]) == (True, [])
    left = backing_up.open_repository(settings).snapshots()
    assert sorted(each.tree == done.tree for each in left) == [False, True]
    assert backing_up.catalogue(settings).require(name).verified


def test_where_nothing_goes_nobody_is_kept_out_of_the_repository(data, settings, tmp_path):
    backing_up.make(data, settings)
    with repositories.at_work(settings, tmp_path / "repository"):
        assert prune(settings, backing_up.nobody, Retention(), path=data)["changed"] is False


def test_to_look_at_backups_the_lock_of_a_pod_that_is_gone_is_no_obstacle(data, settings, tmp_path):
    backing_up.make(data, settings)
    now = datetime.now(UTC).isoformat()
    lock = {"time": now, "exclusive": True, "hostname": "chroma-backup-29384-xk2vb", "username": "root", "pid": 7, "uid": 0, "gid": 0}
    repositories.forge(settings, tmp_path / "repository", "locks", lock)
    assert len(list_backups(settings, Filter())["backups"]) == 1
    found = list_backups(settings, Filter(), check=True, gone=lambda hostname: hostname == "chroma-backup-29384-xk2vb")
    assert found["damage"]["backups"] == []
