# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point in time: each of ten increments is restored as the server was at its moment, while writers never stop; a damaged one spoils none
of those before it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import restic
import servers
from chains import State, Writer, same, state_of
from restoring import NEWEST, PASSWORD, Place
from writing import Records, differences, seconds, served, writing

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

INCREMENTS = 10
DAMAGED = 6
# The collections of the writers that never stop, in a database of their own; those of the others stand still for a backup.
BUSY = {"first": "l2", "second": "cosine"}


def packs(place):
    """Return the files in which the repository keeps content."""
    return {each for each in (place.repository / "data").rglob("*") if each.is_file()}


def moment_of(place, name):
    """Return the moment of a backup's lock as its manifest has it, seconds of the clock; catalogues have whole seconds."""
    command = [str(restic.program()), "-r", str(place.repository), "--no-lock", "--no-cache", "dump", f"--tag=id={name}", "latest"]
    done = subprocess.run([*command, "/manifest.json"], env={**os.environ, "RESTIC_PASSWORD": PASSWORD}, capture_output=True, check=True)
    return seconds(parse_manifest(done.stdout, name).created)


def busy_database(url):
    """Return a connection to the database of the writers that never stop."""
    return Connection(url, database="busy")


def check(place, point):
    """Check that what is served is what the server said, and of the writers that never stop, what was acknowledged at the lock's moment."""
    with servers.running(NEWEST, data=place.data) as server:
        same(state_of(server.url), point.still)
        found = served(busy_database(server.url), list(BUSY))
    for name, states in point.busy.items():
        assert len(states[0]) > 50
        assert differences(found[name], states, BUSY[name]) == "", name


@dataclass
class Point:
    """A backup: its id, what the server said, what the busy collections may hold, the files that it brought, and the lock's moment."""

    id: str
    still: State
    busy: dict[str, list[Records]]
    files: set[Path]
    moment: float


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A full backup and ten increments of a running server."""
    place = Place(tmp_path_factory.mktemp("points"))
    points = []
    with servers.running(NEWEST, data=place.data) as server:
        ChromaClient(busy_database(server.url)).create_database()
        writer = Writer(server.url, 7, lists=True)
        with writing(busy_database(server.url), BUSY, pause=0.2) as busy:
            while min(len(each.writes) for each in busy) < 20:
                time.sleep(0.1)
            for number in range(INCREMENTS + 1):
                writer.turn(4)
                before, written = packs(place) if place.repository.exists() else set(), [len(each.writes) for each in busy]
                name = place.backup("increment" if number else "full", verify=number in (0, INCREMENTS))
                assert all(len(each.writes) > many for each, many in zip(busy, written, strict=True))
                moment = moment_of(place, name)
                states = {each.name: each.states(moment) for each in busy}
                points.append(Point(name, state_of(server.url), states, packs(place) - before, moment))
    assert [each.failures for each in busy] == [[], []]
    return place, points


@pytest.mark.parametrize("number", range(INCREMENTS + 1))
def test_each_point_is_what_the_server_said_at_its_moment(chain, tmp_path, number):
    place, points = chain
    fresh = Place(tmp_path)
    result = fresh.restore(backup=points[number].id, repository=str(place.repository))
    assert not result.get("failed"), result
    assert result["chain"] == [each.id for each in points[: number + 1]]
    check(fresh, points[number])


def test_as_of_the_moment_of_an_increment_means_that_one(chain, tmp_path):
    place, points = chain
    moment, later = (datetime.fromtimestamp(int(points[number].moment), UTC) for number in (4, 5))  # catalogues have whole seconds
    plan = Place(tmp_path).restore(check=True, as_of=(moment + (later - moment) / 2).isoformat(), repository=str(place.repository))
    assert plan["backup"] == points[4].id


def test_a_damaged_increment_is_named_and_the_points_before_it_still_restore(chain, tmp_path):
    original, points = chain
    place = Place(tmp_path)
    shutil.copytree(original.repository, place.repository)
    for pack in points[DAMAGED].files:
        file = place.repository / pack.relative_to(original.repository)
        file.chmod(0o600)
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 0xFF
        file.write_bytes(content)
    bad, good = points[DAMAGED].id, points[DAMAGED - 1].id
    for number in (DAMAGED, DAMAGED + 2):
        result = place.restore(backup=points[number].id)
        assert result.get("failed"), result
        assert result["code"] == "damaged_repository"
        assert bad in result["msg"]
        assert good in result["hint"]
        assert not [each for each in place.data.iterdir() if each.name != ".thinkube-chroma"]
    result = place.restore(backup=good)
    assert not result.get("failed"), result
    check(place, points[DAMAGED - 1])
