# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retries, limits and what is refused before anything is sent."""

from __future__ import annotations

import email.utils
import http.client
import io
import socket
import ssl
import time
import urllib.error

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _transport
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import (
    PAYLOAD_LIMIT,
    Connection,
    Reply,
    Transport,
    Unanswered,
    check_connection,
    delay,
    encode,
    http_exchange,
)

URL = "http://chroma.test"
LOST = Unanswered(ChromaError("unreachable", "connection refused"))
BUSY = Unanswered(ChromaError("timeout", "no answer"), repeatable=False)


def scripted(*outcomes, **settings):
    """Return a transport whose exchanges have the given outcomes, and the list of its pauses."""
    left, pauses = list(outcomes), []

    def exchange(method, path, payload):
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Transport(Connection(URL, **settings), exchange, pauses.append), pauses, left


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_status_is_repeated_with_growing_pauses(status):
    transport, pauses, left = scripted(Reply(status, b""), Reply(status, b""), Reply(200, b"1"))
    assert transport.request("GET", "/x") == 1
    assert not left
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0


@pytest.mark.parametrize(
    ("method", "repeatable", "attempts"),
    [("GET", None, 4), ("PUT", None, 4), ("POST", True, 4), ("POST", None, 1), ("DELETE", None, 1), ("GET", False, 1)],
)
def test_only_what_is_safe_is_repeated(method, repeatable, attempts):
    for outcome, code in ((Reply(503, b""), "unavailable"), (LOST, "unreachable")):
        transport, pauses, left = scripted(*[outcome] * 4)
        with pytest.raises(ChromaError) as failed:
            transport.request(method, "/x", repeatable=repeatable)
        assert (failed.value.code, 4 - len(left), len(pauses)) == (code, attempts, attempts - 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_a_final_status_is_not_repeated(status):
    transport, pauses, left = scripted(Reply(status, b""), Reply(200, b"1"))
    with pytest.raises(ChromaError):
        transport.request("GET", "/x")
    assert (len(left), pauses) == (1, [])


def test_a_request_that_the_server_still_works_on_is_not_repeated():
    transport, pauses, _left = scripted(BUSY)
    with pytest.raises(ChromaError) as failed:
        transport.request("GET", "/x")
    assert (failed.value.code, pauses) == ("timeout", [])


def test_retry_after_is_obeyed_within_limits():
    assert delay(0, {"Retry-After": "7"}) == 7
    assert delay(0, {"retry-after": "3600"}) == 30
    assert 8 < delay(0, {"Retry-After": email.utils.formatdate(time.time() + 10, usegmt=True)}) <= 10
    assert delay(0, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert 0.25 <= delay(0, {"Retry-After": "soon"}) <= 0.5
    assert 15 <= delay(20) <= 30


def test_a_payload_that_chroma_would_cut_off_is_not_sent():
    transport, _pauses, left = scripted(Reply(200, b"1"))
    with pytest.raises(ChromaError) as failed:
        transport.request("POST", "/x", b"x" * (PAYLOAD_LIMIT + 1))
    assert (failed.value.code, len(left)) == ("too_large", 1)


def test_the_token_is_kept_out_of_messages_that_echo_it():
    transport, _pauses, _left = scripted(Reply(401, b'{"error":"bad token s3cret"}'), token="s3cret")
    with pytest.raises(ChromaError) as failed:
        transport.request("GET", "/x")
    assert "s3cret" not in str(failed.value.as_result())
    assert "s3cret" not in repr(Connection(URL, token="s3cret"))


def test_an_answer_that_is_no_json_is_named():
    transport, _pauses, _left = scripted(Reply(200, b"<html>Sign in</html>"))
    with pytest.raises(ChromaError) as failed:
        transport.request("GET", "/x")
    assert failed.value.code == "not_chroma"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(ChromaError) as failed:
        encode([value])
    assert failed.value.code == "invalid_value"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"url": "chroma.example.com"}, "invalid_url"),
        ({"url": "ftp://chroma.example.com"}, "invalid_url"),
        ({"url": "http://"}, "invalid_url"),
        ({"url": "http://chroma.example.com:port"}, "invalid_url"),
        ({"url": "http://chroma .example.com"}, "invalid_url"),
        ({"url": "http://user:s3cret@chroma.example.com"}, "invalid_url"),
        ({"url": "http://chroma.example.com?a=b"}, "invalid_url"),
        ({"token": "s3cret\n"}, "invalid_token"),
        ({"token": "s3 cret"}, "invalid_token"),
        ({"token": "s3cr€t"}, "invalid_token"),
        ({"timeout": 0}, "invalid_value"),
        ({"retries": -1}, "invalid_value"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(settings, code):
    with pytest.raises(ChromaError) as failed:
        check_connection(Connection(**{"url": URL, **settings}))
    assert failed.value.code == code
    assert "cret" not in str(failed.value.as_result())


@pytest.mark.parametrize(("header", "value"), [("X-Chroma-Token", "s3cret"), ("Authorization", "Bearer s3cret")])
def test_the_token_goes_into_the_header_asked_for_and_nowhere_else(monkeypatch, header, value):
    seen = {}

    def open_url(url, **options):
        seen.update(options, url=url)
        raise urllib.error.HTTPError(url, 404, "", http.client.HTTPMessage(), io.BytesIO(b"gone"))

    monkeypatch.setattr(_transport, "open_url", open_url)
    reply = http_exchange(Connection(f"{URL}/prefix/", token="s3cret", token_header=header))("GET", "/api/v2/version", None)
    assert (reply.status, reply.body) == (404, b"gone")
    assert seen["url"] == f"{URL}/prefix/api/v2/version"
    assert seen["headers"][header] == value
    assert [name for name, each in seen["headers"].items() if "s3cret" in each] == [header]
    assert (seen["follow_redirects"], seen["use_netrc"]) == ("none", False)


@pytest.mark.parametrize(
    ("raised", "code", "repeatable"),
    [
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "unreachable", True),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "unreachable", True),
        (ConnectionResetError(104, "Connection reset by peer"), "unreachable", True),
        (http.client.RemoteDisconnected("Remote end closed connection"), "unreachable", True),
        (http.client.IncompleteRead(b""), "unreachable", True),
        (urllib.error.URLError(TimeoutError("timed out")), "timeout", True),
        (TimeoutError("timed out"), "timeout", False),
        (urllib.error.URLError(ssl.SSLCertVerificationError("certificate verify failed")), "tls", False),
        (ssl.SSLError("wrong version number"), "tls", False),
    ],
)
def test_a_failed_exchange_is_named(monkeypatch, raised, code, repeatable):
    def open_url(url, **options):
        raise raised

    monkeypatch.setattr(_transport, "open_url", open_url)
    with pytest.raises(Unanswered) as failed:
        http_exchange(Connection(URL))("GET", "/x", None)
    assert (failed.value.error.code, failed.value.repeatable) == (code, repeatable)
    assert failed.value.error.hint


def test_a_missing_ca_file_is_named(tmp_path):
    with pytest.raises(Unanswered) as failed:
        http_exchange(Connection("https://127.0.0.1:9", ca_path=str(tmp_path / "absent.pem")))("GET", "/x", None)
    assert failed.value.error.code == "tls"
    assert "absent.pem" in failed.value.error.message
