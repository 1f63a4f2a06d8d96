# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: what is written, what is repaired, and that nothing which was changed stays unnamed."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal import journal as journals
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.check import verify
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.lines import LONGEST_FACTS, LONGEST_LINE, raw_lines
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.report import Wanted, parse_since, read_journal, select


@pytest.fixture
def journal(tmp_path):
    return Journal.of(tmp_path)


@pytest.fixture
def ten(journal):
    """A journal of ten lines: three backups, and one that has no end."""
    for number in range(3):
        entry = journal.begin("backup", number=number)
        journal.step(entry, "copy", bytes=number)
        journal.end(entry, "done")
    journal.begin("restore", backup="latest")
    return journal


def lines_of(journal):
    return journal.path.read_bytes().splitlines(keepends=True)


def test_an_operation_leaves_its_beginning_its_steps_and_its_end(journal):
    entry = journal.begin("backup", kind="full", path=journal.path.parent)
    journal.step(entry, "copy", bytes=3)
    journal.end(entry, "done", id="x", name="no clash", entry=7)
    assert [(each.n, each.entry, each.event, each.name, each.facts) for each in journal.lines()] == [
        (1, 1, "begin", "", {"kind": "full", "path": str(journal.path.parent)}),
        (2, 1, "step", "copy", {"bytes": 3}),
        (3, 1, "end", "done", {"id": "x", "name": "no clash", "entry": 7}),
    ]
    assert verify(journal).intact


def test_only_its_owner_may_read_it(journal):
    journal.begin("backup")
    assert [path.stat().st_mode & 0o777 for path in (journal.path.parent, journal.path)] == [0o700, 0o600]


def test_an_operation_without_an_end_is_open_and_somebody_else_may_end_it(ten):
    [left] = ten.open_entries()
    assert (left.operation, left.facts) == ("restore", {"backup": "latest"})
    ten.end(left, "interrupted")
    assert ten.open_entries() == []


def test_a_block_that_raises_ends_as_failed_and_says_why(journal):
    def backup():
        with journal.recorded("backup", kind="full") as recording:
            recording.step("copy")
            recording.facts["bytes"] = 5
            raise ChromaError("no_space", "No room.")

    with pytest.raises(ChromaError, match="No room"):
        backup()
    with journal.recorded("prune") as recording:
        recording.status = "unchanged"
    failed, done = select(journal, Wanted())
    assert (failed.status, failed.result) == ("failed", {"bytes": 5, "code": "no_space", "message": "No room."})
    assert (done.status, done.seconds is not None) == ("unchanged", True)


def test_facts_that_are_too_long_are_shortened_and_named(journal):
    journal.begin("backup", short=1, long="x" * (2 * LONGEST_FACTS))
    [line] = journal.lines()
    assert line.facts["truncated"] == ["long"]
    assert line.facts["short"] == 1
    assert len(lines_of(journal)[0]) < LONGEST_LINE


@pytest.mark.parametrize("place", range(1, 11))
@pytest.mark.parametrize(
    ("instead", "reason"),
    [(lambda line: [line.replace(b"backup", b"Backup").replace(b"restore", b"Restore")], "changed"), (lambda _line: [], "gone")],
)
def test_a_line_that_was_changed_or_removed_is_named(ten, place, instead, reason):
    lines = lines_of(ten)
    lines[place - 1 : place] = instead(lines[place - 1])
    ten.path.write_bytes(b"".join(lines))
    found = verify(ten)
    assert (found.intact, found.broken_line) == (False, place)
    assert reason in found.reason


@pytest.mark.parametrize("place", range(1, 11))
def test_a_line_that_is_none_is_named(ten, place):
    lines = lines_of(ten)
    lines[place - 1] = b"?" + lines[place - 1][1:]
    ten.path.write_bytes(b"".join(lines))
    assert (verify(ten).intact, verify(ten).broken_line) == (False, place)


@pytest.mark.parametrize("gone", range(1, 11))
def test_lines_that_are_gone_from_the_end_are_named(ten, gone):
    ten.path.write_bytes(b"".join(lines_of(ten)[: 10 - gone]))
    found = verify(ten)
    assert (found.intact, found.broken_line) == (False, 11 - gone)
    assert "gone from the end" in found.reason


