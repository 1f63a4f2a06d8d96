# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each refusal of each release is understood."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._faults import reason, refusal

REFUSALS = {
    "collection_missing": "not_found",
    "collection_gone": "not_found",
    "delete_missing": "not_found",
    "tenant_missing": "not_found",
    "database_missing": "not_found",
    "unknown_get": "not_found",
    "unknown_count": "not_found",
    "unknown_upsert": "not_found",
    "collection_exists": "conflict",
    "tenant_exists": "conflict",
    "database_exists": "conflict",
    "rename_taken": "conflict",
    "name_refused": "invalid_name",
    "upsert_dimension": "dimension_mismatch",
    "query_dimension": "dimension_mismatch",
    "id_is_name": "invalid_request",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_recorded_refusal_gets_the_same_code_on_every_release(recorded, version, name):
    seen = recorded.load(version, name)
    error = refusal(f"{seen['method']} {seen['path']}", seen["status"], json.dumps(seen["answer"]).encode())
    assert error.code == REFUSALS[name]
    assert error.hint
    assert seen["path"] in error.message
    assert error.message.endswith(".")  # the hint follows on it
    assert not error.message.endswith("..")


@pytest.mark.parametrize("version", ["0.4.24", "0.5.23", "0.6.3"])
@pytest.mark.parametrize("name", ["token_absent", "token_wrong"])
def test_a_refused_token_is_unauthorized_whatever_the_status(recorded, version, name):
    seen = recorded.load(version, name)
    assert seen["status"] == (401 if version == "0.4.24" else 403)
    assert refusal("GET", seen["status"], json.dumps(seen["answer"]).encode()).code == "unauthorized"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b'{"error":"AuthError","message":"missing token"}', "unauthorized"),
        (403, b'{"error":"AuthError","message":"this token may only read"}', "forbidden"),
        (403, b"", "forbidden"),
        (404, b'{"detail":"Not Found"}', "not_found"),
        (405, b'{"detail":"Method Not Allowed"}', "unsupported"),
        (410, b'{"error":"Unimplemented","message":"The v1 API is deprecated. Please use /v2 apis"}', "unsupported"),
        (413, b"<html>nginx</html>", "too_large"),
        (422, b'{"error":"ChromaError","message":"missing field `embeddings`"}', "invalid_request"),
        (429, b"", "rate_limited"),
        (500, b'{"error":"KeyError(\'_type\')"}', "server_error"),
        (502, b"<html>", "unavailable"),
        (503, b"", "unavailable"),
        (504, b"", "timeout"),
        (308, b"", "redirected"),
        (500, b'{"error":"failed to acquire lock for onnx download: timeout waiting for file lock"}', "embedding_function"),
        (400, b'{"error":"error creating default embedding function: no model"}', "embedding_function"),
    ],
)
def test_other_refusals(status, body, code):
    assert refusal("GET /", status, body).code == code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"NotFoundError","message":"Tenant x not found"}', "NotFoundError: Tenant x not found"),
        (b'{"error":"ValueError(\'no\')"}', "ValueError('no')"),
        (b'{"detail":[{"loc":["body"]}]}', '[{"loc": ["body"]}]'),
        (b"<html><body>Sign in</body></html>", "an HTML page, so something else than Chroma answered"),
        (b"  two\n lines ", "two lines"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"x" * 600, "x" * 497 + "..."),
    ],
)
def test_reason_is_one_short_line(body, words):
    assert reason(body) == words
