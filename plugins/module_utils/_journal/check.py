# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a journal is whole. FOR INTERNAL COLLECTION USE ONLY.

It is read line by line. What lies in it is believed as far as something later confirms it: the line behind, and for the last one the head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import HEAD, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.lines import Head, Line, parse, raw_lines


@dataclass(frozen=True)
class Verdict:
    """What is known of a journal.

    Attributes:
        intact: whether every line is what was written, and none is gone.
        lines: how many there are, up to the first broken one.
        broken_line: place in the file of the first one that is not; 0 where there is none.
        reason: why; empty where it is intact.
        torn_bytes: of a last line that a killed writer left; no damage: it was never confirmed to anybody.
        head: SHA-256 of the last line; keep it elsewhere to prove later that everything up to it is unchanged.
        clock_set_back: number of the first line that is older than the one before it; 0 where there is none. No damage.
    """

    intact: bool
    lines: int
    broken_line: int = 0
    reason: str = ""
    torn_bytes: int = 0
    head: str = ""
    clock_set_back: int = 0

    def as_result(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def verify(journal: Journal) -> Verdict:
    """Read a journal whole and return what is known of it; it may be written meanwhile.

    Raises:
        ChromaError: ``forbidden``, ``busy``, ``journal_failed``.
    """
    with journal.snapshot() as (file, size, known):
        before, line, place, clock = Head(), None, 0, 0
        lines = raw_lines(file, size) if size else iter(())
        for raw in lines:
            place += 1
            last, line = line, parse(raw)
            digest = hashlib.sha256(raw).hexdigest()
            if line is None:
                return Verdict(False, place - 1, place, "it is no line of a journal")
            if before.follows(line, digest) is None:
                return _broken(place, before, line, Head(line.n, digest), next(lines, None), known)
            if last and line.time < last.time and not clock:
                clock = place
            before = Head(line.n, digest)
        torn = _torn(file, size)
        broken, reason = _end(before, line, known, torn)
        if reason:
            return Verdict(False, place, broken, reason, torn, before.sha256, clock)
        return Verdict(True, place, 0, "", torn, before.sha256 if place else "", clock)


def _broken(place: int, before: Head, line: Line, this: Head, behind: bytes | None, known: Head | None) -> Verdict:
    """Say which of two neighbours that do not belong together is wrong, and why."""
    if line.n > before.n + 1 and line.previous != before.sha256:
        gone = f"line {before.n + 1} is" if line.n == before.n + 2 else f"lines {before.n + 1} to {line.n - 1} are"
        return Verdict(False, place - 1, place, f"{gone} gone before it")
    after = parse(behind) if behind else None
    confirmed = after.previous == this.sha256 if after else known is not None and known.sha256 == this.sha256
    if this.sha256 == before.sha256:
        return Verdict(False, place - 1, place, "it stands there twice")
    if confirmed and place > 1 and line.previous != before.sha256:
        return Verdict(False, place - 2, place - 1, "it is not what was written: it was changed or put in")
    return Verdict(False, place - 1, place, "it is not what was written: it was changed or put in")


def _end(last: Head, line: Line | None, known: Head | None, torn: int) -> tuple[int, str]:
    """Return which line is wrong at the end of a chain, and why; 0 and nothing where it is what was written last."""
    behind = last.n + 1
    if known is None:
        return (0, "") if last.n <= 1 else (behind, f"{HEAD} is gone or damaged: nobody can say whether lines are gone from the end")
    if known == last or (line and line.previous == known.sha256 and line.n == known.n + 1):
        return 0, ""
    if known.n > last.n:
        if torn and known.n == behind:
            return behind, f"it is cut: {torn} bytes are left of it"
        return behind, "it is gone from the end" if known.n == behind else f"it and all up to line {known.n} are gone from the end"
    if known.n == last.n:
        return last.n, "it is not what was written: it was changed"
    return known.n + 1, f"{HEAD} knows {known.n} lines only: what follows was written by something else"


def _torn(file: Any, size: int) -> int:
    """Return how many bytes a file has behind its last line feed."""
    if not size:
        return 0
    length = 0
    for piece in _backwards(file, size):
        found = piece.rfind(b"\n")
        if found >= 0:
            return length + len(piece) - found - 1
        length += len(piece)
    return length


def _backwards(file: Any, size: int, block: int = 1 << 16) -> Iterator[bytes]:
    while size > 0:
        start = max(0, size - block)
        file.seek(start)
        yield file.read(size - start)
        size = start
