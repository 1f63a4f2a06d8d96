# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed Secret takes effect while the gateway runs, and a malformed one does not; how the gateway ends."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, gateway_recorder
from ansible_collections.thinkube.chroma.tests.integration.gateway_process import ADMIN, Gateway, Response
from ansible_collections.thinkube.chroma.tests.integration.gateway_recorder import RecordingServer
from ansible_collections.thinkube.chroma.tests.integration.gateway_requests import (
    ABSENT,
    BASE,
    NEEDS_NGINX,
    READER,
    SECRET,
    WRITER,
    accepted,
    refused,
)
from ansible_collections.thinkube.chroma.tests.waiting import until

recorder, gateway = gateway_recorder.recorder, gateway_recorder.gateway

pytestmark = NEEDS_NGINX


def test_the_previous_value_is_accepted_and_marked_in_the_log(recorder: RecordingServer) -> None:
    secret = SECRET | {
        "token.app.write.previous": "old-writer",
        "auth-token.previous": "old-admin",
        "token.report.read.previous": "old-reader",
    }
    with gateway_process.running(recorder.server_port, secret) as gateway:
        for token in (WRITER, "old-writer", ADMIN, "old-admin"):
            assert gateway.request("POST", f"{ABSENT}/add", token, body={}).status == 200
        assert gateway.request("POST", f"{ABSENT}/get", "old-reader", body={}).status == 200
        refused(gateway.request("POST", f"{ABSENT}/add", "old-reader", body={}), 403)
        assert sorted((line["token"], line["scope"], line["previous"]) for line in gateway.log_lines(6)) == [
            ("admin", "write", False),
            ("admin", "write", True),
            ("app", "write", False),
            ("app", "write", True),
            ("report", "read", True),
            ("report", "read", True),
        ]


class Steady:
    """Clients that ask without a pause: one with a connection for each request, one that keeps its connection."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(gateway, token, keep)) for keep in (False, True)]

    def _ask(self, gateway: Gateway, token: str, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        while not self.over.is_set():
            if connection.sock is not None and (not keep or _readable(connection.sock)):
                connection.close()  # as httpx and urllib3: the server has ended this connection between two requests
            try:
                connection.request("POST", f"{ABSENT}/get", b"{}", {"X-Chroma-Token": token})
                answer = connection.getresponse()
                answer.read()
                self.answers.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> Steady:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def _readable(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(10)


def refused_for_good(gateway: Gateway, token: str) -> None:
    """Wait until a token is refused 30 times running: for some milliseconds old and new workers accept connections."""
    until(lambda: not any(accepted(gateway, token)() for _row in range(30)), "the removed token refused")


def test_a_changed_secret_takes_effect_without_restart_or_failed_request(gateway: Gateway) -> None:
    with Steady(gateway, ADMIN) as steady:
        before = gateway.process.pid
        for n in range(1, 4):
            gateway.write_secret(
                SECRET | {"token.app.write": f"writer-{n}", "token.app.write.previous": f"writer-{n - 1}" if n > 1 else WRITER}
            )
            until(accepted(gateway, f"writer-{n}"), "the new token accepted")
            assert accepted(gateway, WRITER if n == 1 else f"writer-{n - 1}")()
        refused_for_good(gateway, WRITER)
        gateway.write_secret({"auth-token": ADMIN})
        refused_for_good(gateway, "writer-3")
    assert gateway.process.poll() is None
    assert gateway.process.pid == before
    assert len(steady.answers) > 100
    assert steady.failures == []
    assert set(steady.answers) == {200}


@pytest.mark.parametrize(
    "bad",
    [
        {"auth-token": "new-admin\n"},
        {"auth-token": "new-admin", "token.app.write": 'quo"te'},
        {"auth-token": "new-admin", "token.app.write": "two words"},
        {"auth-token": "new-admin", "token.app": "no-scope"},
        {"token.app.write": "no-administrator"},
        {},
    ],
)
def test_a_malformed_new_secret_keeps_the_old_tokens(gateway: Gateway, bad: dict[str, str]) -> None:
    gateway.write_secret(bad)
    gateway.wait_for_log("The new tokens are not loaded; the old ones stay.")
    for token in (ADMIN, WRITER, READER):
        assert accepted(gateway, token)()
    for value in bad.values():
        assert not accepted(gateway, value.strip())()
        assert value not in gateway.log.read_text()
    assert gateway.log.read_text().count("the old ones stay") == 1  # said once, not at every look
    gateway.write_secret({"auth-token": "repaired"})
    until(accepted(gateway, "repaired"), "the repaired token accepted")
    refused_for_good(gateway, ADMIN)


def test_an_emptied_value_revokes_its_token(gateway: Gateway) -> None:
    gateway.write_secret(SECRET | {"token.app.write": ""})
    refused_for_good(gateway, WRITER)
    assert accepted(gateway, ADMIN)()


def test_a_map_that_nginx_refuses_is_not_loaded(gateway: Gateway) -> None:
    with (gateway.work / "nginx.conf").open("a") as configuration:
        configuration.write("broken")
    gateway.write_secret(SECRET | {"token.app.write": "never-loaded"})
    gateway.wait_for_log("nginx does not take the new tokens")
    assert accepted(gateway, WRITER)()
    assert "never-loaded" not in (gateway.work / "tokens.map").read_text()


def test_sigterm_lets_requests_in_flight_end(gateway: Gateway, recorder: RecordingServer) -> None:
    answers: list[Response] = []
    slow = threading.Thread(target=lambda: answers.append(gateway.request("GET", f"{BASE}/slow", ADMIN)))
    slow.start()
    until(lambda: recorder.arrived, "the slow request at the server")
    assert gateway_process.stop(gateway) == 0
    slow.join()
    assert [(a.status, a.body) for a in answers] == [(200, b"done")]
    with pytest.raises(ConnectionRefusedError):
        gateway.request("GET", "/gateway/healthz")


def test_the_script_ends_with_nginx(gateway: Gateway) -> None:
    """The kubelet restarts a container only when its first process ends."""
    master = int((gateway.work / "nginx.pid").read_text())
    workers = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    os.kill(master, signal.SIGKILL)
    assert gateway.process.wait(600) == 128 + signal.SIGKILL
    for worker in workers:  # outside of a container they would outlive it
        os.kill(worker, signal.SIGKILL)
