# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release answers, and what its operations said."""

from __future__ import annotations

import json
from typing import Any

from ..conftest import TOKEN, Release, pods_of

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def ask(release: Release, path: str = "", **question: Any) -> Any:
    """Ask the server; a question is posted."""
    options = ("-H", "Content-Type: application/json", "-d", json.dumps(question)) if question else ()
    status, body = release.curl(release.url(f"{COLLECTIONS}{path}"), *options, token=TOKEN)
    assert status == 200, body
    return json.loads(body)


def counts(release: Release) -> dict[str, int]:
    """Return how many records each collection has."""
    return {each["name"]: ask(release, f"/{each['id']}/count") for each in ask(release)}


def records(release: Release, name: str, *ids: str) -> dict[str, dict[str, Any]]:
    """Return metadata, document and vector of those records that are there, by their ids."""
    found = ask(release, f"/{ask(release, f'/{name}')['id']}/get", ids=list(ids), include=["metadatas", "documents", "embeddings"])
    values = zip(found["ids"], found["metadatas"], found["documents"], found["embeddings"], strict=True)
    return {each: {"metadata": metadata, "document": document, "vector": vector} for each, metadata, document, vector in values}


def neighbours(release: Release, name: str, ids: list[str]) -> Any:
    """Return the ids and distances of the nearest records of some records."""
    identifier = ask(release, f"/{name}")["id"]
    vectors = ask(release, f"/{identifier}/get", ids=ids, include=["embeddings"])["embeddings"]
    found = ask(release, f"/{identifier}/query", query_embeddings=vectors, n_results=10, include=["distances"])
    return found["ids"], [[round(distance, 4) for distance in each] for each in found["distances"]]


def pods(release: Release, operation: str) -> list[dict[str, Any]]:
    """Return the pods of an operation, oldest first."""
    found = pods_of(release, f"--selector=thinkube.chroma/operation={operation}")
    return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])


def events(release: Release, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a pod's log."""
    return [json.loads(line) for line in release.kubectl("logs", pod["metadata"]["name"]).splitlines()]


def results(release: Release, operation: str) -> list[dict[str, Any]]:
    """Return the result of each run of an operation that ended well, oldest first."""
    said = [events(release, pod) for pod in pods(release, operation)]
    assert all(each[-1]["status"] == "ok" for each in said)
    return [event["result"] for each in said for event in each if event["event"] == "result"]


def assert_nothing_is_left_paused(release: Release) -> None:
    """The server runs, and no operation is noted as having stopped it."""
    found = release.get("statefulset", release.names["chroma_statefulset"])
    assert (found["spec"]["replicas"], found["status"].get("readyReplicas")) == (1, 1)
    assert "thinkube.chroma/paused" not in (found["metadata"].get("annotations") or {})
