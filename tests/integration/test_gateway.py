# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway lets through what a token may do, and nothing else: against real servers, and with Chroma's own client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, servers
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import (
    BASE,
    NEEDS_NGINX,
    READER,
    SECRET,
    WRITER,
    disguises,
    record,
    refused,
    writes,
)

pytestmark = NEEDS_NGINX


@pytest.fixture(scope="module", params=["0.5.23", "0.6.3", "1.5.9"])
def chroma(request: pytest.FixtureRequest) -> Iterator[tuple[str, Gateway]]:
    with (
        servers.running(request.param) as server,
        gateway_process.running(int(server.url.rpartition(":")[2]), SECRET) as running,
    ):
        yield request.param, running


@pytest.fixture
def collection(chroma: tuple[str, Gateway]) -> Iterator[str]:
    """The path of a collection with one record."""
    _version, gateway = chroma
    made = gateway.request("POST", f"{BASE}/collections", ADMIN, body={"name": "gateway-test"})
    assert made.status == 200, made
    path = f"{BASE}/collections/{made.json()['id']}"
    added = gateway.request("POST", f"{path}/add", ADMIN, body=record("first"))
    assert added.status in (200, 201), added
    yield path
    gateway.request("DELETE", f"{BASE}/collections/gateway-test", ADMIN)


def test_real_servers_take_every_request_with_a_token(chroma: tuple[str, Gateway], collection: str) -> None:
    version, gateway = chroma
    for headers in ({"X-Chroma-Token": WRITER}, {"Authorization": f"Bearer {WRITER}"}):
        assert gateway.request("GET", "/api/v2/version", headers=headers).status == 200
        assert gateway.request("POST", f"{collection}/upsert", headers=headers, body=record("second")).status == 200
        found = gateway.request("POST", f"{collection}/query", headers=headers, body={"query_embeddings": [[1.0, 2.0]], "n_results": 2})
        assert found.status == 200
        assert sorted(found.json()["ids"][0]) == ["first", "second"]
    if version == "0.5.23":
        assert gateway.request("GET", "/api/v1/collections", WRITER).status == 200
    refused(gateway.request("GET", f"{collection}/count"), 401)
    refused(gateway.request("GET", collection.replace("v2/tenants/default_tenant/databases/default_database", "v1") + "/count"), 401)


def test_the_heartbeat_is_open_and_only_it(chroma: tuple[str, Gateway]) -> None:
    version, gateway = chroma
    assert gateway.request("GET", "/api/v2/heartbeat").status == 200
    assert gateway.request("GET", "/api/v2/heartbeat?x=1").status == 200
    assert gateway.request("HEAD", "/api/v2/heartbeat").status in (200, 405)
    assert gateway.request("GET", "/api/v1/heartbeat").status == (200 if version.startswith("0.") else 410)
    for path in (
        "/api/v2/version",
        "/api/v1/version",
        "/api/v2/auth/identity",
        "/api/v2/pre-flight-checks",
        "/api/v2/healthcheck",
        "/api/v2/heartbeat/",
        "/api/v2/heartbeat/x",
        "/api/v2/heartbeats",
        "/api/v2/Heartbeat",
        "/api/v2/heartbeat;x",
        "/api/v2/%68eartbeat",
        "/api/v2//heartbeat",
        "/api/v2/version/../heartbeat",
        "/api/v2/heartbeat/../version",
        "/api/v2/heartbeat/%2e%2e/version",
        "/api/v2/version#/../heartbeat",
        "/api/v2/heartbeat#",
        "/api/v2/version%3f/../heartbeat",
    ):
        refused(gateway.request("GET", path), 401)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused(gateway.request(method, "/api/v2/heartbeat"), 401)


@pytest.mark.parametrize("token", [None, READER, ADMIN], ids=["anonymous", "reader", "administrator"])
def test_reset_is_closed_in_every_spelling(chroma: tuple[str, Gateway], collection: str, token: str | None) -> None:
    _version, gateway = chroma
    for path in (
        "/api/v2/reset",
        "/api/v1/reset",
        "/api/v2/reset/",
        "/api/v2/reset//",
        "/api/v2//reset",
        "//api/v2/reset",
        "/api//v1///reset",
        "/api/v2/RESET",
        "/API/V2/Reset",
        "/api/v2/%72eset",
        "/api/v2/%52%45%53%45%54",
        "/api/v2%2Freset",
        "/%61pi/v2/reset",
        "/api/v2/x/../reset",
        "/api/v2/x/%2e%2e/reset",
        "/api/v2/./reset",
        "/api/v2/reset?x=/heartbeat",
        "/api/v2/reset#/heartbeat",
        "/api/v2/reset%0a",
        "/docs/../api/v2/reset",
    ):
        for method in ("POST", "GET", "PUT", "DELETE"):
            refused(gateway.request(method, path, token), 403)
    for path in ("/api/v2/%2572eset", "/api/v2/reset;x", "/api/v2/reset%00", "/api/v2/reset%20", "/api/v2/reset%3f"):
        assert gateway.request("POST", path, token).status in (400, 401, 403, 404, 405)
    assert gateway.request("GET", f"{collection}/count", ADMIN).json() == 1


def test_everything_beside_the_api_is_closed(chroma: tuple[str, Gateway]) -> None:
    _version, gateway = chroma
    for path in (
        "/",
        "/docs",
        "/docs/",
        "/redoc",
        "/openapi.json",
        "/metrics",
        "/api",
        "/api/v2",
        "/api/v3/heartbeat",
        "/API/v2/version",
        "/gateway/error",
    ):
        for token in (None, ADMIN):
            refused(gateway.request("GET", path, token), 404, "NotFoundError")
    refused(gateway.request("GET", "/api/v2/../../docs", ADMIN), 404, "NotFoundError")
    refused(gateway.request("GET", "/docs/../api/v2/version"), 401)
    refused(gateway.request("GET", "/docs/../api/v2/version", ADMIN), 400, "InvalidArgumentError")


def test_a_reading_token_reads(chroma: tuple[str, Gateway], collection: str) -> None:
    _version, gateway = chroma
    assert gateway.request("GET", f"{collection}/count", READER).json() == 1
    assert gateway.request("GET", f"{BASE}/collections", READER).status == 200
    assert gateway.request("POST", f"{collection}/get", READER, body={"include": ["documents"]}).json()["ids"] == ["first"]
    queried = gateway.request("POST", f"{collection}/query?limit=1", READER, body={"query_embeddings": [[1.0, 2.0]], "n_results": 1})
    assert queried.json()["ids"] == [["first"]]


def state(gateway: Gateway, collection: str) -> object:
    """All that a write could have changed."""
    records = gateway.request("POST", f"{collection}/get", ADMIN, body={"include": ["documents", "metadatas"]})
    created = [gateway.request("GET", f"/api/v2/tenants/{path}", ADMIN).status for path in ("created", "default_tenant/databases/created")]
    names = sorted(found["name"] for found in gateway.request("GET", f"{BASE}/collections", ADMIN).json())
    return records.status, {k: records.json()[k] for k in ("ids", "documents", "metadatas")}, created, names


def test_no_spelling_lets_a_reading_token_write(chroma: tuple[str, Gateway], collection: str) -> None:
    _version, gateway = chroma
    before = state(gateway, collection)
    for ending in ("get/", "getx", "get;x", "get%20", "get&x", "x/get", "get/query", "search/x", "Get", "modify", ""):
        refused(gateway.request("POST", f"{collection}/{ending}", READER, body={}), 403)
    for method, path, body in writes(collection):
        refused(gateway.request(method, path, READER, body=body), 403)
        for disguise in disguises(path, collection):
            for verb in sorted({method, "GET", "HEAD"}):
                answer = gateway.request(verb, disguise, READER, body=body)
                assert answer.status not in (201, 204), (verb, disguise, answer)
        override = {"X-HTTP-Method-Override": method, "X-Original-URL": path, "X-Rewrite-URL": path, "X-Forwarded-Prefix": path}
        gateway.request("POST", f"{collection}/get", READER, body=body, headers=override)
        gateway.request("GET", f"{collection}/count", READER, body=body, headers=override)
    assert state(gateway, collection) == before
    # The same writes do something with the other token; otherwise the above would prove nothing.
    assert gateway.request("POST", f"{collection}/add", WRITER, body=record("new")).status in (200, 201)
    assert state(gateway, collection) != before
    changed = state(gateway, collection)
    assert gateway.request("POST", f"{collection}/delete", WRITER, body={"ids": ["new"]}).status == 200
    assert state(gateway, collection) != changed


def test_no_spelling_lets_an_anonymous_request_through(chroma: tuple[str, Gateway], collection: str) -> None:
    _version, gateway = chroma
    for method, path, body in [*writes(collection), ("GET", f"{collection}/count", None), ("POST", f"{collection}/get", {})]:
        for disguise in [path, *disguises(path, collection)]:
            answer = gateway.request(method, disguise, body=body)
            assert answer.status in (400, 401, 403, 404), (method, disguise, answer)
            assert "error" in answer.json()


CLIENT = """
import os, sys
import chromadb
from chromadb.config import Settings
from chromadb.errors import ChromaError

def client(token):
    headers = {sys.argv[2]: sys.argv[3] + token}
    return chromadb.HttpClient(host="127.0.0.1", port=int(sys.argv[1]), headers=headers, settings=Settings(anonymized_telemetry=False))

mine = client(os.environ["TOKEN"])
made = mine.create_collection("client-test", embedding_function=None, metadata={"a": 1})
made.add(ids=["a", "b", "c"], embeddings=[[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]], documents=["x", "y", "z"])
assert made.query(query_embeddings=[[0.9, 0.9]], n_results=2)["ids"] == [["b", "a"]]
assert made.get(ids=["c"])["documents"] == ["z"]
made.delete(ids=["a"])
assert made.count() == 2
mine.delete_collection("client-test")
assert [c.name for c in mine.list_collections()] == []
for wrong in ("wrong", ""):
    try:
        client(wrong)
        raise SystemExit("a wrong token was accepted")
    except (ChromaError, ValueError) as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("header", "prefix"), [("X-Chroma-Token", ""), ("Authorization", "Bearer ")])
def test_chromas_own_client_works_through_it(chroma: tuple[str, Gateway], header: str, prefix: str) -> None:
    _version, gateway = chroma
    python = servers.environment("1.5.9") / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", CLIENT, str(gateway.port), header, prefix],
        env={**os.environ, "TOKEN": WRITER},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "token is required" in done.stdout
