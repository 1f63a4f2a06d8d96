# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of directories that real servers made: nothing in healthy ones, all of it in broken ones, nothing invented beside a writer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import broken
import disks
import filling
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import collection as collection_check
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import database as locks
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import live as second_look
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import runner
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import check_readable
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS, PLACE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# What a save that was killed leaves, by how far it had come.
TORN = {"CHR033", "CHR035", "CHR036", "CHR039", "CHR053", "CHR054", "CHR055"}
# Seen in tests/unit/module_utils/fsck, or below: no case can break a file system.
ENVIRONMENT = {"CHR006", *PLACE}


def said(report):
    """Return what a report found: identifiers, and the collections' names."""
    return {(each.kind.id, each.collection.rpartition("/")[2]) for each in report.findings}


def assert_healthy(path, live=False):
    report = validate(path, live=live)
    assert [each.as_result() for each in report.findings] == []
    assert (report.rc, list(report.skipped), list(report.unconfirmed)) == (0, [], [])
    return report


def contents(path):
    """Return a checksum and the time of every file."""
    return {
        file.relative_to(path): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_nothing_is_found_in_healthy_directories(version, bases, tmp_path):
    filling.healthy(version, tmp_path)
    for path in (bases(version)[0], bases(version)[1], tmp_path / "fresh", tmp_path / "worn", tmp_path / "many"):
        before = contents(path)
        assert_healthy(path)
        assert_healthy(path, live=True)
        assert contents(path) == before


@pytest.mark.parametrize("version", [version for version in servers.VERSIONS if version != "1.5.9"])
def test_nothing_is_found_after_an_upgrade_in_place(version, bases, tmp_path):
    source = bases(version)[0]
    filling.upgrade(source, tmp_path / "upgraded")
    if version == "0.4.24":
        # It leaves the text of deleted documents in the full-text table; while it runs, that is how it is.
        assert said(validate(tmp_path / "upgraded")) == {("CHR085", "")}
    else:
        assert_healthy(tmp_path / "upgraded")


def test_what_stops_an_upgraded_server_is_found(bases, tmp_path):
    """A record without document that 0.x has not taken into its index yet makes each write to 1.5.9 fail."""
    shutil.copytree(bases("0.6.3")[0], tmp_path / "data")
    with servers.running("0.6.3", data=tmp_path / "data") as server:
        client = ChromaClient(Connection(server.url))
        filling.write(client, client.require_collection("few"), [18])
    assert_healthy(tmp_path / "data")
    with servers.running("1.5.9", data=tmp_path / "data") as server:
        client = ChromaClient(Connection(server.url, retries=0))
        with pytest.raises(ChromaError, match="500"):
            filling.write(client, client.require_collection("few"), [30])
    assert ("CHR066", "few") in said(validate(tmp_path / "data"))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        # Deleted before it was used since the server's start; otherwise 0.4 leaves nothing.
        ("0.4.24", {"CHR017", "CHR080"}),
        ("0.5.23", {"CHR017", "CHR080"}),
        ("0.6.3", {"CHR017", "CHR080"}),
        ("1.0.20", {"CHR017"}),
        ("1.5.9", {"CHR017", "CHR082"}),
    ],
)
def test_what_a_deleted_collection_leaves_is_minor(version, expected, bases, tmp_path):
    shutil.copytree(bases(version)[0], tmp_path / "data")
    with servers.running(version, data=tmp_path / "data") as server:
        ChromaClient(Connection(server.url)).delete_collection("books")
    report = validate(tmp_path / "data")
    assert {name for name, _collection in said(report)} == expected
    assert report.rc == 3


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_each_kind_of_damage_is_found_and_nothing_else(version, bases, tmp_path, monkeypatch):
    # Nobody writes here that would need time between two looks.
    monkeypatch.setattr(second_look, "PAUSE", 0.01)
    monkeypatch.setattr(second_look, "SETTLED", 0.02)
    base, early = bases(version)
    wrong = {}
    for case in (each for each in broken.CASES if version in each.versions):
        path = tmp_path / "data"
        shutil.copytree(base, path)
        case.act(broken.Scene(path, version, early))
        before = contents(path)
        # The careful way takes longer and is the same code on all releases.
        for live in (False, True) if version == "1.5.9" else (False,):
            report = validate(path, live=live)
            if said(report) != case.expected or report.unconfirmed:
                wrong[case.name, live] = [each.as_result() for each in report.findings]
            if report.rc != (4 if any(KINDS[name].severity == "severe" for name, _collection in case.expected) else 3):
                wrong[case.name, "rc"] = report.rc
        if contents(path) != before:
            wrong[case.name, "was written to"] = path
        shutil.rmtree(path)
    assert wrong == {}
    assert not (tmp_path / "executed").exists()


def test_there_is_a_case_for_each_finding():
    found = {name for case in broken.CASES for name, _collection in case.expected}
    assert found | ENVIRONMENT == set(KINDS)
    assert len(broken.CASES) >= 40


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_a_save_that_was_killed_is_found(version, tmp_path):
    # The kill has milliseconds; when the save was faster, again.
    for attempt in range(4):
        path = tmp_path / str(attempt)
        if filling.torn(version, path):
            break
    else:
        pytest.fail("no save was interrupted in four attempts")
    found = said(validate(path))
    assert found
    assert found <= {(name, "big") for name in TORN}


