# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of a journal, as data and as a table to read. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import textwrap
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.check import Verdict, verify
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.lines import Line

OPEN = "open"
# Steps that are kept of one operation, the last ones: memory does not grow with the journal.
STEPS = 20
# Ansible's YAML output breaks lines at 80 columns.
_WIDTH = 72


@dataclass
class Operation:
    """One operation.

    Attributes:
        n: number of its first line.
        operation: its name.
        began, ended: UTC; ended is empty while it is open.
        status: ``open``, or how it ended.
        seconds: how long it took; None where that is not known.
        facts: what it began with.
        steps: the last ones, each with time, name and facts.
        result: the facts of its end.
    """

    n: int
    operation: str
    began: str
    facts: dict[str, Any]
    ended: str = ""
    status: str = OPEN
    seconds: float | None = None
    steps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=STEPS))
    result: dict[str, Any] = field(default_factory=dict)

    def as_result(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "steps": list(self.steps)}


@dataclass(frozen=True)
class Wanted:
    """Which operations are asked for; empty means all.

    Attributes:
        operations: names.
        statuses: ``open``, ``done``, ``failed``, …
        since: those that were open at this time or began later, UTC.
        limit: at most so many, the newest.
    """

    operations: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: datetime | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ChromaError("invalid_value", f"limit is {self.limit}; at least one operation has to be asked for.", "Set 1 or more.")

    def takes(self, found: Operation) -> bool:
        """Return whether an operation is asked for."""
        return (
            (not self.operations or found.operation in self.operations)
            and (not self.statuses or found.status in self.statuses)
            and (self.since is None or (_time(found.ended or found.began) or self.since) >= self.since or found.status == OPEN)
        )


def parse_since(text: str) -> datetime:
    """Return the time that a text says, UTC where it names no zone.

    Raises:
        ChromaError: ``invalid_value``.
    """
    time = _time(text)
    if time is None:
        raise ChromaError("invalid_value", f"{text!r} is no time.", "Write a date or a time of ISO 8601: 2026-11-21, 2026-11-21T09:00:00Z.")
    return time


def read_journal(directory: Path, wanted: Wanted) -> dict[str, Any]:
    """Read the journal of a data directory and look whether it is whole.

    Args:
        directory: the data directory.
        wanted: which operations are asked for.

    Returns:
        ``operations`` in the order of their beginning, ``verified``, ``table`` to read, and ``path`` of the journal.

    Raises:
        ChromaError: ``not_found`` where there is no such directory; what reading raises.
    """
    if not directory.is_dir():
        raise ChromaError("not_found", f"There is no directory {directory}.", "Give Chroma's data directory.")
    journal = Journal.of(directory)
    operations = select(journal, wanted)
    verdict = verify(journal)
    return {
        "path": str(journal.path),
        "operations": [each.as_result() for each in operations],
        "verified": verdict.as_result(),
        "table": render(operations, verdict, journal.path),
    }


def select(journal: Journal, wanted: Wanted) -> list[Operation]:
    """Return the newest operations that are asked for, by their beginning; at most ``wanted.limit`` and the open ones are in memory."""
    running: dict[int, Operation] = {}
    ended: deque[Operation] = deque(maxlen=wanted.limit)
    for line in journal.lines():
        if line.event == "begin":
            running[line.n] = Operation(line.n, line.operation, line.time, line.facts)
        elif found := running.get(line.entry):
            if line.event == "end":
                _end(running.pop(line.entry), line)
                if wanted.takes(found):
                    ended.append(found)
            else:
                found.steps.append({"time": line.time, "name": line.name, "facts": line.facts})
    return sorted([*ended, *filter(wanted.takes, running.values())], key=lambda each: each.n)[-wanted.limit :]


def render(operations: Sequence[Operation], verdict: Verdict, path: Path) -> list[str]:
    """Return lines to read: each operation, what is known of it, and whether the journal is whole."""
    lines = []
    for each in operations:
        seconds = "" if each.seconds is None else f"{each.seconds:.1f} s"
        lines.append(f"{each.n:>6}  {each.began[:19]}Z  {each.operation:<14}  {each.status:<11}  {seconds}".rstrip())
        if each.status == OPEN:
            at = f", last step {each.steps[-1]['name']}" if each.steps else ""
            lines += _wrapped(f"it has no end: it runs, or it was killed{at}")
        for facts in (each.facts, each.result):
            lines += _wrapped(", ".join(f"{key} {_plain(value)}" for key, value in facts.items() if value not in (None, "", [], {})))
    if verdict.torn_bytes and verdict.intact:
        lines += ["", *_wrapped(f"A writer was killed in its last line, of which {verdict.torn_bytes} bytes are left.")]
    if verdict.clock_set_back:
        lines += ["", *_wrapped(f"The clock was set back before line {verdict.clock_set_back}; the order of the lines is right.")]
    state = f"whole, {verdict.lines} lines" if verdict.intact else f"NOT WHOLE: line {verdict.broken_line}: {verdict.reason}"
    return [*lines, *([""] if lines else []), f"{path}: {state}"]


def _end(found: Operation, line: Line) -> None:
    found.ended, found.status, found.seconds, found.result = line.time, line.name, line.seconds, line.facts


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
