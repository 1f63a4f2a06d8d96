# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short locks, and suspicions that are confirmed under them, on real SQLite files."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import database as locks
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import live as second_look
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database, OutOfTime
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.live import Check, attempt
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import in_use

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def file(tmp_path):
    """A database with a thousand rows."""
    connection = sqlite3.connect(tmp_path / "chroma.sqlite3")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)")
    connection.executemany("INSERT INTO t (id, text) VALUES (?, 'x')", [(number * 3,) for number in range(1000)])
    connection.commit()
    connection.close()
    return tmp_path / "chroma.sqlite3"


@pytest.fixture
def short(monkeypatch):
    """Locks of a tenth of a second, so that the tests need not wait for longer ones."""
    monkeypatch.setattr(locks, "LOCK_BUDGET", 0.1)
    monkeypatch.setattr(second_look, "PAUSE", 0.01)


def written(file):
    """Try to commit a row; return whether that was possible at once."""
    connection = sqlite3.connect(file, timeout=0)
    try:
        with connection:
            connection.execute("INSERT INTO t (text) VALUES ('y')")
        return True
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()


def test_a_long_statement_beside_a_server_is_interrupted_and_lets_go(file, short):
    with Database(file, live=True) as database:
        with pytest.raises(OutOfTime):
            database.rows(ENDLESS)
        assert written(file)
        assert database.longest >= 0.1
        assert database.value("SELECT count(*) FROM t") == 1001


def test_a_lock_that_is_held_keeps_writers_out_and_ends(file):
    with Database(file, live=True) as database:
        with database.hold():
            assert not written(file)
            with database.hold():
                assert database.value("SELECT count(*) FROM t") == 1000
            assert not written(file)
            time.sleep(0.02)
        assert written(file)
        assert database.longest >= 0.02


