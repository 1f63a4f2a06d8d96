# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a backup is and which is the newest: two Chromas with one repository, and a clock that was set back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import backing_up
import pytest
import repositories
from restoring import PASSWORD, Place, files
from test_restore_killed import grow

from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository

# A module whose clock is that many seconds ahead, or behind, wherever our code asks for the time; restic's stays right.
SHIFTED = """
import datetime, importlib, sys, time
seconds, name = float(sys.argv[1]), sys.argv[2]
sys.argv = [name, sys.argv[3]]
real, right = datetime.datetime, time.time
class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + datetime.timedelta(seconds=seconds)
module = importlib.import_module("ansible_collections.thinkube.chroma.plugins.modules." + name)
for each, found in list(sys.modules.items()):
    if each.startswith("ansible_collections.thinkube.") and getattr(found, "datetime", None) is real:
        found.datetime = Shifted
time.time = lambda: right() + seconds
module.main()
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two Chromas with one repository; each has two backups, in turns. Returns for each its place and the backups' ids."""
    one, other = (Place(tmp_path_factory.mktemp(name)) for name in ("one", "other"))
    made = ([], [])
    shared = str(one.repository)
    for first, last in ((0, 10), (10, 20)):
        for number, place in enumerate((one, other)):
            grow(place, first + 100 * number, last + 100 * number + number)
            made[number].append(place.backup("auto", repository=shared, verify=False))
    return (one, made[0]), (other, made[1]), shared


def done(said):
    assert not said.get("failed"), said
    return said


def test_the_newest_one_is_that_of_the_directory(places, tmp_path):
    (one, mine), (other, others), shared = places
    assert len({*mine, *others}) == 4
    found = backing_up.catalogue(repositories.settings(shared, password=PASSWORD))
    assert len({each.instance for each in found.backups}) == 2
    # The other one's are newer than this one's: by time, by number, and there is one after each of them.
    planned = {each.root: done(each.restore(check=True, repository=shared)) for each in (one, other)}
    assert (planned[one.root]["backup"], planned[one.root]["chain"]) == (mine[1], mine)
    assert (planned[other.root]["backup"], planned[other.root]["chain"]) == (others[1], others)
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert done(one.restore(check=True, repository=shared, as_of=soon))["backup"] == mine[1]
    drilled = done(one.module("chroma_backup_drill", path=str(one.data), repository=shared))
    assert drilled["backup"]["id"] == mine[1]
    # Where it is restored to does not say whose it is.
    (tmp_path / "scratch").mkdir()
    drilled = done(one.module("chroma_backup_drill", path=str(one.data), scratch_path=str(tmp_path / "scratch"), repository=shared))
    assert (drilled["backup"]["id"], list((tmp_path / "scratch").iterdir())) == (mine[1], [])
    for place in ({}, {"path": str(tmp_path / "scratch")}, {"scratch_path": str(tmp_path / "scratch")}):
        said = one.module("chroma_backup_drill", repository=shared, **place)
        assert (said.get("failed"), said.get("code")) == (True, "invalid_value"), said
    # A directory that is new can be either: nobody guesses, and an id is enough.
    new = Place(tmp_path)
    said = new.restore(check=True, repository=shared)
    assert (said.get("failed"), said["code"]) == (True, "invalid_value"), said
    assert "Name the backup by its id" in said["hint"]
    assert done(new.restore(check=True, repository=shared, backup=others[0]))["backup"] == others[0]


def test_a_restore_and_its_undo_stay_within_the_directory(places, tmp_path):
    (one, mine), (other, others), shared = places
    copies: list[Place] = []
    for number, place in enumerate((one, other)):
        shutil.copytree(place.data, tmp_path / str(number) / "data")
        copies.append(Place(tmp_path / str(number)))
    shutil.copytree(shared, tmp_path / "repository")
    repository = {"repository": str(tmp_path / "repository")}
    before = [files(each.data) for each in copies]
    restored = done(copies[0].restore(**repository)), done(copies[1].restore(**repository, backup=others[0]))
    assert [each["backup"] for each in restored] == [mine[1], others[0]]
    now = files(copies[1].data)
    # The other one's restore point is the newer one.
    undone = done(copies[0].undo(**repository))
    assert (undone["backup"], undone["restore_point_verified"]) == (restored[0]["restore_point"], True)
    assert [files(each.data) for each in copies] == [before[0], now]
    assert done(copies[1].undo(**repository))["backup"] == restored[1]["restore_point"]
    assert [files(each.data) for each in copies] == before


