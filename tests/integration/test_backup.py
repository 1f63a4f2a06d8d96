# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of real servers, proven and listed: full ones of three releases, chains, collections, in a directory and on S3."""

from __future__ import annotations

import json
import shutil

import backing_up
import object_store
import pytest
import repositories
import servers
import writing

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.drill import drill
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import Policy
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]
# Fixture.
server = backing_up.server


@pytest.fixture(scope="module")
def store():
    with object_store.running() as running:
        yield running


@pytest.fixture(params=["directory", "s3"])
def settings(request, tmp_path):
    """Return the settings of a repository that does not exist yet, in each kind of place."""
    if request.param == "directory":
        return repositories.settings(tmp_path / "repository")
    return repositories.in_store(request.getfixturevalue("store"), tmp_path.name)


@pytest.mark.parametrize("version", ["0.6.3", "1.0.20", "1.5.9"])
def test_a_full_backup_is_verified_and_listed(version, tmp_path):
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    with servers.running(version, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(1500))
        ChromaClient(Connection(server.url)).create_collection("empty")
        with writing.writing(server.url) as writers:
            made = backing_up.make(server.data, settings, "full", source={"chroma_version": version})
        assert [each.failures for each in writers] == [[], [], []]
    backup = made["backup"]
    print(f"{version}: pause {backup['pause_seconds']} s, verified in {backup['verify_seconds']} s, attempts {backup['attempts']}")
    assert made["changed"]
    assert (backup["kind"], backup["mode"], backup["chroma_version"], backup["restorable"]) == ("full", "hot", version, True)
    assert backup["verified"]
    assert made["proof"]["collections"] == backup["collection_count"] == 5
    assert made["proof"]["records"] == backup["records"] > 1500
    [listed] = list_backups(settings, Filter())["backups"]
    assert listed == backup
    assert backing_up.leftovers(tmp_path / "data") == []
    # What came back is what the server had acknowledged at that moment.
    repository = open_repository(settings)
    snapshot = backing_up.catalogue(settings).require(backup["id"]).snapshot
    repository.restore(snapshot, tmp_path / "back")
    moment = writing.seconds(json.loads((tmp_path / "back" / "manifest.json").read_text())["created"])
    found = writing.stored(tmp_path / "back" / "data")
    for each in writers:
        assert writing.differences(found[each.name], each.states(moment), each.space) == ""


def test_auto_makes_a_full_one_and_then_increments(settings, server):
    backing_up.upsert(server.url, "books", range(1200))
    first = backing_up.make(server.data, settings)
    assert (first["backup"]["kind"], first["repository_created"]) == ("full", True)
    again = backing_up.make(server.data, settings)
    assert (again["changed"], again["backup"]["id"]) == (False, first["backup"]["id"])
    assert "Nothing has changed" in again["plan"]["reason"]
    made = [first["backup"]]
    for number in range(2):
        backing_up.upsert(server.url, "books", range(1000 + 300 * number, 1300 + 300 * number), seed=number + 2)
        increment = backing_up.make(server.data, settings)["backup"]
        assert (increment["kind"], increment["parent"], increment["base"]) == ("increment", made[-1]["id"], made[0]["id"])
        assert (bool(increment["verified"]), increment["chain_verified"], increment["opened"]) == (True, True, False)
        assert increment["chain"] == [*(each["id"] for each in made), increment["id"]]
        assert increment["added_bytes"] < first["backup"]["added_bytes"]
        made.append(increment)
    # A collection without a record has no place in the log; it is something new all the same.
    ChromaClient(Connection(server.url)).create_collection("empty")
    assert backing_up.make(server.data, settings)["changed"]
    # Its chain is as long as it may be, and after the interval.
    backing_up.upsert(server.url, "books", range(10))
    assert backing_up.make(server.data, settings, policy=Policy(increments=3), check=True)["plan"]["kind"] == "full"
    due = backing_up.make(server.data, settings, policy=Policy(interval=0.01))
    assert (due["backup"]["kind"], due["backup"]["base"]) == ("full", "")
    listed = list_backups(settings, Filter())
    assert listed["newest"] == due["backup"]["id"]
    assert [each["kind"] for each in listed["backups"]] == ["full", "increment", "increment", "increment", "full"]
    assert all(each["restorable"] and each["verified"] for each in listed["backups"])
    print("\n".join(listed["table"]))


