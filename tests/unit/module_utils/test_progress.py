# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress is told through a socket, and never disturbs what it tells of."""

from __future__ import annotations

import json
import socket
import time

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _progress
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import SOCKET_VARIABLE, Progress, emit


@pytest.fixture
def listener(tmp_path, monkeypatch):
    path = tmp_path / "events"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        bound.setblocking(False)
        monkeypatch.setenv(SOCKET_VARIABLE, str(path))
        yield bound


def received(listener):
    events = []
    while True:
        try:
            events.append(json.loads(listener.recv(65536)))
        except BlockingIOError:
            return events


def test_the_first_and_the_last_state_are_sent_and_few_between(listener):
    with Progress("export", 1000, "records") as progress:
        for _each in range(1000):
            progress.advance()
    events = received(listener)
    assert [event["done"] for event in events] == [0, 1000]
    assert {key: events[1][key] for key in ("event", "phase", "total", "unit")} == {
        "event": "progress",
        "phase": "export",
        "total": 1000,
        "unit": "records",
    }


def test_a_state_is_sent_when_a_second_has_passed(listener, monkeypatch):
    clock = iter(range(100, 200))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(clock)))
    with Progress("export", 3) as progress:
        for _each in range(3):
            progress.advance()
    assert [event["done"] for event in received(listener)] == [0, 1, 2, 3]


def test_a_failure_leaves_the_last_state_that_was_reached(listener):
    def work():
        with Progress("export", 10) as progress:
            progress.advance(4)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert received(listener)[-1]["done"] == 4


def test_what_an_earlier_run_did_is_told_apart(listener):
    with Progress("export", 10, done=6) as progress:
        progress.advance(4)
    assert [(event["start"], event["done"]) for event in received(listener)] == [(6, 6), (6, 10)]


def test_nothing_is_sent_outside_of_an_operation(monkeypatch):
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    monkeypatch.setattr(_progress.socket, "socket", lambda *_arguments: pytest.fail("a socket was opened"))
    with Progress("export", 1) as progress:
        progress.advance()
    emit("message", message="hello")


def test_a_reader_that_is_gone_or_does_not_read_stops_nobody(listener):
    began = time.monotonic()
    for _each in range(3000):
        emit("message", message="x" * 1000)
    listener.close()
    emit("message", message="nobody listens")
    print(f"{time.monotonic() - began:.2f} s")
