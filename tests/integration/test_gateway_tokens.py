# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway takes for a token, and what it does not, wherever it stands in a request or in the Secret."""

from __future__ import annotations

import base64
import json
import re

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, gateway_recorder
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway
from ansible_collections.thinkube.chroma.tests.integration.gateway_recorder import RecordingServer
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import ABSENT, BASE, NEEDS_NGINX, READER, WRITER, refused

recorder, gateway = gateway_recorder.recorder, gateway_recorder.gateway

pytestmark = NEEDS_NGINX


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