def test_a_journal_that_is_gone_is_named(ten):
    ten.path.unlink()
    assert (verify(ten).intact, verify(ten).broken_line) == (False, 1)


@pytest.mark.parametrize("place", range(1, 11))
def test_a_line_that_stands_there_twice_is_named(ten, place):
    lines = lines_of(ten)
    lines.insert(place, lines[place - 1])
    ten.path.write_bytes(b"".join(lines))
    found = verify(ten)
    assert (found.intact, found.broken_line) == (False, place + 1)


@pytest.mark.parametrize("place", range(1, 10))
def test_a_line_that_was_put_in_with_a_matching_sum_is_named(ten, place):
    lines = lines_of(ten)
    forged = {**json.loads(lines[place]), "operation": "nothing", "previous": _sha(lines[place - 1])}
    lines.insert(place, json.dumps(forged).encode() + b"\n")
    ten.path.write_bytes(b"".join(lines))
    found = verify(ten)
    assert (found.intact, found.broken_line) == (False, place + 1)


def test_lines_that_something_else_appended_are_named(ten):
    lines = lines_of(ten)
    for n in (11, 12):
        lines.append(json.dumps({**json.loads(lines[-1]), "n": n, "previous": _sha(lines[-1])}).encode() + b"\n")
    ten.path.write_bytes(b"".join(lines))
    assert (verify(ten).intact, verify(ten).broken_line) == (False, 11)


def test_the_head_cannot_be_removed_unnoticed(ten):
    head = ten.path.with_name("journal.head")
    head.unlink()
    assert not verify(ten).intact
    ten.begin("backup")
    assert [(each.event, each.facts) for each in ten.lines()][10] == ("repaired", {"missing": "journal.head"})
    assert verify(ten).intact


@pytest.mark.parametrize("place", range(1, 11))
def test_a_change_stays_named_when_operations_go_on(ten, place):
    lines = lines_of(ten)
    lines[place - 1] = lines[place - 1].replace(b"backup", b"Backup").replace(b"restore", b"Restore")
    ten.path.write_bytes(b"".join(lines))
    ten.end(ten.begin("backup"), "done")
    assert (verify(ten).intact, verify(ten).broken_line) == (False, place)


@pytest.mark.parametrize("gone", range(1, 11))
def test_a_gap_at_the_end_stays_named_when_operations_go_on(ten, gone):
    ten.path.write_bytes(b"".join(lines_of(ten)[: 10 - gone]))
    ten.end(ten.begin("backup"), "done")
    found = verify(ten)
    assert (found.intact, found.broken_line) == (False, 11 - gone)
    assert [each.operation for each in ten.lines()][-2:] == ["backup", "backup"]


def test_a_killed_writer_leaves_a_torn_line_at_any_byte_and_the_next_one_keeps_it_aside(ten):
    before, known = ten.path.read_bytes(), ten.path.with_name("journal.head").read_bytes()
    ten.begin("backup")
    last = ten.path.read_bytes()[len(before) :]
    for length in range(len(last) + 1):
        ten.path.write_bytes(before + last[:length])
        ten.path.with_name("journal.head").write_bytes(known)
        ten.path.with_name("journal.torn").unlink(missing_ok=True)
        torn = length if length < len(last) else 0
        seen = verify(ten)
        assert (seen.intact, seen.torn_bytes) == (True, torn)
        ten.begin("prune")
        assert verify(ten).intact
        events = [each.event for each in ten.lines()]
        if torn:
            assert events[10:] == ["repaired", "begin"]
            assert ten.path.with_name("journal.torn").read_bytes() == last[:length] + b"\n"
        else:
            assert events[10:] == ["begin"] * (1 if length == 0 else 2)


def test_a_last_line_that_was_cut_after_it_was_confirmed_is_damage(ten):
    ten.path.write_bytes(ten.path.read_bytes()[:-20])
    assert (verify(ten).intact, verify(ten).broken_line) == (False, 10)
    assert "cut" in verify(ten).reason
    ten.begin("backup")
    assert (verify(ten).intact, verify(ten).broken_line) == (False, 10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(min_size=1, max_size=300), repeat=st.sampled_from([1, 400]), place=st.integers(0, 10))
