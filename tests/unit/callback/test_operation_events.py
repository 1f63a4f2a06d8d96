# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real run of ansible-playbook writes through the callback operation_events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORK = """
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress, emit
import os, socket
with Progress("export", 100, "records") as progress:
    progress.advance(100)
emit("message", message="halfway")
emit("end", status="forged")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"no JSON", os.environ["CHROMA_OPERATION_SOCKET"])
"""


@pytest.fixture
def play(tmp_path):
    """Return a function that runs tasks and returns their events, and the exit code that was written."""

    def run(*tasks, folder=tmp_path):
        playbook, code = tmp_path / "validate.yaml", tmp_path / "exit-code"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]))
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "thinkube.chroma.operation_events",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
            "CHROMA_OPERATION_EXIT_CODE_FILE": str(code),
            "CHROMA_OPERATION_JOB": "chroma-validate-x",
            "PYTHONPATH": str(ROOT / "playbooks/collections"),
            "TMPDIR": str(folder),
        }
        done = subprocess.run(["ansible-playbook", str(playbook)], env=environment, capture_output=True, text=True, check=False)
        assert not list(folder.glob("chroma-operation-*"))
        return [json.loads(line) for line in done.stdout.splitlines()], int(code.read_text()), done.stdout + done.stderr

    return run


def hand_over(**document):
    return {"ansible.builtin.set_stats": {"data": {"chroma_result": document}, "aggregate": False}}


def test_one_writer_numbers_everything_and_says_how_much_there_was(play, tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    work = {"name": "Work", "ansible.builtin.command": {"argv": [sys.executable, str(tmp_path / "work.py")]}}
    events, code, _output = play(work, hand_over(rc=3, findings=["CHR001"]))
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["event"] for event in events]
    assert kinds == ["start", "task", "progress", "progress", "message", "warning", "task", "result", "end"]
    assert (events[0]["operation"], events[0]["job"]) == ("validate", "chroma-validate-x")
    assert [event["done"] for event in events if event["event"] == "progress"] == [0, 100]
    assert "no event" in events[5]["message"]
    assert events[-2]["result"] == {"rc": 3, "findings": ["CHR001"]}
    assert (events[-1]["last"], events[-1]["exit_code"], events[-1]["status"], code) == (len(events), 3, "ok", 3)


def test_a_folder_for_temporary_files_with_a_long_name_loses_no_result(play, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    events, code, _output = play(hand_over(rc=4), folder=folder)
    assert [event["event"] for event in events] == ["start", "task", "result", "end"]
    assert code == 4


def test_a_failure_carries_code_and_hint_and_its_exit_code(play):
    lock = {"thinkube.chroma.chroma_lock": {"kubeconfig": "/nowhere/kubeconfig", "holder": "job"}}
    events, code, _output = play(lock)
    error = next(event for event in events if event["event"] == "error")
    assert (error["code"], code) == ("kubeconfig_missing", 2)
    assert not error["message"].endswith(error["hint"])
    assert events[-1]["error"]["code"] == "kubeconfig_missing"


def test_findings_stay_the_reason_where_a_playbook_fails_because_of_them(play):
    events, code, _output = play(hand_over(rc=4), {"ansible.builtin.fail": {"msg": "severe findings"}})
    assert (events[-1]["exit_code"], code) == (4, 4)


def test_a_failure_that_was_rescued_is_none(play):
    block = {"block": [{"ansible.builtin.fail": {"msg": "broken"}}], "rescue": [hand_over(rc=0)]}
    ignored = {"ansible.builtin.fail": {"msg": "never mind"}, "ignore_errors": True}
    events, code, _output = play(block, ignored)
    assert (events[-1]["status"], code) == ("ok", 0)
    assert [event["message"] for event in events if event["event"] == "warning"] == ["never mind"]


def test_what_the_playbook_says_is_a_message(play):
    said = {"ansible.builtin.debug": {"msg": ["first", "second"]}}
    each = {"ansible.builtin.debug": {"msg": "{{ item }}"}, "loop": ["third", "fourth"]}
    events, _code, _output = play(said, each)
    assert [event["message"] for event in events if event["event"] == "message"] == ["first", "second", "third", "fourth"]


def test_no_argument_and_no_hidden_result_is_in_any_line(play):
    secret = "sesame-open"
    _events, _code, output = play(
        {"ansible.builtin.command": {"argv": ["true", secret]}},
        {"ansible.builtin.debug": {"msg": secret}, "no_log": True},
        {"ansible.builtin.fail": {"msg": secret}, "no_log": True},
    )
    assert secret not in output
