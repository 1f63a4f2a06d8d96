# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway lets through what a token may do, and nothing else: against real servers, and one that records what arrives."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, servers
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway, Response, until

pytestmark = pytest.mark.skipif(
    # Where a change is judged, the proof of authentication is never left out.
    "CI" not in os.environ and shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="nginx is not installed",
)

WRITER = "writer-0123456789abcdef"
READER = "reader-0123456789abcdef"
SECRET = {"auth-token": ADMIN, "admin-username": "tkadmin", "token.app.write": WRITER, "token.report.read": READER}
BASE = "/api/v2/tenants/default_tenant/databases/default_database"
ABSENT = "/api/v2/tenants/default_tenant/databases/default_database/collections/00000000-0000-0000-0000-000000000000"


class Recorder(http.server.BaseHTTPRequestHandler):
    """Plays Chroma: keeps what arrives, answers 200; ``/slow`` in the path takes a second."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer waits 40 ms for an acknowledgement
    server: RecordingServer

    def do(self) -> None:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.arrived.append((self.requestline, {k.lower(): v for k, v in self.headers.items()}, body))
        if "/slow" in self.path:
            time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"done")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class RecordingServer(http.server.ThreadingHTTPServer):
    """A server whose ``arrived`` lists (request line, headers, body)."""

    daemon_threads = True
    arrived: list[tuple[str, dict[str, str], bytes]]

    @property
    def lines(self) -> list[str]:
        return [line for line, _headers, _body in self.arrived]


@pytest.fixture
def recorder() -> Iterator[RecordingServer]:
    with RecordingServer(("127.0.0.1", 0), Recorder) as server:
        server.arrived = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def gateway(recorder: RecordingServer) -> Iterator[Gateway]:
    with gateway_process.running(recorder.server_port, SECRET) as running:
        yield running


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


def record(name: str) -> dict[str, Any]:
    return {"ids": [name], "embeddings": [[1.0, 2.0]], "documents": [name], "metadatas": [{"n": 1}], "uris": None}


def refused(answer: Response, status: int, error: str = "AuthError") -> None:
    """Assert a refusal in the form that Chroma's clients read."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == error
    assert answer.json()["message"]
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert answer.headers["server"] == "nginx"  # without its version


# --- tokens -----------------------------------------------------------------------------------------------------------

NOT_TOKENS = {
    "none": {},
    "empty": {"X-Chroma-Token": ""},
    "wrong": {"X-Chroma-Token": "wrong"},
    "other case": {"X-Chroma-Token": ADMIN.swapcase()},
    "upper case": {"X-Chroma-Token": ADMIN.upper()},
    "prefix": {"X-Chroma-Token": ADMIN[:-1]},
    "suffix": {"X-Chroma-Token": ADMIN[1:]},
    "longer": {"X-Chroma-Token": ADMIN + "x"},
    "two in one": {"X-Chroma-Token": f"{ADMIN}, {ADMIN}"},
    "name": {"X-Chroma-Token": "admin"},
    "identity": {"X-Chroma-Token": "admin:write:"},
    "bearer in the token header": {"X-Chroma-Token": f"Bearer {ADMIN}"},
    "underscores": {"X_Chroma_Token": ADMIN},
    "other header": {"X-Api-Key": ADMIN},
    "proxy header": {"Proxy-Authorization": f"Bearer {ADMIN}"},
    "cookie": {"Cookie": f"X-Chroma-Token={ADMIN}"},
    "bare authorization": {"Authorization": ADMIN},
    "basic": {"Authorization": "Basic " + base64.b64encode(f"tkadmin:{ADMIN}".encode()).decode()},
    "basic, raw": {"Authorization": f"Basic {ADMIN}"},
    "bearer, wrong": {"Authorization": "Bearer wrong"},
    "bearer, other case": {"Authorization": f"Bearer {ADMIN.swapcase()}"},
    "bearer, two": {"Authorization": f"Bearer {ADMIN} {ADMIN}"},
    "bearer, empty": {"Authorization": "Bearer "},
    "right bearer under a wrong token": {"X-Chroma-Token": "wrong", "Authorization": f"Bearer {ADMIN}"},
}