def test_a_directory_that_was_put_back_by_hand_begins_a_new_chain(tmp_path):
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(300))
    shutil.copytree(tmp_path / "data", tmp_path / "older")
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(300, 400))
    first = backing_up.make(tmp_path / "data", settings)["backup"]
    assert first["mode"] in ("hot", "stopped")
    for name in (tmp_path / "data").iterdir():
        if name.name != ".thinkube-chroma":
            shutil.rmtree(name) if name.is_dir() else name.unlink()
    shutil.copytree(tmp_path / "older", tmp_path / "data", dirs_exist_ok=True)
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(300, 500), seed=9)
        with pytest.raises(ChromaError) as refused:
            backing_up.make(server.data, settings, "increment")
        assert refused.value.code == "broken_chain"
        made = backing_up.make(server.data, settings)
    assert (made["backup"]["kind"], made["plan"]["kind"]) == ("full", "full")
    assert made["backup"]["verified"]
    assert backing_up.make(tmp_path / "data", settings)["changed"] is False


def test_one_collection_by_the_directory_and_by_the_api(settings, server, tmp_path):
    backing_up.upsert(server.url, "books", range(700))
    backing_up.upsert(server.url, "maps", range(20))
    by_path = backing_up.make(server.data, settings, "collection", collection="books")
    assert by_path["backup"]["collections"] == ["default_tenant/default_database/books"]
    assert (by_path["backup"]["records"], by_path["backup"]["mode"]) == (700, "hot")
    assert (by_path["proof"]["queries"], by_path["proof"]["opened"], by_path["backup"]["opened"]) == (20, True, True)
    made = backing_up.run("chroma_backup", backing_up.options(settings, url=server.url, kind="collection", collection="maps"), tmp_path)
    assert not made.get("failed"), made
    assert (made["backup"]["records"], made["backup"]["mode"], bool(made["backup"]["verified"])) == (20, "api", True)
    listed = list_backups(settings, Filter(collection="maps"))["backups"]
    assert [each["id"] for each in listed] == [made["backup"]["id"]]
    proof = drill(settings, backing_up.nobody, by_path["backup"]["id"])["proof"]
    assert (proof["collections"], proof["records"]) == (1, 700)


def test_a_drill_restores_a_chain_and_touches_nothing(settings, server, tmp_path):
    backing_up.upsert(server.url, "books", range(900))
    backing_up.make(server.data, settings)
    backing_up.upsert(server.url, "books", range(850, 1000), seed=2)
    ChromaClient(Connection(server.url)).delete(ChromaClient(Connection(server.url)).require_collection("books"), ["id-5", "id-900"])
    newest = backing_up.make(server.data, settings)["backup"]
    assert newest["kind"] == "increment"
    before = [each.snapshot for each in backing_up.catalogue(settings).backups]
    (tmp_path / "elsewhere").mkdir()
    drilled = drill(settings, backing_up.nobody, path=tmp_path / "elsewhere")
    assert (drilled["backup"]["id"], drilled["proof"]["records"]) == (newest["id"], 998)
    assert drilled["proof"]["queries"] > 0
    assert backing_up.leftovers(tmp_path / "elsewhere") == []
    assert [each.snapshot for each in backing_up.catalogue(settings).backups] == before
    # In scratch beside a running server, by id, as a module.
    base = newest["base"]
    said = backing_up.run("chroma_backup_drill", backing_up.options(settings, backup=base, path=server.data), tmp_path)
    assert not said.get("failed"), said
    assert (said["backup"]["id"], said["proof"]["records"], said["changed"]) == (base, 900, False)


