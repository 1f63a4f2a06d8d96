# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time, and a dead one blocks nobody."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._lock import HOLDER_UID, acquire
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

LEASE = "/apis/coordination.k8s.io/v1/namespaces/chroma/leases/chroma-operation"
ENDED = {"conditions": [{"type": "Failed", "status": "True"}]}


@pytest.fixture
def api():
    with serve() as server:
        server.put("Job", "mine", "chroma", status={"active": 1})
        server.put("Job", "other", "chroma", status={"active": 1})
        yield server


def take(api, job="mine", wait=0.0, check_mode=False):
    return acquire(api.session(), "chroma", "chroma-operation", job, OURS, wait, check_mode)


def holder(api):
    return api.objects[LEASE]["spec"]["holderIdentity"]


def test_a_free_lock_is_taken_and_taken_again_by_the_same_job(api):
    first = take(api)
    assert (first["changed"], first["holder"], first["previous"], holder(api)) == (True, "mine", "", "mine")
    assert api.objects[LEASE]["metadata"]["labels"] == OURS
    assert take(api)["changed"] is False


def test_a_second_writer_is_refused_and_told_who_it_is_and_how_to_follow_it(api):
    take(api, "other")
    with pytest.raises(ChromaError) as caught:
        take(api)
    error = caught.value
    assert (error.code, error.result["holder"], holder(api)) == ("lock_held", "other", "other")
    assert error.result["since"].endswith("Z")
    assert error.result["since"] in error.message
    assert "chroma_operation_follow=other" in error.hint


@pytest.mark.parametrize("how", ["ended", "deleted", "made again"])
def test_a_dead_holder_is_replaced(api, how):
    take(api, "other")
    path = "/apis/batch/v1/namespaces/chroma/jobs/other"
    if how == "ended":
        api.objects[path]["status"] = ENDED
    else:
        del api.objects[path]
    if how == "made again":
        api.put("Job", "other", "chroma", status={"active": 1})
    result = take(api)
    assert (result["changed"], result["previous"], holder(api)) == (True, "other", "mine")
    assert api.objects[LEASE]["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize(("phase", "dead"), [("Running", False), ("Pending", False), ("Failed", True), ("Succeeded", True)])
def test_a_deleted_job_holds_it_until_its_pods_have_ended(api, phase, dead):
    take(api, "other")
    uid = api.objects[LEASE]["metadata"]["annotations"][HOLDER_UID]
    del api.objects["/apis/batch/v1/namespaces/chroma/jobs/other"]
    api.put("Pod", "other-1", "chroma", labels={"batch.kubernetes.io/controller-uid": uid}, status={"phase": phase})
    if dead:
        assert take(api)["changed"] is True
    else:
        with pytest.raises(ChromaError, match="writes into this Chroma"):
            take(api)


def test_one_that_waits_gets_it_when_the_holder_ends(api, monkeypatch):
    take(api, "other")
    monkeypatch.setattr(
        _lock.time, "sleep", lambda _seconds: api.objects["/apis/batch/v1/namespaces/chroma/jobs/other"].update(status=ENDED)
    )
    assert take(api, wait=60)["previous"] == "other"


def test_waiting_ends(api, monkeypatch):
    take(api, "other")
    clock = iter(range(0, 1000, 1))
    monkeypatch.setattr(_lock.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(_lock.time, "sleep", lambda _seconds: None)
    with pytest.raises(ChromaError, match="did not end within 10 s"):
        take(api, wait=10)


def test_of_many_that_take_over_at_once_one_wins(api):
    take(api, "other")
    api.objects["/apis/batch/v1/namespaces/chroma/jobs/other"]["status"] = ENDED
    for number in range(8):
        api.put("Job", f"job-{number}", "chroma", status={"active": 1})
    won, lost = [], []

    def run(job):
        try:
            won.append(take(api, job)["holder"])
        except ChromaError as error:
            lost.append(error.result["holder"])

    threads = [threading.Thread(target=run, args=(f"job-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), set(lost), holder(api)) == (1, set(won), won[0])


def test_check_mode_looks_only(api):
    assert take(api, check_mode=True)["changed"] is True
    assert api.writes() == []


def test_a_job_that_is_not_there_gets_nothing(api):
    with pytest.raises(ChromaError, match="no Job ghost"):
        take(api, "ghost")


def test_a_lease_without_a_holder_is_free(api):
    api.put("Lease", "chroma-operation", "chroma", labels=OURS, spec={})
    assert take(api)["changed"] is True
    assert holder(api) == "mine"
