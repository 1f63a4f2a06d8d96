# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers for the integration tests, and modules as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

INTEGRATION = Path(__file__).resolve().parent
COLLECTIONS = INTEGRATION.parents[1] / "playbooks" / "collections"
sys.path.insert(0, str(INTEGRATION))

import filling  # noqa: E402
import servers  # noqa: E402

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import environment  # noqa: E402

# A shell that starts something in the background has it ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk that the tests happen to run on count as one with room, as long as there is what Chroma itself needs."""
    monkeypatch.setattr(environment, "ENOUGH", 0)


@pytest.fixture(scope="session", params=servers.VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """Run each release once, one after the other."""
    with servers.running(request.param) as running:
        yield running


@pytest.fixture(scope="session")
def newest() -> Iterator[servers.Server]:
    """Run the newest release, for what does not depend on the release."""
    with servers.running(servers.VERSIONS[-1]) as running:
        yield running


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Return a function: the directory that a release filled, and an earlier state of it; each is made once, and copied to be broken."""
    made: dict[str, Path] = {}

    def base(version: str) -> tuple[Path, Path]:
        if version not in made:
            folder = tmp_path_factory.mktemp(f"base-{version}")
            filling.build(version, folder / "base", folder / "early")
            made[version] = folder
        return made[version] / "base", made[version] / "early"

    return base


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a module as its own process, as Ansible does, and returns its JSON."""

    def run(name: str, arguments: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
        file = tmp_path / "arguments.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check_mode}}))
        module = f"ansible_collections.thinkube.chroma.plugins.modules.{name}"
        environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        done = subprocess.run(
            [sys.executable, "-m", module, str(file)], env=environ, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.stdout.strip(), done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        assert bool(result.get("failed")) == bool(done.returncode)
        return result

    return run


@pytest.fixture
def run_playbook(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a playbook of this directory with ``ansible-playbook``."""

    def run(name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "ansible.cfg"
        config.touch()  # the checkout's own would decide otherwise
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        settings = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_NOCOLOR": "1",
            **environ,
        }
        command = [ansible, "-i", "localhost,", str(INTEGRATION / name), *arguments]
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=300)

    return run
