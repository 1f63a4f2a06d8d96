# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: recorded servers, and a way to run a module without a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic
from hypothesis import settings

from ansible_collections.thinkube.chroma.plugins.module_utils import _transport
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Reply

FIXTURES = Path(__file__).parent / "fixtures"


def pytest_configure(config: pytest.Config) -> None:
    """Timing fails no test; an ordinary run draws the same examples each time, a thorough one others."""
    settings.register_profile("unhurried", deadline=None, derandomize=config.getoption("markexpr") != "")
    settings.load_profile("unhurried")


class Recorded:
    """A server that answers what a real one answered; a request that was not recorded fails the test.

    Args:
        version: the release.
        names: recordings, in the order in which their answers are given to the same method and path; the last one stays.
    """

    def __init__(self, version: str, *names: str) -> None:
        self.version = version
        self.sent: list[tuple[str, str, Any]] = []
        self._answers: dict[tuple[str, str], list[Reply]] = {}
        known = ("v2_version", "v1_version", "heartbeat", "preflight")
        for name in dict.fromkeys((*(each for each in known if each not in names), *names)):
            each = self.load(version, name)
            reply = Reply(each["status"], json.dumps(each["answer"]).encode())
            self._answers.setdefault((each["method"], each["path"]), []).append(reply)

    @staticmethod
    def load(version: str, name: str) -> dict[str, Any]:
        """Return a recording: method, path, body, status and answer."""
        loaded: dict[str, Any] = json.loads((FIXTURES / version / f"{name}.json").read_text())
        return loaded

    def __call__(self, method: str, path: str, payload: bytes | None) -> Reply:
        """Answer a request, as the function of ``_transport.http_exchange`` would."""
        self.sent.append((method, path, json.loads(payload) if payload else None))
        answers = self._answers.get((method, path))
        assert answers, f"{method} {path} is not among the recordings given to this test"
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def forget(self, name: str) -> None:
        """Drop the first answer for the method and path of a recording."""
        each = self.load(self.version, name)
        self._answers[each["method"], each["path"]].pop(0)

    def also(self, name: str, reply: Reply | None = None, alone: bool = False) -> None:
        """Add an answer, or replace all, for the method and path of a recording: the recorded one, or another."""
        each = self.load(self.version, name)
        key = (each["method"], each["path"])
        reply = reply or Reply(each["status"], json.dumps(each["answer"]).encode())
        self._answers[key] = [reply] if alone else [*self._answers.get(key, []), reply]

    def client(self, **settings: Any) -> ChromaClient:
        """Return a client of this server."""
        return ChromaClient(Connection("http://chroma.test", **settings), self, sleep=lambda seconds: None)

    def changes(self) -> list[tuple[str, str]]:
        """Return method and last part of the path of every request that could have changed something."""
        reads = ("get", "query", "count")
        tails = [(method, path.split("?")[0].rsplit("/", 1)[1]) for method, path, _body in self.sent]
        return [(method, tail) for method, tail in tails if method != "GET" and tail not in reads]


@pytest.fixture
def recorded() -> type[Recorded]:
    """Return the class of recorded servers."""
    return Recorded


@pytest.fixture(params=["0.4.24", "0.5.23", "0.6.3", "1.0.20", "1.5.9"])
def version(request: pytest.FixtureRequest) -> str:
    """Run the test for each recorded release."""
    return str(request.param)


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a module's ``main()`` with arguments against a recorded server and returns its JSON."""

    def run(module: ModuleType, arguments: dict[str, Any], server: Recorded | None = None, **internal: Any) -> dict[str, Any]:
        options = {f"_ansible_{key}": value for key, value in internal.items()}
        given = {"url": "http://chroma.test", "retries": 0, **arguments, **options}
        wanted = {key: value for key, value in given.items() if value is not None}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": wanted}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        if server is not None:
            monkeypatch.setattr(_transport, "http_exchange", lambda connection: server)
        with pytest.raises(SystemExit) as ended:
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run
