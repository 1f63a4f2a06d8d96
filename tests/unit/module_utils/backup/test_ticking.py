# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does not say how far it is says at least that it goes on."""

from __future__ import annotations

import json
import socket
import threading

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.ticking import ticking
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import SOCKET_VARIABLE


def test_it_says_that_it_goes_on_and_ends_with_the_block(tmp_path, monkeypatch):
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.settimeout(10)
        with ticking("check", interval=1.0):
            said = [json.loads(listener.recv(10_000)) for _number in range(2)]
        assert [each["phase"] for each in said] == ["check", "check"]
        assert (said[0]["done"], said[1]["done"], said[1]["unit"]) == (0, 1, "seconds")
        before = threading.active_count()
    with ticking("check"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
