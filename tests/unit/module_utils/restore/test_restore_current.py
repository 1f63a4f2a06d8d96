# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a directory holds now is said as far as it can be read; that it can't be is no reason not to restore over it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import look_at
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore import current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import read_current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.point import _describe
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import SCRATCH
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files


@pytest.fixture
def no_temporary(monkeypatch, tmp_path):
    """The system's temporary directory takes nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))


def full(_source, target):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)


def rooms(data):
    return os.listdir(data / ".thinkube-chroma" / SCRATCH)


def test_an_interrupted_transaction_is_rolled_back_on_the_data_volume(interrupted, no_temporary):
    now = read_current(interrupted, 0, write=True)
    assert (now.damaged, now.unread, [each.count for each in now.collections]) == ("", "", [60, 60])
    assert look_at(interrupted, write=True).migrations == now.migrations
    assert rooms(interrupted) == []


def test_a_plan_writes_nothing_there_and_says_that_it_could_not_count(interrupted, no_temporary):
    now = read_current(interrupted, 0)
    assert (now.entries, now.damaged, now.collections) == (True, "", ())
    assert "could not be made" in now.unread
    assert not (interrupted / ".thinkube-chroma").exists()


def test_no_room_for_a_rollback_keeps_nobody_from_restoring(interrupted, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", full)
    assert os.strerror(errno.ENOSPC) in read_current(interrupted, 0, write=True).unread
    with pytest.raises(ChromaError) as caught:
        look_at(interrupted, write=True)
    assert (caught.value.code, "Make room" in caught.value.hint) == ("no_space", True)
    assert rooms(interrupted) == []


def test_nor_from_keeping_what_is_there(interrupted, monkeypatch, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(interrupted, tree / "data")
    monkeypatch.setattr(shutil, "copyfile", full)
    made = _describe(interrupted, tree, "20260831T120000Z-000001", "2026-08-31T12:00:00Z", list_files(interrupted, journals=True), True, "")
    assert os.strerror(errno.ENOSPC) in made.damaged


def test_what_is_written_all_the_while_is_not_counted_and_its_release_is_known_all_the_same(data, monkeypatch):
    read = current.read_moment

    def written_meanwhile(opened):
        found = read(opened)
        with sqlite3.connect(data / DATABASE) as connection:
            connection.execute("UPDATE embeddings SET created_at = created_at || '!'")
        connection.close()
        return found

    quiet = read_current(data, 0)
    monkeypatch.setattr(current, "read_moment", written_meanwhile)
    monkeypatch.setattr(current, "_PAUSE", 0)
    now = read_current(data, 0)
    assert (now.entries, now.damaged, now.collections, now.migrations) == (True, "", (), quiet.migrations)
    assert "written to while it was read" in now.unread
    assert quiet.migrations


def test_a_server_that_keeps_the_lock_is_no_obstacle(data, monkeypatch):
    monkeypatch.setattr(current, "_TRIES", 1)
    monkeypatch.setattr("ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database.BUSY", 0.1)
    connection = sqlite3.connect(data / DATABASE, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    now = read_current(data, 0)
    connection.close()
    assert (now.damaged, now.migrations, "held the lock" in now.unread) == ("", {}, True)
