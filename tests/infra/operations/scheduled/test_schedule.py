# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After an operation was scheduled and its job ran: the same Job as on demand, and what it says of itself."""

from __future__ import annotations

import json

from ...conftest import Release, pods_of


def test_the_schedule_makes_the_same_pod_as_on_demand(release: Release) -> None:
    schedule = release.get("cronjob", "chroma-export")
    assert schedule["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "thinkube.chroma"
    assert (schedule["spec"]["schedule"], schedule["spec"]["concurrencyPolicy"]) == ("0 3 1 * *", "Forbid")
    pods = pods_of(release, "--selector=thinkube.chroma/operation=export")
    contexts = {json.dumps(pod["spec"]["containers"][0]["securityContext"], sort_keys=True) for pod in pods}
    images = {pod["spec"]["containers"][0]["image"] for pod in pods}
    assert (len(pods), len(contexts), len(images)) == (3, 1, 1)


def test_its_job_exported_the_collection_that_was_asked_for(release: Release) -> None:
    (pod,) = pods_of(release, "--selector=batch.kubernetes.io/job-name=monthly")
    events = [json.loads(line) for line in release.kubectl("logs", pod["metadata"]["name"]).splitlines()]
    assert (events[0]["job"], events[-1]["status"]) == ("monthly", "ok")
    (result,) = [event["result"] for event in events if event["event"] == "result"]
    assert result["dataset"].endswith("/monthly")
    assert [(each["name"], each["records"]) for each in result["collections"]] == [("fruit", 2990)]
