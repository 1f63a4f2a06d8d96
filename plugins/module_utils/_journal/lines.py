# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of a journal, and how they are chained. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64
# Of the facts of one line, bytes of JSON: what is longer is shortened and named, so that reading needs no more memory than this.
LONGEST_FACTS = 32 << 10
LONGEST_LINE = LONGEST_FACTS + 4096


@dataclass(frozen=True)
class Head:
    """Number and SHA-256 of the last line."""

    n: int = 0
    sha256: str = FIRST

    def follows(self, line: Line, digest: str) -> Head | None:
        """Return the head of a journal whose last line is this one, where that is the next after this head; None otherwise."""
        return Head(line.n, digest) if (line.n, line.previous) == (self.n + 1, self.sha256) else None


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        n: counts from 1, in the order of writing, whatever the clock says.
        time: UTC, ``2026-11-21T09:20:00.123Z``.
        entry: number of the operation's first line; 0 for what the journal says about itself.
        operation: its name.
        event: ``begin``, ``step``, ``end``; ``repaired`` of the journal itself.
        name: of the step, or how it ended: ``done``, ``failed``, ``interrupted``, …
        facts: of the event.
        previous: SHA-256 of the line before, without its line feed.
        seconds: how long the operation took, at its end, where one process began and ended it.
    """

    n: int
    time: str
    entry: int
    operation: str
    event: str
    name: str
    facts: dict[str, Any]
    previous: str
    seconds: float | None = None


def now() -> str:
    """Return the time as the journal writes it: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def raw_lines(file: Any, size: int) -> Iterator[bytes]:
    """Yield the lines of the first ``size`` bytes of a file, without line feeds; of a longer one than allowed only its pieces.

    A last line without its end is left out.
    """
    while size > 0:
        raw = file.readline(min(size, LONGEST_LINE + 1))
        size -= len(raw)
        if raw.endswith(b"\n"):
            yield raw[:-1]
        elif raw and size > 0:
            yield raw
        elif not raw:
            return


def parse(raw: bytes) -> Line | None:
    """Return the line that these bytes are; None where they are none."""
    try:
        line = Line(**json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        return None
    sound = isinstance(line.n, int) and isinstance(line.entry, int) and isinstance(line.facts, dict)
    texts = (line.time, line.operation, line.event, line.name, line.previous)
    return line if sound and all(isinstance(text, str) for text in texts) else None
