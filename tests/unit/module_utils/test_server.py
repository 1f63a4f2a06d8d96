# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server, its tenants and databases."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _transport
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._server import (
    describe_server,
    ensure_database,
    ensure_no_database,
    wait_for_server,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Reply, Unanswered

ACME = {"tenant": "acme", "database": "docs"}


@pytest.fixture
def protected(recorded, version, monkeypatch):
    """Return a client of a recorded server that demands a token: its own on 0.x, behind a gateway on 1.x."""
    refused = Reply(401, b'{"error":"AuthError","message":"missing or unknown token"}')
    if version.startswith("0."):
        seen = recorded.load(version, "token_absent")
        refused = Reply(seen["status"], json.dumps(seen["answer"]).encode())

    def http_exchange(connection):
        server = recorded(version, "access")
        open_paths = ("heartbeat", "version") if version not in ("0.4.24", "1.0.20", "1.5.9") else ("heartbeat",)

        def exchange(method, path, payload):
            allowed = connection.token == "right" or path.endswith(open_paths)
            return server(method, path, payload) if allowed else refused

        return exchange

    monkeypatch.setattr(_transport, "http_exchange", http_exchange)
    return lambda token: ChromaClient(Connection("http://chroma.test", token=token))


def test_an_open_server_is_seen_as_open(recorded, version):
    seen = describe_server(recorded(version, "access").client())
    assert seen["auth_enforced"] is False
    assert seen["api_version"] == ("v1" if version == "0.4.24" else "v2")
    assert seen["max_batch_size"] in (5461, 41666)
    assert seen["heartbeat"] == 1_700_000_000_000_000_000


def test_a_server_that_refuses_anonymous_requests_is_seen_so(protected):
    assert describe_server(protected("right"))["auth_enforced"] is True


@pytest.mark.parametrize("token", ["wrong", None])
def test_a_refused_token_is_an_error(protected, token):
    with pytest.raises(ChromaError) as failed:
        describe_server(protected(token))
    assert failed.value.code == "unauthorized"


def clocked():
    """Return a clock and a sleep that moves it."""
    now = [100.0]

    def sleep(seconds):
        now[0] += seconds

    return (lambda: now[0]), sleep


def starting(recorded, failures):
    """Return a client whose server fails for the first requests, each in another way."""
    server, left = recorded("1.5.9", "access"), list(failures)

    def exchange(method, path, payload):
        outcome = left.pop(0) if left else server(method, path, payload)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ChromaClient(Connection("http://chroma.test", retries=0), exchange)


def test_waiting_survives_every_stage_of_a_start(recorded):
    refused = Unanswered(ChromaError("unreachable", "refused"))
    stages = [refused, refused, Reply(503, b""), Reply(404, b"default backend"), Reply(404, b""), Reply(401, b"{}")]
    clock, sleep = clocked()
    assert wait_for_server(starting(recorded, stages), 60, clock, sleep)["version"] == "1.0.0"
    assert 0 < clock() - 100 < 15


def test_waiting_ends_with_the_last_error(recorded):
    clock, sleep = clocked()
    with pytest.raises(ChromaError) as failed:
        wait_for_server(starting(recorded, [Reply(401, b"{}")] * 1000), 20, clock, sleep)
    assert failed.value.code == "unauthorized"
    assert failed.value.result["waited"] == 20
    assert 5 < failed.value.result["attempts"] < 15


UNTRUSTED = Unanswered(ChromaError("tls", "self-signed certificate"), repeatable=False)
UNREACHABLE = Unanswered(ChromaError("unreachable", "refused"))


def test_a_wrong_certificate_ends_the_wait_soon_after_its_first_sight(recorded):
    clock, sleep = clocked()
    with pytest.raises(ChromaError) as failed:
        wait_for_server(starting(recorded, [UNREACHABLE] * 10 + [UNTRUSTED] * 1000), 300, clock, sleep)
    assert failed.value.code == "tls"
    assert 45 < failed.value.result["waited"] < 65


def test_a_certificate_that_is_renewed_meanwhile_does_not_shorten_the_wait(recorded):
    clock, sleep = clocked()
    stages = [UNTRUSTED] * 5 + [Reply(503, b"")] * 20
    assert wait_for_server(starting(recorded, stages), 300, clock, sleep)["version"] == "1.0.0"
    assert clock() - 100 > 40


def test_without_waiting_there_is_one_attempt(recorded):
    clock, sleep = clocked()
    with pytest.raises(ChromaError) as failed:
        wait_for_server(starting(recorded, [Reply(503, b"")] * 2), 0, clock, sleep)
    assert (failed.value.code, failed.value.result) == ("unavailable", {"attempts": 1, "waited": 0.0})


def test_tenant_and_database_are_created_and_read_back(recorded, version):
    names = ["tenant_missing", "tenant_get", "database_missing", "database_get", "tenant_create", "database_create"]
    server = recorded(version, *names)
    # An absent tenant's database is not even asked for, so the first answer about it comes after its creation.
    server.forget("database_get")
    result = ensure_database(server.client(**ACME))
    assert (result["changed"], result["created"]) == (True, ["tenant", "database"])
    assert server.changes() == [("POST", "tenants"), ("POST", "databases")]
    assert ensure_database(server.client(**ACME))["changed"] is False


def test_check_mode_creates_nothing(recorded, version):
    server = recorded(version, "tenant_get", "database_missing")
    result = ensure_database(server.client(**ACME), check=True)
    assert (result["changed"], result["created"], server.changes()) == (True, ["database"], [])
    assert result["diff"] == {"before": {}, "after": ACME}


def test_a_database_is_deleted_where_that_is_possible(recorded, version):
    server = recorded(version, "database_get", "database_gone", "database_count", "database_delete")
    if version in ("0.4.24", "0.5.23"):
        with pytest.raises(ChromaError) as failed:
            ensure_no_database(server.client(**ACME))
        assert failed.value.code == "unsupported"
    else:
        assert ensure_no_database(server.client(**ACME))["changed"] is True
        assert ensure_no_database(server.client(**ACME))["changed"] is False


def test_a_database_with_collections_is_kept_unless_forced(recorded):
    server = recorded("1.5.9", "database_get", "database_gone", "database_count", "database_delete")
    server.also("database_count", Reply(200, b"3"), alone=True)
    with pytest.raises(ChromaError) as failed:
        ensure_no_database(server.client(**ACME), check=True)
    assert (failed.value.code, failed.value.result) == ("not_empty", {"collections": 3})
    assert server.changes() == []
    server = recorded("1.5.9", "database_get", "database_gone", "database_count", "database_delete")
    server.also("database_count", Reply(200, b"3"), alone=True)
    assert ensure_no_database(server.client(**ACME), force=True)["collections"] == 3
    assert server.changes() == [("DELETE", "docs")]
