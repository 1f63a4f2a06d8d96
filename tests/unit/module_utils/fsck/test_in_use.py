# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another process has the database open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import in_use

HOLDS = "import sys; file = open(sys.argv[1]); print(flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path: Path):
    """A process that has a file open until its input ends."""
    file = tmp_path / "chroma.sqlite3"
    file.touch()
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield file, process
        process.kill()


def test_a_process_that_has_it_open_is_found_and_this_one_does_not_count(holder):
    file, process = holder
    with file.open():
        assert in_use(file)
        process.kill()
        process.wait()
        assert not in_use(file)
    assert not in_use(file.with_name("absent"))


def test_a_process_that_ends_while_it_is_looked_at_is_no_error(holder, monkeypatch):
    file, process = holder
    whole = os.listdir

    def too_late(path):
        if Path(path).parent.name == str(process.pid):
            process.kill()
            process.wait()
        return whole(path)

    monkeypatch.setattr(os, "listdir", too_late)
    assert not in_use(file)
