# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of restic: its messages, its patience, its end. FOR INTERNAL COLLECTION USE ONLY.

Nothing that it prints is kept whole: lines of progress are passed on and forgotten, of complaints the first and the last ones stay.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

Message = dict[str, Any]
Taken = TypeVar("Taken")

# Complaints that are kept: of a damaged repository there can be one for each file.
_KEPT = 50
# Seconds that restic gets to remove its lock and to end.
_GRACE = 10.0
# "Load(<data/…>) returned error, retrying after 552ms: …", "… operation successful after 1 retries" (restic's cmd/restic/global.go).
_RETRYING, _SUCCESSFUL = "returned error, retrying after", "operation successful after"
# "Save(<data/…>) failed: …": it is not tried again. restic ends then, or waits for ever for its own uploader, which has gone
# (0.18.1, 30 of 678 backups into a full disk; it stands in QueuePacker of internal/repository/packer_uploader.go).
# Of a lock that can't be refreshed it goes on: a restore from a full disk must not end by that.
_LOST = re.compile(r"Save\(<(data|index)/.*\) failed: ")
_PR_SET_PDEATHSIG = 1
# Loaded before there are children: one that was just forked does not load libraries.
_LIBC = ctypes.CDLL(None)


@dataclass
class Outcome:
    """How a run of restic ended.

    Attributes:
        code: its exit code; negative for a signal.
        message: what it says of its failure.
        complaints: what it said before, the first and the last ones.
        summary: its last message of type ``summary``, if any.
        gave_up: whether it was stopped because its requests failed for too long, or it did not end although one was lost.
        seconds: that it took.
    """

    code: int = 0
    message: str = ""
    complaints: list[str] = field(default_factory=list)
    summary: Message = field(default_factory=dict)
    gave_up: bool = False
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """All that it said of its failure."""
        return "\n".join((*self.complaints, self.message)).strip()


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str | None = None,
    patience: float = 60.0,
    on_line: Callable[[str], None] | None = None,
    on_message: Callable[[Message], None] | None = None,
) -> Outcome:
    """Run restic to its end.

    Args:
        command: program and arguments; without secrets.
        environment: of the process, whole.
        cwd: its working directory.
        patience: seconds that its requests may fail one after the other.
        on_line: takes each line of its output, instead of the messages.
        on_message: takes each message of JSON in its output.

    Raises:
        OSError: the program can't be started.
    """
    outcome = Outcome()
    with _started(command, environment, cwd) as (process, listener):
        watch = threading.Thread(target=_listen, args=(listener, process, outcome, patience), daemon=True)
        watch.start()
        begin = time.monotonic()
        if process.stdout is None:
            raise AssertionError("started with a pipe")
        for raw in process.stdout:
            if on_line:
                on_line(raw.decode(errors="replace"))
            else:
                _take(raw, outcome, on_message)
        outcome.code = process.wait()
        outcome.seconds = time.monotonic() - begin
        watch.join()
    return outcome


def read(command: Sequence[str], environment: Mapping[str, str], limit: int, patience: float = 60.0) -> tuple[bytes, Outcome]:
    """Run restic and return its output, at most ``limit + 1`` bytes of it, and how it ended."""
    return stream(command, environment, lambda output: output.read(limit + 1), patience)


def stream(
    command: Sequence[str], environment: Mapping[str, str], take: Callable[[IO[bytes]], Taken], patience: float = 60.0
) -> tuple[Taken, Outcome]:
    """Run restic and hand its output over while it runs; what is left of it then is not read, and restic is stopped.

    Args:
        take: reads the output, and returns what it makes of it.
    """
    outcome = Outcome()
    with _started(command, environment, None) as (process, listener):
        watch = threading.Thread(target=_listen, args=(listener, process, outcome, patience), daemon=True)
        watch.start()
        if process.stdout is None:
            raise AssertionError("started with a pipe")
        taken = take(process.stdout)
        if process.stdout.read(1):
            _stop(process)
        outcome.code = process.wait()
        watch.join()
    return taken, outcome


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], cwd: str | None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start a process that ends with this one, however that ends: restic's lock would live on with it."""
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_end_with_parent,
    )
    try:
        if process.stderr is None:
            raise AssertionError("started with a pipe")
        yield process, process.stderr
    finally:
        if process.poll() is None:
            _stop(process)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def _end_with_parent() -> None:
    # prctl(2). SIGINT is what restic takes for "remove your lock and end".
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _take(raw: bytes, outcome: Outcome, on_message: Callable[[Message], None] | None) -> None:
    """Read one line of the output: a message of JSON, or text."""
    try:
        message = json.loads(raw)
    except ValueError:
        return
    if not isinstance(message, dict):
        return
    if message.get("message_type") == "summary":
        outcome.summary = message
    if on_message:
        on_message(message)


def _listen(pipe: IO[bytes], process: subprocess.Popen[bytes], outcome: Outcome, patience: float) -> None:
    """Read the complaints to their end, and stop restic where its requests fail for too long, or it does not end after one that is lost."""
    last: deque[str] = deque(maxlen=_KEPT)
    over: threading.Timer | None = None
    lost = False

    def give_up() -> None:
        outcome.gave_up = True
        _stop(process)

    for raw in pipe:
        line = _complaint(raw, outcome)
        if _SUCCESSFUL in line:
            if over and not lost:
                over.cancel()
                over = None
            continue
        lost = lost or bool(_LOST.match(line))
        if (lost or _RETRYING in line) and not over:
            over = threading.Timer(patience, give_up)
            over.start()
        if line and len(outcome.complaints) < _KEPT:
            outcome.complaints.append(line)
        elif line:
            last.append(line)
    if over:
        over.cancel()
        over.join()
    outcome.complaints.extend(last)


def _complaint(raw: bytes, outcome: Outcome) -> str:
    """Return what a line of standard error says; that of the end goes to the outcome."""
    text = raw.decode(errors="replace").strip()
    if not text.startswith("{"):
        return text
    try:
        message = json.loads(text)
    except ValueError:
        return text
    if message.get("message_type") == "exit_error":
        outcome.message = str(message.get("message", ""))
        return ""
    if message.get("message_type") != "error":
        return ""
    # With its object in backup and restore; as text alone in check.
    error = message.get("error")
    said = error.get("message", "") if isinstance(error, dict) else error or message.get("message", "")
    return f"{message.get('item', '')}: {str(said).strip()}".removeprefix(": ")
