# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operation on the terminal: a bar on a TTY, a line every ten percent elsewhere. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._operation import Event, meaning

BAR, SHORTEST_BAR = 24, 5
# Seconds between two lines where nobody knows the total and there is no TTY.
QUIET = 60.0
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class State:
    """How far a phase is, over all pods that work on it.

    Attributes:
        phase, unit: what is done, and what is counted.
        done, total: units; total is None where nobody knows.
        rate: units a second since the phase began; 0 where nothing is known yet.
        seconds: since the phase began.
    """

    phase: str
    unit: str
    done: int
    total: int | None
    rate: float
    seconds: float

    @property
    def share(self) -> float | None:
        """Return the part that is done, 0 to 1."""
        if self.total is None:
            return None
        return min(self.done / self.total, 1.0) if self.total else 1.0


class Reporter:
    """Show what an operation says.

    Args:
        write: takes a text, and whether a line ends behind it.
        tty: whether the line can be written over.
        columns: width of the terminal in characters.
    """

    def __init__(self, write: Callable[[str, bool], None], tty: bool, columns: int = 79) -> None:
        self._write = write
        self._tty = tty
        self._columns = columns
        self._progress: dict[tuple[str, str], Event] = {}  # by pod and phase
        self._latest: dict[str, str] = {}  # phase by pod
        self._phases: list[str] = []
        self._phase = ""
        self._steps = 0
        self._spoken = 0.0
        self._status = ""
        self._open = False
        self._ended: set[str] = set()
        self._trouble = ""

    def show(self, seen: Mapping[str, Any]) -> None:
        """Show one look at the operation, as ``_operation_job.look`` returns it."""
        replaced = superseded(seen["attempts"])
        if replaced & self._latest.keys():
            self._progress = {key: event for key, event in self._progress.items() if key[0] not in replaced}
            self._latest = {pod: phase for pod, phase in self._latest.items() if pod not in replaced}
            self._phase = ""
        for event in seen["events"]:
            # A pod that was started again begins from the front; what the first one did is not done twice.
            if event["event"] != "progress" or event.get("pod") not in replaced:
                self._take(event)
        self._attempts(seen["attempts"], replaced)
        if self._tty and self._status:
            self._redraw()

    def line(self, text: str) -> None:
        """Write a line above the bar."""
        if self._open:
            self._write("\r\033[K", False)
            self._open = False
        self._write(clean(text), True)

    def close(self) -> None:
        """Leave the cursor at the beginning of a line."""
        if self._open:
            self._write("\r", True)
            self._open = False

    def _take(self, event: Event) -> None:
        kind, text = event["event"], str(event.get("message", ""))
        if kind == "progress":
            self._advance(event)
        elif kind == "task":
            if not self._progress:
                self._status = str(event.get("name", ""))
        elif kind in ("message", "output"):
            self.line(text)
        elif kind in ("warning", "error"):
            self.line(f"{kind.upper()}: {text} {event.get('hint') or ''}".rstrip())
        elif kind == "missed":
            self.line(f"({event['count']} events are gone: the node rotated the log)")

    def _advance(self, event: Event) -> None:
        pod, phase = event.get("pod", ""), event["phase"]
        self._progress[pod, phase] = event
        self._latest[pod] = phase
        if phase not in self._phases:
            self._phases.append(phase)
        # Of several pods, some are in the next phase already.
        slowest = min(self._latest.values(), key=self._phases.index)
        if slowest != self._phase:
            if self._tty and self._phase:
                self._redraw()
            self.close()
            self._phase, self._steps, self._spoken = slowest, 0, 0.0
        state = combine(list(self._progress.values()), slowest)
        self._status = render(state, self._columns)
        share = state.share
        if share is None:
            due = state.seconds - self._spoken >= QUIET
        else:
            due = int(share * 10) > self._steps
            self._steps = max(self._steps, int(share * 10))
        if due and not self._tty:
            self._spoken = state.seconds
            self.line(self._status)

    def _attempts(self, attempts: Sequence[Mapping[str, Any]], replaced: set[str]) -> None:
        for attempt in attempts:
            if attempt["pod"] in replaced - self._ended:
                self._ended.add(attempt["pod"])
                code = attempt["exit_code"]
                reason = f"ended with exit code {code} ({meaning(code)})" if code is not None else "went away"
                self.line(f"{attempt['pod']} {reason}; Kubernetes started it again")
        trouble = "; ".join(attempt["trouble"] for attempt in attempts if attempt["trouble"])
        if trouble and trouble != self._trouble:
            self.line(f"waiting: {trouble}")
        self._trouble = trouble

    def _redraw(self) -> None:
        # The text begins with a return: Python flushes a terminal's line then, too.
        self._write(f"\r\033[K{clean(self._status)[: self._columns]}", False)
        self._open = True


def superseded(attempts: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the pods in whose place another one works; ``attempts`` are in the order in which they began."""
    last = {attempt["index"]: attempt["pod"] for attempt in attempts}
    return {attempt["pod"] for attempt in attempts} - set(last.values())


def combine(events: Sequence[Event], phase: str) -> State:
    """Add up the last progress of each pod that works on a phase."""
    same = [event for event in events if event["phase"] == phase]
    totals = [event.get("total") for event in same]
    return State(
        phase=phase,
        unit=same[0].get("unit", ""),
        done=sum(event["done"] for event in same),
        total=None if None in totals else sum(total for total in totals if total is not None),
        rate=sum((event["done"] - event.get("start", 0)) / event["seconds"] for event in same if event.get("seconds")),
        seconds=max(event.get("seconds", 0.0) for event in same),
    )


def render(state: State, columns: int = 79) -> str:
    """Return a state as one line of at most ``columns`` characters: bar, percent, counts, rate and the time that is left."""
    share = state.share
    parts = [f"{int(share * 100):3d} %"] if share is not None else []
    counts = amount(state.done, state.unit)
    if state.total is not None:
        counts += f"/{amount(state.total, state.unit)}"
    parts.append(counts if state.unit == "bytes" else f"{counts} {state.unit}")
    if state.rate:
        parts.append(f"{amount(state.rate, state.unit)}/s")
        if state.total is not None and state.done < state.total:
            parts.append(f"{duration((state.total - state.done) / state.rate)} left")
    text = "  ".join([state.phase, *parts])
    # The bar takes what room is left: two brackets and two blanks are its own.
    width = min(columns - len(text) - 4, BAR)
    if share is not None and width >= SHORTEST_BAR:
        filled = int(share * width)
        text = "  ".join([state.phase, f"[{'#' * filled}{'-' * (width - filled)}]", *parts])
    return text[:columns]


def amount(value: float, unit: str) -> str:
    """Return a number for people: ``12,345``, or ``1.2 GiB`` of bytes."""
    if unit != "bytes":
        return f"{value:,.0f}"
    size, step = float(value), 0
    while size >= 1024 and step < len(_BINARY_UNITS) - 1:
        size, step = size / 1024, step + 1
    return f"{size:.0f} B" if step == 0 else f"{size:.1f} {_BINARY_UNITS[step]}"


def duration(seconds: float) -> str:
    """Return seconds as ``0:07``, ``12:05`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def clean(text: str) -> str:
    """Return a text without what a terminal would obey: names of collections come from anywhere."""
    return "".join(each if each.isprintable() else " " for each in text)