@pytest.mark.parametrize("headers", NOT_TOKENS.values(), ids=NOT_TOKENS.keys())
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_no_token_is_refused(gateway: Gateway, recorder: RecordingServer, headers: dict[str, str], method: str) -> None:
    refused(gateway.request(method, f"{BASE}/collections", headers=headers, body={"name": "x" * 9}), 401)
    assert recorder.arrived == []


def test_a_token_in_the_query_is_refused(gateway: Gateway, recorder: RecordingServer) -> None:
    for name in ("X-Chroma-Token", "x_chroma_token", "token", "access_token", "Authorization"):
        refused(gateway.request("GET", f"{BASE}/collections?{name}={WRITER}"), 401)
    assert recorder.arrived == []


def test_two_headers_never_add_rights(gateway: Gateway, recorder: RecordingServer) -> None:
    """The first header decides in nginx 1.22; from 1.23 on the two are joined and match nothing."""

    def send(*headers: str) -> int:
        head = "".join(f"{line}\r\n" for line in headers)
        answer = gateway.raw(f"POST {ABSENT}/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{head}\r\n".encode())
        return int(answer.split()[1])

    assert send("X-Chroma-Token: wrong", f"X-Chroma-Token: {WRITER}") == 401
    assert send("X-Chroma-Token:", f"X-Chroma-Token: {WRITER}") == 401
    assert send(f"X-Chroma-Token: {READER}", f"X-Chroma-Token: {WRITER}") in (401, 403)
    assert send("Authorization: Bearer wrong", f"Authorization: Bearer {WRITER}") == 400
    assert send(f"Authorization: Bearer {WRITER}", "Authorization: Bearer wrong") == 400
    assert recorder.arrived == []


def test_the_right_token_passes_in_both_headers_and_goes_no_further(gateway: Gateway, recorder: RecordingServer) -> None:
    for headers in (
        {"X-Chroma-Token": WRITER},
        {"x-chroma-token": WRITER},
        {"Authorization": f"Bearer {WRITER}"},
        {"authorization": f"bearer {WRITER}"},
        {"X-Chroma-Token": WRITER, "Authorization": "Bearer other"},
    ):
        assert gateway.request("POST", f"{ABSENT}/add", headers=headers, body={"ids": []}).status == 200
    assert len(recorder.arrived) == 5
    for line, headers, body in recorder.arrived:
        assert line == f"POST {ABSENT}/add HTTP/1.1"
        assert json.loads(body) == {"ids": []}
        assert not {"x-chroma-token", "authorization"} & headers.keys()


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


def test_an_empty_secret_file_opens_nothing(recorder: RecordingServer) -> None:
    with gateway_process.running(recorder.server_port, {"auth-token": "", "token.app.write": ""}) as gateway:
        for headers in ({}, {"X-Chroma-Token": ""}, {"Authorization": "Bearer "}, {"X-Chroma-Token": "\\Q\\E"}):
            refused(gateway.request("GET", f"{BASE}/collections", headers=headers), 401)
    assert recorder.arrived == []


STRANGE = [
    "a${b}c",
    "x{y};#z",
    "~tilde",
    "~*both",
    "$1$remote_addr",
    "(a|b)[c].*+?^$",
    "Q[E(E)Q",
    "^~/:=@&<>,",
    "default",
    "include",
    "*.example.org",
    "#comment",
    "!" + "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in "\"'`\\"),
    "L" * 256,
    "x" * 1024,
    "7",
]