@pytest.mark.parametrize("version", ["0.6.3", "1.5.9"])
def test_a_writing_server_causes_no_findings_and_hides_none(version, tmp_path):
    done = threading.Event()
    failures = []
    with servers.running(version, data=tmp_path / "data") as server:
        client = ChromaClient(Connection(server.url))
        collection = filling.create(client, "busy", 40)
        filling.write(client, collection, range(100))

        def keep_writing():
            try:
                first = 0
                while not done.is_set():
                    filling.write(client, collection, range(first, first + 30))
                    client.delete(collection, [f"id-{first + 3}", f"id-{first + 31}"])
                    filling.change(client, collection, f"id-{first + 5}", documents="changed")
                    name = f"short-lived-{first}"
                    filling.write(client, filling.create(client, name), range(3))
                    first += 30
            except Exception as error:
                failures.append(error)

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            reports = [validate(server.data, live=True) for _each in range(12)]
            # It finds out by itself that the server has the database open, or else that files changed.
            assert validate(server.data).live
            reports.append(validate(server.data, live=False))
            orphan = server.data / str(uuid.uuid4())
            orphan.mkdir()
            (orphan / "header.bin").touch()
            connection = sqlite3.connect(server.data / "chroma.sqlite3", timeout=30)
            connection.execute("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
            connection.commit()
            connection.close()
            damaged = validate(server.data, live=True)
        finally:
            done.set()
            writer.join()
    assert failures == []
    for report in reports:
        assert [each.as_result() for each in report.findings] == []
        assert report.summary["longest_lock"] > 0
    assert said(damaged) == {("CHR017", ""), ("CHR081", "")}
    # Now that it stands still, nothing was overlooked.
    assert said(validate(tmp_path / "data")) == said(damaged)


def test_lost_records_are_confirmed_where_comparing_all_takes_longer_than_a_lock(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    shutil.copytree(bases("1.5.9")[0], path)
    connection = sqlite3.connect(path / "chroma.sqlite3")
    sql = "SELECT s.id FROM segments s JOIN collections c ON s.collection = c.id WHERE s.scope = 'METADATA' AND c.name = 'books'"
    [(segment,)] = connection.execute(sql)
    lost = ["lost", "perdu é", b"no \xff text"]
    for name in lost:
        text = name if isinstance(name, bytes) else name.encode()
        connection.execute("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, CAST(? AS TEXT), 1)", (segment, text))
    connection.commit()
    connection.close()
    all_ids, commits = collection_check._record_ids, iter(range(10**6))

    def slow(database, segment, suspects):
        if suspects is None and database.held_since is not None:
            raise locks.OutOfTime
        return all_ids(database, segment, suspects)

    monkeypatch.setattr(collection_check, "_record_ids", slow)
    # Without a lock somebody writes each time.
    monkeypatch.setattr(locks.Database, "commits", lambda self: 0 if self.held_since else next(commits))
    report = validate(path, live=True)
    assert (said(report), report.unconfirmed) == ({("CHR070", "books")}, [])
    [found] = report.findings
    assert found.message.startswith("3 of ")
    assert len(found.rows) == 3


def test_a_transaction_that_was_interrupted_is_rolled_back_in_a_copy(bases, tmp_path):
    path, scratch = tmp_path / "data", tmp_path / "scratch"
    shutil.copytree(bases("1.5.9")[0], path)
    scratch.mkdir()
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN');"
        "c.execute('DELETE FROM embeddings'); c.execute('DELETE FROM embedding_metadata'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path / "chroma.sqlite3")], check=False)
    assert (path / "chroma.sqlite3-journal").stat().st_size
    before = contents(path)
    for live in (False, True):
        report = validate(path, live=live, scratch=scratch)
        assert (said(report), report.skipped, report.live) == (set(), [], False)
    assert contents(path) == before


def test_a_database_in_wal_mode_is_judged_by_a_copy(bases, tmp_path):
    path, scratch = tmp_path / "data", tmp_path / "scratch"
    shutil.copytree(bases("1.5.9")[0], path)
    scratch.mkdir()
    connection = sqlite3.connect(path / "chroma.sqlite3")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    before = contents(path)
    report = validate(path, live=True, scratch=scratch)
    assert contents(path) == before
    assert (said(report), report.live, report.rc) == (set(), False, 0)
    assert "WAL" in "".join(report.limits)


def test_a_copy_of_what_changes_all_the_time_is_not_judged(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    shutil.copytree(bases("1.5.9")[0], path)
    connection = sqlite3.connect(path / "chroma.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    writes = 0

    def write_and_check(*arguments):
        nonlocal writes
        writes += 1
        if writes <= limit:
            connection.execute("UPDATE collections SET name = name")
        return check_readable(*arguments)

    monkeypatch.setattr(runner, "check_readable", write_and_check)
    limit = 2
    assert said(validate(path, live=True)) == set()
    assert writes == 3
    writes, limit = 0, 99
    with pytest.raises(ChromaError) as failed:
        validate(path, live=True)
    assert (failed.value.code, writes) == ("directory_changed", 3)
    connection.close()


def test_a_database_that_somebody_keeps_locked_is_busy(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    shutil.copytree(bases("1.5.9")[0], path)
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    connection = sqlite3.connect(path / "chroma.sqlite3", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ChromaError) as failed:
        validate(path, live=True)
    connection.close()
    assert failed.value.code == "busy"


def test_a_directory_on_a_small_disk_is_a_finding(bases, tmp_path):
    with disks.mounted(tmp_path / "disk", "size=24m") as disk:
        shutil.copytree(bases("1.5.9")[0], disk / "data")
        assert said(validate(disk / "data")) == {("CHR103", "")}
        assert said(validate(disk / "data", mounted=True)) == {("CHR101", ""), ("CHR103", "")}


def test_a_file_that_cannot_be_opened_is_a_finding(bases, tmp_path):
    shutil.copytree(bases("1.5.9")[0], tmp_path / "data")
    header = next((tmp_path / "data").glob("*/header.bin"))
    header.chmod(0)
    if os.geteuid():
        assert said(validate(tmp_path / "data")) >= {("CHR006", "")}
        return
    # Root can open everything; a child without its rights cannot.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to(Path(tmp_path.anchor) / tmp_path.parts[1]):
            folder.chmod(0o755)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setuid(65534)
        os.write(writer, json.dumps([[each.kind.id, each.subject] for each in check_readable(tmp_path / "data")]).encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 10000)
    os.waitpid(child, 0)
    assert json.loads(answer) == [["CHR006", "header.bin"]]


def test_only_the_collections_that_are_asked_for(bases, tmp_path):
    path = tmp_path / "data"
    shutil.copytree(bases("1.5.9")[0], path)
    scene = broken.Scene(path, "1.5.9", bases("1.5.9")[1])
    (scene.folder() / "header.bin").unlink()
    (scene.folder("far") / "length.bin").unlink()
    assert said(validate(path)) == {("CHR030", "books"), ("CHR035", "far")}
    assert said(validate(path, collections=["other/elsewhere/far", "few"])) == {("CHR035", "far")}
    assert said(validate(path, collections=["empty"])) == set()
    with pytest.raises(ChromaError) as failed:
        validate(path, collections=["nowhere"])
    assert failed.value.code == "not_found"
    assert "other/elsewhere/far" in failed.value.hint


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, for what runs as a process of its own: how full the one is that the tests happen to run on would be a finding."""
    with disks.mounted(tmp_path / "disk", "size=200m") as mounted:
        yield mounted


def test_the_module_returns_findings_and_a_table(bases, tmp_path, disk, run_module):
    path = disk / "data"
    shutil.copytree(bases("1.5.9")[0], path)
    (path / str(uuid.uuid4())).mkdir()
    result = run_module("chroma_validate", {"path": str(path), "live": False})
    assert (result["rc"], result["changed"], result["summary"]["counts"]) == (3, False, {"CHR017": 1})
    [finding] = result["findings"]
    assert (finding["id"], finding["severity"], finding["collection"]) == ("CHR017", "minor", "")
    assert all(finding[key] for key in ("message", "lost", "remedy", "title"))
    assert "CHR017" in "\n".join(result["table"])
    assert run_module("chroma_validate", {"path": str(tmp_path)})["code"] == "not_chroma_directory"
    assert run_module("chroma_validate", {"path": str(path), "collections": ["nowhere"]})["code"] == "not_found"


def playbook(name, *arguments):
    """Run a data playbook by name."""
    environ = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(Path(__file__).parents[2] / "playbooks" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), f"thinkube.chroma.data.{name}", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def test_the_playbook_prints_the_table_and_fails_where_something_is_found(bases, tmp_path, disk):
    path, written = disk / "data", tmp_path / "report.json"
    shutil.copytree(bases("0.6.3")[0], path)
    done = playbook("validate", "-e", f"chroma_data_path={path}")
    assert done.returncode == 0, done.stdout
    assert "nothing found" in " ".join(done.stdout.split())  # Ansible wraps lines
    (path / "data").mkdir()
    shutil.rmtree(broken.Scene(path, "0.6.3", path).folder())
    done = playbook("validate", "-e", f"chroma_data_path={path}", "-e", f"chroma_report={written}")
    assert done.returncode == 2
    assert "CHR018 The folder of an index is missing" in " ".join(done.stdout.split())
    report = json.loads(written.read_text())
    assert (report["rc"], [each["id"] for each in report["findings"]]) == (4, ["CHR018"])
    assert playbook("validate", "-e", f"chroma_data_path={path}", "-e", "chroma_validate_fail_on=never").returncode == 0


def test_the_drill_breaks_and_finds():
    done = playbook("test_validate")
    assert done.returncode == 0, done.stdout
    assert "Nothing is broken: nothing found" in done.stdout
    assert "CHR052" in done.stdout
