# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTTP allows gets nothing past the gateway: odd paths, ambiguous requests, bodies, answers that take long."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, gateway_recorder, servers
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway
from ansible_collections.thinkube.chroma.tests.integration.gateway_recorder import Recorder, RecordingServer
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import (
    ABSENT,
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

recorder, gateway = gateway_recorder.recorder, gateway_recorder.gateway

pytestmark = NEEDS_NGINX


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
    answers = gateway.raw(b"".join(request(*one) for one in sent), quiet=4.0)
    assert [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+)", answers)] == [200, 401, 200, 403]
    assert recorder.lines == [f"POST {ABSENT}/upsert HTTP/1.1", f"POST {ABSENT}/get HTTP/1.1"]


def test_bodies_pass_unchanged_up_to_the_limit_and_get_413_above(recorder: RecordingServer) -> None:
    with gateway_process.running(recorder.server_port, SECRET, body_size="1m") as gateway:
        body = b"x" * (1 << 20)
        assert gateway.request("POST", f"{ABSENT}/add", WRITER, body=body).status == 200
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)) as connection:
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
    with contextlib.closing(http.client.HTTPConnection("::1", gateway.port, timeout=60)) as connection:
        connection.request("GET", f"{BASE}/collections")
        assert connection.getresponse().status == 401
