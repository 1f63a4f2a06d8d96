# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a container: how it ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from ansible_collections.thinkube.chroma.tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
# What a module does that has stopped the server: it starts it before it ends, which takes a while.
WORK = """
import pathlib, signal, sys, time
def end(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
place = pathlib.Path(sys.argv[1])
try:
    (place / "stopped").touch()
    time.sleep(60)
finally:
    time.sleep(2)
    (place / "started").touch()
"""


def test_who_is_told_to_end_lets_the_module_end_in_order_first(tmp_path):
    collection = tmp_path / "collections" / "ansible_collections" / "thinkube" / "chroma"
    (collection / "playbooks" / "data").mkdir(parents=True)
    (collection / "plugins").symlink_to(ROOT / "plugins")
    (tmp_path / "work.py").write_text(WORK)
    command = {"argv": [sys.executable, str(tmp_path / "work.py"), str(tmp_path)]}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Work", "ansible.builtin.command": command}]}
    (collection / "playbooks" / "data" / "work.yaml").write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
        "CHROMA_OPERATION_EXIT_CODE_FILE": str(tmp_path / "exit-code"),
        "TMPDIR": str(tmp_path),
        "HOME": str(tmp_path),
    }
    program = subprocess.Popen(["sh", str(ROOT / "images/operations/chroma-operation"), "work"], env=environment)
    try:
        until((tmp_path / "stopped").exists, "the module at work", process=program)
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) != 0
    finally:
        program.kill()
        program.wait()
    assert (tmp_path / "started").exists()
