# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup is asked for: bad input, check mode, no verification, servers that stand still or are stopped; and the playbooks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import backing_up
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

NEWEST = servers.VERSIONS[-1]
# Fixture.
server = backing_up.server


def test_check_mode_says_what_it_would_do_and_changes_nothing(tmp_path, server):
    settings = repositories.settings(tmp_path / "repository")
    backing_up.upsert(server.url, "books", range(50))
    made = backing_up.make(server.data, settings, check=True)
    assert (made["changed"], made["plan"]["kind"], made["backup"]["kind"]) == (True, "full", "full")
    assert not (tmp_path / "repository").exists()
    assert not (server.data / ".thinkube-chroma").exists()


def test_a_stopped_directory_without_a_lock(tmp_path):
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    with servers.running(NEWEST, data=tmp_path / "data") as server:
        backing_up.upsert(server.url, "books", range(100))
    made = backing_up.make(tmp_path / "data", settings, source={"live": False})["backup"]
    assert (made["mode"], made["pause_seconds"], bool(made["verified"])) == ("stopped", 0.0, True)


def test_without_verification_a_backup_is_not_called_verified(tmp_path, server):
    settings = repositories.settings(tmp_path / "repository")
    backing_up.upsert(server.url, "books", range(100))
    made = backing_up.make(server.data, settings, verify=False)
    assert (made["backup"]["verified"], made["proof"]) == ("", None)
    assert list_backups(settings, Filter(verified=True))["backups"] == []
    # It is no leftover of one that died; but what followed on it would not count.
    again = backing_up.make(server.data, settings)
    assert (again["backup"]["kind"], bool(again["backup"]["verified"])) == ("full", True)
    assert "never verified" in again["plan"]["reason"]
    assert {each["id"] for each in list_backups(settings, Filter())["backups"]} == {made["backup"]["id"], again["backup"]["id"]}


BAD = {
    "an unknown collection": ({"kind": "collection", "collection": "boks"}, "not_found"),
    "a collection and another kind": ({"kind": "full", "collection": "books"}, "invalid_value"),
    "no collection": ({"kind": "collection"}, "invalid_value"),
    "no attempt": ({"max_retries": 0}, "invalid_value"),
    "no time to wait": ({"pause": 0}, "invalid_value"),
    "no try": ({"pause_tries": 0}, "invalid_value"),
    "an interval of nothing": ({"interval_hours": 0}, "invalid_value"),
    "an increment of nothing": ({"kind": "increment"}, "no_base"),
    "a directory that is none": ({"path": "/etc"}, "not_chroma_directory"),
    "a directory that is not there": ({"path": "/nowhere"}, "not_chroma_directory"),
    "a scratch that is not there": ({"scratch_path": "/nowhere"}, "not_found"),
    "another password": ({"repository_password": "another"}, "wrong_password"),
    "a place of something else": ({"repository": "{other}"}, "foreign_repository"),
    "a place in the data": ({"repository": "{data}/backups"}, "invalid_value"),
    "no restic": ({"restic_path": "/nowhere/restic"}, "missing_restic"),
}


def test_bad_input_changes_nothing(tmp_path, server):
    settings = repositories.settings(tmp_path / "repository")
    backing_up.upsert(server.url, "books", range(30))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    backing_up.make(server.data, settings, "collection", collection="books")
    places = {"other": str(other), "data": str(server.data)}
    before = (
        repositories.contents(tmp_path / "repository" / "snapshots"),
        repositories.contents(other),
        repositories.contents(tmp_path / "repository" / "data"),
    )
    seen = {}
    for name, (wrong, code) in BAD.items():
        given = {key: value.format(**places) if isinstance(value, str) else value for key, value in wrong.items()}
        said = backing_up.run("chroma_backup", backing_up.options(settings, **{"path": server.data, **given}), tmp_path)
        seen[name] = (said.get("code"), code)
        assert said.get("failed"), name
        assert said["hint"], name
        assert settings.password not in json.dumps(said), name
    for name, module, wrong, code in [
        ("retention of no day", "chroma_backup_prune", {"retention_days": 0}, "invalid_value"),
        ("retention of no backup", "chroma_backup_prune", {"retention_count": 0}, "invalid_value"),
        ("a backup that is not there", "chroma_backup_prune", {"backups": ["20200101T000000Z-abcdef"]}, "not_found"),
        ("a repository that is not there", "chroma_backup_prune", {"repository": str(tmp_path / "none")}, "no_repository"),
        ("to list what is not there", "chroma_backup_info", {"repository": str(tmp_path / "none")}, "no_repository"),
        ("to list one that is not there", "chroma_backup_info", {"backup": "20200101T000000Z-abcdef"}, "not_found"),
        ("since a time that is none", "chroma_backup_info", {"since": "yesterday"}, "invalid_value"),
        ("to drill what is not there", "chroma_backup_drill", {"backup": "20200101T000000Z-abcdef"}, "not_found"),
        ("to drill where nothing is", "chroma_backup_drill", {"path": "/nowhere", "backup": "latest"}, "not_found"),
        ("to drill to where nothing is", "chroma_backup_drill", {"scratch_path": "/nowhere", "backup": "latest"}, "not_found"),
    ]:
        said = backing_up.run(module, backing_up.options(settings, **wrong), tmp_path)
        seen[name] = (said.get("code"), code)
        assert said.get("failed"), name
    assert {name: codes for name, codes in seen.items() if codes[0] != codes[1]} == {}
    after = (
        repositories.contents(tmp_path / "repository" / "snapshots"),
        repositories.contents(other),
        repositories.contents(tmp_path / "repository" / "data"),
    )
    assert after == before
    assert not (server.data / "backups").exists()