def test_every_permitted_character_is_taken_literally(recorder: RecordingServer) -> None:
    secret = {"auth-token": ADMIN} | {f"token.app{n}.write": token for n, token in enumerate(STRANGE)}
    with gateway_process.running(recorder.server_port, secret) as gateway:
        for token in STRANGE:
            for headers in ({"X-Chroma-Token": token}, {"Authorization": f"Bearer {token}"}):
                assert gateway.request("GET", f"{BASE}/collections", headers=headers).status == 200, token
        # What they would match as patterns or variables, or with another case.
        for near in (
            "a",
            "abc",
            "b",
            "ac[c]",
            "x{Y};#z",
            "tilde",
            "TILDE",
            "both",
            "BOTH",
            "L" * 255,
            "l" * 256,
            "DEFAULT",
            "a.example.org",
        ):
            refused(gateway.request("GET", f"{BASE}/collections", near), 401)


@pytest.mark.parametrize(
    "value",
    [
        b"two\nlines",
        b"newline\n",
        b"\n",
        b"a space",
        b"tab\t",
        b'quo"te',
        b"quo'te",
        b"back`tick",
        b"back\\slash",
        "ümlaut".encode(),
        b"nul\0",
        b"x" * 1025,
    ],
)
def test_a_malformed_token_is_left_out_at_the_start_and_never_printed(recorder: RecordingServer, value: bytes) -> None:
    with gateway_process.running(recorder.server_port, {"auth-token": ADMIN, "token.app.write": value}) as gateway:
        assert gateway.request("GET", f"{BASE}/collections", ADMIN).status == 200
        [problem] = gateway.log_lines(1)
        assert problem["level"] == "error"
        assert problem["message"].startswith("token.app.write: must be ")
        assert "app" not in (gateway.work / "tokens.map").read_text().replace("token.app.write", "")
        for part in re.findall(rb"[A-Za-z0-9]+", value):
            refused(gateway.request("GET", f"{BASE}/collections", part.decode()), 401)


def test_a_key_that_names_no_scope_opens_nothing(recorder: RecordingServer) -> None:
    keys = ["token.app", "token.app.admin", "token..write", "token.write", "token.admin.write", "token.-.write", "token.app.write.old"]
    with gateway_process.running(
        recorder.server_port, {"auth-token": ADMIN, "app.write": "key-x"} | dict.fromkeys(keys, "key-x")
    ) as gateway:
        refused(gateway.request("GET", f"{BASE}/collections", "key-x"), 401)
        assert sorted(line["message"].partition(":")[0] for line in gateway.log_lines(len(keys))) == sorted(keys)


# --- paths ------------------------------------------------------------------------------------------------------------


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


def test_the_gateways_own_health_needs_no_server() -> None:
    with gateway_process.running(servers.free_port()) as gateway:
        assert gateway.request("GET", "/gateway/healthz").json() == {"status": "ok"}
        for path in ("/api/v2/heartbeat", f"{BASE}/collections"):
            answer = gateway.request("GET", path, ADMIN)
            assert answer.status in (502, 503)
            assert answer.json()["error"] == "InternalError"
        posted = gateway.request("POST", f"{ABSENT}/add", ADMIN, body=record("x"))
        assert posted.status in (502, 503)
        assert posted.json()["message"]
        assert sorted(line["method"] for line in gateway.log_lines(3)) == ["GET", "GET", "POST"]  # not the health


# --- scopes -----------------------------------------------------------------------------------------------------------


def test_a_reading_token_reads(chroma: tuple[str, Gateway], collection: str) -> None:
    _version, gateway = chroma
    assert gateway.request("GET", f"{collection}/count", READER).json() == 1
    assert gateway.request("GET", f"{BASE}/collections", READER).status == 200
    assert gateway.request("POST", f"{collection}/get", READER, body={"include": ["documents"]}).json()["ids"] == ["first"]
    queried = gateway.request("POST", f"{collection}/query?limit=1", READER, body={"query_embeddings": [[1.0, 2.0]], "n_results": 1})
    assert queried.json()["ids"] == [["first"]]