def test_garbage_is_named_and_what_follows_is_written(tmp_path_factory, garbage, repeat, place):
    journal = Journal.of(tmp_path_factory.mktemp("data"))
    for _each in range(10):
        journal.begin("backup")
    lines = lines_of(journal)
    lines.insert(place, garbage * repeat)
    journal.path.write_bytes(b"".join(lines))
    entry = journal.begin("restore")
    assert [each.operation for each in journal.open_entries()][-1] == "restore"
    assert [each.n for each in journal.open_entries()][-1] == entry.n
    # At the end it is what a killed writer could have left; anywhere else it is damage.
    assert place == 10 or not verify(journal).intact


def test_the_clock_may_be_set_back(journal, monkeypatch):
    """Also in the middle of an operation: its seconds are those of another clock."""
    hours = iter(("10", "11", "12", "09", "13", "14"))
    monkeypatch.setattr(journals, "now", lambda: f"2026-11-21T{next(hours)}:00:00.000Z")
    for _each in range(3):
        journal.end(journal.begin("backup"), "done")
    assert [each.n for each in journal.lines()] == list(range(1, 7))
    found = verify(journal)
    assert (found.intact, found.clock_set_back) == (True, 4)
    assert all(0 <= each.seconds < 3600 for each in select(journal, Wanted()))


def test_the_head_may_be_kept_elsewhere(ten):
    assert verify(ten).head == _sha(lines_of(ten)[-1])


def test_a_writer_that_holds_it_too_long_is_an_error(ten, monkeypatch):
    monkeypatch.setattr(journals, "PATIENCE", 0.05)
    with ten.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for act in (lambda: ten.begin("backup"), lambda: verify(ten)):
            with pytest.raises(ChromaError) as caught:
                act()
            assert caught.value.code == "busy"
    assert len(lines_of(ten)) == 10


def test_a_symbolic_link_is_not_followed(journal, tmp_path):
    journal.path.parent.mkdir()
    (tmp_path / "other").write_text("precious")
    journal.path.symlink_to(tmp_path / "other")
    with pytest.raises(ChromaError) as caught:
        journal.begin("backup")
    assert caught.value.code == "forbidden"
    assert (tmp_path / "other").read_text() == "precious"


def test_a_directory_that_does_not_exist_is_not_made(tmp_path):
    with pytest.raises(ChromaError) as caught:
        Journal.of(tmp_path / "absent").begin("backup")
    assert caught.value.code == "journal_failed"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [1, 4, 7, 10]),
        (Wanted(operations=["restore", "prune"]), [10]),
        (Wanted(statuses=["done"]), [1, 4, 7]),
        (Wanted(statuses=["open"]), [10]),
        (Wanted(limit=2), [7, 10]),
        (Wanted(since=parse_since("2020-01-01")), [1, 4, 7, 10]),
        (Wanted(since=datetime(2100, 1, 1, tzinfo=UTC)), [10]),
        (Wanted(operations=["nothing"]), []),
    ],
)
def test_filters(ten, wanted, found):
    assert [each.n for each in select(ten, wanted)] == found


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ChromaError) as caught:
        parse_since(text)
    assert caught.value.code == "invalid_value"


def test_a_limit_of_none_is_refused():
    with pytest.raises(ChromaError):
        Wanted(limit=0)


def test_the_table_says_what_was_done_and_whether_it_is_whole(ten, tmp_path):
    table = read_journal(tmp_path, Wanted())["table"]
    assert any("restore" in line and "open" in line for line in table)
    assert table[-1] == f"{ten.path}: whole, 10 lines"
    ten.path.write_bytes(b"".join(lines_of(ten)[:9]))
    assert "NOT WHOLE: line 10" in read_journal(tmp_path, Wanted())["table"][-1]


def test_a_directory_without_a_journal_has_an_empty_one(tmp_path):
    found = read_journal(tmp_path, Wanted())
    assert (found["operations"], found["verified"]["intact"]) == ([], True)
    assert list(tmp_path.iterdir()) == []


def test_a_line_longer_than_any_is_read_in_pieces(tmp_path):
    file = tmp_path / "long"
    file.write_bytes(b"x" * (3 * LONGEST_LINE) + b"\nshort\n")
    with file.open("rb") as stream:
        pieces = list(raw_lines(stream, os.path.getsize(file)))
    assert max(map(len, pieces)) <= LONGEST_LINE + 1
    assert pieces[-1] == b"short"


def _sha(line):
    return journals.hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
