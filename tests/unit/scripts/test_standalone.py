# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/standalone: what it refuses, what reaches the operations, when they run, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.tests.waiting import until

from .conftest import SCRIPTS, Sandbox

STANDALONE = SCRIPTS / "standalone"
SECRET = "p|a&s$s'\"# x"
SETTINGS = {
    "CHROMADB_HOST": "chroma.test",
    "CHROMA_COLLECTION_NAME": "docs",
    "NEW_COLLECTION_NAME": "imported",
    "DB_HOST": "postgres.test",
    "DB_NAME": "vectors",
    "DB_USER": "chroma",
    "DB_PASSWORD": SECRET,
}


@pytest.fixture
def host(sandbox: Sandbox) -> Sandbox:
    """A host with the data plane's Python environment, and its settings in ``.env``."""
    sandbox.prepare_environment("requirements-data.txt")
    write(sandbox)
    sandbox.environment["TMPDIR"] = str(sandbox.home / "tmp")
    (sandbox.home / "tmp").mkdir()
    return sandbox


def write(sandbox: Sandbox, *lines: str, mode: int = 0o600, **changes: str | None) -> Path:
    settings = {**SETTINGS, **changes}
    file = sandbox.home / ".env"
    file.write_text("\n".join([*(f"{name}={value}" for name, value in settings.items() if value is not None), *lines]) + "\n")
    file.chmod(mode)
    return file


@contextlib.contextmanager
def started(sandbox: Sandbox, file: Path | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [str(STANDALONE), *([str(file)] if file else [])], cwd=sandbox.home, env={**sandbox.environment, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def prolong(sandbox: Sandbox, what: str) -> None:
    """Let what stands for ansible-playbook do something more before it ends."""
    program = next(each for each in sandbox.cache.iterdir() if each.name.startswith("venv-")) / "bin" / "ansible-playbook"
    program.write_text(program.read_text().replace("sys.exit(", f"import time; {what}; sys.exit(", 1))


def names(sandbox: Sandbox) -> list[str]:
    return [call["arguments"][0].rpartition(".")[2] for call in sandbox.calls]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=600)[0]
    return process.returncode, output


def test_settings_reach_the_operations_exactly_and_no_command_line_shows_a_secret(host: Sandbox) -> None:
    write(host, "# a comment", "", "export CHROMADB_PORT=8001", 'BACKUP_TABLE="a table"', "DB_PORT='5433'\r")
    with started(host, DB_PORT="1", EXTRA="kept") as process:
        until(lambda: len(host.calls) >= 2, "2 operations", process=process)
        code, output = ended(process)
    assert code == 0
    for call in host.calls:
        environment = call["environment"]
        assert {name: environment[name] for name in SETTINGS} == SETTINGS
        assert (environment["BACKUP_TABLE"], environment["DB_PORT"], environment["EXTRA"]) == ("a table", "5433", "kept")
        assert environment["CHROMADB_PORT"] == "8001"
        assert SECRET not in " ".join(call["arguments"])
    assert SECRET not in output


def test_both_run_at_once_and_then_at_their_intervals_and_never_together(host: Sandbox) -> None:
    with started(host, EXPORT_INTERVAL="8", CHECK_INTERVAL="1") as process:
        until(lambda: names(host).count("export_postgres") >= 2, "two exports", process=process)
        code, output = ended(process)
    assert code == 0
    ran = names(host)
    assert ran[:3] == ["export_postgres", "check_collection", "check_collection"]
    lines = [line.removeprefix("chroma-standalone: ") for line in output.splitlines() if line.startswith("chroma-standalone: ")]
    turns = [line.split() for line in lines if line.startswith(("export_postgres ", "check_collection "))]
    # Each one that begins ends before the next one does.
    assert turns
    assert [each[1] for each in turns] == ["begins", "ended"] * (len(turns) // 2)


def test_an_export_that_takes_as_long_as_its_interval_leaves_the_check_its_turn(host: Sandbox) -> None:
    prolong(host, "time.sleep(1.2)")
    with started(host, EXPORT_INTERVAL="1", CHECK_INTERVAL="1") as process:
        until(lambda: len(host.calls) >= 4, "4 operations", process=process)
        assert ended(process)[0] == 0
    assert names(host)[:4] == ["export_postgres", "check_collection"] * 2


def test_a_clock_that_is_set_back_stops_nothing(host: Sandbox) -> None:
    folder = host.home / "clock"
    folder.mkdir()
    clock = folder / "date"
    # Each time it is asked, a day earlier.
    clock.write_text(
        f'#!/bin/sh\necho day >> {folder}/days\nexec /bin/date -d "@$(($(/bin/date +%s) - 86400 * $(wc -l < {folder}/days)))" "$@"\n'
    )
    clock.chmod(0o755)
    host.environment["PATH"] = f"{folder}:{host.environment['PATH']}"
    with started(host, CHECK_INTERVAL="1") as process:
        until(lambda: names(host).count("check_collection") >= 2, "two checks", process=process)
        assert ended(process)[0] == 0


def test_one_that_hangs_is_ended_and_the_next_one_runs(host: Sandbox) -> None:
    prolong(host, "time.sleep(60)")
    with started(host, EXPORT_DEADLINE="6", CHECK_DEADLINE="6", CHECK_INTERVAL="1") as process:
        until(lambda: len(host.calls) >= 3, "3 operations", process=process)
        code, output = ended(process)
    assert code == 0
    assert names(host)[:3] == ["export_postgres", "check_collection", "check_collection"]
    assert re.search("export_postgres ended with exit code [1-9][0-9]*, after its 6 seconds", output)


def test_an_operation_that_fails_does_not_end_it(host: Sandbox) -> None:
    with started(host, CHECK_INTERVAL="1", RECORDER_EXIT="4") as process:
        until(lambda: len(host.calls) >= 3, "3 operations", process=process)
        code, output = ended(process)
    assert code == 0
    assert "check_collection ended with exit code 2" in output


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_it_waits_and_nothing_is_left(host: Sandbox, how: signal.Signals) -> None:
    with started(host, STANDALONE_TEST="here") as process:
        until(lambda: len(host.calls) == 2 and len(commands("STANDALONE_TEST=here")) == 1, "one that waits", process=process)
        process.send_signal(how)
        process.communicate(timeout=600)  # of an hour
    assert process.returncode == 0
    assert commands("STANDALONE_TEST=here") == []
    assert list((host.home / "tmp").iterdir()) == []


def test_a_signal_ends_the_operation_at_work_and_nothing_is_left(host: Sandbox) -> None:
    prolong(host, "time.sleep(60)")
    with started(host, STANDALONE_TEST="at-work") as process:
        until(lambda: len(host.calls) >= 1, "1 operation", process=process)
        code, _output = ended(process)
    assert code == 0
    assert names(host) == ["export_postgres"]
    assert commands("STANDALONE_TEST=at-work") == []
    assert list((host.home / "tmp").iterdir()) == []


def commands(mark: str) -> list[str]:
    """Return the names of the processes that have a variable in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "comm").read_text().strip())
    return found


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_settings_that_others_can_read_or_write_are_refused(host: Sandbox, mode: int) -> None:
    write(host, mode=mode)
    done = host.run(STANDALONE)
    assert (done.returncode, host.calls) == (2, [])
    assert "chmod 600" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_settings_of_somebody_else_are_refused(host: Sandbox) -> None:
    os.chown(write(host), 65534, -1)
    assert host.run(STANDALONE).returncode == 2


@pytest.mark.parametrize(
    ("changes", "lines", "word"),
    [
        ({"DB_HOST": None}, [], "DB_HOST"),
        ({"CHROMA_COLLECTION_NAME": ""}, [], "CHROMA_COLLECTION_NAME"),
        ({"CHROMADB_HOST": None}, [], "CHROMADB_HOST"),
        ({"CHROMADB_HOST": "http://chroma"}, [], "CHROMADB_HOST"),
        ({"CHROMADB_USE_SSL": "perhaps"}, [], "CHROMADB_USE_SSL"),
        ({"EXPORT_INTERVAL": "0"}, [], "EXPORT_INTERVAL"),
        ({"CHECK_INTERVAL": "20m"}, [], "CHECK_INTERVAL"),
        ({"NEW_COLLECTION_NAME": "my docs"}, [], "my docs"),
        ({"DB_PORT": "5432/tcp"}, [], "DB_PORT"),
        ({"DB_SSLMODE": "on"}, [], "DB_SSLMODE"),
        ({"BACKUP_TABLE": "vectors.public.chroma"}, [], "BACKUP_TABLE"),
        ({}, ["rm -rf /"], "line 8"),
        ({}, ["PATH=/tmp/evil"], "PATH"),
        ({}, ["LD_PRELOAD=/tmp/evil.so"], "LD_PRELOAD"),
        ({}, ["ANSIBLE_LIBRARY=/tmp/evil"], "ANSIBLE_LIBRARY"),
    ],
)
def test_what_can_not_be_right_is_named_before_anything_runs(
    host: Sandbox, changes: dict[str, str | None], lines: list[str], word: str
) -> None:
    write(host, *lines, **changes)
    done = host.run(STANDALONE)
    assert (done.returncode, host.calls) == (2, [])
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_of_the_settings_is_run(host: Sandbox) -> None:
    write(host, "BACKUP_TABLE=$(touch ran)", "CHROMA_AUTH_TOKEN=`touch ran`")
    with started(host) as process:
        until(lambda: len(host.calls) >= 1, "1 operation", process=process)
        ended(process)
    assert host.calls[0]["environment"]["BACKUP_TABLE"] == "$(touch ran)"
    assert not (host.home / "ran").exists()


def test_another_file_can_be_named_and_one_that_is_absent_is_said(host: Sandbox) -> None:
    other = host.home / "other settings"
    (host.home / ".env").rename(other)
    assert "no file .env" in host.run(STANDALONE).stderr
    with started(host, file=other) as process:
        until(lambda: len(host.calls) >= 1, "1 operation", process=process)
        assert ended(process)[0] == 0


def test_the_operations_are_told_which_collection_and_which_server(host: Sandbox) -> None:
    # The file with the variables lives as long as the operation does.
    prolong(host, "import shutil; shutil.copy(sys.argv[3][1:], 'variables.json')")
    with started(host, CHROMADB_USE_SSL="True", EXPORT_INTERVAL="1800") as process:
        until(lambda: len(host.calls) >= 2, "2 operations", process=process)
        ended(process)
    [variables] = host.home.rglob("variables.json")
    expected = {"chroma_url": "https://chroma.test:8000", "chroma_collections": ["docs"], "chroma_check_stale_hours": 1.5}
    assert json.loads(variables.read_text()) == expected