def writes(collection: str) -> list[tuple[str, str, object]]:
    """Every kind of write: method, path, body. Each of them changes something with a token that may write."""
    return [
        ("POST", f"{collection}/add", record("new")),
        ("POST", f"{collection}/upsert", record("new")),
        ("POST", f"{collection}/update", record("first") | {"documents": ["changed"]}),
        ("POST", f"{collection}/delete", {"ids": ["first"]}),
        ("PUT", collection, {"new_name": "renamed"}),
        ("POST", f"{BASE}/collections", {"name": "created"}),
        ("DELETE", f"{BASE}/collections/gateway-test", None),
        ("POST", "/api/v2/tenants/default_tenant/databases", {"name": "created"}),
        ("POST", "/api/v2/tenants", {"name": "created"}),
    ]


def state(gateway: Gateway, collection: str) -> object:
    """All that a write could have changed."""
    records = gateway.request("POST", f"{collection}/get", ADMIN, body={"include": ["documents", "metadatas"]})
    created = [gateway.request("GET", f"/api/v2/tenants/{path}", ADMIN).status for path in ("created", "default_tenant/databases/created")]
    names = sorted(found["name"] for found in gateway.request("GET", f"{BASE}/collections", ADMIN).json())
    return records.status, {k: records.json()[k] for k in ("ids", "documents", "metadatas")}, created, names


def disguises(path: str, collection: str) -> list[str]:
    """Spellings of a write's path that might be taken for a read's here and for the write's in the server."""
    head, _separator, last = path.rpartition("/")
    found = [
        path + ending
        for end in ("get", "query", "count", "heartbeat")
        for ending in (
            f"?/{end}",
            f"?x=/collections/a/{end}",
            f"#/{end}",
            f"#/collections/a/{end}",
            f"%23/{end}",
            f"%3F/{end}",
            f"%3f/collections/a/{end}",
            f";/{end}",
            f";/../{end}",
            f"%3b/{end}",
            f"/../{end}",
            f"/%2e%2e/{end}",
            f"/..%2f{end}",
            f"%2f..%2f{end}",
            f"%00/{end}",
            f"%0a/{end}",
            f"%20/{end}",
            f"\\..\\{end}",
            f"%5c..%5c{end}",
            f"//{end}",
            f"/./{end}",
        )
    ]
    found += [path + ending for ending in ("/", "//", "%0a", "%0A", "%20", "%09", "%2f", "?", "#", ";", "/.")]
    found += [
        f"{head}//{last}",
        f"{head}/./{last}",
        f"{head}/get/../{last}",
        f"{head}/get/%2e%2e/{last}",
        f"{head}/get%2f..%2f{last}",
        f"{head}/get/..%2f{last}",
        f"{head}%2f{last}",
        f"{head}/%{ord(last[0]):02x}{last[1:]}",
        f"{head}/{last.upper()}",
        f"/api/v2/heartbeat/../../..{path}",
        f"{collection}/get/../../../../../../../../..{path}",
        f"{collection}/get/%2e%2e/..%2f..{path}",
        path.replace("/api/", "//api/"),
        path.replace("/api/v2/", "/api/v2/./"),
        path.replace("/api/", "/%61pi/"),
        f"http://127.0.0.1{path}",
        f"http://127.0.0.1/api/v2/heartbeat{path}",
        f"http://x{collection}/get?{path}",
    ]
    return found


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


def test_only_plain_paths_reach_the_server(gateway: Gateway, recorder: RecordingServer) -> None:
    for _method, path, _body in writes(ABSENT):
        for disguise in disguises(path, ABSENT):
            gateway.request("POST", disguise, ADMIN)
    assert recorder.lines
    for line in recorder.lines:
        path = line.split()[1].partition("?")[0]
        assert not re.search(r"//|#|\\|/\.{1,2}(/|$)|%(2f|5c|0|1|7f)|/(%2e|\.){1,2}(/|$)", path, re.IGNORECASE), line


