# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests in flight, and a server that goes away and comes back."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience, spread
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


class Clock:
    """Time that passes while somebody waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def patient(seconds):
    clock = Clock()
    return Patience(seconds, clock, clock.wait), clock


def failing(times, code="unreachable"):
    """Return a request that fails so often before it succeeds."""
    left = [ChromaError(code, "no") for _number in range(times)]

    def request():
        if left:
            raise left.pop()
        return "answer"

    return request


def test_a_server_that_comes_back_in_time_is_waited_for():
    patience, clock = patient(60)
    assert patience(failing(6)) == "answer"
    assert 5 < clock.now < 60


def test_what_passes_here_and_not_elsewhere_is_waited_for_where_it_is_named():
    clock = Clock()
    with pytest.raises(ChromaError):
        Patience(60, clock, clock.wait)(failing(1, "not_chroma"))
    assert clock.now == 0
    assert Patience(60, clock, clock.wait, also=("not_chroma",))(failing(6, "not_chroma")) == "answer"


def test_a_server_that_stays_away_is_given_up():
    patience, clock = patient(10)
    with pytest.raises(ChromaError):
        patience(failing(1000))
    assert 10 <= clock.now < 20


def test_a_success_starts_the_patience_anew():
    patience, clock = patient(10)
    for _number in range(10):
        assert patience(failing(3)) == "answer"
    assert clock.now > 10


@pytest.mark.parametrize("code", ["unauthorized", "dimension_mismatch", "server_error"])
def test_what_will_not_pass_is_not_waited_for(code):
    patience, clock = patient(60)
    with pytest.raises(ChromaError):
        patience(failing(1, code))
    assert clock.now == 0


def test_every_item_is_worked_on_once_and_no_more_are_prepared_than_fit():
    running, most, prepared, lock = 0, 0, 0, threading.Lock()
    done = threading.Semaphore(0)

    def items():
        nonlocal prepared
        for number in range(40):
            prepared += 1
            yield number

    def work(number):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        done.release()
        with lock:
            running -= 1
        return number

    seen = []
    for result in spread(work, items(), 3, patient(1)[0]):
        seen.append(result)
        assert prepared <= len(seen) + 2 * (3 + 1)
    assert sorted(seen) == list(range(40))
    assert most <= 3


def test_the_first_failure_ends_the_rest():
    patience = Patience(3600)
    began = []

    def work(number):
        began.append(number)
        if number == 1:
            raise ChromaError("unauthorized", "no")
        return patience(failing(10**6))  # would wait for an hour

    with pytest.raises(ChromaError) as failed:
        list(spread(work, range(1000), 2, patience))
    assert failed.value.code in ("unauthorized", "unreachable")
    assert len(began) < 10


def test_a_failure_of_the_items_ends_it_too():
    def items():
        yield 1
        raise ChromaError("damaged_dataset", "no")

    with pytest.raises(ChromaError, match="no"):
        list(spread(lambda number: number, items(), 2, patient(1)[0]))
