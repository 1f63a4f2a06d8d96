# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several requests in flight, to a server that may restart meanwhile. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, TypeVar

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import delay

Item = TypeVar("Item")
Result = TypeVar("Result")

# What a server answers, or does not, while it stops and starts again.
PASSING = ("unreachable", "unavailable", "timeout", "rate_limited")


class Patience:
    """Repeats requests while the server is away; one for all threads of an operation.

    Args:
        seconds: how long one request may fail until the operation does.
        also: codes of errors that pass besides those of a server that stops and starts.
        clock, sleep: replaced in unit tests.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
        also: tuple[str, ...] = (),
    ) -> None:
        self._seconds = seconds
        self._passing = (*PASSING, *also)
        self._clock = clock
        self._over = Event()
        self._sleep = sleep or self._over.wait

    def __call__(self, request: Callable[[], Result]) -> Result:
        """Return what a request that is safe to repeat returns.

        Raises:
            ChromaError: what the request raised last, where it will not pass, or did not in time.
        """
        began: float | None = None
        attempt = 0
        while True:
            try:
                return request()
            except ChromaError as error:
                began = self._clock() if began is None else began
                if error.code not in self._passing or self._over.is_set() or self._clock() - began >= self._seconds:
                    raise
            self._sleep(delay(min(attempt, 4)))
            attempt += 1

    def end(self) -> None:
        """Let no thread wait any longer: another one failed for good."""
        self._over.set()


def spread(work: Callable[[Item], Result], items: Iterable[Item], width: int, patience: Patience) -> Iterator[Result]:
    """Yield what ``work`` returns for each item, as it comes, with ``width`` of them at work and one more prepared.

    Args:
        work: called in threads.
        items: taken one by one, when there is room: no more than ``width`` + 1 are in memory.
        patience: ended on the first failure.

    Raises:
        Exception: the first that ``work`` or ``items`` raised; what is at work then is waited for, what is not begun is dropped.
    """
    pending: set[Future[Result]] = set()
    with ThreadPoolExecutor(width) as pool:
        try:
            for item in items:
                pending.add(pool.submit(work, item))
                if len(pending) > width:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        except BaseException:
            patience.end()
            for each in pending:
                each.cancel()
            raise
