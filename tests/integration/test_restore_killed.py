# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL anywhere in a restore or an undo: the old data are there, or the next run completes it; nothing half is ever served.

The unit tests kill the swap at each system call; here the whole module is killed in each of its phases and between any two renames.
"""

from __future__ import annotations

import json
import shutil

import pytest
import servers
from restoring import KEPT, NEWEST, Place, files, private, upsert

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Before the first of them nothing was touched; the last is after the swap.
PHASES = (
    "_restore.run.stage",
    "_restore.staging.verify_directory",
    "_restore.run.take_restore_point",
    "_restore.run.swap",
    "_restore.run.conclude",
    "_restore.conclude.finish",
)
# Before swap.json, with half of the old entries out, with half of the new ones in, with all in; the unit tests of the swap are killed at
# each of its calls.
RENAMES = (1, 3, 5, 6)
POINTS = [*((phase, 1) for phase in PHASES), *(("_restore.swap.os.rename", number) for number in RENAMES)]


def grow(place, first, last):
    """Write records into the place's one collection."""
    with servers.running(NEWEST, data=place.data) as server:
        upsert(server.url, first, last)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory of 40 records with a backup of the first 30, and the same after a restore; the files of both."""
    place = Place(tmp_path_factory.mktemp("prepared"))
    grow(place, 0, 30)
    backup = place.backup()
    grow(place, 30, 40)
    old = files(place.data)
    restored = Place(tmp_path_factory.mktemp("restored") / "place")
    shutil.copytree(place.root, restored.root)
    assert restored.restore()["backup"] == backup
    return place, restored, old


@pytest.fixture
def copy(tmp_path):
    """Return a function that copies a place."""

    def make(original):
        shutil.copytree(original.root, tmp_path / "place")
        return Place(tmp_path / "place")

    return make


def count(place):
    """Serve the directory and return how many records it has."""
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        return client.count(client.require_collection("books"))


def state(place):
    """Return the state of the swap; empty where there is none."""
    path = place.data / ".thinkube-chroma" / "swap.json"
    return json.loads(path.read_text())["state"] if path.exists() else ""


@pytest.mark.parametrize(("function", "number"), POINTS)
def test_a_restore_that_is_killed(copy, prepared, function, number):
    place, old = copy(prepared[0]), prepared[2]
    killed = place.killed("chroma_restore", function, number, path=str(place.data))
    assert killed or function.endswith("rename")
    left = state(place)
    if not left:
        assert files(place.data) == old  # whoever starts a server now serves the old data
    result = place.restore()
    assert not result.get("failed"), result
    # A swap that was begun is the one that was asked for; it is not done twice, and its restore point is the one that counts.
    assert result["completed"] is (killed and left in ("forward", "swapped"))
    assert count(place) == 30
    assert private(place.data) == KEPT
    undone = place.undo()
    assert not undone.get("failed"), undone
    assert files(place.data) == old


@pytest.mark.parametrize(("function", "number"), [point for point in POINTS if point[0] != "_restore.staging.verify_directory"])
def test_an_undo_that_is_killed(copy, prepared, function, number):
    place, old = copy(prepared[1]), prepared[2]
    new = files(place.data)
    killed = place.killed("chroma_restore_undo", function, number, path=str(place.data))
    assert killed or function.endswith("rename")
    left = state(place)
    if left == "finished":  # that of the restore: the undo had not begun
        assert files(place.data) == new
    result = place.undo()
    assert not result.get("failed"), result
    assert result["completed"] is (killed and left in ("forward", "swapped"))
    assert files(place.data) == old
    again = place.undo()
    assert not again.get("failed"), again
    assert files(place.data) == new


def test_a_backup_that_comes_next_completes_it_too(copy, prepared):
    place = copy(prepared[0])
    assert place.killed("chroma_restore", "_restore.swap.os.rename", 4, path=str(place.data))
    assert state(place) == "forward"
    kept = place.module("chroma_backup", path=str(place.data), kind="full")
    assert kept["backup"]["records"] == 30
    assert count(place) == 30
    assert place.undo()["records"] == 40
    assert files(place.data) == prepared[2]


def test_the_next_attempt_of_a_job_finds_that_it_is_done(copy, prepared):
    place = copy(prepared[0])
    done = place.restore(job="chroma-restore-x7k2m")
    snapshots = len(place.backups())
    again = place.restore(job="chroma-restore-x7k2m")
    assert (again["changed"], again["completed"], again["restore_point"]) == (False, False, done["restore_point"])
    assert "nothing was restored now" in again["note"]
    assert len(place.backups()) == snapshots


def test_two_restores_at_once_do_not_meet(copy, prepared):
    place = copy(prepared[0])
    first = place.start("chroma_restore", path=str(place.data))
    results = [place.restore()]
    output, errors = first.communicate(timeout=300)
    results.append(json.loads(output))
    assert errors == ""
    codes = sorted(each.get("code", "done") for each in results)
    assert codes in (["done", "done"], ["done", "lock_held"])
    assert count(place) == 30
