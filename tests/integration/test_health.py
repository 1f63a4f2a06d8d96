# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hourly check on directories of real servers: its reports, what it repairs by itself and what not, whom it tells and when."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import uuid
from pathlib import Path

import broken
import filling
import pytest
import servers
from repairing import QUARANTINE, killed, unmend
from writing import served, stored

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._health import check as engine
from ansible_collections.thinkube.chroma.plugins.module_utils._health import news
from ansible_collections.thinkube.chroma.plugins.module_utils._health.check import HealthRequest, check_health
from ansible_collections.thinkube.chroma.plugins.module_utils._health.reports import list_reports, moment_of, read_newest
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import run as repairing_run
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import RepairRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.run import repair
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Webhook
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks

NEWEST = servers.VERSIONS[-1]


@pytest.fixture
def hook():
    with hooks.serve() as served:
        yield served


@pytest.fixture
def data(bases, tmp_path):
    return Path(shutil.copytree(bases(NEWEST)[0], tmp_path / "data"))


def run(path, hook=None, **options):
    channels = [Webhook(hook.url, sleep=lambda _seconds: None)] if hook else []
    return check_health(HealthRequest(path, **options), None, channels)


def reasons(hook):
    return [body["reason"] for body in hook.bodies]


def leave_rows(path):
    """Leave what a release of 1.5 forgets at each deletion, and a file of a deleted collection that is small beside the others."""
    scene = broken.Scene(path, NEWEST, path)
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (1000000, 'a', 'b')")
    stray = path / str(uuid.uuid4())
    stray.mkdir()
    (stray / "header.bin").write_bytes(b"x" * 100)
    return stray


def hide_labels(path):
    """Take the label map of ``books`` away; return a function that brings it back."""
    file = broken.Scene(path, NEWEST, path).folder() / "index_metadata.pickle"
    file.rename(path.parent / "labels")
    return lambda: (path.parent / "labels").rename(file)


def test_a_healthy_directory_gets_a_report_each_time_and_nobody_is_told(data, hook):
    before = stored(data)
    results = [run(data, hook) for _each in range(3)]
    assert [(each["rc"], each["changed"], each["alerts"], each["findings"]) for each in results] == [(0, False, [], [])] * 3
    reports = list_reports(data)
    assert [str(each) for each in reports] == [each["report"] for each in results]
    assert reports[0].stat().st_mode & 0o777 == 0o600
    assert reports[0].parent.stat().st_mode & 0o777 == 0o700
    content = json.loads(reports[-1].read_text())
    assert (content["rc"], content["found"], content["summary"]["collections"]) == (0, [], 4)
    assert hook.bodies == []
    assert stored(data) == before
    # Neither a finding nor an operation worth a line in the journal.
    assert validate(data).rc == 0
    assert not list(Journal.of(data).lines())


def test_minor_findings_are_repaired_beside_a_writer_and_can_be_undone(data, hook):
    stray = leave_rows(data)
    done, failures = threading.Event(), []
    with servers.running(NEWEST, data=data) as server:
        client = ChromaClient(Connection(server.url))
        before = served(server.url, ["books"])
        few = client.require_collection("few")

        def keep_writing():
            first = 100
            while not done.is_set():
                try:
                    filling.write(client, few, range(first, first + 20), lists=True)
                    client.delete(few, [f"id-{first + 3}"])
                except Exception as error:
                    failures.append(error)
                    return
                first += 20

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            result = run(data, hook, live=True)
            again = run(data, hook, live=True)
        finally:
            done.set()
            writer.join()
        assert served(server.url, ["books"]) == before
    assert failures == []
    # Chroma itself leaves lists behind where the writer deletes.
    assert {step["finding"] for step in result["repaired"]} >= {"CHR017"}, (
        result["table"],
        result["warnings"],
        again["table"],
        again["warnings"],
    )
    assert result["changed"]
    assert not stray.exists()
    assert result["quarantine"] in os.listdir(data / QUARANTINE)
    assert result["rc"] < 4
    assert again["rc"] < 4
    assert reasons(hook)[0] == "DataRepaired"
    assert hook.bodies[0]["type"] == "Normal"
    assert "49_undo_repair" in hook.bodies[0]["text"]
    report = json.loads(Path(result["report"]).read_text())
    assert {each["id"] for each in report["found"]} >= {"CHR017"}
    assert "CHR017" not in {each["id"] for each in report["findings"]}
    for each in sorted((each.name for each in (data / QUARANTINE).iterdir()), reverse=True):
        unmend(data, repair=each)
    assert (stray / "header.bin").read_bytes() == b"x" * 100


