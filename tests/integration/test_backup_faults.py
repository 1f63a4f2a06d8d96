# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups under faults: damaged, killed in each phase, two at once, no room. Nothing is lost, and the next one succeeds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import backing_up
import disks
import object_store
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup import attempts
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import processes
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.waiting import until

NEWEST = servers.VERSIONS[-1]


@pytest.fixture
def server(tmp_path):
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as running:
        backing_up.upsert(running.url, "books", range(1200))
        yield running


@pytest.fixture
def settings(tmp_path):
    return repositories.settings(tmp_path / "repository")


def damage(repository: Path, known: set[Path]) -> None:
    """Flip a bit in the middle of the largest file of the data that came into a repository."""
    new = sorted((each for each in repository.glob("data/*/*") if each not in known), key=lambda each: each.stat().st_size)
    content = bytearray(new[-1].read_bytes())
    content[len(content) // 2] ^= 1
    new[-1].chmod(0o600)
    new[-1].write_bytes(content)


@pytest.fixture
def damaging(monkeypatch, tmp_path):
    """Return a function: so often what a backup brought is damaged before it is read back; no pause is waited for."""
    monkeypatch.setattr(attempts, "delay", lambda _failures: 0.05)

    def times(count: int) -> list[str]:
        restore, damaged = Repository.restore, []
        known = set((tmp_path / "repository").glob("data/*/*"))

        def spoil(self, snapshot, target, include=(), progress=None):
            # Not what an increment asks of its parent.
            if not include and len(damaged) < count:
                damage(tmp_path / "repository", known)
                damaged.append(snapshot)
            return restore(self, snapshot, target, include, progress)

        monkeypatch.setattr(Repository, "restore", spoil)
        return damaged

    return times


@pytest.mark.parametrize("kind", ["full", "increment"])
def test_a_damaged_backup_is_removed_and_made_again(kind, server, settings, damaging):
    if kind == "increment":
        backing_up.make(server.data, settings)
        backing_up.upsert(server.url, "books", range(1100, 1400), seed=2)
    damaged = damaging(1)
    made = backing_up.make(server.data, settings, kind)["backup"]
    assert len(damaged) == 1
    assert (made["kind"], made["attempts"], bool(made["verified"])) == (kind, 2, True)
    assert [each["id"] for each in list_backups(settings, Filter())["backups"]] == made["chain"][::-1]
    [mended] = [line.facts for line in Journal.of(server.data).lines() if line.name == "mend"]
    assert len(mended["packs"]) == 1
    # What was damaged is there again: without that, restic takes it for there and never brings it.
    open_repository(settings).check(read_data=True)


def test_a_backup_that_is_damaged_each_time_is_given_up_with_attempt_object_and_reason(server, settings, damaging):
    backing_up.make(server.data, settings)
    backing_up.upsert(server.url, "books", range(1300, 1500), seed=3)
    damaged = damaging(3)
    with pytest.raises(ChromaError) as given_up:
        backing_up.make(server.data, settings, "full")
    error = given_up.value
    print(error.message)
    assert len(damaged) == 3
    assert error.code == "damaged_repository"
    assert error.message.startswith("Attempt 3 of 3 failed in the verification: ")
    assert (error.result["attempt"], error.result["attempts"], error.result["phase"]) == (3, 3, "verification")
    assert error.result["object"]
    assert error.result["reason"]
    # The one before is as it was, and the next one is right.
    [kept] = list_backups(settings, Filter())["backups"]
    assert kept["verified"]
    assert backing_up.make(server.data, settings, "full")["backup"]["attempts"] == 1
    open_repository(settings).check(read_data=True)


def test_damage_that_the_directory_has_is_named(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(attempts, "delay", lambda _failures: 0.05)
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(1200))
    [folder] = [each for each in (tmp_path / "data").iterdir() if each.is_dir() and each.name.count("-") == 4]
    header = folder / "header.bin"
    header.write_bytes(header.read_bytes()[:20])
    with pytest.raises(ChromaError) as refused:
        backing_up.make(tmp_path / "data", settings, "full")
    print(refused.value.message, refused.value.hint)
    assert "books" in refused.value.message or "header" in refused.value.message
    assert list_backups(settings, Filter())["backups"] == []


STEPS = ["begin", "snapshot", "upload", "verification", "tag"]


@pytest.mark.parametrize("kind", ["full", "increment"])
@pytest.mark.parametrize("step", STEPS)
def test_a_backup_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove(kind, step, server, settings, tmp_path):
    first = backing_up.make(server.data, settings)["backup"]["id"]
    backing_up.upsert(server.url, "books", range(1150, 1500), seed=2)
    arguments = backing_up.options(settings, path=server.data, kind=kind)
    with backing_up.started("chroma_backup", arguments, tmp_path) as process:
        backing_up.kill_at(process, server.data, step, after=0.3 if step in ("upload", "verification") else 0.0)
    # Nobody waits for a lock that died, and nobody else has the scratch open.
    began = time.monotonic()
    backing_up.upsert(server.url, "books", range(5), seed=4)
    print(f"killed at {step}: a write took {time.monotonic() - began:.3f} s")
    until(lambda: {number for number, _name in processes(server.data)} <= {server.pid}, "the end of all others on the directory")
    assert list_backups(settings, Filter(backup=first))["backups"][0]["verified"]
    said = backing_up.run("chroma_backup", backing_up.options(settings, path=server.data), tmp_path)
    assert not said.get("failed"), said
    assert backing_up.leftovers(server.data) == []
    assert Journal.of(server.data).open_entries() == []
    found = backing_up.catalogue(settings)
    assert all(each.verified and not each.pending and not each.twins for each in found.backups)
    assert found.require(first).verified
    assert found.newest(verified=True).records == 1500
    assert not list((tmp_path / "repository" / "locks").iterdir())


def test_a_backup_to_an_object_store_that_is_killed(server, tmp_path):
    with object_store.running() as store:
        settings = repositories.in_store(store, "killed")
        arguments = backing_up.options(settings, path=server.data)
        for step in ("upload", "verification"):
            with backing_up.started("chroma_backup", arguments, tmp_path) as process:
                backing_up.kill_at(process, server.data, step, after=0.3)
        said = backing_up.run("chroma_backup", arguments, tmp_path)
        assert not said.get("failed"), said
        [made] = backing_up.catalogue(settings).backups
        assert (made.id, bool(made.verified), made.pending) == (said["backup"]["id"], True, False)
        assert backing_up.leftovers(server.data) == []
        open_repository(settings).check(read_data=True)


def test_a_prune_that_is_killed_is_done_by_the_next_one(server, settings, tmp_path):
    names = [backing_up.make(server.data, settings, "full")["backup"]["id"] for _each in range(2)]
    backing_up.upsert(server.url, "books", range(1200, 1300))
    last = backing_up.make(server.data, settings)["backup"]["id"]
    for after in (0.0, 0.7, 1.4):
        arguments = backing_up.options(settings, path=server.data, backups=names[:1])
        with backing_up.started("chroma_backup_prune", arguments, tmp_path) as process:
            try:
                backing_up.kill_at(process, server.data, "begin", after)
            except AssertionError:
                break  # it had removed the backup the last time
        assert backing_up.catalogue(settings).require(last).verified
    said = backing_up.run("chroma_backup_prune", backing_up.options(settings, path=server.data), tmp_path)
    assert not said.get("failed"), said
    assert Journal.of(server.data).open_entries() == []
    open_repository(settings).check(read_data=True)
    left = {each.id for each in backing_up.catalogue(settings).backups}
    assert {names[1], last} <= left
    assert backing_up.make(server.data, settings)["changed"] is False


def test_what_a_prune_had_removed_when_it_was_killed_may_be_named_by_its_next_attempt(server, settings, tmp_path):
    backing_up.make(server.data, settings)
    gone = "20260101T000000Z-abcdef"
    Journal.of(server.data).begin("prune", removes=[gone], repository=settings.location)
    arguments = backing_up.options(settings, path=server.data, backups=[gone])
    said = backing_up.run("chroma_backup_prune", arguments, tmp_path)
    assert not said.get("failed"), said
    assert said["removed"] == []
    assert Journal.of(server.data).open_entries() == []
    assert backing_up.run("chroma_backup_prune", arguments, tmp_path)["code"] == "not_found"


def test_the_server_killed_during_a_backup(tmp_path, settings):
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(1200))
        with backing_up.started("chroma_backup", backing_up.options(settings, path=server.data), tmp_path) as process:
            until(lambda: backing_up.reached(server.data, "snapshot"), "the snapshot", process=process)
            os.kill(server.pid, signal.SIGKILL)
            output = process.communicate(timeout=300)[0]
    assert '"changed": true' in output
    assert list_backups(settings, Filter(verified=True))["newest"]
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        client = ChromaClient(Connection(server.url))
        assert client.count(client.require_collection("books")) == 1200


