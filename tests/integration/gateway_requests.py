# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the gateway share: where they run, what they send in every spelling, and how the gateway refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway, Response

NEEDS_NGINX = pytest.mark.skipif(
    # Where a change is judged, the proof of authentication is never left out.
    "CI" not in os.environ and shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="nginx is not installed",
)
WRITER = "writer-0123456789abcdef"
READER = "reader-0123456789abcdef"
SECRET = {"auth-token": ADMIN, "admin-username": "tkadmin", "token.app.write": WRITER, "token.report.read": READER}
BASE = "/api/v2/tenants/default_tenant/databases/default_database"
ABSENT = "/api/v2/tenants/default_tenant/databases/default_database/collections/00000000-0000-0000-0000-000000000000"


def record(name: str) -> dict[str, Any]:
    """Return what adds one record."""
    return {"ids": [name], "embeddings": [[1.0, 2.0]], "documents": [name], "metadatas": [{"n": 1}], "uris": None}


def refused(answer: Response, status: int, error: str = "AuthError") -> None:
    """Assert a refusal in the form that Chroma's clients read."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == error
    assert answer.json()["message"]
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert answer.headers["server"] == "nginx"  # without its version


def accepted(gateway: Gateway, token: str) -> Callable[[], bool]:
    """Return what tells whether a token is accepted."""
    return lambda: gateway.request("GET", f"{BASE}/collections", token).status == 200


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