def test_names_with_unusual_characters_reach_the_server_as_sent(gateway: Gateway, recorder: RecordingServer) -> None:
    path = "/api/v2/tenants/a%20b%C3%BC@x+y/databases/d~%3F%25/collections/c.d_e-f/get?limit=1&x=a%2Fb//..#"
    long = f"/api/v2/tenants/{'t' * 3000}/databases/{'d%C3%BC' * 400}/collections/x/query"
    for sent in (path, long):
        assert gateway.request("POST", sent, READER, body={}).status == 200
    assert [line.split()[1] for line in recorder.lines] == [path, long]


# --- HTTP itself ------------------------------------------------------------------------------------------------------


def test_ambiguous_requests_get_nothing_past(gateway: Gateway, recorder: RecordingServer) -> None:
    smuggled = f"POST {ABSENT}/add HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    read = f"POST {ABSENT}/get HTTP/1.1\r\nHost: x\r\nX-Chroma-Token: {READER}\r\n"
    heartbeat = "GET /api/v2/heartbeat HTTP/1.1\r\nHost: x\r\n"
    last = "GET /gateway/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for head in (read, heartbeat):
        for framing in (
            f"Content-Length: {len(smuggled) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
            "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
            "Content-Length: +0\r\n\r\n",
            "Content-Length: 0x0\r\n\r\n",
            "Content-Length: 0\r\n\tfolded: x\r\n\r\n",
            "X: a\rContent-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Chroma-Token: " + WRITER + "\r\n\r\n",
            "Connection: X-Chroma-Token, close\r\nContent-Length: 0\r\n\r\n",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            "\r\n",
        ):
            gateway.raw((head + framing + smuggled + last).encode())
    assert {line.split()[1] for line in recorder.lines} <= {f"{ABSENT}/get", "/api/v2/heartbeat"}
    assert all("/add" not in line for line in recorder.lines)
    assert all(b"/add" not in body for line, _headers, body in recorder.arrived if "heartbeat" in line)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET {path} HTTP/1.0", 401),
        ("GET http://127.0.0.1{path} HTTP/1.1", 401),
        ("GET http://127.0.0.1/api/v2/heartbeat/../..{path} HTTP/1.1", 404),
        ("POST http://x@y{path} HTTP/1.1", 400),
        ("CONNECT 127.0.0.1:8001 HTTP/1.1", 400),
        ("TRACE {path} HTTP/1.1", 405),
        ("TRACK {path} HTTP/1.1", 401),
        ("OPTIONS {path} HTTP/1.1", 401),
        ("OPTIONS * HTTP/1.1", 400),
        ("get {path} HTTP/1.1", 400),
        ("GET {path} HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 400),
        ("GET  {path}  HTTP/1.1", 401),
        ("GET {path}\x00 HTTP/1.1", 400),
        ("GET *{path} HTTP/1.1", 400),
    ],
)
def test_odd_request_lines_are_refused(gateway: Gateway, recorder: RecordingServer, request_line: str, status: int) -> None:
    line = request_line.format(path=f"{BASE}/collections")
    answer = gateway.raw(f"{line}\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
    head, _separator, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, answer
    assert b"content-type: application/json" in head.lower()
    assert "error" in json.loads(body)
    assert recorder.arrived == []


def test_each_pipelined_request_needs_its_own_token(gateway: Gateway, recorder: RecordingServer) -> None:
    body = b'{"ids":[]}'

    def request(method: str, path: str, token: str | None) -> bytes:
        header = f"X-Chroma-Token: {token}\r\n" if token else ""
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {len(body)}\r\n\r\n".encode() + body

    sent = [
        ("POST", f"{ABSENT}/upsert", WRITER),
        ("POST", f"{ABSENT}/add", None),
        ("POST", f"{ABSENT}/get", READER),
        ("POST", f"{ABSENT}/delete", READER),
    ]
    answers = gateway.raw(b"".join(request(*one) for one in sent))
    assert [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+)", answers)] == [200, 401, 200, 403]
    assert recorder.lines == [f"POST {ABSENT}/upsert HTTP/1.1", f"POST {ABSENT}/get HTTP/1.1"]


def test_bodies_pass_unchanged_up_to_the_limit_and_get_413_above(recorder: RecordingServer) -> None:
    with gateway_process.running(recorder.server_port, SECRET, body_size="1m") as gateway:
        body = b"x" * (1 << 20)
        assert gateway.request("POST", f"{ABSENT}/add", WRITER, body=body).status == 200
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)) as connection:
            chunks = (body[n : n + 1000] for n in range(0, len(body), 1000))
            connection.request("POST", f"{ABSENT}/add", chunks, {"X-Chroma-Token": WRITER}, encode_chunked=True)
            assert connection.getresponse().status == 200
        assert [received for _line, _headers, received in recorder.arrived] == [body, body]
        refused(gateway.request("POST", f"{ABSENT}/add", WRITER, body=body + b"x"), 413, "InvalidArgumentError")
        refused(gateway.request("POST", f"{ABSENT}/add", body=body), 401)
        [line] = [line for line in gateway.log_lines(4) if line["status"] == 413]
        assert (line["method"], line["path"], line["token"]) == ("POST", f"{ABSENT}/add", "app")
        assert len(recorder.arrived) == 2