def test_of_two_at_once_one_is_told_of_the_other(server, settings, tmp_path):
    arguments = backing_up.options(settings, path=server.data, kind="full")
    with backing_up.started("chroma_backup", arguments, tmp_path) as process:
        until(lambda: backing_up.reached(server.data, "snapshot"), "the snapshot", process=process)
        process.send_signal(signal.SIGSTOP)  # it may not end before the others have begun
        for module, more in (("chroma_backup", {}), ("chroma_backup_prune", {})):
            said = backing_up.run(module, backing_up.options(settings, path=server.data, **more), tmp_path)
            assert (said["failed"], said["code"]) == (True, "lock_held"), said
            assert str(process.pid) in said["msg"]
        process.send_signal(signal.SIGCONT)
        output = process.communicate(timeout=300)[0]
    assert '"changed": true' in output
    assert backing_up.make(server.data, settings)["changed"] is False


def test_no_room_on_the_data_volume_is_said_before_anything(tmp_path, settings):
    with disks.mounted(tmp_path / "volume", "size=90m") as mounted:
        data = mounted / "data"
        data.mkdir()
        with servers.running(NEWEST, data=data) as server:
            backing_up.upsert(server.url, "books", range(600))
            (mounted / "ballast").write_bytes(b"\0" * (60 << 20))
            with pytest.raises(ChromaError) as refused:
                backing_up.make(data, settings)
            assert refused.value.code == "no_space"
            assert refused.value.hint
            assert [each.name for each in (data / ".thinkube-chroma").iterdir()] == ["lock"]
            assert not (tmp_path / "repository").exists()
            (mounted / "ballast").unlink()
            assert backing_up.make(data, settings)["backup"]["verified"]


def test_a_full_repository_is_said_and_what_is_in_it_is_kept(server, tmp_path):
    with disks.mounted(tmp_path / "volume", "size=3m") as mounted:
        settings = repositories.settings(mounted / "repository")
        first = backing_up.make(server.data, settings)["backup"]
        backing_up.upsert(server.url, "more", range(12_000))
        with pytest.raises(ChromaError) as refused:
            backing_up.make(server.data, settings, "full")
        assert refused.value.code == "no_space"
        assert backing_up.leftovers(server.data) == []
        assert list_backups(settings, Filter())["newest"] == first["id"]
        subprocess.run(["mount", "-o", "remount,size=60m", str(mounted)], check=True)
        assert backing_up.make(server.data, settings)["backup"]["verified"]
        open_repository(settings).check(read_data=True)
