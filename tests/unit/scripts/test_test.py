# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/test: every stage runs, and one that fails is neither hidden nor in the way of the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import SCRIPTS, Sandbox

TEST = SCRIPTS / "test"


@pytest.fixture
def prepared(sandbox: Sandbox) -> Path:
    """Return the folder of programs in an environment where mypy fails and pytest passes."""
    folder = sandbox.prepare_environment("requirements-dev.txt") / "bin"
    for name, code in (("mypy", 3), ("pytest", 0)):
        (folder / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_failed_stage_stops_no_other_and_is_counted(sandbox: Sandbox, prepared: Path) -> None:
    done = sandbox.run(TEST, "types", "unit", "integration")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[-1] == "2 passed, 1 failed"
    assert [line.split()[0] for line in lines[-4:-1]] == ["types", "unit", "integration"]
    assert "FAILED (exit 3)" in lines[-4]


def test_success_is_exit_code_zero(sandbox: Sandbox, prepared: Path) -> None:
    done = sandbox.run(TEST, "unit")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 passed, 0 failed")


def test_a_command_that_fails_in_the_middle_of_a_stage_fails_it(sandbox: Sandbox, prepared: Path) -> None:
    """The stage's last command succeeds, as the recorder does; its first one has failed."""
    galaxy = prepared / "ansible-galaxy"
    galaxy.write_text("#!/bin/sh\nexit 5\n")
    galaxy.chmod(0o755)
    done = sandbox.run(TEST, "build")
    assert "FAILED (exit 5)" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_what_needs_no_cluster_runs_beside_the_cluster_and_is_shown_whole(sandbox: Sandbox, prepared: Path) -> None:
    # Each waits for the other one: they end only if they run at the same time.
    wait = "i=0; until [ -e {} ]; do i=$((i + 1)); [ $i -lt 6000 ] || exit 9; sleep 0.1; done"
    units, playbooks = sandbox.home / "units", sandbox.home / "playbooks"
    (prepared / "pytest").write_text(f'#!/bin/sh\ntouch {units}\n{wait.format(playbooks)}\necho "$1: first"; sleep 1; echo "$1: second"\n')
    playbook = sandbox.prepare_environment() / "bin" / "ansible-playbook"
    playbook.write_text(f"#!/bin/sh\ntouch {playbooks}\n{wait.format(units)}\n")
    done = sandbox.run(TEST, "unit", "cluster", KUBECONFIG="")
    lines = done.stdout.splitlines()
    assert lines[-1] == "2 passed, 0 failed", done.stdout + done.stderr
    assert lines[lines.index("=== unit") + 1 :][:2] == ["tests/unit: first", "tests/unit: second"]


def test_without_the_cluster_its_stages_fail_and_the_others_run(sandbox: Sandbox, prepared: Path) -> None:
    sandbox.prepare_environment()
    done = sandbox.run(TEST, "unit", "molecule", "cluster", KUBECONFIG="", RECORDER_EXIT="5")
    results = [line.split(maxsplit=3) for line in done.stdout.splitlines()[-4:-1]]
    assert [(stage, result) for stage, _seconds, _s, result in sorted(results, key=lambda each: each[0] == "unit")] == [
        ("molecule", "FAILED (exit 5)"),
        ("cluster", "FAILED (exit 5)"),
        ("unit", "passed"),
    ]
    assert done.stdout.splitlines()[-1] == "1 passed, 2 failed"


def test_help_lists_the_stages_and_an_unknown_one_is_refused(sandbox: Sandbox) -> None:
    helped = sandbox.run(TEST, "--help")
    assert helped.returncode == 0
    for stage in ("lint", "types", "unit", "sanity", "build", "integration", "molecule", "cluster", "docs"):
        assert f"  {stage} " in helped.stdout
    assert sandbox.run(TEST, "all").returncode == 2
