# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Chroma that an operation starts for itself."""

from __future__ import annotations

import socket

import servers

from ansible_collections.thinkube.chroma.plugins.module_utils import _chroma_process
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


def test_a_port_that_another_process_took_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = [other.getsockname()[1], servers.free_port()]
        wanted = ports[1]
        monkeypatch.setattr(_chroma_process, "_free_port", lambda: ports.pop(0))
        with _chroma_process.running(tmp_path / "data", tmp_path / "log") as url:
            assert url == f"http://127.0.0.1:{wanted}"
            assert ChromaClient(Connection(url)).list_collections() == []
    assert ports == []
