# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/standalone as processes: a real Chroma, a real PostgreSQL, a real webhook, no Kubernetes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import interference
import postgres
import pytest
import servers
import watching
import writing
from watching import NAME, NEW, RECORDS, Scene

from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks
from ansible_collections.thinkube.chroma.tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene(newest: servers.Server) -> Iterator[Scene]:
    with postgres.running("15") as cluster, hooks.serve() as hook:
        made = Scene(newest.url, cluster, "chroma_data", hook)
        others = made.names()
        watching.fill(made.client)
        yield made
        for name in set(made.names()).difference(others):
            made.client.delete_collection(name)


class Host:
    """What one runs on a host: the script, its environment, and what it says."""

    def __init__(self, scene: Scene, home: Path, **settings: str) -> None:
        host, port = scene.url.removeprefix("http://").split(":")
        variables = scene.cluster.variables(
            CHROMADB_HOST=host, CHROMADB_PORT=port, CHROMADB_USE_SSL="False", CHROMA_COLLECTION_NAME=NAME, NEW_COLLECTION_NAME=NEW,
            BACKUP_TABLE=scene.table, CHROMA_ALERT_WEBHOOK=scene.hook.url, **settings,
        )  # fmt: skip
        self.home, self.log = home, home / "log"
        file = home / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        file.chmod(0o600)
        (home / "tmp").mkdir()
        self.mark = f"STANDALONE_TEST={home}"
        name, value = self.mark.split("=", 1)
        # This environment has what requirements-data.txt names, and stands where the script would make one.
        self.environ = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(home / "tmp")}
        self.environ[name] = value
        lib = f'source "{ROOT}/scripts/lib.sh"; name_environment requirements-data.txt "$(find_python)"; printf %s "$environment"'
        folder = Path(subprocess.run(["bash", "-c", lib], env=self.environ, capture_output=True, text=True, check=True).stdout)
        folder.mkdir(parents=True)
        for each in Path(sys.prefix).iterdir():
            (folder / each.name).symlink_to(each)
        with contextlib.suppress(FileExistsError):
            (folder / ".complete").touch(exist_ok=False)

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the script until it ends, or the block does."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [ROOT / "scripts" / "standalone"], cwd=self.home, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(600)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the events of a kind that were written until now."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [each for each in map(json.loads, lines) if each["event"] == event]

    def verdicts(self) -> list[str]:
        """Return what the checks found, in order."""
        return [each["result"]["verdict"] for each in self.events("result") if "verdict" in each["result"]]

    def left(self) -> list[str]:
        """Return the command lines of the processes that are left of it."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


def test_it_exports_checks_brings_back_and_ends_without_leftovers(scene: Scene, tmp_path: Path) -> None:
    host = Host(scene, tmp_path, EXPORT_INTERVAL="60", CHECK_INTERVAL="1")
    held, others = scene.records(NAME), set(scene.names()) - {NAME}
    with host.running() as process:
        until(host.verdicts, "a check", process=process)
        assert host.verdicts()[0] == "healthy"
        assert scene.rows("SELECT records, current FROM {}_generations") == [(RECORDS, True)]
        scene.client.delete_collection(NAME)
        until(lambda: host.verdicts().count("missing") >= 2, "two checks that miss it")
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
    assert scene.told() == ["CollectionDamaged", "CollectionRecovered"]
    assert set(scene.names()) == {NEW, *others}
    assert writing.differences(scene.records(NEW), [held], "l2") == ""
    recovered = [each["result"]["recovered"] for each in host.events("result") if "verdict" in each["result"]]
    assert [each for each in recovered if each] == [{"name": NEW, "records": RECORDS}]
    assert (host.left(), list((tmp_path / "tmp").iterdir())) == ([], [])
    log = host.log.read_text()
    assert "export_postgres ended with exit code 0" in log
    assert "check_collection ended with exit code 4" in log
    assert not any(secret in log for secret in (postgres.PASSWORD, json.dumps(postgres.PASSWORD)[1:-1], *hooks.SECRET.split("/")))


def test_an_operation_that_is_at_work_ends_with_it(scene: Scene, tmp_path: Path) -> None:
    reached = threading.Event()

    def slow(method: str, path: str, _number: int) -> str | None:
        if not path.endswith("/get"):
            return None
        reached.set()
        return "hang"

    with interference.proxy(scene.url, slow) as proxy:
        host = Host(scene.at(proxy.url), tmp_path)
        with host.running() as process:
            assert reached.wait(600), host.log.read_text()
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            process.wait(600)
    assert process.returncode == 0
    until(lambda: not host.left(), f"the end of {host.left()}")
    assert list((tmp_path / "tmp").iterdir()) == []
    # Nothing half is there, and the next export goes on as if nothing were.
    assert scene.export()["collections"][0]["status"] == "exported"