def test_work_under_the_lock_is_told_when_its_time_is_over(file, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_BUDGET", 100)
    with Database(file, live=True) as database:
        with database.hold():
            database.check_time()
            monkeypatch.setattr(locks.time, "monotonic", lambda now=time.monotonic: now() + 101)
            with pytest.raises(OutOfTime):
                database.check_time()
        assert written(file)
        database.check_time()


def test_a_writer_is_waited_for_and_not_counted(file):
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    committed = []

    def commit():
        committed.append(time.monotonic())
        connection.execute("COMMIT")

    with Database(file, live=True) as database:
        timer = threading.Timer(0.3, commit)
        timer.start()
        assert database.value("SELECT count(*) FROM t") == 1000
        assert 0 < database.longest <= time.monotonic() - committed[0]
    timer.join()
    connection.close()


@pytest.mark.parametrize("live", [False, True])
def test_a_lock_that_somebody_keeps_is_no_damage(file, live, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ChromaError) as failed:
            outcome(Check("rows", lambda database: database.rows("SELECT count(*) FROM t")), file, live)
    finally:
        connection.close()
    assert failed.value.code == "busy"


def test_nothing_can_be_written_through_it(file):
    with Database(file, live=False) as database, pytest.raises(sqlite3.OperationalError):
        database.rows("DELETE FROM t")


@pytest.mark.parametrize("live", [False, True])
def test_windows_cover_each_row_once(file, live, monkeypatch):
    monkeypatch.setattr(locks, "_WINDOW", 70)
    monkeypatch.setattr(locks, "_PIECE", 70)
    with Database(file, live) as database:
        ranges = list(database.windows("t", "id"))
        seen = [row for above, upto in ranges for (row,) in database.rows("SELECT id FROM t WHERE id > ? AND id <= ?", (above, upto))]
        assert seen == [number * 3 for number in range(1000)]
        assert len(ranges) > 3
        assert list(database.windows("(SELECT 1 AS id WHERE 0)", "id")) == []


def test_text_that_is_no_utf_8_is_read_all_the_same(file):
    connection = sqlite3.connect(file)
    connection.execute("INSERT INTO t VALUES (-1, CAST(x'FF41' AS TEXT))")
    connection.commit()
    connection.close()
    with Database(file, live=False) as database:
        assert database.value("SELECT text FROM t WHERE id = -1") == "\udcffA"


def outcome(check, file, live=True):
    with Database(file, live) as database:
        return attempt(check, database)


def test_what_is_still_there_under_the_lock_is_reported(file):
    held = []

    def run(database):
        held.append(database.held_since is not None)
        return [finding("CHR017", "a")]

    assert outcome(Check("folders", run), file) == ([finding("CHR017", "a")], [], [])
    assert held == [False, True, True]


def test_what_is_gone_under_the_lock_is_forgotten(file):
    answers = [
        [finding("CHR017", "a"), finding("CHR050", "b"), finding("CHR019", "c")],
        [finding("CHR050", "b"), finding("CHR019", "between two commits"), finding("CHR051", "new")],
        [finding("CHR050", "b")],
    ]
    assert outcome(Check("folders", lambda database: answers.pop(0)), file) == ([finding("CHR050", "b")], [], [])


def test_only_what_is_the_same_each_time_is_reported(file):
    moving = [[finding("CHR071", "3 ids", rows=rows)] for rows in ((1, 2, 3), (2, 3, 4), (5, 6, 7))]
    assert outcome(Check("ids", lambda database: moving.pop(0)), file) == ([], [], [])
    one_stays = [[finding("CHR071", "3 ids.", rows=rows)] for rows in ((1, 2, 3), (2, 3, 4), (3, 6, 7))]
    [found], _skipped, _unconfirmed = outcome(Check("ids", lambda database: one_stays.pop(0)), file)
    assert (found.rows, found.message) == ((3,), "3 ids. At least 1 of them stay.")


def too_long_for_a_lock(database):
    while database.held_since is not None:
        database.check_time()
    return [finding("CHR070", "lost", "t/d/c")]


def test_what_takes_longer_than_a_lock_may_is_confirmed_while_nobody_writes(file, tmp_path, short):
    found, skipped, unconfirmed = outcome(Check("ids", too_long_for_a_lock, tmp_path / "index"), file)
    assert [each.kind.id for each in found] == ["CHR070"]
    assert (skipped, unconfirmed) == ([], [])


def test_what_takes_longer_than_a_lock_may_is_not_confirmed_beside_commits(file, short):
    def run(database):
        found = too_long_for_a_lock(database)
        assert written(file)
        return found

    assert outcome(Check("ids", run), file) == ([], [], ["CHR070 t/d/c lost"])


def test_what_was_seen_in_a_folder_that_never_stands_still_is_not_confirmed(file, tmp_path, short):
    folder = tmp_path / "index"
    folder.mkdir()
    done = threading.Event()

    def keep_saving():
        while not done.wait(0.002):
            (folder / "data_level0.bin").write_bytes(os.urandom(8))

    writer = threading.Thread(target=keep_saving)
    writer.start()
    try:
        found, _skipped, unconfirmed = outcome(Check("index", lambda database: [finding("CHR033", "short")], folder), file)
    finally:
        done.set()
        writer.join()
    assert (found, len(unconfirmed)) == ([], 1)


def test_what_takes_too_long_is_skipped_and_said(file, short):
    _found, skipped, _unconfirmed = outcome(Check("all of it", lambda database: database.rows(ENDLESS)), file)
    assert skipped == ["all of it: it needs a longer lock than is allowed beside a server"]


def test_damage_that_stops_a_check_is_a_finding(file):
    def run(database):
        raise sqlite3.DatabaseError("database disk image is malformed")

    found, _skipped, _unconfirmed = outcome(Check("rows", run), file, live=False)
    assert [each.kind.id for each in found] == ["CHR001"]


def test_a_table_that_is_missing_is_said_once_elsewhere(file):
    found, skipped, _unconfirmed = outcome(Check("rows", lambda database: database.rows("SELECT 1 FROM nowhere")), file)
    assert (found, skipped) == ([], ["rows: no such table: nowhere"])


def test_a_database_that_another_process_has_open_is_in_use(file):
    assert not in_use(file)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        kept = file.open("rb")
        os.write(writer, b"x")
        time.sleep(60)
        kept.close()
        os._exit(0)
    try:
        os.read(reader, 1)
        assert in_use(file)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert not in_use(file)
