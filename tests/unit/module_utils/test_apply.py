# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a StatefulSet runs, and why a pod does not."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._apply import pod_troubles, rolled_out

RUNNING = {
    "observedGeneration": 2,
    "replicas": 1,
    "readyReplicas": 1,
    "currentReplicas": 1,
    "updatedReplicas": 1,
    "currentRevision": "chroma-2",
    "updateRevision": "chroma-2",
}


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"readyReplicas": 0}, False),
        ({"currentRevision": "chroma-1"}, False),
        ({"updatedReplicas": 0}, False),
    ],
)
def test_rolled_out(changes, runs):
    statefulset = {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": {**RUNNING, **changes}}
    assert rolled_out(statefulset) is runs


def test_an_absent_statefulset_does_not_run():
    assert rolled_out(None) is False
    assert rolled_out({"metadata": {"generation": 1}, "spec": {}}) is False


PANIC = {"terminated": {"reason": "Error", "exitCode": 101}}


PASSED = {"name": "start-check", "ready": True, "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}
REFUSED = {"terminated": {"reason": "Error", "exitCode": 1, "message": "refused: t/d/books: CHR050\n42_recover\n"}}


def pod(*containers, conditions=(), init=()):
    status = {"conditions": list(conditions), "initContainerStatuses": list(init), "containerStatuses": list(containers)}
    return {"metadata": {"name": "chroma-0"}, "status": status}


@pytest.mark.parametrize(
    ("state", "troubles"),
    [
        (pod({"name": "chroma", "ready": True, "state": {"running": {}}}), []),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: Insufficient cpu"}]),
            ["chroma-0: 0/1 nodes are available: Insufficient cpu"],
        ),
        (
            pod({"name": "chroma", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": PANIC}),
            ["chroma-0/chroma: CrashLoopBackOff", "chroma-0/chroma ended before: Error, exit code 101"],
        ),
        (pod({"name": "chroma", "ready": False, "state": {"running": {}}}), ["chroma-0/chroma: not ready"]),
        (pod({"name": "chroma", "ready": True, "state": {"running": {}}}, init=[PASSED]), []),
        (
            pod(init=[{"name": "start-check", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": REFUSED}]),
            [
                "chroma-0/start-check: CrashLoopBackOff",
                "chroma-0/start-check ended before: Error, exit code 1: refused: t/d/books: CHR050\n42_recover",
            ],
        ),
    ],
)
def test_pod_troubles(state, troubles):
    assert pod_troubles(state) == troubles
