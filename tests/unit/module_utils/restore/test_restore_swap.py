# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""However often a swap is killed, and wherever: what is served afterwards is all old or all new."""

from __future__ import annotations

import itertools
import os
import shutil
import signal

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore import swap as swapping
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import finish, settle, swap
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import (
    FINISHED,
    FORWARD,
    GIVEN_UP,
    SWAPPED,
    Swap,
    read_swap,
    write_swap,
)

A, B, C, D, X = (f"{each * 8}-0000-4000-8000-000000000000" for each in "abcdf")
OLD = {"chroma.sqlite3": "old", "chroma.sqlite3-journal": "old", f"{A}/data": "old", f"{B}/data": "old"}
NEW = {"chroma.sqlite3": "new", f"{B}/data": "new", f"{C}/data": "new"}


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder):
    files = (each.relative_to(folder) for each in folder.rglob("*") if each.is_file())
    return {str(each): (folder / each).read_text() for each in files if each.parts[0] != ".thinkube-chroma"}


@pytest.fixture
def directory(tmp_path):
    return make(tmp_path / "data")


def make(directory):
    fill(directory, OLD)
    (directory / "lost+found").mkdir()
    (directory / "notes").mkdir()
    fill(directory / ".thinkube-chroma/staging/op/data", NEW)
    fill(directory / ".thinkube-chroma", {"lineage": "0123456789abcdef"})
    return directory


def staged(directory):
    return directory / ".thinkube-chroma/staging/op/data"


