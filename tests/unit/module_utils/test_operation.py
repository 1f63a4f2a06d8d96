# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of events: read on by their counter; result documents that fit; exit codes."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._operation import (
    Cursor,
    condense,
    event_line,
    exit_code,
    meaning,
    parse_event,
    read_lines,
    termination_message,
)


def stamp(second):
    return f"2026-11-21T06:00:{second:02d}.000000000Z"


def log(*lines):
    return "".join(f"{stamp(second)} {text if isinstance(text, str) else event_line(text).decode().strip()}\n" for second, text in lines)


def numbered(n, event="message", **fields):
    return {"n": n, "event": event, **fields}


def test_a_log_is_read_once_however_often_it_is_asked_for():
    first = log((1, numbered(1)), (2, "Traceback"), (2, numbered(2)))
    events, cursor = read_lines(first, Cursor())
    assert [event.get("n") or event["message"] for event in events] == [1, "Traceback", 2]
    assert cursor == Cursor(2, stamp(2))
    assert read_lines(first, cursor) == ([], cursor)
    # The server gives whole seconds again.
    events, cursor = read_lines(log((2, "Traceback"), (2, numbered(2)), (3, numbered(3)), (3, "more")), cursor)
    assert [event.get("n") or event["message"] for event in events] == [3, "more"]
    assert cursor == Cursor(3, stamp(3))


def test_events_that_are_gone_are_counted():
    events, cursor = read_lines(log((9, numbered(7))), Cursor(3, stamp(1)))
    assert [(event["event"], event.get("count")) for event in events] == [("missed", 3), ("message", None)]
    assert cursor.n == 7


@pytest.mark.parametrize(
    "line", ["", "text", "{", "{}", "[1]", '{"n": "1", "event": "x"}', '{"n": 1}', '{"n": 1, "event": 2}', '{"n": 1, "event": "cut o']
)
def test_what_is_no_event(line):
    assert parse_event(line) is None


def test_a_cursor_travels_as_plain_values():
    cursor = Cursor(5, stamp(3))
    assert Cursor.of(json.loads(json.dumps(cursor.as_result()))) == cursor
    assert Cursor.of(None) == Cursor.of({}) == Cursor()


def test_only_the_last_of_progress_in_a_row_is_kept():
    def at(n, phase="export", pod="a"):
        return {"n": n, "event": "progress", "phase": phase, "pod": pod}

    events = [at(1), at(2), numbered(3), at(4), at(5, "verify"), at(6, "verify"), at(7, "verify", "b")]
    assert [event["n"] for event in condense(events)] == [2, 3, 4, 6, 7]


@pytest.mark.parametrize("size", [10, 1000, 100_000])
@pytest.mark.parametrize("limit", [300, 4096])
def test_a_result_is_shortened_to_what_kubernetes_keeps(size, limit):
    document = {
        "status": "ok",
        "exit_code": 4,
        "result": {"rc": 4, "findings": [{"id": "CHR001", "message": "é" * 20}] * (size // 10), "summary": {"severe": 3}},
    }
    content = termination_message(document, limit)
    assert len(content) <= limit
    shortened = json.loads(content)
    assert (shortened["status"], shortened["exit_code"], shortened["result"]["rc"]) == ("ok", 4, 4)
    assert shortened.get("truncated", []) == ([] if size == 10 else ["result.findings"])


def test_a_long_text_keeps_its_beginning():
    shortened = json.loads(termination_message({"exit_code": 2, "message": "begin" + "x" * 9000}, 1000))
    assert shortened["message"].startswith("begin")
    assert shortened["exit_code"] == 2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("lock_held", 6),
        ("unreachable", 7),
        ("directory_changed", 7),
        ("not_chroma_directory", 5),
        ("manifest_mismatch", 5),
        ("forbidden", 5),
        ("damaged", 5),
        ("conflict", 5),
        ("rate_limited", 7),
        ("no_space", 5),
        ("", 2),
    ],
)
def test_exit_codes(code, expected):
    assert exit_code(code) == expected


def test_exit_codes_in_words():
    assert [meaning(code) for code in (0, 3, 6, 137, 143, 1, None)] == [
        "done",
        "minor findings, or suspicions that were not confirmed",
        "another operation holds the lock",
        "out of memory or killed",
        "ended by signal 15",
        "failed",
        "no exit code is known",
    ]
