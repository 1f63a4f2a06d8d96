# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that stops and starts its server: a Kubernetes API whose controller runs a real Chroma, and SIGKILL in each phase."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest
import servers
from restoring import NEWEST, Place, upsert

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import PAUSED
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

STATEFULSET = "/apis/apps/v1/namespaces/chroma/statefulsets/chroma"
POD = "/api/v1/namespaces/chroma/pods/chroma-0"


class Cluster:
    """One StatefulSet whose pod is a real Chroma on the place's directory."""

    def __init__(self, api, place):
        self.api, self.place = api, place
        self.port = servers.free_port()
        self.process = None
        self.starts = True
        self.seen = []
        answer = api.answer
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "chroma"}}}
        api.put("StatefulSet", "chroma", "chroma", spec=spec, status={})
        self.control()

        def follow(method, target, body):
            result = answer(method, target, body)
            if method == "PATCH":
                self.control()
            return result

        api.answer = follow

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def options(self):
        """Return what the Job gives to a module."""
        kubeconfig = self.api.kubeconfig(self.place.root)
        return {"path": str(self.place.data), "statefulset": "chroma", "kubeconfig": kubeconfig, "namespace": "chroma", "start_timeout": 20}

    def control(self):
        """Do what the controller and the kubelet do."""
        there = self.api.objects[STATEFULSET]
        wanted = there["spec"]["replicas"]
        self.seen.append(wanted)
        if not wanted:
            self.stop()
        elif self.process is None and self.starts:
            with (self.place.root / "server.log").open("wb") as log:
                self.process = subprocess.Popen(
                    servers.command(NEWEST, self.place.data, self.port), cwd=self.place.root, stdout=log, stderr=subprocess.STDOUT
                )
            assert servers.until_answers(self.port, "/api/v2/heartbeat", self.process, 60)
            self.api.put("Pod", "chroma-0", "chroma", labels={"app": "chroma"}, status={"phase": "Running"})
        there["status"]["readyReplicas"] = int(self.process is not None)

    def stop(self):
        if self.process is not None:
            servers.stop(self.process)
            self.process = None
            self.api.objects.pop(POD, None)

    def scale(self, replicas):
        """Set the number of replicas as somebody with kubectl does."""
        # It is answered once the real server has started, or ended.
        self.api.session(90).patch("StatefulSet", "chroma", {"spec": {"replicas": replicas}}, "chroma")

    @property
    def paused(self):
        return PAUSED in self.api.objects[STATEFULSET]["metadata"].get("annotations", {})

    def count(self):
        client = ChromaClient(Connection(self.url))
        return client.count(client.require_collection("books"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Forty records, and a backup of the first thirty."""
    place = Place(tmp_path_factory.mktemp("prepared"))
    with servers.running(NEWEST, data=place.data) as server:
        upsert(server.url, 0, 30)
        place.backup(verify=False)
        upsert(server.url, 30, 40)
    return place


@pytest.fixture
def cluster(prepared, tmp_path):
    shutil.copytree(prepared.root, tmp_path / "place")
    with serve() as api:
        running = Cluster(api, Place(tmp_path / "place"))
        yield running
        running.stop()


def restore(cluster, **options):
    return cluster.place.module("chroma_restore", url=cluster.url, **cluster.options(), **options)


def test_the_server_is_stopped_once_started_again_and_asked(cluster):
    result = restore(cluster)
    assert not result.get("failed"), result
    assert result["served"] == {"collections": 1, "records": 30}
    assert result["downtime_seconds"] > 0
    assert (cluster.seen, cluster.paused, cluster.count()) == ([1, 0, 1], False, 30)
    undone = cluster.place.module("chroma_restore_undo", url=cluster.url, **cluster.options())
    assert not undone.get("failed"), undone
    assert (cluster.paused, cluster.count()) == (False, 40)
    print(f"away for {result['downtime_seconds']} s of {result['seconds']} s, undo {undone['downtime_seconds']} s")


@pytest.mark.parametrize(
    ("function", "number"),
    [
        ("_restore.run.stage", 1),
        ("_restore.pause.wait_until", 1),
        ("_restore.run.take_restore_point", 1),
        ("_restore.run.swap", 1),
        ("_restore.swap.os.rename", 3),
        ("_restore.run.start_again", 1),
        ("_restore.run.wait_ready", 1),
        ("_restore.run.check_served", 1),
        ("_restore.run.conclude", 1),
    ],
)
def test_killed_in_any_phase_the_next_attempt_leaves_a_running_server_with_the_backup(cluster, function, number):
    options = {"url": cluster.url, "job": "chroma-restore-x7k2m", **cluster.options()}
    assert cluster.place.killed("chroma_restore", function, number, **options)
    if cluster.process is not None:
        assert cluster.count() in (30, 40)
    else:
        assert cluster.paused
    result = restore(cluster, job="chroma-restore-x7k2m")
    assert not result.get("failed"), result
    assert (cluster.paused, cluster.seen[-1], cluster.count()) == (False, 1, 30)
    undone = cluster.place.module("chroma_restore_undo", url=cluster.url, **cluster.options())
    assert not undone.get("failed"), undone
    assert cluster.count() == 40


@pytest.mark.parametrize("function", ["_restore.run.take_restore_point", "_restore.swap.os.rename"])
def test_the_next_backup_starts_the_server_too(cluster, function):
    assert cluster.place.killed("chroma_restore", function, 1 if "point" in function else 4, url=cluster.url, **cluster.options())
    assert (cluster.process, cluster.paused) == (None, True)
    options = {key: value for key, value in cluster.options().items() if key != "start_timeout"}
    result = cluster.place.module("chroma_backup", kind="full", verify=False, **options)
    assert not result.get("failed"), result
    assert (cluster.paused, cluster.count()) == (False, 40 if "point" in function else 30)


def test_a_server_that_somebody_starts_on_half_a_directory_is_stopped_and_its_files_are_set_aside(cluster):
    assert cluster.place.killed("chroma_restore", "_restore.swap.os.rename", 4, url=cluster.url, **cluster.options())
    cluster.scale(1)
    upsert(cluster.url, 100, 105)  # into a directory that it has made anew
    result = restore(cluster)
    assert not result.get("failed"), result
    assert (result["completed"], cluster.paused, cluster.count()) == (True, False, 30)
    strays = cluster.place.data / ".thinkube-chroma" / "strays"
    assert [each.name for each in strays.rglob("*chroma.sqlite3")]
    undone = cluster.place.module("chroma_restore_undo", url=cluster.url, **cluster.options())
    assert cluster.count() == 40, undone


def test_a_server_that_does_not_start_is_told_and_the_next_run_goes_on(cluster):
    cluster.starts = False
    result = cluster.place.module("chroma_restore", url=cluster.url, **{**cluster.options(), "start_timeout": 1})
    assert (result.get("code"), "not ready" in result["msg"]) == ("timeout", True)
    assert not cluster.paused
    cluster.starts = True
    cluster.control()
    upsert(cluster.url, 100, 105)
    # It is running since: what was written is not the backup, though that was exchanged.
    result = restore(cluster)
    assert (result["completed"], cluster.count()) == (False, 30)
    assert not (cluster.place.data / ".thinkube-chroma" / "replaced").exists()


def test_what_fails_while_the_server_is_stopped_starts_it_on_what_was_there(cluster):
    """The repository's disk is full, or gone, at the moment of the restore point."""
    process = cluster.place.start("chroma_restore", url=cluster.url, **cluster.options())
    while cluster.seen[-1]:
        assert process.poll() is None
        time.sleep(0.01)
    (cluster.place.repository / "keys").rename(cluster.place.root / "keys")
    output, _errors = process.communicate(timeout=300)
    assert json.loads(output)["failed"]
    assert (cluster.paused, cluster.count()) == (False, 40)
    (cluster.place.root / "keys").rename(cluster.place.repository / "keys")
    assert restore(cluster)["served"]["records"] == 30


def test_a_server_that_was_stopped_before_stays_so_and_is_not_asked(cluster):
    cluster.scale(0)
    result = restore(cluster)
    assert not result.get("failed"), result
    assert (result["served"], cluster.seen[-1], cluster.paused) == (None, 0, False)
    assert "was stopped before" in str(result["warnings"])
    cluster.scale(1)
    assert cluster.count() == 30


def test_a_job_that_is_deleted_while_the_server_is_stopped_starts_it_on_its_way_out(cluster):
    process = cluster.place.start("chroma_restore", url=cluster.url, **cluster.options())
    while cluster.seen[-1]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert (cluster.paused, cluster.seen[-1]) == (False, 1)
    assert cluster.count() in (30, 40)


def test_one_collection_starts_the_server_that_a_dead_operation_stopped_and_is_in_the_journal(cluster):
    assert cluster.place.killed("chroma_restore", "_restore.run.take_restore_point", 1, url=cluster.url, **cluster.options())
    assert cluster.process is None
    result = restore(cluster, collection="books", new_name="books-then")
    assert not result.get("failed"), result
    assert (cluster.paused, result["collection"]["verified"], cluster.count()) == (False, 30, 40)
    no_repository = {"repository": None, "repository_password": None, "restic_path": None}
    entries = cluster.place.module("chroma_journal_info", path=str(cluster.place.data), **no_repository)
    ours = [each for each in entries["operations"] if each["operation"] == "restore"]
    assert sorted(each["status"] for each in ours) == ["done", "interrupted"]
    assert "default_tenant/default_database/books" in str(ours)
    with held(cluster.place.data, "test"):
        assert restore(cluster, collection="books", new_name="again")["code"] == "lock_held"
