# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a hot copy, and of the server, when something goes wrong in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import disks
import pytest
import servers
from test_snapshot import check
from writing import Writer, differences, seconds, served, writing

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import lock_holder
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take
from ansible_collections.thinkube.chroma.tests.waiting import until

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
OPERATION = """
import json, os, signal, sys
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot import hot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take
data, target, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
holds, copy_locked = options.pop("holds", 0), hot._copy_locked
def held(watch, copier, *rest):
    global holds
    if holds:
        holds -= 1
        os.kill(copier._process.pid, signal.SIGSTOP)
        print("held", copier._process.pid, flush=True)
    return copy_locked(watch, copier, *rest)
hot._copy_locked = held
try:
    with scratch(data, target.parent.name):
        take(data, target, About(target.parent.name), live=True, **options)
        print("done", flush=True)
        sys.stdin.read()
except ChromaError as error:
    print(json.dumps(error.as_result()), flush=True)
"""
# Copied in a tenth of a second, so that there is a moment to interfere.
BALLAST = 200 << 20


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[servers.Server, list[Writer]]]:
    """Run the newest release with writers that have saved some indexes."""
    data = tmp_path / "data"
    data.mkdir()
    with servers.running(servers.VERSIONS[-1], data=data) as server, writing(server.url) as writers:
        until(lambda: min(len(each.writes) for each in writers) > 40, "some records")
        with contextlib.closing(sqlite3.connect(data / "chroma.sqlite3", timeout=60, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE ballast (content BLOB)")
            connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (BALLAST,))
        yield server, writers


@contextlib.contextmanager
def operation(data: Path, target: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Copy in a process of its own, which waits at its end; it says ``done``, or the error.

    With ``holds=N`` it stops its copier under the lock, the first N times, for :func:`stopped_copier`.
    """
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    if data not in target.parents:  # there the operation makes the room itself
        target.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-c", OPERATION, str(data), str(target), json.dumps(options)]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[bytes]) -> str:
    """Return the code of the error that an operation ended with, or ``done``."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    return line.strip() if line.startswith("done") else str(json.loads(line)["code"])


def children_of(parent: int) -> list[int]:
    """Return the processes that copy for another one and hold the lock for it."""
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_locked(data: Path, process: subprocess.Popen[bytes]) -> bool:
    """Return whether an operation holds the lock; one that was killed has no children any more."""
    try:
        return lock_holder(data / "chroma.sqlite3") in children_of(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_running(process: int) -> bool:
    """Return whether a process is neither gone nor a corpse that nobody has collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def goes_on(data: Path, writers: list[Writer]) -> None:
    """Check that all writers get on, and that the next copy is made, is right, and leaves nothing."""
    before = [len(each.writes) for each in writers]
    until(lambda: all(len(each.writes) > count + 2 for each, count in zip(writers, before, strict=True)), "writers that go on")
    name = new_id()
    with scratch(data, name) as room:
        assert [each.name for each in room.parent.iterdir() if each.is_dir()] == [name], "what the dead one left is gone"
        check(room / "tree", take(data, room / "tree", About(name), live=True), writers)
    assert list((data / ".thinkube-chroma" / "scratch").iterdir()) == []
    assert [each.failures for each in writers] == [[] for _each in writers]


def before_the_lock(data: Path, room: Path, process: subprocess.Popen[bytes]) -> None:
    until((room / "tree" / "data").is_dir, "a copy that has begun", pause=0.001)


def while_it_waits(data: Path, room: Path, process: subprocess.Popen[bytes]) -> None:
    connection = sqlite3.connect(data / "chroma.sqlite3", timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        until(lambda: len(list((room / "tree" / "data").glob("*/*"))) > 2, "copied files", pause=0.001)
        time.sleep(1)
        assert "chroma.sqlite3" not in os.listdir(room / "tree" / "data")
        process.kill()
    finally:
        connection.close()


def while_it_copies(data: Path, room: Path, process: subprocess.Popen[bytes]) -> None:
    with stopped_copier(data, process):
        process.kill()
        process.wait()


@contextlib.contextmanager
def stopped_copier(data: Path, process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Wait until an operation keeps its copier from copying under the lock, and let it go on after the ``with`` block."""
    assert process.stdout is not None
    said = process.stdout.readline().split()
    assert said[:1] == [b"held"], said
    copier = int(said[1])
    assert is_locked(data, process), "it is in the middle of it"
    try:
        yield copier
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(copier, signal.SIGCONT)


def after_the_release(data: Path, room: Path, process: subprocess.Popen[bytes]) -> None:
    until(lambda: is_locked(data, process), "the lock", pause=0.001)
    until(lambda: not is_locked(data, process), "its release", pause=0.001)


def at_the_end(data: Path, room: Path, process: subprocess.Popen[bytes]) -> None:
    assert answer(process) == "done"


@pytest.mark.parametrize("phase", [before_the_lock, while_it_waits, while_it_copies, after_the_release, at_the_end])
def test_a_killed_copy_leaves_no_lock_and_the_next_removes_what_it_left(busy, phase):
    server, writers = busy
    room = server.data / ".thinkube-chroma" / "scratch" / new_id()
    with operation(server.data, room / "tree", holds=int(phase is while_it_copies)) as process:
        phase(server.data, room, process)
        process.kill()
        process.wait()
        assert room.is_dir(), "there is something to remove"
        until(
            lambda: not any(str(room) in each or ("_datadir.locker" in each and str(server.data) in each) for each in commands()),
            "the end of what it started",
        )
    goes_on(server.data, writers)


def commands() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(each.read_text(errors="replace"))
    return found


def test_a_pause_that_grows_too_long_is_ended_and_the_next_attempt_succeeds(busy, tmp_path):
    server, writers = busy
    tree = tmp_path / new_id() / "tree"
    with operation(server.data, tree, pause=8.0, tries=2, holds=1) as process:
        with stopped_copier(server.data, process) as copier:
            until(lambda: not is_running(copier), "the end of the copier")
        assert answer(process) == "done"
    manifest = parse_manifest((tree / "manifest.json").read_bytes(), "")
    assert manifest.lock_attempts == 2
    assert manifest.pause_seconds >= 8.0
    print(f"\nthe pause of 8 s was {manifest.pause_seconds:.3f} s")
    check(tree, manifest, writers)
    goes_on(server.data, writers)


def test_a_pause_that_is_always_too_long_leaves_nothing(busy, tmp_path):
    server, writers = busy
    tree = tmp_path / new_id() / "tree"
    with operation(server.data, tree, pause=0.5, tries=2, holds=2) as process:
        for _each in range(2):
            with stopped_copier(server.data, process) as copier:
                until(lambda copier=copier: not is_running(copier), "the end of the copier")
        assert answer(process) == "pause_exceeded"
    assert not tree.exists()
    goes_on(server.data, writers)


def test_a_copy_outlives_the_server(busy, tmp_path):
    """The server is killed under the lock: the copy is what was acknowledged, and so is what the next server makes of it."""
    server, writers = busy
    tree = tmp_path / new_id() / "tree"
    with operation(server.data, tree, holds=1) as process:
        with stopped_copier(server.data, process):
            os.kill(server.pid, signal.SIGKILL)
            for each in writers:
                each.join()
        assert answer(process) == "done"
    manifest = parse_manifest((tree / "manifest.json").read_bytes(), "")
    check(tree, manifest, writers)
    with servers.running(server.version, data=tree / "data") as restored:
        found = served(restored.url, [each.name for each in writers])
    for each in writers:
        assert differences(found[each.name], each.states(seconds(manifest.created)), each.space) == "", each.name


def test_a_copier_that_dies_is_an_error_and_leaves_nothing(busy, tmp_path):
    server, writers = busy
    tree = tmp_path / new_id() / "tree"
    with operation(server.data, tree, holds=1) as process:
        with stopped_copier(server.data, process) as copier:
            os.kill(copier, signal.SIGKILL)
        assert answer(process) == "copy_failed"
    assert not tree.exists()
    goes_on(server.data, writers)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that has room for a copy with its reserve, and little more."""
    with disks.mounted(tmp_path / "small", "size=320m") as place:
        yield place


def test_a_target_without_room_is_told_before_anybody_waits(busy, small):
    server, writers = busy
    (small / "ballast").write_bytes(bytes(60 << 20))
    longest = max(each.longest for each in writers)
    with operation(server.data, small / "tree") as process:
        assert answer(process) == "no_space"
    assert os.listdir(small) == ["ballast"]
    print(f"\nlongest write before {longest:.2f}, after {max(each.longest for each in writers):.2f} s")
    goes_on(server.data, writers)


def test_a_target_that_fills_up_meanwhile_ends_the_pause_and_is_left_empty(busy, small):
    server, writers = busy
    with operation(server.data, small / "tree", holds=1) as process:
        with stopped_copier(server.data, process), contextlib.suppress(OSError), (small / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(1 << 20))
        assert answer(process) == "no_space"
    assert os.listdir(small) == ["ballast"]
    goes_on(server.data, writers)


def test_a_clock_that_was_set_back_does_not_matter(busy, tmp_path):
    """Then files have times that are still to come."""
    server, writers = busy
    future = time.time() + 86400 * 400
    for each in server.data.glob("*/*.bin"):
        os.utime(each, (future, future))
    goes_on(server.data, writers)
