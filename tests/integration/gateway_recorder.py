# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server behind the gateway that records what arrives, and a gateway in front of it."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import Gateway
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import SECRET


class Recorder(http.server.BaseHTTPRequestHandler):
    """Plays Chroma: keeps what arrives, answers 200; ``/slow`` in the path takes a second."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer waits 40 ms for an acknowledgement
    server: RecordingServer

    def do(self) -> None:
        """Keep a request, and answer it."""
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
        """The request lines that arrived."""
        return [line for line, _headers, _body in self.arrived]


@pytest.fixture
def recorder() -> Iterator[RecordingServer]:
    """Return a server that records what arrives."""
    with RecordingServer(("127.0.0.1", 0), Recorder) as server:
        server.arrived = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def gateway(recorder: RecordingServer) -> Iterator[Gateway]:
    """Return a gateway in front of the recorder."""
    with gateway_process.running(recorder.server_port, SECRET) as running:
        yield running
