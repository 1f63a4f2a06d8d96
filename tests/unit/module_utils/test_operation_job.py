# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Job of an operation: started once, read on where it was left, across its pods."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _operation_job
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_job import is_finished, look, start
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

MANIFEST = {"kind": "Job", "metadata": {"name": "chroma-export-x"}, "spec": {"template": {"spec": {}}}}
PODS = "/api/v1/namespaces/chroma/pods"


@pytest.fixture
def api():
    with serve() as server:
        yield server


def add_job(api, *conditions, **status):
    kinds = [{"type": kind, "status": "True", "message": f"{kind}!"} for kind in conditions]
    return api.put(
        "Job", "chroma-export-x", "chroma", labels={"thinkube.chroma/operation": "export"}, status={"conditions": kinds, **status}
    )


def add_pod(api, name, number, state, phase="Running", events=(), **annotations):
    status = {"phase": phase, "containerStatuses": [{"name": "operation", "state": state, "ready": False}]}
    pod = api.put("Pod", name, "chroma", labels={"job-name": "chroma-export-x"}, annotations=annotations, spec={}, status=status)
    pod["metadata"]["creationTimestamp"] = f"2026-11-21T06:00:{number:02d}Z"
    say(api, name, *events)
    return pod


def say(api, pod, *events):
    lines = [f"2026-11-21T06:00:{event['n']:02d}.000000000Z {json.dumps(event)}" for event in events]
    api.answers["GET", f"{PODS}/{pod}/log"] = (200, "\n".join(lines).encode())


def numbered(*numbers):
    return [{"n": n, "event": "message", "message": str(n)} for n in numbers]


def see(api, cursor=None, seconds=0.0):
    return look(api.session(), "chroma", "chroma-export-x", cursor or {}, seconds)


def test_a_job_is_created_once_however_often_its_creation_is_asked_for(api):
    for _each in range(2):
        assert start(api.session(), "chroma", MANIFEST, check_mode=False)["job"] == "chroma-export-x"
    assert len([path for path in api.objects if "/jobs/" in path]) == 1


def test_check_mode_creates_nothing_and_shows_the_job(api):
    result = start(api.session(), "chroma", MANIFEST, check_mode=True)
    assert (result["changed"], list(result["diff"]["after"]), api.objects) == (True, ["Job chroma-export-x"], {})


def test_a_refusal_is_told(api):
    api.answers["POST", "/apis/batch/v1/namespaces/chroma/jobs"] = (403, b'{"message": "jobs is forbidden"}')
    with pytest.raises(ChromaError, match="forbidden"):
        start(api.session(), "chroma", MANIFEST, check_mode=False)


