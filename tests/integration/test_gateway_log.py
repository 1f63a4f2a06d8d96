# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway prints of each request, and that no token and no query is seen anywhere."""

from __future__ import annotations

import contextlib
import re
import stat
import threading
import time
from pathlib import Path

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, gateway_recorder
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway
from ansible_collections.thinkube.chroma.tests.integration.gateway_recorder import RecordingServer
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import (
    ABSENT,
    BASE,
    NEEDS_NGINX,
    READER,
    SECRET,
    WRITER,
    accepted,
)
from ansible_collections.thinkube.chroma.tests.waiting import until

recorder, gateway = gateway_recorder.recorder, gateway_recorder.gateway

pytestmark = NEEDS_NGINX


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
