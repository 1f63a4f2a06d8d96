# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server is there again after a backup, however that ended; and what is known of it."""

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup import trees
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.serving import running_image, served
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source, make_full
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore import pause as pausing
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import pause, start_again
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest
from ansible_collections.thinkube.chroma.tests.unit.module_utils.restore.test_restore_pause import STATEFULSET, cluster, workload

__all__ = ["cluster", "workload"]


def test_a_pause_whose_answer_was_lost_does_not_leave_the_server_stopped(cluster, workload):
    def lost():
        pause(workload, "chroma-backup-1")
        raise ChromaError("cluster_unreachable", "The answer was lost.", "Wait.")

    with pytest.raises(ChromaError) as failed, served(workload):
        lost()
    assert failed.value.code == "cluster_unreachable"
    assert (cluster.replicas, cluster.annotation) == (1, None)
    with served(workload):
        pause(workload, "chroma-backup-1")
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_an_api_server_that_is_away_for_a_while_is_waited_for(cluster, workload, monkeypatch):
    pause(workload, "chroma-backup-1")
    waited = []

    def back_after_two(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            cluster.api.answers.pop(("GET", STATEFULSET))

    monkeypatch.setattr(pausing.time, "sleep", back_after_two)
    cluster.api.answers["GET", STATEFULSET] = (503, b"{}")
    start_again(workload)
    assert (cluster.replicas, cluster.annotation) == (1, None)


def test_a_server_that_nobody_starts_is_no_success(cluster, workload, monkeypatch):
    monkeypatch.setattr(pausing.time, "sleep", lambda _seconds: None)
    with pytest.raises(ChromaError), served(workload):
        cluster.api.answers["GET", STATEFULSET] = (403, b"{}")


def test_without_a_cluster_nothing_is_done():
    with served(None):
        pass
    with pytest.raises(KeyError), served(None):
        raise KeyError


def test_the_copy_of_a_stopped_server_that_is_slow_to_come_back_is_kept(tmp_path, monkeypatch):
    taken = []

    def take(_path, tree, about, live, **_more):
        if live is not False:
            raise ChromaError("pause_exceeded", "It took too long.", "Wait longer.")
        taken.append(about.mode)
        return BackupManifest(about.id, "full", "", about.mode)

    @contextlib.contextmanager
    def stopped():
        yield
        raise ChromaError("timeout", "The server was started again and is not ready.", "Look at it.")

    monkeypatch.setattr(trees, "take", take)
    warnings = []
    made = make_full(Source(tmp_path, stopped=stopped), "20260831T120000Z-000001", tmp_path / "tree", warnings.append)
    assert (made.mode, taken) == ("cold", ["cold"])
    assert "not ready" in warnings[0]


def image_of(cluster, image, digest):
    beside = {"name": "gateway", "image": "nginx:1.29.0", "imageID": "x@sha256:9"}
    statuses = [beside, {"name": "chroma", "image": image, "imageID": digest}]
    cluster.api.put("Pod", "chroma-0", "chroma", labels={"app": "chroma"}, status={"phase": "Running", "containerStatuses": statuses})


def test_release_and_digest_are_those_of_what_runs(cluster, workload):
    image_of(cluster, "docker.io/chromadb/chroma:1.5.9", "docker.io/chromadb/chroma@sha256:0b1c")
    assert running_image(workload) == ("1.5.9", "docker.io/chromadb/chroma@sha256:0b1c")
    image_of(cluster, "chroma:latest", "docker-pullable://chroma@sha256:0b1c")
    assert running_image(workload) == ("", "chroma@sha256:0b1c")
    image_of(cluster, "chroma:1.5.9", "")
    assert running_image(workload) == ("", "")
    cluster.api.objects.pop(STATEFULSET)
    assert running_image(workload) == ("", "")
