# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal with real processes: killed ones, several at once, a full disk, a long history; the module and the playbook."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import disks
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.check import verify
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.report import Wanted, select

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "playbooks" / "collections"

# Journals without end, and says each line that it was told is on disk.
WRITER = """
import sys
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
journal = Journal.of(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    entry = journal.begin(sys.argv[3], number=number, filling="x" * (number % 50 * 100))
    sys.stdout.write(f"{entry.n}\\n")
    sys.stdout.flush()
    journal.end(entry, "done")
"""


def writer(directory: Path, times: int, name: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    command = [sys.executable, "-c", WRITER, str(directory), str(times), name]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


def test_killed_while_appending_nothing_that_was_confirmed_is_lost(tmp_path):
    chance = random.Random(7)
    confirmed: dict[int, str] = {}
    for run in range(25):
        process = writer(tmp_path, 100_000, f"run{run}")
        assert process.stdout
        said = [process.stdout.readline()]
        time.sleep(chance.random() / 20)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.wait()
        confirmed |= {int(line): f"run{run}" for line in said if line.strip()}
        assert verify(Journal.of(tmp_path)).intact
    found = {line.n: line.operation for line in Journal.of(tmp_path).lines() if line.event == "begin"}
    assert confirmed.items() <= found.items()
    assert len(confirmed) >= 25
    print(f"\n{len(confirmed)} operations confirmed by 25 killed writers, {len(Journal.of(tmp_path).open_entries())} left open")
    # A killed one has at most one operation without an end.
    assert len(Journal.of(tmp_path).open_entries()) <= 25


def test_several_writers_at_once_make_one_chain(tmp_path):
    processes = [writer(tmp_path, 100, f"writer{number}") for number in range(4)]
    for process in processes:
        process.communicate(timeout=600)
        assert process.returncode == 0
    found = verify(Journal.of(tmp_path))
    assert (found.intact, found.lines) == (True, 800)
    operations = select(Journal.of(tmp_path), Wanted(limit=1000))
    assert sorted((each.operation, each.facts["number"]) for each in operations) == [
        (f"writer{number}", index) for number in range(4) for index in range(100)
    ]
    assert {each.status for each in operations} == {"done"}


def test_it_may_be_verified_while_it_is_written(tmp_path):
    process = writer(tmp_path, 300, "backup")
    looked = 0
    while process.poll() is None:
        found = verify(Journal.of(tmp_path))
        assert found.intact, found
        assert found.torn_bytes == 0
        looked += found.lines > 0
    process.communicate()
    assert looked > 1


def test_a_full_disk_leaves_the_journal_whole_and_is_said(tmp_path):
    with disks.mounted(tmp_path / "disk", "size=256k") as disk:
        journal = Journal.of(disk)
        with pytest.raises(ChromaError) as caught:
            _fill(journal)
        assert caught.value.code == "no_space"
        assert caught.value.hint
        before = verify(journal)
        assert before.intact
        assert before.torn_bytes == 0
        disks.resize(disk, "1m")
        journal.begin("backup")
        assert (verify(journal).intact, verify(journal).lines) == (True, before.lines + 1)


def _fill(journal: Journal) -> None:
    for number in range(1000):
        journal.begin("backup", number=number, filling="x" * 1000)


def test_a_long_history_needs_no_memory(tmp_path):
    journal = Journal.of(tmp_path)
    journal.begin("backup", number=-1)
    lines = 200_000
    _extend(journal, lines)
    program = """
import sys, time
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.report import Wanted, read_journal
def most():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before, began = most(), time.monotonic()
found = read_journal(Path(sys.argv[1]), Wanted(limit=10))
after, seconds = most(), time.monotonic() - began
assert found["verified"]["intact"], found["verified"]
print(found["verified"]["lines"], len(found["operations"]), after - before, round(seconds, 1))
"""
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, operations, kilobytes, seconds = done.stdout.split()
    print(f"\n{count} lines, {journal.path.stat().st_size >> 20} MB: {kilobytes} kB more memory, {seconds} s")
    assert (int(count), int(operations)) == (lines + 1, 10)
    assert int(kilobytes) < 20_000


def _extend(journal: Journal, lines: int) -> None:
    """Write further lines as the journal does, but for waiting for the disk after each."""
    digest = verify(journal).head
    with journal.path.open("ab") as file:
        for n in range(2, lines + 2):
            begins = n % 2 == 0
            line = {"n": n, "time": "2026-11-21T09:00:00.000Z", "entry": n if begins else n - 1, "operation": "backup"}
            line |= {"event": "begin" if begins else "end", "name": "" if begins else "done", "facts": {"filling": "x" * 200}}
            content = json.dumps({**line, "previous": digest}).encode()
            digest = _sha(content)
            file.write(content + b"\n")
    journal.path.with_name("journal.head").write_text(f"{lines + 1:020d} {digest}\n")


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_module_reads_and_changes_nothing(tmp_path, run_module):
    data = tmp_path / "data"
    data.mkdir()
    journal = Journal.of(data)
    with journal.recorded("backup", kind="full") as recording:
        recording.facts["id"] = "20261121T090000Z-0a1b2c"
    journal.begin("restore")
    before = journal.path.read_bytes()
    result = run_module("chroma_journal_info", {"path": str(data), "statuses": ["open"]})
    assert [each["operation"] for each in result["operations"]] == ["restore"]
    assert (result["changed"], result["verified"]["intact"]) == (False, True)
    for arguments, code in (
        ({"path": str(tmp_path / "absent")}, "not_found"),
        ({"path": str(data), "since": "soon"}, "invalid_value"),
        ({"path": str(data), "limit": 0}, "invalid_value"),
    ):
        failed = run_module("chroma_journal_info", arguments)
        assert (failed["code"], bool(failed["hint"])) == (code, True)
    assert journal.path.read_bytes() == before


def test_the_playbook_shows_it_and_fails_where_it_was_changed(tmp_path, run_playbook):
    data = tmp_path / "data"
    data.mkdir()
    journal = Journal.of(data)
    with journal.recorded("backup", kind="full"):
        pass
    arguments = ("-e", f"chroma_data_path={data}", "-e", f"ansible_python_interpreter={sys.executable}")
    playbook = str(ROOT / "playbooks" / "data" / "log.yaml")
    done = run_playbook(playbook, *arguments)
    assert done.returncode == 0, done.stdout
    assert "whole, 2 lines" in done.stdout
    journal.path.write_bytes(journal.path.read_bytes().replace(b"full", b"none"))
    failed = run_playbook(playbook, *arguments)
    assert failed.returncode == 2
    assert "NOT WHOLE: line 1" in failed.stdout
