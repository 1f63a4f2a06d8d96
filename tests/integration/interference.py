# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy on loopback in front of a real server, which fails, hangs or does something at a request that a test chooses."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterator

# What becomes of a request: None passes it on, "hang" never answers it, a number answers with that status; "flip" passes it on with one
# bit of its body changed, "cut" only the first half of its body, and then closes both connections.
Decision = Callable[[str, str, int], "int | str | None"]

LEFT_OUT = ("connection", "transfer-encoding", "content-length", "keep-alive")


class Proxy:
    """A running proxy.

    Attributes:
        url: where it listens.
        target: base URL of the server behind; may be changed at any time.
        decide: called with method, path and the number of the request, from 1.
        seen: method and path of each request.
    """

    def __init__(self, target: str, decide: Decision) -> None:
        self.target = target
        self.decide = decide
        self.seen: list[tuple[str, str]] = []
        self.over = threading.Event()
        self.url = ""


@contextlib.contextmanager
def proxy(target: str, decide: Decision = lambda _method, _path, _number: None) -> Iterator[Proxy]:
    """Run a proxy for the length of a ``with`` block."""
    state = Proxy(target, decide)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Proxy) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self._body()
            state.seen.append((self.command, self.path))
            decision = state.decide(self.command, self.path, len(state.seen))
            if decision == "hang":
                state.over.wait(300)
                self.close_connection = True
            elif decision == "flip":
                middle = len(body) // 2
                self._pass(body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body)
            elif decision == "cut":
                self._cut(body)
            elif decision is not None:
                said = b"<Error><Code>%s</Code></Error>" % (b"AccessDenied" if decision == 403 else b"InternalError")
                self._answer(int(decision), {}, b"" if self.command == "HEAD" else said)
            else:
                self._pass(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                whole = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _cut(self, body: bytes) -> None:
            target = urllib.parse.urlsplit(state.target)
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() not in (*LEFT_OUT, "expect"):
                    connection.putheader(key, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            connection.send(body[: len(body) // 2])
            connection.close()
            self.close_connection = True

        def _pass(self, body: bytes) -> None:
            target = urllib.parse.urlsplit(state.target)
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in (*LEFT_OUT, "expect")}
            try:
                connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # as the server itself would: no answer
                return
            finally:
                connection.close()
            kept = {key: value for key, value in answer.getheaders() if key.lower() not in LEFT_OUT}
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, kept, content, length)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, length: str | None = None) -> None:
            with contextlib.suppress(OSError):
                self.send_response_only(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                if status not in (204, 304):
                    self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler
