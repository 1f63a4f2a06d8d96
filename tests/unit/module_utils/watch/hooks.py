# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server on loopback that takes alerts, or does not."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# As chat services have it: who knows the path may write.
SECRET = "T0K3N/s3cr3t"


class Hook:
    """What it was sent.

    Attributes:
        url: of the webhook, with a secret in its path and another in its query.
        bodies: documents that came, in order.
        headers: of each request.
        statuses: what it answers, in order; the last one stays.
        location: header of a redirection.
        hang: while it is set, no answer comes.
    """

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.statuses = [200]
        self.location = ""
        self.hang: threading.Event | None = None


@contextlib.contextmanager
def serve() -> Iterator[Hook]:
    """Run a :class:`Hook` for the length of a ``with`` block."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            hook.headers.append(dict(self.headers))
            if hook.hang:
                hook.hang.wait(30)
            status = hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0]
            with contextlib.suppress(OSError):  # who waited may be gone
                self.send_response(status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.end_headers()
                # As careless servers do: the whole request in the answer.
                self.wfile.write(f"you sent {self.path}".encode())

        def log_message(self, *arguments: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}?key={SECRET}"
    try:
        yield hook
    finally:
        if hook.hang:
            hook.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()
