# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home, a cache and a prepared Python environment in which ansible-playbook only records how it was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"

RECORDER = """#!{python}
import json, os, subprocess, sys
passwords = {{
    name: subprocess.run([os.environ[name]], capture_output=True, text=True, check=True).stdout
    for name in ("ANSIBLE_BECOME_PASSWORD_FILE", "ANSIBLE_CONNECTION_PASSWORD_FILE") if name in os.environ
}}
with open({calls!r}, "a") as file:
    print(json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ), "passwords": passwords, "cwd": os.getcwd()}}), file=file)
sys.exit(int(os.environ.get("RECORDER_EXIT", "0")))
"""


@dataclass
class Sandbox:
    """A machine as a script sees it: ``home`` and ``cache`` are its own, ``calls`` is what ansible-playbook was called with."""

    home: Path
    calls_file: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "thinkube-chroma"

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()] if self.calls_file.exists() else []

    def run(self, script: Path | str, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(script), *arguments],
            cwd=cwd or self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def install_recorder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / "ansible-playbook"
        program.write_text(RECORDER.format(python=sys.executable, calls=str(self.calls_file)))
        program.chmod(0o755)

    def prepare_environment(self, requirements: str = "requirements.txt") -> Path:
        """Put the recorder where lib.sh expects the Python environment of these requirements, and mark that as complete."""
        lib = f'source "{SCRIPTS}/lib.sh"; name_environment {requirements} "$(find_python)"; printf %s "$environment"'
        folder = Path(self.run("/bin/bash", "-c", lib).stdout)
        assert folder.parent == self.cache
        self.install_recorder(folder / "bin")
        # A link would lose the packages of the environment that it leads to.
        (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / "bin" / "python").chmod(0o755)
        (folder / ".complete").touch()
        return folder


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    home = tmp_path / "home"
    home.mkdir()
    # An environment that no test has prepared is not installed for minutes: that fails at once.
    environment = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_NO_INDEX": "1"}
    return Sandbox(home, tmp_path / "calls", environment)
