# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of an operation."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._operation_terminal import (
    Reporter,
    State,
    amount,
    clean,
    combine,
    duration,
    render,
)


def progress(done, total=1000, phase="export", pod="a", seconds=None, **fields):
    seconds = done / 10 if seconds is None else seconds
    return {"event": "progress", "phase": phase, "done": done, "total": total, "unit": "records", "seconds": seconds, "pod": pod, **fields}


def attempt(pod="a", exit_code=None, trouble="", index=0):
    return {"pod": pod, "index": index, "exit_code": exit_code, "trouble": trouble}


def look(*events, status="running", attempts=()):
    return {"events": events, "attempts": attempts, "status": status}


class Screen:
    """A terminal: what stands on it in the end, and every text that was written."""

    def __init__(self, tty, columns=79):
        self.lines = [""]
        self.column = 0
        self.reporter = Reporter(self.write, tty, columns)

    def write(self, text, ends):
        for number, part in enumerate(text.split("\r")):
            if number:
                self.column = 0
            erased = part.startswith("\033[K")
            shown = part.removeprefix("\033[K")
            line = self.lines[-1]
            rest = "" if erased else line[self.column + len(shown) :]
            self.lines[-1] = line[: self.column] + shown + rest
            self.column += len(shown)
        if ends:
            self.lines.append("")
            self.column = 0


def test_a_line_every_ten_percent_without_a_terminal():
    screen = Screen(tty=False)
    for done in range(0, 1001, 7):
        screen.reporter.show(look(progress(done)))
    screen.reporter.show(look(progress(1000)))
    percents = [int(line.split("]")[1].split("%")[0]) for line in screen.lines if line]
    assert percents == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_a_jump_is_one_line():
    screen = Screen(tty=False)
    screen.reporter.show(look(progress(0), progress(550), progress(560)))
    assert len([line for line in screen.lines if line]) == 1


def test_without_a_total_a_line_a_minute():
    screen = Screen(tty=False)
    for second in range(0, 181, 10):
        screen.reporter.show(look(progress(second, None, seconds=float(second))))
    assert [line.split("  ")[1] for line in screen.lines if line] == ["60 records", "120 records", "180 records"]


def test_on_a_terminal_one_line_is_written_over():
    screen = Screen(tty=True)
    for done in (0, 100, 200):
        screen.reporter.show(look(progress(done)))
    assert screen.lines == ["export  [####--------------------]   20 %  200/1,000 records  10/s  1:20 left"]


def test_a_message_stands_above_the_bar_and_a_phase_leaves_its_bar():
    screen = Screen(tty=True)
    screen.reporter.show(look(progress(500), {"event": "message", "message": "half"}))
    screen.reporter.show(look(progress(1000), progress(1, 10, "verify")))
    screen.reporter.show(look(progress(9, 10, "verify")))
    screen.reporter.close()
    assert [line[:47] for line in screen.lines] == [
        "half",
        "export  [########################]  100 %  1,00",
        "verify  [#####################---]   90 %  9/10",
        "",
    ]


def test_a_bar_fits_its_terminal():
    state = State("export", "records", 123_456, 9_999_999, 1234.5, 100.0)
    for columns in (20, 40, 60, 79, 200):
        assert len(render(state, columns)) <= columns
    assert render(state, 40).startswith("export")


def test_warnings_and_errors_name_their_next_step():
    screen = Screen(tty=False)
    screen.reporter.show(look({"event": "error", "message": "No bucket.", "hint": "Create it."}, {"event": "warning", "message": "Slow."}))
    assert screen.lines == ["ERROR: No bucket. Create it.", "WARNING: Slow.", ""]


def test_an_attempt_that_failed_is_told_once_and_that_it_is_repeated():
    screen = Screen(tty=False)
    screen.reporter.show(look(attempts=[attempt("export-1", 7), attempt("export-9", index=1)]))
    assert screen.lines == [""]
    for _each in range(2):
        screen.reporter.show(look(attempts=[attempt("export-1", 7), attempt("export-9", index=1), attempt("export-2")]))
    ending = "export-1 ended with exit code 7 (a server could not be reached, or something else that may pass); Kubernetes started it again"
    assert screen.lines == [ending, ""]


def test_an_attempt_that_is_repeated_counts_from_the_front_and_not_twice():
    screen = Screen(tty=False)
    screen.reporter.show(look(progress(800, pod="export-1"), attempts=[attempt("export-1")]))
    again = [attempt("export-1", 137), attempt("export-2")]
    screen.reporter.show(look(progress(900, pod="export-1"), progress(500, pod="export-2"), attempts=again))
    screen.reporter.show(look(progress(1000, pod="export-2"), attempts=again))
    assert ["1,000 records" in line and line.split("]")[1].split("%")[0].strip() for line in screen.lines if "[" in line] == [
        "80",
        "50",
        "100",
    ]


def test_what_keeps_a_pod_from_starting_is_told_when_it_changes():
    screen = Screen(tty=False)
    for trouble in ("no node", "no node", "", "no image"):
        screen.reporter.show(look(status="waiting", attempts=[attempt(trouble=trouble)]))
    assert screen.lines == ["waiting: no node", "waiting: no image", ""]


def test_of_several_pods_the_phase_of_the_slowest_is_shown():
    screen = Screen(tty=False)
    parts = [attempt("a"), attempt("b", index=1)]
    screen.reporter.show(look(progress(500, pod="a"), progress(1000, pod="b"), attempts=parts))
    screen.reporter.show(look(progress(100, phase="verify", pod="b"), progress(700, pod="a"), attempts=parts))
    screen.reporter.show(look(progress(1000, pod="a"), progress(200, phase="verify", pod="a"), attempts=parts))
    shown = [(line.split("  ", maxsplit=1)[0], line.split(" %  ")[1].split(" records")[0]) for line in screen.lines if "[" in line]
    assert shown == [
        ("export", "500/1,000"),
        ("export", "1,500/2,000"),
        ("export", "1,700/2,000"),
        ("export", "2,000/2,000"),
        ("verify", "300/2,000"),
    ]


def test_several_pods_are_added_up():
    events = [progress(100, 400, pod="a", seconds=10.0), progress(50, 100, pod="b", seconds=5.0), progress(9, 9, "verify", "c")]
    state = combine(events, "export")
    assert (state.done, state.total, state.rate) == (150, 500, 20.0)
    assert combine([progress(1, None), progress(2, 5, pod="b")], "export").total is None


def test_the_rate_leaves_out_what_an_earlier_run_did():
    assert combine([progress(900, seconds=10.0, start=800)], "export").rate == 10.0


def test_nothing_to_do_is_everything_done():
    assert render(State("export", "records", 0, 0, 0.0, 0.0)) == "export  [########################]  100 %  0/0 records"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (3723, "1:02:03")])
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**52, "4096.0 TiB")])
def test_bytes(value, text):
    assert amount(value, "bytes") == text


def test_no_name_of_a_collection_commands_the_terminal():
    assert clean("a\033]0;title\007\r\nb\u202ec") == "a ]0;title   b c"
    screen = Screen(tty=False)
    screen.reporter.show(look({"event": "output", "message": "\033[2Jgone"}))
    assert screen.lines == [" [2Jgone", ""]
