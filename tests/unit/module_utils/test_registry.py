# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What registries answer, and what is made of it."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import Image
from ansible_collections.thinkube.chroma.plugins.module_utils._registry import ACCEPT, find_image

IMAGE = Image("registry.example.com/library/chroma", "1.5.9", "")
MANIFEST = "https://registry.example.com/v2/library/chroma/manifests/1.5.9"
CHALLENGE = {
    "www-authenticate": 'Bearer realm="https://registry.example.com/service/token",service="harbor",scope="repository:library/chroma:pull"'
}


def registry(*answers):
    """Return an exchange that gives these answers in turn, and the list of what it was asked."""
    asked, left = [], list(answers)

    def exchange(method, url, headers):
        asked.append((method, url, headers))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return exchange, asked


@pytest.mark.parametrize(("status", "present"), [(200, True), (404, False), (401, None), (403, None), (500, None)])
def test_the_manifest_decides(status, present):
    exchange, asked = registry((status, {}, b""))
    assert find_image(IMAGE, exchange=exchange).present is present
    assert asked == [("HEAD", MANIFEST, {"Accept": ACCEPT})]


@pytest.mark.parametrize(("status", "present"), [(200, True), (404, False), (401, None)])
def test_an_anonymous_token_is_fetched_where_the_registry_wants_one(status, present):
    exchange, asked = registry((401, CHALLENGE, b""), (200, {}, json.dumps({"token": "anonymous"}).encode()), (status, {}, b""))
    assert find_image(IMAGE, exchange=exchange).present is present
    assert asked[1][1] == "https://registry.example.com/service/token?service=harbor&scope=repository%3Alibrary%2Fchroma%3Apull"
    assert asked[2][2]["Authorization"] == "Bearer anonymous"


def test_a_registry_that_gives_no_anonymous_token_is_not_verifiable():
    exchange, _asked = registry((401, CHALLENGE, b""), (401, {}, b""))
    assert find_image(IMAGE, exchange=exchange).present is None


def test_a_registry_that_does_not_answer_is_not_verifiable_and_not_asked_in_clear():
    exchange, asked = registry(TimeoutError("timed out"))
    found = find_image(IMAGE, exchange=exchange)
    assert (found.present, "timed out" in found.seen, len(asked)) == (None, True, 1)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "Connection refused"), socket.gaierror(-2, "Name or service not known")])
def test_a_registry_that_does_not_exist_holds_no_image(error):
    exchange, _asked = registry(error)
    found = find_image(IMAGE, exchange=exchange)
    assert (found.present, found.seen) == (False, f"no registry at registry.example.com: {error.strerror}")


@pytest.mark.parametrize("registry_name", ["127.0.0.1:5000", "localhost", "localhost:5000"])
def test_a_local_registry_may_speak_http(registry_name):
    exchange, asked = registry(OSError("wrong version number"), (200, {}, b""))
    assert find_image(Image(f"{registry_name}/library/chroma", "1", ""), exchange=exchange).present
    assert [url.split(":")[0] for _method, url, _headers in asked] == ["https", "http"]


@pytest.mark.parametrize(
    ("image", "path"),
    [
        (Image("chroma", "1", ""), "registry-1.docker.io/v2/library/chroma/manifests/1"),
        (Image("chromadb/chroma", "1", ""), "registry-1.docker.io/v2/chromadb/chroma/manifests/1"),
        (Image("r.io/c", "1", "sha256:0"), "r.io/v2/c/manifests/sha256:0"),
        (Image("r.io/c", "", ""), "r.io/v2/c/manifests/latest"),
    ],
)
def test_where_an_image_is_looked_for(image, path):
    exchange, asked = registry((200, {}, b""))
    find_image(image, exchange=exchange)
    assert asked[0][1] == f"https://{path}"


def test_over_a_real_connection():
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            present = self.path == "/v2/library/chroma/manifests/1.5.9" and "oci.image.index" in self.headers["Accept"]
            self.send_response(200 if present else 404)
            self.end_headers()

        def log_message(self, *arguments):
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        name = f"127.0.0.1:{server.server_port}/library/chroma"
        assert find_image(Image(name, "1.5.9", ""), timeout=60).present is True
        assert find_image(Image(name, "9.9.9", ""), timeout=60).present is False
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert find_image(Image(name, "1.5.9", ""), timeout=1).present is False