def killed(directory, kill_at, what):
    """Swap or settle in a process that is killed before its n-th rename, fsync, open or mkdir; return how many it made, None if killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        calls = die_at(kill_at)
        try:
            if what == "swap":
                swap(directory, "op", "backup", "point", staged(directory))
            else:
                settle(directory)
            os.write(writer, str(next(calls)).encode())
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        made = answer.read()
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed"
    return None if os.WIFSIGNALED(status) else int(made)


def die_at(kill_at):
    """Have this process killed before its n-th call; return how many it has made."""
    calls = itertools.count()

    def counted(function):
        def call(*arguments, **options):
            if next(calls) + 1 == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    for name in ("rename", "fsync", "open", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    return calls


def test_the_new_content_stands_in_the_directory_and_the_old_one_is_kept_until_it_is_finished(directory):
    done = swap(directory, "op", "backup", "point", staged(directory))
    assert content(directory) == NEW
    assert content(directory / ".thinkube-chroma/replaced/op") == OLD
    assert (done.state, read_swap(directory)) == (SWAPPED, done)
    assert (directory / "lost+found").is_dir()
    assert (directory / "notes").is_dir()
    finish(directory)
    assert content(directory) == NEW
    assert sorted(each.name for each in (directory / ".thinkube-chroma").iterdir()) == ["swap.json"]
    assert read_swap(directory).state == FINISHED
    assert settle(directory).state == FINISHED


def test_a_kill_between_any_two_steps_leaves_all_old_until_the_next_run_makes_it_all_new(tmp_path):
    steps = killed(make(tmp_path / "whole"), 0, "swap")
    for number in range(1, steps + 1):
        directory = make(tmp_path / f"killed-{number}")
        assert killed(directory, number, "swap") is None
        begun = read_swap(directory)
        if begun is None:
            assert content(directory) == OLD  # not begun: the server may be started, and the next run begins anew
        else:
            # No backup of the new content may follow on one of the old, also where nobody finishes this.
            assert not (directory / ".thinkube-chroma/lineage").exists()
            assert settle(directory).state == SWAPPED
            assert content(directory) == NEW
            assert content(directory / ".thinkube-chroma/replaced/op") == OLD


def test_where_the_lineage_can_not_be_ended_nothing_is_exchanged(directory):
    (directory / ".thinkube-chroma/lineage").unlink()
    (directory / ".thinkube-chroma/lineage").mkdir()
    with pytest.raises(ChromaError) as failed:
        swap(directory, "op", "backup", "point", staged(directory))
    assert (failed.value.code, failed.value.result["settled"]) == ("swap_failed", True)
    assert (content(directory), read_swap(directory)) == (OLD, None)


def test_the_next_run_may_be_killed_as_well_at_any_step(tmp_path):
    """Each run gets one step further than a kill allows: the swap ends all the same."""
    for first in range(14, 26, 3):
        directory = make(tmp_path / f"killed-{first}")
        assert killed(directory, first, "swap") is None
        assert read_swap(directory).state == FORWARD
        number = 1
        while read_swap(directory).state == FORWARD:
            killed(directory, number, "settle")
            number += 1
        assert content(directory) == NEW
        assert content(directory / ".thinkube-chroma/replaced/op") == OLD


def test_what_cannot_be_completed_is_taken_back_and_a_kill_of_that_changes_nothing(tmp_path):
    taken_back = 0
    for first in range(12, 26, 2):
        directory = make(tmp_path / f"killed-{first}")
        assert killed(directory, first, "swap") is None
        if read_swap(directory) is None or not (staged(directory) / C).exists():
            continue
        (staged(directory) / C).rename(tmp_path / f"lost-{first}")
        taken_back += 1
        number = 1
        while not read_swap(directory).settled:
            killed(directory, number, "settle")
            number += 1
        assert read_swap(directory).state == GIVEN_UP
        assert content(directory) == OLD
        finish(directory)
        assert content(directory) == OLD
        assert read_swap(directory).state == GIVEN_UP
    assert taken_back >= 3


@pytest.mark.parametrize("number", range(1, 8))
def test_a_rename_that_fails_takes_everything_back(directory, monkeypatch, number):
    rename, calls = os.rename, iter(range(1, 100))

    def fails_once(source, target):
        if next(calls) == number:
            raise OSError(5, "Input/output error", str(source))
        rename(source, target)

    monkeypatch.setattr(swapping.os, "rename", fails_once)
    with pytest.raises(ChromaError, match="All is as it was before") as caught:
        swap(directory, "op", "backup", "point", staged(directory))
    assert (caught.value.code, caught.value.result) == ("swap_failed", {"settled": True})
    assert content(directory) == OLD
    assert content(staged(directory)) == NEW
    assert (read_swap(directory) is None) == (number == 1)  # the first one is that of swap.json


def test_where_nothing_can_be_renamed_any_more_the_server_must_not_start_and_the_next_run_completes_it(directory, monkeypatch):
    rename, calls = os.rename, iter(range(1, 100))

    def fails(source, target):
        if next(calls) > 5:
            raise OSError(5, "Input/output error", str(source))
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(swapping.os, "rename", fails)
        with pytest.raises(ChromaError, match="Nor could that be taken back") as caught:
            swap(directory, "op", "backup", "point", staged(directory))
    assert caught.value.result == {"settled": False}
    assert not read_swap(directory).settled
    assert settle(directory).state == SWAPPED
    assert content(directory) == NEW


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("moved", range(7))
def test_what_a_server_wrote_on_half_a_directory_is_set_aside(directory, moved, monkeypatch):
    rename, calls = os.rename, iter(range(100))

    def stops(source, target):
        # The first one is that of swap.json.
        if next(calls) > moved:
            raise Killed
        rename(source, target)

    monkeypatch.setattr(swapping.os, "rename", stops)
    with pytest.raises(Killed):
        swap(directory, "op", "backup", "point", staged(directory))
    monkeypatch.undo()
    # It opens what is there, and makes what is not.
    somebodys = {name: "somebody's" for name in ("chroma.sqlite3", f"{X}/data") if not (directory / name).exists()}
    fill(directory, somebodys)
    assert settle(directory).state == SWAPPED
    assert content(directory) == NEW
    assert content(directory / ".thinkube-chroma/replaced/op") == OLD
    strays = content(directory / ".thinkube-chroma/strays/op")
    assert {name[5:]: text for name, text in strays.items()} == somebodys


def test_what_a_server_wrote_after_all_was_in_place_stays(directory):
    done = swap(directory, "op", "backup", "point", staged(directory))
    write_swap(directory, Swap(**{**vars(done), "state": FORWARD}))
    fill(directory, {f"{D}/data": "written since"})
    assert settle(directory).state == SWAPPED
    assert content(directory) == {**NEW, f"{D}/data": "written since"}


def test_an_empty_directory_takes_it_and_gives_it_back(tmp_path):
    directory = tmp_path / "data"
    fill(directory / ".thinkube-chroma/staging/op/data", NEW)
    assert swap(directory, "op", "backup", "", staged(directory)).old == ()
    assert content(directory) == NEW
    # Back to nothing, which an undo may want.
    finish(directory)
    (directory / ".thinkube-chroma/staging/two/data").mkdir(parents=True)
    swap(directory, "two", "point", "other", directory / ".thinkube-chroma/staging/two/data")
    assert content(directory) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"operation": 1}'])
def test_a_journal_that_cannot_be_read_stops_everything(directory, text):
    (directory / ".thinkube-chroma/swap.json").write_text(text)
    with pytest.raises(ChromaError, match="can't be used") as caught:
        settle(directory)
    assert caught.value.code == "invalid_swap"
    assert content(directory) == OLD


def test_an_attempt_for_which_there_was_no_room_is_in_nobodys_way(directory, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device", "swap.json")

    with monkeypatch.context() as patched:
        patched.setattr(swapping, "write_swap", full)
        with pytest.raises(ChromaError, match="No space left"):
            swap(directory, "op", "backup", "point", staged(directory))
    assert swap(directory, "op", "backup", "point", staged(directory)).state == SWAPPED
    assert content(directory) == NEW


def test_what_is_missing_when_it_is_to_come_in_is_no_success(directory, monkeypatch):
    write = swapping.write_swap

    def loses(*arguments):
        write(*arguments)
        shutil.rmtree(staged(directory), ignore_errors=True)

    monkeypatch.setattr(swapping, "write_swap", loses)
    with pytest.raises(ChromaError, match="Not all that was to come") as caught:
        swap(directory, "op", "backup", "point", staged(directory))
    assert (caught.value.code, caught.value.result) == ("swap_failed", {"settled": True})
    assert content(directory) == OLD


def test_what_the_last_swap_replaced_and_nobody_has_proven_is_set_aside_by_the_next(directory):
    """Also where both have one name."""
    swap(directory, "op", "backup", "point", staged(directory))
    finish(directory, keep=True)
    fill(staged(directory), {"chroma.sqlite3": "newest"})
    swap(directory, "op", "backup", "another", staged(directory))
    finish(directory)
    assert content(directory) == {"chroma.sqlite3": "newest"}
    assert content(directory / ".thinkube-chroma/kept/point") == OLD
    assert sorted(each.name for each in (directory / ".thinkube-chroma").iterdir()) == ["kept", "swap.json"]


def test_what_is_removed_is_gone_from_its_place_in_one_step(directory, monkeypatch):
    swap(directory, "op", "backup", "point", staged(directory))

    def stops(_path):
        if (directory / ".thinkube-chroma/removed").exists():
            raise Killed

    monkeypatch.setattr(swapping, "remove_tree", stops)
    with pytest.raises(Killed):
        finish(directory)
    monkeypatch.undo()
    assert read_swap(directory).state == FINISHED
    assert not (directory / ".thinkube-chroma/replaced/op").exists()
    assert content(directory / ".thinkube-chroma/removed") == OLD
    recover(directory, None)
    assert sorted(each.name for each in (directory / ".thinkube-chroma").iterdir()) == ["replaced", "swap.json"]
