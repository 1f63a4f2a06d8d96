# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/lib.sh: the Python environment is whole or it is made again, and made once by two that want it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SCRIPTS, Sandbox

# A Python whose venv and pip take no network: it makes folders and says in a log what it was asked.
PYTHON = """#!/bin/bash
if [[ $1 == -c && $2 == *ensurepip* ]]; then exit "${{NO_VENV:-0}}"; fi
if [[ $1 == -c && $2 == *sys.exit* ]]; then exit "${{TOO_OLD:-0}}"; fi
if [[ $1 == -c ]]; then exec {real} "$@"; fi
echo "$@" >>"{log}"
if [[ $1 == -m && $2 == venv ]]; then
    sleep 2
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && printf '#!/bin/sh\\nexit ${{UV_EXIT:-0}}\\n' >"$3/bin/uv" && chmod 755 "$3/bin/uv"
fi
"""
USE = f'set -euo pipefail; source "{SCRIPTS}/lib.sh"; use_python requirements.txt; printf %s "$environment"'


@pytest.fixture
def log(sandbox: Sandbox, tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "log"
    log.touch()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (folder / name).write_text(PYTHON.format(real=sys.executable, log=log))
        (folder / name).chmod(0o755)
    sandbox.environment["PATH"] = f"{folder}:{os.environ['PATH']}"
    return log


def made(log: Path) -> int:
    return sum("-m venv" in line for line in log.read_text().splitlines())


def test_it_is_made_once_and_found_again(sandbox: Sandbox, log: Path) -> None:
    first = sandbox.run("/bin/bash", "-c", USE)
    again = sandbox.run("/bin/bash", "-c", USE)
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert (made(log), "preparing" in first.stderr, again.stderr) == (1, True, "")


def test_what_was_interrupted_is_made_again_from_nothing(sandbox: Sandbox, log: Path) -> None:
    failed = sandbox.run("/bin/bash", "-c", USE, UV_EXIT="1")
    assert failed.returncode == 2
    [half] = sandbox.cache.glob("venv-*")
    (half / "left-over").touch()
    done = sandbox.run("/bin/bash", "-c", USE)
    assert (done.returncode, done.stdout, made(log)) == (0, str(half), 2)
    assert not (half / "left-over").exists()


def test_two_at_once_make_one(sandbox: Sandbox, log: Path) -> None:
    both = [
        subprocess.Popen(["/bin/bash", "-c", USE], env=sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for dummy in range(2)
    ]
    outputs = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][0] == outputs[1][0] != ""
    assert made(log) == 1
    assert any("waiting" in output[1] for output in outputs)


@pytest.mark.parametrize(("lack", "message"), [("NO_VENV", "apt-get install python3-venv"), ("TOO_OLD", "Python 3.11 or newer")])
def test_what_the_machine_lacks_is_named(sandbox: Sandbox, log: Path, lack: str, message: str) -> None:
    done = sandbox.run("/bin/bash", "-c", USE, **{lack: "1"})
    assert done.returncode == 2
    assert message in done.stderr
    assert made(log) == 0
