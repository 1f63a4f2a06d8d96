# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a copy, and when an index stands still."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot import watch as watching
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import UNFINISHED, Watch, list_files

SETTLE = 1.0


class Clock:
    """Of a watch; only the tests move it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(watching, "time", moved)
    return moved


def index_of(directory: Path) -> Path:
    return next(each for each in sorted(directory.iterdir()) if each.is_dir())


def test_chromas_files_are_listed_and_nothing_else(directory: Path, tmp_path: Path) -> None:
    expected = {str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file()}
    assert len(expected) == 11
    folder = index_of(directory)
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "header.bin").write_text("secret")
    link = "00000000-0000-4000-8000-000000000000"
    (directory / link).symlink_to(secret)
    (directory / "named").symlink_to(secret)
    (directory / "lost+found").mkdir(mode=0)
    (directory / "notes.txt").write_text("foreign")
    (directory / ".thinkube-chroma").mkdir()
    (directory / ".thinkube-chroma" / "header.bin").write_text("ours")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(secret / "header.bin")
    (directory / "chroma.sqlite3-journal").write_bytes(b"")
    listing = list_files(directory)
    assert set(listing.files) == expected
    assert listing.strange == tuple(sorted([link, f"{folder.name}/pipe", f"{folder.name}/link"]))
    assert set(list_files(directory, journals=True).files) == {*expected, "chroma.sqlite3-journal"}


def test_our_own_folder_is_no_finding_and_not_read(directory: Path) -> None:
    """Even where it looks like an index, or holds a copy of a whole directory."""
    before = {each.kind.id for each in validate(directory, live=False).findings}
    ours = directory / ".thinkube-chroma"
    room = ours / "scratch" / "one" / "data"
    room.mkdir(parents=True)
    for place in (ours, room):
        (place / "header.bin").write_bytes(b"torn")
        (place / "chroma.sqlite3").write_bytes(b"torn")
    (ours / "scratch" / "one" / "data" / index_of(directory).name).mkdir()
    for live in (False, True):
        assert {each.kind.id for each in validate(directory, live=live).findings} == before


def test_an_index_is_settled_when_it_has_stood_still(directory: Path, clock: Clock) -> None:
    watch = Watch(directory, SETTLE)
    assert not watch.settled(), "nobody knows what was before"
    clock.sleep(SETTLE)
    watch.look()
    assert watch.settled()
    file = index_of(directory) / "index_metadata.pickle"
    file.write_bytes(file.read_bytes())
    watch.look()
    assert not watch.settled()
    assert f"{file.parent.name}/{file.name}" not in watch.still()
    clock.sleep(SETTLE)
    assert watch.settled()


def test_the_clock_of_the_files_does_not_matter(directory: Path, clock: Clock) -> None:
    watch = Watch(directory, SETTLE)
    for moment in (0, time.time() + 1e8):
        for each in directory.glob("*/*"):
            os.utime(each, (moment, moment))
        watch.look()
        assert not watch.settled()
        clock.sleep(SETTLE)
        watch.look()
        assert watch.settled()


def test_an_index_whose_label_map_is_older_than_its_vectors_is_waited_for_longer(directory: Path, clock: Clock) -> None:
    folder = index_of(directory)
    older = min(each.stat().st_mtime for each in folder.iterdir()) - 60
    os.utime(folder / "index_metadata.pickle", (older, older))
    watch = Watch(directory, SETTLE)
    clock.sleep(2 * SETTLE)
    watch.look()
    assert not watch.settled()
    clock.sleep(SETTLE * UNFINISHED)
    assert watch.settled(), "but not for ever: a server may have died in the middle"


def test_an_index_that_vanishes_is_a_movement(directory: Path, clock: Clock) -> None:
    watch = Watch(directory, SETTLE)
    clock.sleep(SETTLE)
    for each in index_of(directory).iterdir():
        each.unlink()
    watch.look()
    assert not watch.settled()
    clock.sleep(SETTLE)
    assert watch.settled()