def test_a_server_is_stopped_where_its_writers_would_wait_for_too_long(tmp_path):
    """On a cluster it is scaled to zero; here the process is ended, and started again however the copy ends."""
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    said, again = [], []

    @contextlib.contextmanager
    def stopped():
        said.append("stopped")
        running.close()
        try:
            yield
        finally:
            said.append("started")
            again.append(running.enter_context(servers.running(NEWEST, data=tmp_path / "data")))

    with contextlib.ExitStack() as running:
        server = running.enter_context(servers.running(NEWEST, data=tmp_path / "data"))
        backing_up.upsert(server.url, "books", range(300))
        # Nothing can be copied in no time.
        hot = {"live": True, "pause": 1e-9, "tries": 1}
        with pytest.raises(ChromaError) as refused:
            backing_up.make(tmp_path / "data", settings, source=hot)
        assert refused.value.code == "pause_exceeded"
        assert "Stop the server" in refused.value.hint
        assert backing_up.leftovers(tmp_path / "data") == []
        made = backing_up.make(tmp_path / "data", settings, source={**hot, "stopped": stopped})["backup"]
        # Nor can an increment be read in no time: a full backup takes its place.
        backing_up.upsert(again[-1].url, "books", range(300, 400))
        instead = backing_up.make(tmp_path / "data", settings, source={**hot, "stopped": stopped})
    assert (instead["plan"]["kind"], instead["backup"]["mode"], instead["backup"]["records"]) == ("full", "cold", 400)
    assert (made["mode"], made["records"], bool(made["verified"])) == ("cold", 300, True)
    assert said == ["stopped", "started"] * 2


def test_the_data_playbooks(tmp_path, server):
    backing_up.upsert(server.url, "books", range(60))
    settings = repositories.settings(tmp_path / "repository")
    (tmp_path / "ansible.cfg").touch()  # the checkout's own would decide otherwise

    def play(name, **variables):
        given = {"chroma_repository": settings.location, "chroma_restic_path": settings.restic_path, **variables}
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        environ = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(backing_up.COLLECTIONS),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "thinkube.chroma.operation_events",
            "RESTIC_PASSWORD": settings.password,
        }
        command = [ansible, f"thinkube.chroma.data.{name}", "-e", json.dumps(given)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert settings.password not in done.stdout + done.stderr
        events = [json.loads(each) for each in done.stdout.splitlines()]
        said.extend(str(each.get("message")) for each in events if each["event"] == "message")
        return next(each["result"] for each in events if each["event"] == "result")

    said: list[str] = []
    made = play("backup", chroma_data_path=str(server.data), chroma_version=NEWEST, chroma_backup_prune=True)
    assert (made["backup"]["kind"], made["backup"]["records"], made["changed"]) == ("full", 60, True)
    assert play("backup", chroma_data_path=str(server.data), chroma_version=NEWEST)["changed"] is False
    assert play("backups")["newest"] == made["backup"]["id"]
    assert play("test_backup", chroma_data_path=str(server.data))["backup"] == made["backup"]["id"]
    assert play("prune", chroma_data_path=str(server.data), chroma_backup_retention_days=1)["removed"] == []
    assert play("backups", chroma_list_check=True)["damaged"] == []
    assert not [each for each in said if "damage" in each]
    # Of the folders, which is smaller than any of what is in files.
    pack = min((tmp_path / "repository" / "data").glob("*/*"), key=lambda each: each.stat().st_size)
    pack.unlink()
    checked = play("backups", chroma_list_check=True)
    assert (checked["damaged"], checked["backups"][0]["damaged"]) == ([made["backup"]["id"]], True)
    assert [each for each in said if "found damage" in each and "1 packs" in each and pack.name in each]
