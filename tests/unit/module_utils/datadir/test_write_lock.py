# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write lock that another process holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import write_lock as write_locks
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import OutOfTime, WriteLock, lock_holder, write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.waiting import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database."""
    path = tmp_path / "a #?% name.sqlite3"
    write(path, "CREATE TABLE t (x)")
    return path


def kill(file: Path, held: WriteLock) -> None:
    """Kill who holds the lock."""
    os.kill(held.holder, signal.SIGKILL)
    until(lambda: lock_holder(file) == 0, "nobody who holds the lock", pause=0.005)


def write(path: Path, sql: str = "INSERT INTO t VALUES (1)") -> None:
    """Write without waiting."""
    connection = sqlite3.connect(path, timeout=0)
    with connection:
        connection.execute(sql)
    connection.close()


def test_others_read_and_do_not_write(file):
    with write_lock(file, 600) as held:
        # What would drop a lock of this process does nothing to that of the child.
        os.close(os.open(file, os.O_RDONLY))
        connection = sqlite3.connect(file)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        connection.close()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write(file)
    assert held.seconds > 0
    write(file)


def test_it_is_given_back_after_an_error(file):
    with pytest.raises(ZeroDivisionError), write_lock(file, 600):
        raise ZeroDivisionError
    write(file)


def test_a_lock_that_ended_by_itself_is_told(file):
    with pytest.raises(OutOfTime), write_lock(file, 0.05) as held:
        until(lambda: lock_holder(file) == 0, "nobody who holds the lock", pause=0.005)
    assert held.seconds >= 0.05
    write(file)


def test_a_lock_whose_holder_died_is_lost(file):
    with pytest.raises(ChromaError) as caught, write_lock(file, 600) as held:
        kill(file, held)
    assert caught.value.code == "lock_lost"
    write(file)


def test_a_holder_that_hangs_is_ended(file, monkeypatch):
    monkeypatch.setattr(write_locks, "_END", 0.1)
    with write_lock(file, 600) as held:
        os.kill(held.holder, signal.SIGSTOP)
    assert lock_holder(file) == 0
    write(file)


@pytest.mark.parametrize(("how", "most"), [(signal.SIGKILL, 600), (signal.SIGSTOP, 0.5)])
def test_it_ends_with_who_asked_for_it_or_with_its_time(file, how, most):
    command = (
        f"import sys, time; from pathlib import Path; from {write_lock.__module__} import write_lock\n"
        "with write_lock(Path(sys.argv[1]), float(sys.argv[2])) as held: print(held.holder, flush=True); time.sleep(600)"
    )
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", command, file, str(most)], env=environ, stdout=subprocess.PIPE) as asking:
        try:
            assert asking.stdout is not None
            assert int(asking.stdout.readline()) > 0
            asking.send_signal(how)
            until(lambda: lock_holder(file) == 0, "nobody who holds the lock", pause=0.005)
        finally:
            asking.kill()
    write(file)


def test_it_writes_nothing_and_says_since_when(file):
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    began = time.time()
    with write_lock(file, 600) as held:
        assert lock_holder(file) == held.holder != os.getpid()
        assert began <= held.moment.timestamp() <= time.time()
        assert held.until - held.since == pytest.approx(600)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert lock_holder(file) == 0


def test_a_database_in_wal_mode_is_refused(file):
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with pytest.raises(ChromaError) as caught, write_lock(file, 5):
        pass
    assert caught.value.code == "unsupported"


def test_what_is_no_database_is_damaged(file):
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(Damaged) as caught, write_lock(file, 5):
        pass
    assert caught.value.what == "sqlite"


def test_the_time_is_looked_at(file):
    with write_lock(file, 600) as held:
        held.check_time()
        held.until = time.monotonic() - 1
        with pytest.raises(OutOfTime):
            held.check_time()


def test_somebody_else_has_it(file):
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(ChromaError) as caught, write_lock(file, 5, wait=0.05):
        pass
    assert caught.value.code == "busy"
    connection.close()


def test_no_database_is_made_where_there_is_none(tmp_path):
    with pytest.raises(ChromaError) as caught, write_lock(tmp_path / "none", 5):
        pass
    assert caught.value.code == "forbidden"
    assert not (tmp_path / "none").exists()