def test_a_severe_finding_is_told_once_and_again_when_it_changes_and_when_it_is_over(data, hook):
    before = stored(data)
    mend = hide_labels(data)
    first, second = run(data, hook), run(data, hook)
    assert (first["rc"], first["alerts"], second["rc"], second["alerts"]) == (4, ["DataUnhealthy"], 4, [])
    (data / "far").mkdir()
    far = broken.Scene(data, NEWEST, data).folder("far") / "header.bin"
    content = far.read_bytes()
    far.write_bytes(content[:50])
    third = run(data, hook)
    far.write_bytes(content)
    fourth = run(data, hook)
    mend()
    fifth, sixth = run(data, hook), run(data, hook)
    assert [each["alerts"] for each in (third, fourth, fifth, sixth)] == [["DataUnhealthy"], ["DataUnhealthy"], ["DataHealthy"], []]
    assert [body["type"] for body in hook.bodies] == ["Warning", "Warning", "Warning", "Normal"]
    assert ["CHR050" in body["text"] for body in hook.bodies] == [True, True, True, False]
    assert ["CHR030" in body["text"] for body in hook.bodies] == [False, True, False, False]
    assert "42_recover" in hook.bodies[0]["text"]
    assert stored(data) == before
    assert [line.name for line in Journal.of(data).lines() if line.event == "end"] == ["done"] * 4


def test_beside_a_severe_finding_nothing_is_repaired_and_nothing_leaves_quarantine(data, hook):
    leave_rows(data)
    first = run(data, hook)
    assert first["quarantine"]
    stray = leave_rows(data)
    mend = hide_labels(data)
    result = run(data, hook, grace_days=0.0)
    assert (result["rc"], result["repaired"], result["purged"], result["changed"]) == (4, [], [], False)
    assert "severe" in result["withheld"]
    assert any("not repaired" in line for line in result["table"])
    assert stray.exists()
    mend()
    result = run(data, hook, grace_days=0.0)
    assert first["quarantine"] in result["purged"]
    assert not stray.exists()
    assert result["rc"] == 0


def test_orphans_that_are_most_of_the_data_are_left_and_told(bases, hook, tmp_path):
    """A database that was lost or replaced makes orphans of everything: what a recovery needs is never swept away."""
    path = tmp_path / "data"
    with servers.running(NEWEST, data=path):
        pass
    base = bases(NEWEST)[0]
    folders = [each for each in base.iterdir() if each.is_dir()]
    for each in folders:
        shutil.copytree(each, path / each.name)
    first, second = run(path, hook), run(path, hook)
    assert (first["rc"], first["repaired"], first["alerts"], second["alerts"]) == (3, [], ["DataUnhealthy"], [])
    assert "belong to no collection" in hook.bodies[0]["text"]
    assert all((path / each.name).is_dir() for each in folders)
    # With somebody's word for it, they go.
    assert repair(RepairRequest(path))["folders"]
    assert run(path, hook)["alerts"] == ["DataHealthy"]


def test_a_webhook_that_could_not_be_reached_is_told_by_the_next_check(data, hook):
    hide_labels(data)
    hook.statuses = [503, 503, 200]
    first = run(data, hook)
    assert (first["rc"], first["alerts"]) == (4, [])
    assert any("was not delivered" in text for text in first["warnings"])
    second, third = run(data, hook), run(data, hook)
    assert (second["alerts"], second["warnings"], third["alerts"]) == (["DataUnhealthy"], [], [])


def test_what_could_not_be_looked_at_is_not_over(data, hook, monkeypatch):
    mend = hide_labels(data)
    run(data, hook)
    mend()
    whole = engine.validate

    def undecided(*arguments, **options):
        report = whole(*arguments, **options)
        return type(report)(**{**report.__dict__, "skipped": ["the log: it was busy"]})

    monkeypatch.setattr(engine, "validate", undecided)
    assert (run(data, hook)["rc"], reasons(hook)) == (3, ["DataUnhealthy"])
    monkeypatch.setattr(engine, "validate", whole)
    assert run(data, hook)["alerts"] == ["DataHealthy"]


def test_no_other_operation_comes_between_its_steps(data, hook, monkeypatch):
    leave_rows(data)
    taken = []

    def counted(*arguments):
        taken.append(arguments)
        return held(*arguments)

    monkeypatch.setattr(engine, "held", counted)
    monkeypatch.setattr(repairing_run, "held", counted)
    assert run(data, hook)["repaired"]
    assert len(taken) == 1