def test_retention_removes_what_nothing_keeps(settings, server, tmp_path):
    made = []
    for number in range(3):
        backing_up.upsert(server.url, "books", range(number * 100, number * 100 + 100), seed=number)
        made.append(backing_up.make(server.data, settings, "full")["backup"]["id"])
    backing_up.upsert(server.url, "books", range(50), seed=7)
    increment = backing_up.make(server.data, settings)["backup"]["id"]
    # None of them is a day old: only a clock that says so makes them that, see the tests of the plan. So they are named.
    planned = prune(settings, backing_up.nobody, Retention(), path=server.data, check=True)
    assert (planned["changed"], planned["removed"]) == (False, [])
    with pytest.raises(ChromaError) as refused:
        prune(settings, backing_up.nobody, Retention(), names=[made[2]], path=server.data)
    assert refused.value.code == "in_use"
    assert increment in refused.value.message
    planned = prune(settings, backing_up.nobody, Retention(), names=made[:2], path=server.data, check=True)
    assert planned["removed"] == made[:2]
    assert len(backing_up.catalogue(settings).backups) == 4
    said = backing_up.run("chroma_backup_prune", backing_up.options(settings, path=server.data, backups=made[:2]), tmp_path)
    assert (said["changed"], said["removed"]) == (True, made[:2])
    assert [each.id for each in backing_up.catalogue(settings).backups] == [made[2], increment]
    assert drill(settings, backing_up.nobody)["proof"]["records"] == 300
    assert open_repository(settings).check(read_data=True) >= 0


def test_a_backup_from_a_clock_that_was_ahead(tmp_path, server):
    """One of next year: it is the newest until the next one, a full one is due, and retention leaves it alone."""
    settings = repositories.settings(tmp_path / "repository")
    backing_up.upsert(server.url, "books", range(200))
    backing_up.make(server.data, settings)
    backing_up.upsert(server.url, "books", range(200, 220))
    ahead = backing_up.make(server.data, settings, "full")["backup"]["id"]
    snapshot = backing_up.catalogue(settings).require(ahead).snapshot
    moved = repositories.by_hand(settings, "rewrite", "--forget", "--new-time", "2035-01-01 00:00:00", snapshot)
    assert moved.returncode == 0, moved.stderr
    backing_up.upsert(server.url, "books", range(220, 240))
    made = backing_up.make(server.data, settings)
    assert "clock was set back" in made["plan"]["reason"]
    assert made["backup"]["kind"] == "full"
    listed = list_backups(settings, Filter())
    assert [each["id"] for each in listed["backups"]][:2] == [made["backup"]["id"], ahead]
    assert listed["newest"] == made["backup"]["id"]
    backing_up.upsert(server.url, "books", range(240, 260))
    assert backing_up.make(server.data, settings)["backup"]["parent"] == made["backup"]["id"]
    planned = prune(settings, backing_up.nobody, Retention(1, 1), check=True)
    assert {each["id"]: each["reason"] for each in planned["backups"]}[ahead] == "its time is still to come: the clock was set back"


def test_after_a_restore_a_new_chain_begins(tmp_path):
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(200))
        first = backing_up.make(server.data, settings)["backup"]
        backing_up.upsert(server.url, "books", range(200, 250))
        assert backing_up.make(server.data, settings)["backup"]["kind"] == "increment"
    said = backing_up.run("chroma_restore", backing_up.options(settings, path=tmp_path / "data", backup=first["id"]), tmp_path)
    assert not said.get("failed"), said
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(200, 210), seed=5)
        planned = backing_up.make(server.data, settings, check=True)["plan"]
        assert "restored" in planned["reason"]
        made = backing_up.make(server.data, settings)["backup"]
        assert (made["kind"], made["records"]) == ("full", 210)
        backing_up.upsert(server.url, "books", range(3), seed=6)
        assert backing_up.make(server.data, settings)["backup"]["parent"] == made["id"]
    # What was there before the restore is kept, whatever retention says.
    kept = {each["id"]: each["reason"] for each in prune(settings, backing_up.nobody, Retention(1, 1), check=True)["backups"]}
    [point] = list_backups(settings, Filter(kind="restore-point"))["backups"]
    assert kept[point["id"]] == "the restore point of the last restore"
