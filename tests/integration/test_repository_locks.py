# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of backups while others are at work there, or were killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import repositories
from repositories import PASSWORD, at_work, contents, forge, locks, make_tree, refused, save, settings

from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import pods_gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve
from ansible_collections.thinkube.chroma.tests.waiting import until

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
# Fixtures.
tree, place, repository = repositories.tree, repositories.place, repositories.repository


def test_a_process_that_works_there_is_waited_for_and_named(repository, place, tree):
    saved = save(repository, tree)
    with at_work(settings(place), place) as other:
        other.send_signal(signal.SIGSTOP)
        error = refused(repository.retag, saved.snapshot, ["verified=now"])
        assert error.code == "repository_locked"
        assert f"process {other.pid} " in error.message
        other.send_signal(signal.SIGCONT)
        # Two backups do not exclude each other.
        save(repository, tree, 2)
        patient = open_repository(settings(place, lock_wait=60.0))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patient.retag, saved.snapshot, ["verified=now"])
            other.communicate(b"the rest")
            assert waiting.result() != saved.snapshot


def test_the_lock_of_a_killed_process_is_in_nobodys_way(repository, place, tree):
    saved = save(repository, tree)
    with at_work(settings(place), place) as other:
        other.kill()
        other.wait()
        assert locks(place)
        repository.retag(saved.snapshot, ["verified=now"])
    assert not locks(place)


def test_a_process_that_works_there_keeps_its_lock_when_the_clock_is_set_forward(repository, place, tree):
    save(repository, tree)
    with at_work(settings(place), place) as other:
        # What it has taken before the clock was set.
        for minutes in (2, 31):
            time = datetime.now(UTC) - timedelta(minutes=minutes)
            lock = {"time": time.isoformat(), "exclusive": True, "hostname": socket.gethostname(), "username": "root", "pid": other.pid}
            file = forge(settings(place), place, "locks", lock)
            assert repository.unlock() == ()
            error = refused(repository.prune)
            assert (error.code, f"process {other.pid} " in error.message) == ("repository_locked", True)
            file.unlink()
        forge(settings(place), place, "locks", lock)
        other.kill()
        other.wait()
        assert len(repository.unlock()) == 2
    repository.prune()


def test_the_lock_of_another_host_counts_until_that_is_gone_or_the_lock_is_stale(repository, place, tree):
    saved = save(repository, tree)
    command = ["unshare", "--uts", "sh", "-c", 'hostname chroma-backup-x7k2p && exec "$@"', "sh"]
    with at_work(settings(place), place, *command) as other:
        other.kill()
        other.wait()
    error = refused(repository.retag, saved.snapshot, ["verified=now"])
    assert error.code == "repository_locked"
    assert "chroma-backup-x7k2p" in error.message
    asked: list[str] = []
    knowing = open_repository(settings(place), gone=lambda hostname: bool(asked.append(hostname)) or True)
    saved_as = knowing.retag(saved.snapshot, ["verified=now"])
    assert set(asked) == {"chroma-backup-x7k2p"}
    for minutes, removed in ((29, 0), (31, 1), (-60, 0)):
        age = datetime.now(UTC) - timedelta(minutes=minutes)
        lock = {"time": age.isoformat(), "exclusive": True, "hostname": "elsewhere", "username": "root", "pid": 1, "uid": 0, "gid": 0}
        file = forge(settings(place), place, "locks", lock)
        assert len(repository.unlock()) == removed
        assert file.exists() != bool(removed)
        file.unlink(missing_ok=True)
    repository.retag(saved_as, ["verified=later"])


def test_a_pod_of_another_namespace_that_is_at_work_in_the_same_repository_is_waited_for(repository, place, tree):
    save(repository, tree)
    command = ["unshare", "--uts", "sh", "-c", 'hostname chroma-backup-29382310-x7k2b && exec "$@"', "sh"]
    with at_work(settings(place), place, *command) as other, serve() as api:
        opened = open_repository(settings(place), gone=pods_gone(api.session(), "another-namespace", shared=True))
        error = refused(opened.prune)
        assert (error.code, "chroma-backup-29382310-x7k2b" in error.message) == ("repository_locked", True)
        other.communicate(b"the rest")
        assert other.returncode == 0
        opened.prune()


KILLED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import repositories
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
repositories.save(open_repository(repositories.settings(sys.argv[1]), create=True), Path(sys.argv[2]), 9)
"""


def test_a_killed_backup_takes_its_restic_along_and_the_next_one_succeeds(place, tmp_path):
    large = make_tree(tmp_path / "large", 4, megabytes=100)
    opened = open_repository(settings(place), create=True)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(place), str(large)], env={**os.environ, "PYTHONPATH": str(COLLECTIONS)})
    until(lambda: locks(place), "a lock", process=process)
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    arguments, environ = (Path(f"/proc/{child}/{file}").read_bytes() for file in ("cmdline", "environ"))
    assert b"backup" in arguments
    assert PASSWORD.encode() not in arguments
    assert PASSWORD.encode() in environ
    process.kill()
    process.wait()
    until(lambda: not Path(f"/proc/{child}").exists(), "the end of restic")
    assert opened.snapshots() == ()
    saved = save(opened, large)
    opened.prune()
    opened.check(read_data=True)
    opened.restore(saved.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(large)
