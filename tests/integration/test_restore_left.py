# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restores that died have left, for whoever comes next: nothing of it passes for a restore, nor stands in the way of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import disks
import pytest
import restic
from repositories import settings
from restoring import COLLECTIONS, PASSWORD, Place, files
from test_restore_killed import count, grow, state

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.conclude import conclude_left
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import kept_out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory of 40 records, with backups of the first 20 and of the first 30, which were not read back."""
    place = Place(tmp_path_factory.mktemp("prepared"))
    grow(place, 0, 20)
    backups = [place.backup(verify=False)]
    grow(place, 20, 30)
    backups.append(place.backup(verify=False))
    grow(place, 30, 40)
    return place, backups


@pytest.fixture
def place(prepared, tmp_path):
    shutil.copytree(prepared[0].root, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def backups(prepared):
    return prepared[1]


def killed(place, backup, function="_restore.run.conclude", **options):
    """Kill a restore behind its swap; return what was replaced."""
    before = files(place.data)
    assert place.killed("chroma_restore", function, 1, path=str(place.data), backup=backup, **options)
    return before


def folder(place, name):
    """Return what is in one of our folders."""
    path = place.data / ".thinkube-chroma" / name
    return sorted(each.name for each in path.iterdir()) if path.exists() else []


def done(result):
    assert not result.get("failed"), result
    return result


def test_what_was_written_since_an_interrupted_restore_is_not_taken_for_the_backup(place, backups):
    killed(place, backups[0])
    grow(place, 100, 107)
    assert count(place) == 27
    result = done(place.restore(backup=backups[0]))
    assert (result["completed"], result["changed"], count(place)) == (False, True, 20)
    done(place.undo())
    assert count(place) == 27


def test_a_job_is_done_for_its_own_backup_only(place, backups):
    done(place.restore(backup=backups[0], job="fixed"))
    result = done(place.restore(backup=backups[1], job="fixed"))
    assert (result["completed"], count(place)) == (False, 30)


def test_who_asks_for_an_undo_twice_gets_it_twice_and_an_attempt_of_a_job_once(place, backups):
    done(place.restore(backup=backups[0]))
    assert [done(place.undo())["changed"] and count(place) for _each in range(3)] == [40, 20, 40]
    assert [done(place.undo(job="chroma-undo-x7k2m"))["changed"] and count(place) for _each in range(2)] == [20, False]


def test_an_undo_that_died_after_its_swap_is_asked_for_again_and_not_undone(place, backups):
    before = files(place.data)
    done(place.restore(backup=backups[0]))
    assert place.killed("chroma_restore_undo", "_restore.run.conclude", 1, path=str(place.data))
    grow(place, 100, 101)
    done(place.undo())
    assert files(place.data) == before


def test_an_undo_means_a_restore_that_died_after_its_swap(place, backups):
    before = killed(place, backups[0])
    grow(place, 100, 101)
    done(place.undo())
    assert files(place.data) == before


@pytest.mark.parametrize("number", [1, 2, 3])
def test_half_of_what_was_being_removed_is_in_nobodys_way(place, backups, number):
    assert place.killed("chroma_restore", "_restore.swap.remove_tree", number, path=str(place.data), backup=backups[0])
    for each in (place.data / ".thinkube-chroma" / "removed").rglob("chroma.sqlite3"):
        each.unlink()
    assert done(place.restore(backup=backups[1]))["restore_point_verified"]
    assert count(place) == 30
    assert (folder(place, "removed"), folder(place, "replaced"), folder(place, "kept")) == ([], [], [])


def test_from_another_repository_it_restores_and_says_where_the_old_data_are(place, backups, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(place.repository, other)
    killed(place, backups[0])
    grow(place, 100, 101)
    result = done(place.restore(backup=backups[1], repository=str(other)))
    assert (count(place), len(result["warnings"])) == (30, 1)
    [kept] = folder(place, "kept")
    assert kept in str(result["warnings"])
    assert (place.data / ".thinkube-chroma" / "kept" / kept / "chroma.sqlite3").is_file()
    assert "warnings" not in done(place.restore(backup=backups[0], repository=str(other)))
    assert folder(place, "kept") == [kept]


def test_a_restore_point_that_does_not_come_back_as_it_was_is_told_once_and_what_it_was_made_of_is_kept(place, backups):
    killed(place, backups[0])
    [replaced] = (place.data / ".thinkube-chroma" / "replaced").iterdir()
    with (replaced / "chroma.sqlite3").open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    result = done(place.restore(backup=backups[1]))
    assert "chroma.sqlite3" in str(result["warnings"])
    assert (count(place), len(folder(place, "kept")), folder(place, "replaced")) == (30, 1, [])
    assert "warnings" not in done(place.restore(backup=backups[0]))


def test_a_restore_point_is_read_back_where_the_volume_has_no_room_for_it(place, backups, tmp_path):
    """It is compared while it comes: nothing is written."""
    killed(place, backups[0])
    size = sum(each.stat().st_blocks * 512 for each in place.data.rglob("*"))
    with disks.mounted(tmp_path / "small", f"size={size + 200_000}") as room:
        small = Place(room)
        shutil.copytree(place.data, small.root / "data")
        assert conclude_left(open_repository(settings(place.repository, password=PASSWORD)), small.data) == ""
        [tags] = [each["tags"] for each in place.backups() if "kind=restore-point" in each["tags"]]
        assert [tag for tag in tags if tag.startswith("verified=")]
        assert (folder(small, "replaced"), state(small)) == ([], "finished")


def test_a_backup_concludes_it(place, backups):
    killed(place, backups[0])
    done(place.module("chroma_backup", path=str(place.data), kind="full", verify=False))
    assert (state(place), folder(place, "replaced")) == ("finished", [])
    done(place.undo())
    assert count(place) == 40


def test_a_removal_concludes_it_and_says_where_that_fails(place, backups, tmp_path):
    killed(place, backups[0])
    other = tmp_path / "other"
    shutil.copytree(place.repository, other)
    [point] = [each["short_id"] for each in place.backups() if "kind=restore-point" in each["tags"]]
    options = {"path": str(place.data), "retention_days": 1, "retention_count": 1}
    environ = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
    subprocess.run([restic.program(), "-r", other, "--no-cache", "forget", point], env=environ, capture_output=True, check=True)
    [warning] = done(place.module("chroma_backup_prune", repository=str(other), **options))["warnings"]
    assert "is still on the volume" in str(warning)
    assert len(folder(place, "replaced")) == 1
    assert "warnings" not in done(place.module("chroma_backup_prune", **options))
    assert (state(place), folder(place, "replaced")) == ("finished", [])


LOCKS = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(handle, fcntl.LOCK_EX, 1, 0x40000001)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_cannot_be_seen_is_met_at_its_lock(place):
    """As one of another container: its lock is the kernel's."""
    database = place.data / "chroma.sqlite3"
    command = [sys.executable, "-c", LOCKS, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(ChromaError, match="can't be seen") as caught, kept_out(place.data, 0.2):
            raise AssertionError("somebody writes")
        assert caught.value.code == "server_running"
        process.stdin.close()
    before = files(place.data)
    with kept_out(place.data, 0.2):
        met = subprocess.run(
            [sys.executable, "-c", f"import sqlite3; sqlite3.connect({str(database)!r}, 0.1).execute('BEGIN IMMEDIATE')"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "database is locked" in met.stderr
    assert files(place.data) == before


REFUSES = """
import os, sys
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore import running
# Servers of other tests may run.
others = running._others
running._others = lambda: (each for each in others() if each.name == sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    running.refuse_running(Path("/usr/share"))
except ChromaError as error:
    print(error.code, error.message)
else:
    print("free", running.unseen())
"""


@pytest.mark.parametrize(
    ("arguments", "said"), [("chroma run", "server_running Process"), ("thinkube.chroma.data.restore", "free 1 processes")]
)
def test_a_server_of_another_user_is_not_overlooked(arguments, said):
    if os.geteuid() != 0 or os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("only root can become somebody else, and only outside of a container all processes are seen")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)", arguments]) as process:
        environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        command = [sys.executable, "-c", REFUSES, str(process.pid)]
        answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
        process.kill()
    assert answer.startswith(said)
