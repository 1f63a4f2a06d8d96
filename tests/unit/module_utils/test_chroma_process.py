# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a port is: another Chroma that got it in between must not be taken for ours; and what is said of one that ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import _failed, _listens


def test_a_process_listens_on_its_own_port_and_not_on_anothers():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert not _listens(os.getpid(), port)
        listener.listen()
        assert _listens(os.getpid(), port)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            assert not _listens(other.pid, port)
            other.communicate(b"\n")
        assert not _listens(other.pid, port)


def test_one_that_was_killed_is_said_to_want_memory_and_another_to_have_met_damage(tmp_path):
    log = tmp_path / "chroma.log"
    log.write_text("\x1b[31mlast words\x1b[0m\n")
    for ending, what, hint in (("os.kill(os.getpid(), 9)", "(signal 9)", "memory"), ("os._exit(3)", "(exit code 3)", "torn")):
        process = subprocess.Popen([sys.executable, "-c", f"import os; {ending}"])
        process.wait()
        error = _failed(tmp_path, log, process, "ended")
        assert what in error.message
        assert "last words" in error.message
        assert hint in error.hint
