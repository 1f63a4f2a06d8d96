# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After export to S3 and import under other names: the copies answer as the originals, and the operations left no secret behind."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ...conftest import CLUSTER, TOKEN, Release, exit_codes, pods_of

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
COPIES = [(name, f"{name}-{way}") for name in ("fruit", "colours") for way in ("served", "stopped")]
ASKED = (10, 11, 500, 1499, 2999)


def ask(release: Release, path: str, **question: Any) -> Any:
    options = ("-H", "Content-Type: application/json", "-d", json.dumps(question)) if question else ()
    status, body = release.curl(release.url(f"{COLLECTIONS}/{path}"), *options, token=TOKEN)
    assert status == 200, body
    return json.loads(body)


@pytest.mark.parametrize(("name", "copy"), COPIES)
def test_the_copy_finds_the_same_neighbours_for_the_same_queries(release: Release, name: str, copy: str) -> None:
    original, copied = ask(release, name), ask(release, copy)
    assert original["id"] != copied["id"]
    assert (copied["metadata"], copied["dimension"]) == (original["metadata"], 32)
    ids = [f"{name}-{number}" for number in ASKED]
    vectors = ask(release, f"{original['id']}/get", ids=ids, include=["embeddings"])["embeddings"]
    question = {"query_embeddings": vectors, "n_results": 10, "include": ["distances", "documents", "metadatas", "uris"]}
    answers = [ask(release, f"{each['id']}/query", **question) for each in (original, copied)]
    assert len(answers[0]["ids"]) == len(ASKED)
    for key in ("ids", "documents", "metadatas", "uris"):
        assert answers[0][key] == answers[1][key]
    for one, other in zip(answers[0]["distances"], answers[1]["distances"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(("name", "copy"), [*COPIES, ("nothing", "nothing-served"), ("nothing", "nothing-stopped")])
def test_the_copy_has_as_many_records(release: Release, name: str, copy: str) -> None:
    counts = [ask(release, f"{ask(release, each)['id']}/count") for each in (name, copy)]
    assert counts == ([0, 0] if name == "nothing" else [2990, 2990])


def operations(release: Release, name: str) -> list[dict[str, Any]]:
    pods = pods_of(release, f"--selector=thinkube.chroma/operation={name}")
    assert pods
    return pods


@pytest.mark.parametrize(("name", "volumes"), [("validate", {"tmp", "data"}), ("export", {"tmp", "data"}), ("import", {"tmp"})])
def test_an_operation_can_do_little_else(release: Release, name: str, volumes: set[str]) -> None:
    for pod in operations(release, name):
        (container,) = pod["spec"]["containers"]
        context = {**pod["spec"]["securityContext"], **container["securityContext"]}
        assert (context["runAsNonRoot"], context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, True, False)
        assert (context["capabilities"], context["seccompProfile"]) == ({"drop": ["ALL"]}, {"type": "RuntimeDefault"})
        account = {each["name"] for each in pod["spec"]["volumes"] if each["name"].startswith("kube-api-access")}
        # Only what writes may speak to the API server, for the lock.
        assert bool(account) == (name == "import")
        assert {each["name"] for each in pod["spec"]["volumes"]} - account <= volumes
        assert all(each.get("readOnly") for each in container["volumeMounts"] if each["name"] == "data")
        assert pod["metadata"]["labels"].get("app") != "chroma"  # no Service may choose it


@pytest.mark.parametrize("name", ["validate", "export", "import"])
def test_the_log_of_an_operation_is_events_without_a_gap(release: Release, name: str) -> None:
    for pod in operations(release, name):
        events = [json.loads(line) for line in release.kubectl("logs", pod["metadata"]["name"]).splitlines()]
        assert [event["n"] for event in events] == list(range(1, len(events) + 1))
        assert (events[0]["event"], events[-1]["event"]) == ("start", "end")
        assert (events[-1]["status"], events[-1]["last"]) == ("ok", len(events))
        result = json.loads(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
        assert [result["exit_code"]] == [events[-1]["exit_code"]] == exit_codes(pod)


def test_no_secret_is_in_objects_logs_or_events(release: Release) -> None:
    values = dict(line.split("=", 1) for line in (CLUSTER / "s3.env").read_text().splitlines())
    secrets = [TOKEN, values["AWS_SECRET_ACCESS_KEY"]]
    shown = release.kubectl("get", "all,configmaps,events,leases", "--output=yaml")
    logs = "".join(release.kubectl("logs", pod["metadata"]["name"]) for name in ("export", "import") for pod in operations(release, name))
    assert "secretKeyRef" in shown
    assert "default_database" in logs
    for secret in secrets:
        for text in (shown, logs):
            assert secret not in text
            assert base64.b64encode(secret.encode()).decode()[:-4] not in text
