# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation says and how it ends: exit codes, event lines, result document. FOR INTERNAL COLLECTION USE ONLY.

Pure functions, shared by the callback that writes and the module that reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Event = dict[str, Any]

OK, FAILED, MINOR, SEVERE, BAD_INPUT, LOCK_HELD, RETRYABLE = 0, 2, 3, 4, 5, 6, 7
MEANINGS = {
    OK: "done",
    FAILED: "failed",
    MINOR: "minor findings, or suspicions that were not confirmed",
    SEVERE: "severe findings",
    BAD_INPUT: "bad input",
    LOCK_HELD: "another operation holds the lock",
    RETRYABLE: "a server could not be reached, or something else that may pass",
}
# Those of a finished job: it did what it was to do.
COMPLETED = (OK, MINOR, SEVERE)

# Codes of ChromaError by what a repetition would bring; one that is in neither is a plain failure.
_RETRYABLE = frozenset(
    {
        "busy",
        "cluster_timeout",
        "cluster_unreachable",
        "collection_changed",
        "copy_failed",
        "dataset_changed",
        "directory_changed",
        "interrupted",
        "lock_lost",
        "pause_exceeded",
        "rate_limited",
        "repository_locked",
        "server_error",
        "timeout",
        "unavailable",
        "unreachable",
    }
)
_BAD_INPUT = frozenset(
    {
        "broken_chain",
        "chroma_failed",
        "clock_skew",
        "conflict",
        "damaged",
        "damaged_backup",
        "damaged_dataset",
        "damaged_quarantine",
        "damaged_generation",
        "damaged_postgres",
        "damaged_repository",
        "dimension_mismatch",
        "exists",
        "forbidden",
        "foreign_repository",
        "immutable",
        "in_use",
        "incomplete_backup",
        "incomplete_dataset",
        "invalid_embedding",
        "invalid_manifest",
        "invalid_metadata",
        "invalid_name",
        "invalid_record",
        "invalid_request",
        "invalid_settings",
        "invalid_swap",
        "invalid_token",
        "invalid_url",
        "invalid_value",
        "invalid_vdf",
        "manifest_mismatch",
        "missing_library",
        "missing_restic",
        "missing_vectors",
        "newer_backup",
        "newer_chroma",
        "newer_dataset",
        "newer_repository",
        "no_base",
        "no_bucket",
        "no_database",
        "no_dataset",
        "no_repository",
        "no_restore_point",
        "no_space",
        "not_chroma",
        "not_chroma_directory",
        "not_empty",
        "not_found",
        # What is not right three times is not right the twelfth time either.
        "not_verified",
        "nothing_left",
        "old_postgres",
        "old_restic",
        # The same statement on the same data.
        "postgres_error",
        "recovery_failed",
        "redirected",
        "server_running",
        "source_empty",
        # Another attempt finds the same half, and would export the other collections once more.
        "source_incomplete",
        "source_shrunken",
        "space_mismatch",
        "stale_plan",
        "tls",
        "too_large",
        "unauthorized",
        "unsupported",
        "wrong_password",
    }
)

# https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
LONGEST_TERMINATION_MESSAGE = 4096


@dataclass(frozen=True)
class Cursor:
    """How far the log of one pod was read.

    Attributes:
        n: counter of the last event.
        at: time of the last line, as the container runtime noted it; lines that are no events have no counter.
    """

    n: int = 0
    at: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Cursor:
        """Return the cursor that ``as_result`` gave."""
        return cls(int(values["n"]), str(values["at"])) if values else cls()

    def as_result(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def exit_code(error_code: str) -> int:
    """Return the exit code of an operation that failed with this code of a ChromaError; empty for an error of Ansible's own."""
    if error_code == "lock_held":
        return LOCK_HELD
    if error_code in _RETRYABLE:
        return RETRYABLE
    return BAD_INPUT if error_code in _BAD_INPUT else FAILED


def meaning(code: int | None) -> str:
    """Say what an exit code means; those above 128 are signals."""
    if code is None:
        return "no exit code is known"
    if code > 128:
        return "out of memory or killed" if code == 137 else f"ended by signal {code - 128}"
    return MEANINGS.get(code, "failed")


def event_line(event: Event) -> bytes:
    """Return an event as one line of JSON."""
    return json.dumps(event, separators=(",", ":"), default=str).encode() + b"\n"


def read_lines(log: str, cursor: Cursor) -> tuple[list[Event], Cursor]:
    """Return the events beyond a cursor, and the cursor behind them.

    A log that is read again from a second on repeats lines: events are known by their counter, other lines by their time.

    Args:
        log: lines of a container's log, each with its time in front (``timestamps=true``).
        cursor: how far it was read.

    Returns:
        The events; ``{"event": "output", "message": …}`` for a line that is none, and ``{"event": "missed", "count": …}`` where events
        are gone, because the node rotated the log. And the cursor to go on from.
    """
    events: list[Event] = []
    n, at = cursor.n, cursor.at
    for line in log.splitlines():
        time, _space, text = line.partition(" ")
        event = parse_event(text)
        if event is None:
            if time > cursor.at and text.strip():
                events.append({"event": "output", "time": time, "message": text})
        elif event["n"] > n:
            if event["n"] > n + 1:
                events.append({"event": "missed", "time": event.get("time", ""), "count": event["n"] - n - 1})
            events.append(event)
            n = event["n"]
        at = max(at, time)
    return events, Cursor(n, at)


def parse_event(line: str) -> Event | None:
    """Return the event that a line of a log is, or None if it is none."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if isinstance(event, dict) and isinstance(event.get("n"), int) and isinstance(event.get("event"), str):
        return event
    return None


def condense(events: list[Event]) -> list[Event]:
    """Leave out what a later progress of the same pod and phase supersedes."""
    kept: list[Event] = []
    for event in events:
        before = kept[-1] if kept else {}
        same = all(before.get(key) == event.get(key) for key in ("event", "phase", "pod"))
        if event["event"] == "progress" and same:
            kept[-1] = event
        else:
            kept.append(event)
    return kept


def termination_message(document: dict[str, Any], limit: int = LONGEST_TERMINATION_MESSAGE) -> bytes:
    """Return a result document as JSON of at most ``limit`` bytes: the longest values go first, and ``truncated`` names them."""
    reduced = dict(document)
    truncated: list[str] = []
    while True:
        content = json.dumps({**reduced, "truncated": truncated} if truncated else reduced, separators=(",", ":"), default=str).encode()
        if len(content) <= limit:
            return content
        longest = max(reduced, key=lambda key: len(json.dumps(reduced[key], default=str)))
        value = reduced[longest]
        truncated.append(longest)
        if isinstance(value, dict) and len(value) > 1:
            # Of the result itself, what is short is worth more than nothing.
            biggest = max(value, key=lambda key: len(json.dumps(value[key], default=str)))
            reduced[longest] = {key: each for key, each in value.items() if key != biggest}
            truncated[-1] = f"{longest}.{biggest}"
        elif isinstance(value, str) and len(value) > 500:
            reduced[longest] = value[:500] + " …"
        else:
            del reduced[longest]