def test_an_undo_never_brings_what_another_directory_was_before_it_became_a_copy(places, tmp_path):
    (one, mine), _other, shared = places
    for name in ("original", "copy"):
        (tmp_path / name).mkdir()
    shutil.copytree(one.data, tmp_path / "original" / "data")
    shutil.copytree(shared, tmp_path / "repository")
    repository = {"repository": str(tmp_path / "repository")}
    original, copy = Place(tmp_path / "original"), Place(tmp_path / "copy")
    grow(copy, 0, 1)
    before, little = files(original.data), files(copy.data)
    restored = done(copy.restore(**repository, backup=mine[1]))
    # That restore point is the only one, and nothing in it says whose it is.
    for check in (True, False):
        said = original.undo(check=check, **repository)
        assert (said.get("failed"), said.get("code")) == (True, "not_found"), said
        assert "name it" in said["hint"]
    assert files(original.data) == before
    assert done(copy.undo(**repository))["backup"] == restored["restore_point"]
    assert files(copy.data) == little


def test_what_can_be_restored_instead_is_never_the_other_ones(places, tmp_path):
    (one, mine), (_other, others), shared = places
    shutil.copytree(one.data, tmp_path / "place" / "data")
    shutil.copytree(shared, tmp_path / "repository")
    opened = open_repository(repositories.settings(tmp_path / "repository", password=PASSWORD))
    # Between the two of this one there is one of the other.
    opened.forget([each.snapshot for each in opened.snapshots((f"id={mine[0]}",))], prune=True)
    said = Place(tmp_path / "place").restore(repository=str(tmp_path / "repository"))
    assert (said.get("failed"), said.get("code")) == (True, "broken_chain"), said
    assert mine[0] in said["msg"]
    assert not [each for each in others if each in said["hint"]], said["hint"]


def at(seconds, module, place, **options):
    """Run a module whose clock is that far from the right one."""
    # Not hot: the moment of a hot copy is asked for by a process of its own, which holds SQLite's lock.
    still = {"live": False} if module == "chroma_backup" else {}
    given = {"repository": str(place.repository), "repository_password": PASSWORD, **still, **options}
    arguments = backing_up.options(repositories.settings(place.repository), path=place.data, **given)
    file = place.root / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    environ = {**os.environ, "PYTHONPATH": str(backing_up.COLLECTIONS)}
    command = [sys.executable, "-c", SHIFTED, str(seconds), module, str(file)]
    output = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert output.stdout.strip(), output.stderr
    return done(json.loads(output.stdout))


def test_a_clock_that_was_set_back_loses_nothing_and_hides_nothing(tmp_path):
    place, back = Place(tmp_path), -48 * 3600.0
    grow(place, 0, 10)
    made = [at(0, "chroma_backup", place)["backup"]]
    grow(place, 10, 20)
    # Two days ago there was no backup to follow on: a full one, which is the newest all the same.
    second = at(back, "chroma_backup", place)
    assert (second["backup"]["kind"], bool(second["backup"]["verified"])) == ("full", True)
    assert "clock was set back" in second["plan"]["reason"]
    assert second["backup"]["created"] < made[0]["created"]
    made.append(second["backup"])
    grow(place, 20, 30)
    third = at(back + 60, "chroma_backup", place)["backup"]
    assert (third["kind"], third["parent"], third["records"]) == ("increment", made[1]["id"], 30)
    made.append(third)
    ids = [each["id"] for each in made]
    assert at(back + 90, "chroma_restore", place, _ansible_check_mode=True)["backup"] == ids[2]
    # Neither does the least retention take any of them, before the clock is right again nor after it.
    for shift in (back + 120, 0):
        pruned = at(shift, "chroma_backup_prune", place, retention_days=1, retention_count=1)
        assert pruned["removed"] == [], pruned["table"]
    grow(place, 30, 40)
    at(0, "chroma_backup", place)
    listed = done(place.module("chroma_backup_info"))
    assert [each["id"] for each in listed["backups"]][1:] == ids[::-1]
    said = done(place.module("chroma_journal_info", path=str(place.data), repository=None, repository_password=None, restic_path=None))
    assert (said["verified"]["intact"], said["verified"]["clock_set_back"] > 0) == (True, True)
