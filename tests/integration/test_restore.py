# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup comes back as it was, what it replaced can be brought back, and what can't be is refused before anything is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import disks
import pytest
import servers
from chains import same, write
from repositories import settings
from restoring import KEPT, NEWEST, PASSWORD, Place, files, fill, private

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import held
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore import current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


def _moment(backup):
    return datetime.strptime(backup[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory, a full backup of it, an increment, and later writes; with what a server said at each of these moments."""
    place = Place(tmp_path_factory.mktemp("prepared"))
    states, ids = [fill(place)], [place.backup()]
    while time.time() < _moment(ids[0]) + 2:  # the time of a snapshot has whole seconds
        time.sleep(0.1)
    states.append(fill(place, seed=2, turns=1))
    ids.append(place.backup("increment"))
    states.append(fill(place, seed=3, turns=1))
    return place, ids, states


@pytest.fixture
def place(prepared, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(prepared[0].root, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def ids(prepared):
    return prepared[1]


@pytest.fixture
def states(prepared):
    return prepared[2]


def refused(result, code, *words):
    """Check that a module failed with this code, and says these words."""
    assert result.get("failed"), result
    assert result.get("code") == code, result
    assert result["hint"]
    for word in words:
        assert word in result["msg"], result["msg"]


def test_what_was_replaced_comes_back_byte_by_byte_and_an_undo_is_undone_as_well(place, ids, states):
    before = files(place.data)
    result = place.restore(backup=ids[0])
    assert not result.get("failed"), result
    assert (result["backup"], result["kind"], result["current"], result["completed"]) == (ids[0], "full", "present", False)
    assert (result["restore_point_verified"], result["proof"]["collections"]) == (True, len(states[0]))
    same(place.served(), states[0])
    now = files(place.data)
    undone = place.undo()
    assert (undone["backup"], undone["kind"]) == (result["restore_point"], "restore-point")
    assert files(place.data) == before
    again = place.undo()
    assert again["backup"] == undone["restore_point"] != result["restore_point"]
    assert files(place.data) == now
    place.undo()
    assert files(place.data) == before
    assert private(place.data) == KEPT


def test_the_newest_one_is_restored_with_its_increment(place, ids, states):
    result = place.restore()
    assert (result["backup"], result["chain"]) == (ids[1], ids)
    same(place.served(), states[1])


def test_as_of_a_time_means_the_one_before_it_and_says_so(place, ids, states):
    _first, second = (each["time"] for each in place.backups())
    between = datetime.fromisoformat(second[:19]).replace(tzinfo=UTC) - timedelta(milliseconds=500)
    plan = place.restore(check=True, as_of=between.isoformat())
    assert (plan["backup"], plan["chain"]) == (ids[0], ids[:1])
    assert all(each in plan["note"] for each in ids)
    assert "What was written between them is not in it" in plan["note"]
    refused(place.restore(as_of="2001-01-01T00:00:00Z"), "not_found", "as old as", ids[0])
    refused(place.restore(as_of="yesterday"), "invalid_value", "no time")
    refused(place.restore(as_of=between.isoformat(), backup=ids[0]), "invalid_value")


def test_check_mode_says_what_would_be_replaced_and_lost_and_changes_nothing(place, ids, states):
    before, snapshots = files(place.data), place.backups()
    left = private(place.data)
    plan = place.restore(check=True, backup=ids[0])
    assert plan["changed"]
    assert plan["lost_records"] > 0
    fates = {each["label"]: each for each in plan["collections"]}
    then = {"/".join(key): len(rows) for key, (_about, rows) in states[0].items()}
    now = {"/".join(key): len(rows) for key, (_about, rows) in states[2].items()}
    assert plan["diff"]["after"] == {label: each["then"] for label, each in fates.items() if each["fate"] != "removed"} == then
    assert sum(plan["diff"]["before"].values()) == sum(now.values())
    assert {label for label, each in fates.items() if each["fate"] == "removed"} <= now.keys() - then.keys()
    assert (files(place.data), place.backups(), private(place.data)) == (before, snapshots, left)


def test_lost_everything_but_repository_and_password(place, states, tmp_path):
    shutil.rmtree(place.data)
    refused(place.module("chroma_restore", path=str(place.root / "absent")), "not_found", "no directory")
    result = place.restore()
    assert (result["current"], result["restore_point"], result["lost_records"]) == ("empty", "", 0)
    same(place.served(), states[1])
    refused(place.undo(), "not_found", "nothing to undo")


def test_a_restore_into_an_empty_directory_is_not_undone_by_what_an_earlier_one_replaced(place, ids):
    point = place.restore(backup=ids[0])["restore_point"]
    shutil.rmtree(place.data)
    place.restore(backup=ids[0])
    before = files(place.data)
    for check in (True, False):
        refused(place.undo(check=check), "not_found", "empty directory", "nothing to undo")
    assert files(place.data) == before
    assert place.undo(restore_point=point)["backup"] == point


def interrupt(database):
    """Kill somebody in a transaction that has begun to write to a database."""
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('PRAGMA cache_size=2');"
        "c.execute('BEGIN IMMEDIATE'); c.execute(\"UPDATE embedding_metadata SET string_value = string_value || '!'\");"
        "c.execute(\"UPDATE embeddings SET created_at = created_at || '!'\"); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(database)], check=False)
    assert database.with_name(f"{DATABASE}-journal").stat().st_size > 512


@pytest.mark.parametrize("how", ["database", "no database", "index", "journal", "interrupted"])
def test_a_damaged_directory_is_restored_over_and_its_bytes_are_kept(place, ids, states, how):
    if how == "database":
        (place.data / DATABASE).write_bytes(b"?" * 100_000)
    elif how == "no database":
        (place.data / DATABASE).unlink()
    elif how == "journal":
        (place.data / f"{DATABASE}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"?" * 9000)
    elif how == "interrupted":
        interrupt(place.data / DATABASE)
    else:
        shutil.rmtree(next(each for each in place.data.iterdir() if len(each.name) == 36))
    before = files(place.data)
    plan = place.restore(check=True, backup=ids[0])
    assert plan["current"] == ("damaged" if "database" in how else plan["current"])
    result = place.restore(backup=ids[0])
    assert not result.get("failed"), result
    same(place.served(), states[0])
    assert place.undo()["backup"] == result["restore_point"]
    assert files(place.data) == before


def test_beside_a_running_server_it_is_refused_and_the_plan_is_not(place, ids):
    with servers.running(NEWEST, data=place.data) as server:
        before = files(place.data)
        refused(place.restore(), "server_running", str(server.pid), "Stop that server")
        assert place.restore(check=True)["backup"] == ids[1]
        assert files(place.data) == before
    assert len(place.backups()) == 2


def test_what_is_written_all_the_while_is_restored_over_and_nobody_says_what_is_lost(place, ids, states, monkeypatch):
    """Counting takes longer than the pause between two writes."""
    read = current.read_moment

    def written_meanwhile(opened):
        found = read(opened)
        connection = sqlite3.connect(place.data / DATABASE)
        connection.execute("UPDATE embeddings SET created_at = created_at || '!'")
        connection.commit()
        connection.close()
        return found

    monkeypatch.setattr(current, "read_moment", written_meanwhile)
    around = Surroundings(partial(open_repository, settings(place.repository, password=PASSWORD)))
    for check in (True, False):
        result = restore(around, RestoreRequest(place.data, "one", ids[0]), check)
        assert (result["changed"], result["current"], result["lost_records"]) == (True, "present", None)
        assert [each for each in result["warnings"] if "nobody can tell what is lost" in each]
    same(place.served(), states[0])


@pytest.mark.parametrize("version", ["0.6.3", "1.0.20"])
def test_into_an_older_chroma_it_is_refused(place, version):
    before = files(place.data)
    refused(place.restore(chroma_version=version), "newer_backup", version, "Upgrade Chroma to 1.5.9")
    shutil.rmtree(place.data)
    with servers.running(version, data=place.data):
        pass
    # Nobody said which one serves it: the directory does.
    refused(place.restore(check=True), "newer_backup", "wrote the data directory")
    assert before


@pytest.mark.parametrize("version", servers.VERSIONS[:-1])
def test_a_backup_of_an_older_chroma_comes_back_as_that_one_wrote_it(tmp_path, version):
    place = Place(tmp_path)
    with servers.running(version, data=place.data) as server:
        write_some(server.url)
    before = files(place.data)
    place.backup(chroma_version=version)
    shutil.rmtree(place.data)
    result = place.restore(chroma_version=version)
    assert not result.get("failed"), result
    assert files(place.data) == before
    with servers.running(version, data=place.data) as server:
        assert counted(server.url) == 30


def write_some(url):
    """Write thirty records into one collection."""
    client = ChromaClient(Connection(url))
    books = client.create_collection("books", {"hnsw:batch_size": 5, "hnsw:sync_threshold": 10} if client.legacy else {}, {})
    write(client, books, "upsert", [f"id-{each}" for each in range(30)], embeddings=[[each, 1.0, 0.5] for each in range(30)])


def counted(url):
    """Return how many records that collection has."""
    client = ChromaClient(Connection(url))
    return client.count(client.require_collection("books"))


def test_bad_input_is_told_and_nothing_is_changed(place, ids, tmp_path):
    before, snapshots = files(place.data), place.backups()
    refused(place.restore(backup="20200101T000000Z-000000"), "not_found", "20200101T000000Z-000000", ids[0])
    refused(place.restore(backup="the best one"), "not_found")
    refused(place.restore(repository_password="another one"), "wrong_password")
    refused(place.restore(repository=str(tmp_path)), "foreign_repository")
    refused(place.restore(repository=str(tmp_path / "none")), "no_repository")
    refused(place.undo(), "not_found", "nothing to undo")
    refused(place.undo(restore_point=ids[0]), "unsupported", "no restore point")
    refused(place.restore(job="../../etc"), "invalid_value")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "letter.txt").write_text("Dear")
    refused(place.module("chroma_restore", path=str(tmp_path / "elsewhere")), "not_chroma_directory")
    assert (files(place.data), place.backups()) == (before, snapshots)


def test_what_is_not_chromas_keeps_its_place(place, states):
    (place.data / "lost+found").mkdir()
    (place.data / "notes.txt").write_text("mine")
    place.restore()
    assert (place.data / "notes.txt").read_text() == "mine"
    place.undo()
    assert (place.data / "notes.txt").read_text() == "mine"
    assert (place.data / "lost+found").is_dir()


def test_a_link_in_the_place_of_an_index_is_refused(place):
    folder = next(each for each in place.data.iterdir() if len(each.name) == 36)
    folder.rename(place.root / "elsewhere")
    folder.symlink_to(place.root / "elsewhere")
    refused(place.restore(), "unsupported", folder.name)


def test_owner_and_modes_are_what_the_server_needs(place):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chmod(place.data, 0o2770)
    for each in (place.data, *place.data.rglob("*")):
        if ".thinkube-chroma" not in each.parts:
            os.chown(each, 1234, 1235)
    place.restore()
    restored = [each for each in place.data.rglob("*") if ".thinkube-chroma" not in each.parts]
    assert restored
    assert {(each.stat().st_uid, each.stat().st_gid) for each in restored} == {(1234, 1235)}
    assert {each.stat().st_mode & 0o7777 for each in restored if each.is_dir()} <= {0o2770}
    assert all(each.stat().st_mode & 0o600 == 0o600 for each in restored)


def test_no_room_is_told_before_anything_is_brought(place, tmp_path):
    with disks.mounted(tmp_path / "small", "size=20m") as room:
        shutil.copytree(place.data, room / "data")
        result = place.module("chroma_restore", path=str(room / "data"))
        refused(result, "no_space", "MiB are free", "needed")
        assert files(room / "data") == files(place.data)


def test_a_repository_that_lost_an_increment_restores_the_points_before_it(place, ids, states):
    fill(place, seed=5, turns=1)
    third = place.backup("increment")
    repository = open_repository(settings(place.repository, password=PASSWORD))
    lost = next(each for each in repository.snapshots() if each.backup == ids[1])
    repository.forget([lost.snapshot], prune=True)
    before = files(place.data)
    refused(place.restore(), "broken_chain", third, ids[1], f"can be restored is {ids[0]}")
    refused(place.restore(backup=third), "broken_chain", third, ids[1], f"can be restored is {ids[0]}")
    assert files(place.data) == before
    assert place.restore(backup=ids[0])["backup"] == ids[0]
    same(place.served(), states[0])


def test_a_journal_of_it_is_kept(place):
    point = place.restore()["restore_point"]
    place.undo()
    entries = place.module("chroma_journal_info", path=str(place.data), repository=None, repository_password=None, restic_path=None)
    ours = [each for each in entries["operations"] if "restore" in each["operation"]]
    assert [(each["operation"], each["status"]) for each in ours] == [("restore", "done"), ("undo-restore", "done")]
    assert point in str(ours)


def test_a_wal_of_sqlite_is_no_obstacle(place, states):
    """A database that somebody set to WAL has its newest pages beside it."""
    connection = sqlite3.connect(place.data / DATABASE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE somebodys (x)")
    shutil.copytree(place.data, place.root / "kept")
    connection.close()
    shutil.rmtree(place.data)
    Path(place.root / "kept").rename(place.data)
    before = files(place.data)
    assert f"{DATABASE}-wal" in before
    place.restore()
    same(place.served(), states[1])
    place.undo()
    after = files(place.data)
    assert {name: text for name, text in after.items() if not name.endswith("-shm")} == {
        name: text for name, text in before.items() if not name.endswith("-shm")
    }


def test_floats_that_chroma_reads_inexactly_are_counted_and_told(tmp_path):
    value = -6.381610240979043e-10
    assert held(held(value)) != held(value)  # once more when it is replayed
    place = Place(tmp_path)
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        books = client.create_collection("books", {}, {})
        write(client, books, "upsert", ["first"], embeddings=[[1.0, 2.0]])
        place.backup(verify=False)
        write(client, books, "upsert", ["inexact", "exact"], embeddings=[[1.0, 2.0]] * 2, metadatas=[{"x": value}, {"x": 0.5}])
        place.backup("increment", verify=False)
    result = place.restore()
    assert (result["rounded"], result["records"]) == (1, 3)
    assert "some floats in the metadata of 1 replayed records" in str(result["warnings"])


def test_a_plan_needs_no_right_to_write_beside_a_server(place, ids, tmp_path):
    """As the Job of check mode has it."""
    only = tmp_path / "only"
    only.mkdir()
    try:
        if os.system(f"mount --bind {place.data} {only} 2>/dev/null && mount -o remount,bind,ro {only} 2>/dev/null"):
            pytest.skip("no right to mount")
        with servers.running(NEWEST, data=place.data):
            plan = place.module("chroma_restore", path=str(only), check=True, backup=ids[0])
            refused(place.module("chroma_restore_undo", path=str(only), check=True), "not_found", "nothing to undo")
    finally:
        os.system(f"umount {only} 2>/dev/null")
    assert plan["lost_records"] > 0
    assert {each["fate"] for each in plan["collections"]} > {"replaced"}