def test_a_check_that_fails_is_reported_and_told(data, hook, monkeypatch):
    def busy(*_arguments, **_options):
        raise ChromaError("busy", "Somebody holds the lock.", "Wait.")

    whole = engine.validate
    monkeypatch.setattr(engine, "validate", busy)
    for _each in range(2):
        with pytest.raises(ChromaError) as error:
            run(data, hook)
        assert error.value.code == "busy"
    assert read_newest(data)["error"]["code"] == "busy"
    assert reasons(hook) == ["DataUnhealthy"]
    monkeypatch.setattr(engine, "validate", whole)
    assert run(data, hook)["alerts"] == ["DataHealthy"]


@pytest.mark.parametrize("code", ["forbidden", "server_running"])
def test_what_the_check_may_not_settle_is_told_and_the_directory_looked_at(code, data, hook, monkeypatch):
    """Its account on the cluster neither stops nor starts the server."""
    leave_rows(data)

    def refused(*_arguments, **_options):
        raise ChromaError(code, "No right to start the server.", "Ask.")

    monkeypatch.setattr(engine, "recover", refused)
    result = run(data, hook)
    assert (result["repaired"], result["rc"], reasons(hook)) == ([], 3, ["DataUnhealthy"])
    assert "41_repair" in result["warnings"][0]
    assert {each["id"] for each in read_newest(data)["found"]} >= {"CHR017"}


def test_a_directory_that_is_none_is_left_alone_and_told(tmp_path, hook):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(ChromaError) as error:
            run(path, hook)
        assert error.value.code == "not_chroma_directory"
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []
    assert reasons(hook) == ["DataUnhealthy"] * 2


def test_another_operation_is_waited_for_by_nobody_and_told_to_nobody(data, hook):
    with held(data, "restore"), pytest.raises(ChromaError) as error:
        run(data, hook)
    assert error.value.code == "lock_held"
    assert hook.bodies == []
    assert list_reports(data) == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (engine, "recover"),
        (engine, "repair_found"),
        (engine, "write_report"),
        (engine, "tell"),
        (engine, "send"),
        (os, "fsync"),
        (Path, "replace"),
    ],
)
def test_a_run_that_is_killed_leaves_nothing_half(owner, name, data, hook):
    """Before each call of what changes something: the next run finds whole reports, repairs, and tells what was not told."""
    leave_rows(data)
    before = stored(data)
    number = 1
    while killed(lambda: run(data, hook), owner, name, number):
        for report in list_reports(data):
            json.loads(report.read_text())
        number += 1
        if number > 3:
            break
    assert number > 1
    result = run(data, hook)
    assert (result["rc"], result["findings"]) == (0, [])
    assert stored(data) == before
    assert not list((data / ".thinkube-chroma" / "reports").glob("*.new"))
    assert all(moment_of(each) for each in (data / ".thinkube-chroma" / "reports").iterdir())


def test_an_alert_is_not_lost_with_the_run_that_was_to_send_it(data, hook):
    hide_labels(data)
    assert killed(lambda: run(data, hook), news, "send", 1)
    assert hook.bodies == []
    assert run(data, hook)["alerts"] == ["DataUnhealthy"]
    assert run(data, hook)["alerts"] == []


def test_in_check_mode_nothing_is_written_and_nobody_told(data, hook):
    leave_rows(data)
    before = sorted(each for each in data.rglob("*"))
    result = check_health(HealthRequest(data), None, [Webhook(hook.url)], check=True)
    assert result["plan"] == ["CHR017", "CHR082"]
    assert sorted(each for each in data.rglob("*")) == before
    assert hook.bodies == []


def test_the_playbook_tells_by_the_webhook_of_its_environment_and_fails_where_something_severe_is_there(data, hook, run_playbook):
    hide_labels(data)
    variables = {"chroma_data_path": str(data), "ansible_python_interpreter": sys.executable}
    done = run_playbook("../../playbooks/data/health.yaml", "-e", json.dumps(variables), CHROMA_ALERT_WEBHOOK=hook.url)
    assert done.returncode != 0
    assert "CHR050" in done.stdout
    assert "docs/findings.md" in done.stdout
    assert reasons(hook) == ["DataUnhealthy"]
    assert hooks.SECRET not in done.stdout + done.stderr
    assert hooks.SECRET not in list_reports(data)[0].read_text()