def test_an_answer_that_takes_too_long_is_a_504_in_json(recorder: RecordingServer) -> None:
    with gateway_process.running(recorder.server_port, SECRET, proxy_timeout=1) as gateway:
        recorder.RequestHandlerClass = type("Slower", (Recorder,), {"send_response": lambda *_arguments: time.sleep(3)})
        refused(gateway.request("GET", f"{BASE}/collections", ADMIN), 504, "InternalError")


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text(), reason="no IPv6 here")
def test_the_ipv6_address_is_guarded_too(gateway: Gateway) -> None:
    with contextlib.closing(http.client.HTTPConnection("::1", gateway.port, timeout=10)) as connection:
        connection.request("GET", f"{BASE}/collections")
        assert connection.getresponse().status == 401


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_the_previous_value_is_accepted_and_marked_in_the_log(recorder: RecordingServer) -> None:
    secret = SECRET | {
        "token.app.write.previous": "old-writer",
        "auth-token.previous": "old-admin",
        "token.report.read.previous": "old-reader",
    }
    with gateway_process.running(recorder.server_port, secret) as gateway:
        for token in (WRITER, "old-writer", ADMIN, "old-admin"):
            assert gateway.request("POST", f"{ABSENT}/add", token, body={}).status == 200
        assert gateway.request("POST", f"{ABSENT}/get", "old-reader", body={}).status == 200
        refused(gateway.request("POST", f"{ABSENT}/add", "old-reader", body={}), 403)
        assert sorted((line["token"], line["scope"], line["previous"]) for line in gateway.log_lines(6)) == [
            ("admin", "write", False),
            ("admin", "write", True),
            ("app", "write", False),
            ("app", "write", True),
            ("report", "read", True),
            ("report", "read", True),
        ]


