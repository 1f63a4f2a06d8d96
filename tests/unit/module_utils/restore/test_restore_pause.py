# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that an operation stops is started again, whoever finds it."""

from __future__ import annotations

import contextlib
import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import (
    PAUSED,
    Pause,
    Workload,
    is_stopped,
    pause,
    paused,
    read_pause,
    resume,
    start,
    wait_ready,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import Swap, write_swap
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

STATEFULSET = "/apis/apps/v1/namespaces/chroma/statefulsets/chroma"
POD = "/api/v1/namespaces/chroma/pods/chroma-0"


class Cluster:
    """An API server with a controller that follows the number of replicas at once."""

    def __init__(self, api):
        self.api = api
        self.ready = True
        self.stubborn = False
        answer, self.conflicts = api.answer, 0
        api.put(
            "StatefulSet",
            "chroma",
            "chroma",
            spec={"replicas": 1, "selector": {"matchLabels": {"app": "chroma"}}},
            status={"readyReplicas": 1},
        )
        self.start_pod()

        def follow(method, target, body):
            if method == "PATCH" and self.conflicts:
                self.conflicts -= 1
                return 409, {"message": "the object has been modified"}
            result = answer(method, target, body)
            if method == "PATCH":
                self.control()
            return result

        api.answer = follow

    def start_pod(self):
        self.api.put("Pod", "chroma-0", "chroma", labels={"app": "chroma"}, status={"phase": "Running"})

    def control(self):
        there = self.api.objects[STATEFULSET]
        replicas = there["spec"]["replicas"]
        if replicas == 0 and not self.stubborn:
            self.api.objects.pop(POD, None)
        elif replicas:
            self.start_pod()
        there["status"]["readyReplicas"] = replicas if self.ready else 0

    @property
    def replicas(self):
        return self.api.objects[STATEFULSET]["spec"]["replicas"]

    @property
    def annotation(self):
        text = self.api.objects[STATEFULSET]["metadata"].get("annotations", {}).get(PAUSED)
        return json.loads(text) if text else None


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(_kube.time, "sleep", lambda _seconds: None)
    with serve() as api:
        yield Cluster(api)


@pytest.fixture
def workload(cluster):
    return Workload(cluster.api.session(), "chroma", "chroma")


def test_it_is_stopped_and_the_same_request_notes_what_there_was(cluster, workload):
    assert not is_stopped(workload)
    assert pause(workload, "chroma-restore-1") == Pause("chroma-restore-1", 1)
    assert (cluster.replicas, cluster.annotation) == (0, {"operation": "chroma-restore-1", "replicas": 1})
    [written] = cluster.api.bodies
    assert written["spec"] == {"replicas": 0}
    assert PAUSED in written["metadata"]["annotations"]
    assert is_stopped(workload)


def test_it_is_started_again_once_and_a_second_time_changes_nothing(cluster, workload):
    pause(workload, "one")
    assert resume(workload) == Pause("one", 1)
    assert (cluster.replicas, cluster.annotation) == (1, None)
    assert resume(workload) is None
    assert len(cluster.api.bodies) == 2


def test_a_second_pause_keeps_the_number_from_before_the_first(cluster, workload):
    pause(workload, "killed")
    assert pause(workload, "next") == Pause("next", 1)
    resume(workload)
    assert cluster.replicas == 1


def test_a_server_that_somebody_else_stopped_stays_stopped(cluster, workload):
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 0
    cluster.control()
    assert resume(workload) is None
    pause(workload, "restore")
    assert resume(workload) == Pause("restore", 0)
    assert (cluster.replicas, cluster.annotation) == (0, None)


def test_a_server_that_somebody_started_meanwhile_keeps_running(cluster, workload):
    pause(workload, "killed")
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 1
    resume(workload)
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_one_that_somebody_started_since_a_dead_operation_stopped_it_runs_again(cluster, workload):
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 0
    cluster.control()
    pause(workload, "killed")
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 1
    cluster.control()
    assert pause(workload, "next") == Pause("next", 1)
    resume(workload)
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_pod_that_does_not_end_is_named_and_the_server_is_started_again(cluster, workload):
    cluster.stubborn = True
    with pytest.raises(ChromaError, match="chroma-0 did not end") as caught:
        pause(workload, "restore", timeout=0.1)
    assert caught.value.code == "timeout"
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_server_that_does_not_become_ready_is_described(cluster, workload):
    pause(workload, "restore")
    cluster.ready = False
    with pytest.raises(ChromaError, match="0 of 1; chroma-0 is Running") as caught:
        resume(workload, timeout=0.1)
    assert caught.value.code == "timeout"
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_change_that_collides_with_the_controllers_is_made_on_what_is_there_then(cluster, workload):
    cluster.conflicts = 3
    pause(workload, "restore")
    cluster.conflicts = 3
    resume(workload)
    assert (cluster.replicas, cluster.annotation) == (1, None)


@pytest.mark.parametrize("error", [None, ChromaError("no_space", "No room."), KeyboardInterrupt()])
def test_a_block_that_needs_a_stopped_server_leaves_a_running_one(cluster, workload, error):
    with contextlib.suppress(ChromaError, KeyboardInterrupt), paused(workload, "backup"):
        assert cluster.replicas == 0
        if error:
            raise error
    assert (cluster.replicas, cluster.annotation) == (1, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"operation": "x"}', '{"operation": "x", "replicas": "many"}'])
def test_an_annotation_that_nobody_can_read_starts_one_replica(cluster, workload, text):
    cluster.api.objects[STATEFULSET]["metadata"]["annotations"] = {PAUSED: text}
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 0
    assert read_pause(workload.read()) == Pause("", 1)
    start(workload)
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_what_is_not_there_cannot_be_stopped(cluster, workload):
    del cluster.api.objects[STATEFULSET]
    with pytest.raises(ChromaError, match="no StatefulSet chroma in namespace chroma"):
        pause(workload, "restore")
    assert resume(workload) is None
    assert is_stopped(workload)


def test_a_webhook_that_takes_the_annotation_off_is_noticed(cluster, workload):
    cluster.api.drops.add(STATEFULSET)
    with pytest.raises(ChromaError, match="did not take the annotation"):
        pause(workload, "restore")


class Cut:
    """A session of which some answers to changes are lost: what was asked for is done all the same."""

    def __init__(self, session, *lost):
        self._session, self._lost, self._number = session, lost, 0

    def __getattr__(self, name):
        return getattr(self._session, name)

    def patch(self, *arguments):
        self._number += 1
        result = self._session.patch(*arguments)
        if self._number in self._lost:
            raise ChromaError("cluster_unreachable", "The connection was cut.")
        return result


def test_a_pause_whose_answer_is_lost_leaves_a_running_server(cluster):
    workload = Workload(Cut(cluster.api.session(), 1), "chroma", "chroma")
    with pytest.raises(ChromaError, match="cut"), paused(workload, "backup"):
        raise AssertionError("nobody knows that it is stopped")
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_start_is_tried_again_where_the_api_server_is_away(cluster):
    away = iter([True, True, False, False])

    class Away(Cut):
        def patch(self, *arguments):
            if arguments[2]["spec"]["replicas"] and next(away):
                raise ChromaError("cluster_unreachable", "Nobody answers.")
            return super().patch(*arguments)

    with paused(Workload(Away(cluster.api.session()), "chroma", "chroma"), "backup"):
        assert cluster.replicas == 0
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_pause_that_fails_on_half_a_directory_starts_nobody(cluster, workload, tmp_path):
    """Its pod is about to end, and hangs."""
    cluster.stubborn = True
    with pytest.raises(ChromaError, match="did not end"):
        pause(workload, "killed", timeout=0.1, restart=False)
    (tmp_path / ".thinkube-chroma").mkdir()
    write_swap(tmp_path, Swap("killed", "backup", "point", "staging/killed", (), ()))
    with pytest.raises(ChromaError, match="did not end"):
        recover(tmp_path, workload, stops=0.1)
    assert cluster.replicas == 0
    assert cluster.annotation["replicas"] == 1


def test_a_restore_does_not_wait_for_a_server_that_cannot_start(cluster, workload, tmp_path):
    pause(workload, "killed")
    cluster.ready = False
    assert recover(tmp_path, workload, starts=0.1, wait=False).resumed == Pause("killed", 1)
    assert cluster.replicas == 1
    pause(workload, "killed")
    with pytest.raises(ChromaError, match="not ready"):
        recover(tmp_path, workload, starts=0.1)


def test_what_a_server_is_waited_for_is_what_it_is_to_have(cluster, workload):
    assert wait_ready(workload, 0.1) == 1
    cluster.api.objects[STATEFULSET]["spec"]["replicas"] = 0
    assert wait_ready(workload, 0.1) == 0
