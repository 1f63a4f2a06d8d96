# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a data operation is, told while it works. FOR INTERNAL COLLECTION USE ONLY.

A module returns its result at its end only. What it says before goes as JSON datagrams to the Unix socket that environment variable
CHROMA_OPERATION_SOCKET names; the callback ``operation_events`` owns it and writes them as numbered events. Without the variable
nothing is sent. Progress is never worth a failure or a pause: a datagram that can't go at once is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from types import TracebackType
from typing import Any

SOCKET_VARIABLE = "CHROMA_OPERATION_SOCKET"
# Seconds between two reports of one phase: an operation of an hour stays below 4,000 lines of log.
INTERVAL = 1.0


def emit(event: str, **fields: Any) -> None:
    """Send one event of the running operation; do nothing outside of one.

    Args:
        event: ``progress``, ``message``, ``warning`` or ``error``.
        fields: what belongs to it, as JSON takes it; ``message`` is its text. Never a secret.
    """
    address = os.environ.get(SOCKET_VARIABLE)
    if not address:
        return
    datagram = json.dumps({"event": event, **fields}, default=str).encode()
    # The reader may be gone, slow or full; the operation goes on.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(datagram, address)


class Progress:
    """The progress of one phase; a context manager.

    The first and the last state are always sent, those between at most once a second.

    Args:
        phase: what is done, one or two words: ``export``, ``verify``.
        total: how many units there are; None where nobody knows.
        unit: what is counted: ``records``, ``bytes``.
        done: how many were done before, by an earlier run.
    """

    def __init__(self, phase: str, total: int | None = None, unit: str = "records", done: int = 0) -> None:
        self.phase = phase
        self.total = total
        self.unit = unit
        self.done = done
        # An earlier run's share was not done now: the rate leaves it out.
        self._start = done
        self._began = self._sent_at = 0.0
        self._sent: int | None = None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        self._send()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._sent != self.done:
            self._send()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` further units as done."""
        self.done += n
        if time.monotonic() - self._sent_at >= INTERVAL:
            self._send()

    def _send(self) -> None:
        self._sent_at, self._sent = time.monotonic(), self.done
        emit(
            "progress",
            phase=self.phase,
            done=self.done,
            total=self.total,
            unit=self.unit,
            start=self._start,
            seconds=round(self._sent_at - self._began, 3),
        )