def test_a_job_without_a_pod_waits_and_one_whose_pod_is_created_too(api):
    add_job(api)
    assert see(api)["status"] == "waiting"
    add_pod(api, "x-1", 1, {"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    seen = see(api)
    assert (seen["status"], seen["attempts"][0]["trouble"], seen["exit_code"]) == ("waiting", "", None)


def test_what_keeps_a_pod_from_starting_is_named(api):
    add_job(api)
    add_pod(api, "x-1", 1, {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, phase="Pending")
    assert "ImagePullBackOff no such image" in see(api)["attempts"][0]["trouble"]


def test_only_what_is_new_comes_the_second_time(api):
    add_job(api)
    add_pod(api, "x-1", 1, {"running": {}}, events=numbered(1, 2))
    first = see(api)
    assert [event["n"] for event in first["events"]] == [1, 2]
    say(api, "x-1", *numbered(1, 2, 3))
    second = see(api, first["cursor"])
    assert [(event["n"], event["pod"]) for event in second["events"]] == [(3, "x-1")]
    assert json.loads(json.dumps(second["cursor"])) == {"x-1": {"n": 3, "at": "2026-11-21T06:00:03.000000000Z"}}


def test_a_second_pod_counts_from_one_again(api):
    add_job(api)
    add_pod(api, "x-2", 2, {"running": {}}, events=numbered(1))
    add_pod(api, "x-1", 1, {"terminated": {"exitCode": 7}}, "Failed", events=numbered(1, 2))
    seen = see(api)
    assert [(event["pod"], event["n"]) for event in seen["events"]] == [("x-1", 1), ("x-1", 2), ("x-2", 1)]
    assert ([attempt["exit_code"] for attempt in seen["attempts"]], seen["status"]) == ([7, None], "running")


def test_a_job_that_ended_gives_the_exit_code_of_the_last_pod_that_failed(api):
    add_job(api, "Failed")
    add_pod(api, "x-1", 1, {"terminated": {"exitCode": 7}}, "Failed")
    add_pod(api, "x-2", 2, {"terminated": {"exitCode": 4, "message": '{"exit_code":4,"result":{"rc":4}}'}}, "Failed")
    seen = see(api, seconds=60)
    assert (seen["status"], seen["exit_code"], seen["message"]) == ("failed", 4, "Failed!")
    assert seen["attempts"][1]["result"]["result"] == {"rc": 4}


def test_one_that_succeeded_at_its_second_attempt_succeeded(api):
    add_job(api, "Complete")
    add_pod(api, "x-1", 1, {"terminated": {"exitCode": 7}}, "Failed")
    add_pod(api, "x-2", 2, {"terminated": {"exitCode": 0}}, "Succeeded")
    assert see(api)["exit_code"] == 0


def test_a_part_that_succeeded_in_the_end_does_not_give_the_exit_code(api):
    index = "batch.kubernetes.io/job-completion-index"
    add_job(api, "Failed")
    add_pod(api, "x-1", 1, {"terminated": {"exitCode": 5}}, "Failed", **{index: "1"})
    add_pod(api, "x-0", 2, {"terminated": {"exitCode": 7}}, "Failed", **{index: "0"})
    add_pod(api, "x-2", 3, {"terminated": {"exitCode": 0}}, "Succeeded", **{index: "0"})
    assert see(api)["exit_code"] == 5


def test_nobody_knows_the_exit_code_of_a_pod_that_is_gone(api):
    add_job(api, "Failed")
    assert (see(api)["exit_code"], see(api)["status"]) == (None, "failed")


def test_parts_are_told_apart(api):
    add_job(api)
    add_pod(api, "x-0", 1, {"running": {}}, **{"batch.kubernetes.io/job-completion-index": "0"})
    add_pod(api, "x-1", 2, {"running": {}}, **{"batch.kubernetes.io/job-completion-index": "1"})
    assert [attempt["index"] for attempt in see(api)["attempts"]] == [0, 1]


def test_a_pod_that_goes_away_meanwhile_is_no_error(api):
    add_job(api)
    add_pod(api, "x-1", 1, {"running": {}})
    api.answers["GET", f"{PODS}/x-1/log"] = (404, b'{"message": "pods \\"x-1\\" not found"}')
    assert see(api)["events"] == ()


def test_a_message_that_is_no_document_is_none(api):
    add_job(api, "Failed")
    add_pod(api, "x-1", 1, {"terminated": {"exitCode": 2, "message": "no JSON"}}, "Failed")
    assert see(api)["attempts"][0]["result"] is None


def test_a_job_that_is_not_there(api):
    with pytest.raises(ChromaError, match="no Job chroma-export-x") as caught:
        see(api)
    assert caught.value.code == "not_found"


def test_it_looks_until_the_job_ends(api, monkeypatch):
    job = add_job(api)
    add_pod(api, "x-1", 1, {"running": {}}, events=numbered(1))

    def sleep(_seconds):
        say(api, "x-1", *numbered(1, 2))
        job["status"]["conditions"] = [{"type": "Complete", "status": "True"}]

    monkeypatch.setattr(_operation_job.time, "sleep", sleep)
    seen = see(api, seconds=60)
    assert (seen["status"], [event["n"] for event in seen["events"]]) == ("succeeded", [1, 2])


@pytest.mark.parametrize(
    ("status", "finished"),
    [
        ({}, False),
        ({"active": 1}, False),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, True),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, True),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, False),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, False),
        ({"conditions": [{"type": "Failed", "status": "True"}], "terminating": 1}, False),
        ({"conditions": [{"type": "Failed", "status": "True"}], "active": 1}, False),
    ],
)
def test_when_a_job_is_finished(status, finished):
    assert is_finished({"status": status}) is finished
