# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small proxy in front of a server, to see what goes over the wire and to disturb it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path


class Proxy:
    """What a proxy saw, and what it is told to do.

    Attributes:
        url: where it listens.
        requests: method, path and headers of each request.
        token: demanded in ``X-Chroma-Token`` or ``Authorization: Bearer``; none where it is None.
        disturb: for each of the next requests a status to answer, or 0 to close the connection without an answer.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.token: str | None = None
        self.disturb: list[int] = []


@contextlib.contextmanager
def proxied(port: int, certificate: Path | None = None) -> Iterator[Proxy]:
    """Forward a free port of 127.0.0.1 to ``port``, with TLS where a file with key and certificate is given."""
    proxy = Proxy(port)

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.requests.append((self.command, self.path, dict(self.headers)))
            given = (self.headers.get("X-Chroma-Token"), (self.headers.get("Authorization") or "").removeprefix("Bearer "))
            if proxy.disturb:
                status = proxy.disturb.pop(0)
                if status:
                    self.answer(status, b"{}")
                return
            if proxy.token is not None and proxy.token not in given:
                self.answer(401, b'{"error":"AuthError","message":"missing or unknown token"}')
                return
            connection = http.client.HTTPConnection("127.0.0.1", proxy.target, timeout=300)
            try:
                connection.request(self.command, self.path, body or None, {"Content-Type": "application/json"})
                upstream = connection.getresponse()
                self.answer(upstream.status, upstream.read())
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = forward

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    proxy.url = f"{'https' if certificate else 'http'}://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def make_certificate(folder: Path, name: str) -> Path:
    """Return a file with a key and a self-signed certificate for an address or host name."""
    key, certificate, both = folder / f"{name}.key", folder / f"{name}.crt", folder / f"{name}.pem"
    subject = f"IP:{name}" if name[0].isdigit() else f"DNS:{name}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    return both