class Steady:
    """Clients that ask without a pause: one with a connection for each request, one that keeps its connection."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(gateway, token, keep)) for keep in (False, True)]

    def _ask(self, gateway: Gateway, token: str, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        while not self.over.is_set():
            if connection.sock is not None and (not keep or _readable(connection.sock)):
                connection.close()  # as httpx and urllib3: the server has ended this connection between two requests
            try:
                connection.request("POST", f"{ABSENT}/get", b"{}", {"X-Chroma-Token": token})
                answer = connection.getresponse()
                answer.read()
                self.answers.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> Steady:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def _readable(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(10)


def accepted(gateway: Gateway, token: str) -> Callable[[], bool]:
    return lambda: gateway.request("GET", f"{BASE}/collections", token).status == 200


def refused_for_good(gateway: Gateway, token: str) -> None:
    """Wait until a token is refused 30 times running: for some milliseconds old and new workers accept connections."""
    until(lambda: not any(accepted(gateway, token)() for _row in range(30)), "the removed token refused")


def test_a_changed_secret_takes_effect_without_restart_or_failed_request(gateway: Gateway) -> None:
    with Steady(gateway, ADMIN) as steady:
        before = gateway.process.pid
        for n in range(1, 4):
            gateway.write_secret(
                SECRET | {"token.app.write": f"writer-{n}", "token.app.write.previous": f"writer-{n - 1}" if n > 1 else WRITER}
            )
            until(accepted(gateway, f"writer-{n}"), "the new token accepted")
            assert accepted(gateway, WRITER if n == 1 else f"writer-{n - 1}")()
        refused_for_good(gateway, WRITER)
        gateway.write_secret({"auth-token": ADMIN})
        refused_for_good(gateway, "writer-3")
    assert gateway.process.poll() is None
    assert gateway.process.pid == before
    assert len(steady.answers) > 100
    assert steady.failures == []
    assert set(steady.answers) == {200}


@pytest.mark.parametrize(
    "bad",
    [
        {"auth-token": "new-admin\n"},
        {"auth-token": "new-admin", "token.app.write": 'quo"te'},
        {"auth-token": "new-admin", "token.app.write": "two words"},
        {"auth-token": "new-admin", "token.app": "no-scope"},
        {"token.app.write": "no-administrator"},
        {},
    ],
)
def test_a_malformed_new_secret_keeps_the_old_tokens(gateway: Gateway, bad: dict[str, str]) -> None:
    gateway.write_secret(bad)
    gateway.wait_for_log("The new tokens are not loaded; the old ones stay.")
    for token in (ADMIN, WRITER, READER):
        assert accepted(gateway, token)()
    for value in bad.values():
        assert not accepted(gateway, value.strip())()
        assert value not in gateway.log.read_text()
    assert gateway.log.read_text().count("the old ones stay") == 1  # said once, not at every look
    gateway.write_secret({"auth-token": "repaired"})
    until(accepted(gateway, "repaired"), "the repaired token accepted")
    refused_for_good(gateway, ADMIN)


def test_an_emptied_value_revokes_its_token(gateway: Gateway) -> None:
    gateway.write_secret(SECRET | {"token.app.write": ""})
    refused_for_good(gateway, WRITER)
    assert accepted(gateway, ADMIN)()


def test_a_map_that_nginx_refuses_is_not_loaded(gateway: Gateway) -> None:
    with (gateway.work / "nginx.conf").open("a") as configuration:
        configuration.write("broken")
    gateway.write_secret(SECRET | {"token.app.write": "never-loaded"})
    gateway.wait_for_log("nginx does not take the new tokens")
    assert accepted(gateway, WRITER)()
    assert "never-loaded" not in (gateway.work / "tokens.map").read_text()


def test_sigterm_lets_requests_in_flight_end(gateway: Gateway, recorder: RecordingServer) -> None:
    answers: list[Response] = []
    slow = threading.Thread(target=lambda: answers.append(gateway.request("GET", f"{BASE}/slow", ADMIN)))
    slow.start()
    until(lambda: recorder.arrived, "the slow request at the server")
    assert gateway_process.stop(gateway) == 0
    slow.join()
    assert [(a.status, a.body) for a in answers] == [(200, b"done")]
    with pytest.raises(ConnectionRefusedError):
        gateway.request("GET", "/gateway/healthz")


def test_the_script_ends_with_nginx(gateway: Gateway) -> None:
    """The kubelet restarts a container only when its first process ends."""
    master = int((gateway.work / "nginx.pid").read_text())
    workers = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    os.kill(master, signal.SIGKILL)
    assert gateway.process.wait(10) == 128 + signal.SIGKILL
    for worker in workers:  # outside of a container they would outlive it
        os.kill(worker, signal.SIGKILL)


# --- secrecy ----------------------------------------------------------------------------------------------------------


def test_no_token_and_no_query_is_seen_anywhere_but_in_the_map(gateway: Gateway, recorder: RecordingServer) -> None:
    newer = {f"token.app{n}.write": f"hidden-{n}-{'z' * 20}" for n in range(5)}
    tokens = [ADMIN, WRITER, READER, *newer.values()]
    seen: set[bytes] = set()
    over = threading.Event()

    def watch_processes() -> None:
        while not over.is_set():
            for pid in gateway.processes():
                for kind in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add(Path(f"/proc/{pid}/{kind}").read_bytes())

    watcher = threading.Thread(target=watch_processes)
    watcher.start()
    gateway.write_secret(SECRET | newer)
    until(accepted(gateway, newer["token.app0.write"]), "the new token accepted")
    for n, token in enumerate(tokens):
        gateway.request("GET", f"{BASE}/collections?secret_query={token}", token)
        gateway.request("GET", f"{BASE}/collections#secret_query={token}", token)
        gateway.request(
            "POST",
            f"/nowhere?secret_query={token}",
            headers={"X-Forwarded-For": f"10.0.0.{n}, {token}", "User-Agent": token, "Referer": token},
        )
        gateway.raw(f"GET /?secret_query={token} HTTP/9.9\r\n\r\n".encode())
        gateway.raw(f"{token}\r\n\r\n".encode())
        gateway.raw(f"GET {BASE}/x?secret_query HTTP/1.1\r\nHost: x\r\nX-Chroma-Token: {token}\r\nContent-Length: -1\r\n\r\n".encode())
        gateway.raw(f"GET {BASE}/x HTTP/1.1\r\nHost: {token}\r\nX-Long: {token * 2000}\r\n\r\n".encode())
    recorder.shutdown()
    recorder.server_close()
    time.sleep(4.5)  # longer than the gateway keeps its connections to the server
    failed = gateway.request("POST", f"{BASE}/collections?secret_query=x", ADMIN, body={})  # nginx would log this with its query
    assert failed.status == 502
    over.set()
    watcher.join()
    gateway_process.stop(gateway)

    texts = seen | {gateway.log.read_bytes()}
    files = [path for path in gateway.work.rglob("*") if path.is_file()]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == "nginx.pid", path
        if path.name != "tokens.map":
            texts.add(path.read_bytes())
    assert stat.S_IMODE((gateway.work / "tokens.map").stat().st_mode) == 0o600
    for token in tokens:
        assert token in (gateway.work / "tokens.map").read_text()
        assert not any(token.encode() in text for text in texts), token
    assert not any(b"secret_query" in text for text in texts)


def test_each_request_is_one_json_line_that_names_the_token(gateway: Gateway) -> None:
    gateway.request("GET", f"{BASE}/collections?limit=1", WRITER, headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
    gateway.request("POST", f"{ABSENT}/add", READER, headers={"X-Forwarded-For": "2001:db8::1"}, body={})
    gateway.request("DELETE", f"{ABSENT}", "wrong")
    gateway.raw(b'GET /api/v2/\xff\xfe"\\x HTTP/1.1\r\nHost: x\r\n\r\n')
    gateway.raw(b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n")
    gateway.raw(b"GET /\r\n")
    lines = gateway.log_lines(6)
    keys = ("token", "scope", "method", "path", "status", "forwarded")
    assert sorted(tuple(line[key] for key in keys) for line in lines) == [
        ("-", "-", "-", "-", 400, "-"),
        ("-", "-", "DELETE", ABSENT, 401, "-"),
        ("-", "-", "GET", "-", 401, "-"),
        ("-", "-", "GET", "/", 404, "-"),
        ("app", "write", "GET", f"{BASE}/collections", 200, "198.51.100.7"),
        ("report", "read", "POST", f"{ABSENT}/add", 403, "2001:db8::1"),
    ]
    assert max(line["received"] for line in lines) > len(WRITER)
    for line in lines:
        assert line["client"] == "127.0.0.1"
        assert line["received"] >= 0
        assert line["seconds"] >= 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["time"])


# --- Chroma's own client ----------------------------------------------------------------------------------------------

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
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "token is required" in done.stdout
