# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL between any two steps of a repair or its undo: whoever writes next completes it or takes it back, and nothing is half."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest
import servers
from repairing import QUARANTINE, breaks, everything, killed, mend, state, unmend
from restoring import files

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import (
    act,
    folders,
    image,
    pieces,
    purge,
    revert,
    rows,
    settle,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import Writer
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover

NEWEST = servers.VERSIONS[-1]
# Each statement, each rename of a manifest or folder, and each file that is written: owner, function, and how often it is called at most.
REPAIR_STEPS = (
    (Writer, "execute", 15),
    (os, "rename", 5),
    (act, "write", 1),
    (image, "keep", 1),
    (image, "compare", 1),
    (folders, "sync", 1),
    (pieces, "put", 1),
    (rows, "drop_untaken", 1),
    (settle, "validate", 1),
    (settle, "write", 1),
)
UNDO_STEPS = (
    (revert, "write", 2),
    (image, "bring_back", 1),
    (os, "rename", 4),
    (pieces, "back", 1),
    (folders, "back", 1),
)
# Whole runs of these are long: otherwise only the ends of what can be different.
_TELLING = {
    ("execute", 8),
    ("execute", 14),
    ("rename", 3),
    ("rename", 4),
    ("write", 1),
    ("write", 2),
    ("compare", 1),
    ("put", 1),
    ("validate", 1),
    ("bring_back", 1),
}


def points(steps):
    """Return each call before which to kill; most of them only in a thorough run."""
    return [
        pytest.param(owner, name, number, marks=() if (name, number) in _TELLING else pytest.mark.thorough, id=f"{name}-{number}")
        for owner, name, most in steps
        for number in range(1, most + 1)
    ]


@pytest.fixture(scope="module")
def worn(bases, tmp_path_factory):
    """A directory with a bit of everything: folder, rows of several tables, full text, a file that is too long."""
    path = tmp_path_factory.mktemp("worn") / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    shutil.copytree(scene.folder(), path / scene.id())
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    scene.sql("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES ('0b9a2c74-0000-4000-8000-000000000000', 'x', 1)")
    scene.sql("UPDATE embedding_fulltext_search SET string_value = 'something else' WHERE rowid = ?", scene.row())
    file = scene.folder() / "data_level0.bin"
    os.truncate(file, file.stat().st_size + 5)
    return path


@pytest.fixture
def path(worn, tmp_path):
    shutil.copytree(worn, tmp_path / "data")
    return tmp_path / "data"


def assert_closed(path):
    """Check that nothing is left half: no file of a transaction, no manifest that is open, no entry in the journal without end."""
    assert [each.name for each in path.iterdir() if each.name.startswith("chroma.sqlite3-")] == []
    assert state(path) in ("", "done", "undone")
    assert Journal.of(path).open_entries() == []
    connection = sqlite3.connect(path / "chroma.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.mark.parametrize(("owner", "name", "number"), points(REPAIR_STEPS))
def test_a_repair_that_is_killed(owner, name, number, worn, path):
    assert killed(lambda: mend(path), owner, name, number)
    left = state(path)
    # Any operation that writes begins with this.
    recovered = recover(path, None)
    assert recovered.repairs == (() if left in ("", "done") else (next((path / QUARANTINE).iterdir()).name,))
    assert_closed(path)
    if not left:
        # Nothing had been moved: nothing is in quarantine.
        assert list((path / QUARANTINE).glob("*")) == []
        assert files(path) == files(worn)
        mend(path)
    assert [each.kind.id for each in validate(path).of_data] == []
    assert not mend(path)["changed"]
    undone = unmend(path)
    assert undone["changed"]
    if undone["exact"]:
        assert files(path) == files(worn)
    else:
        there, wanted = everything(path), everything(worn)
        assert there[1] == wanted[1]
        assert without_text(there[0]) == without_text(wanted[0])
    assert not unmend(path)["changed"]


@pytest.mark.parametrize(("owner", "name", "number"), points(UNDO_STEPS))
def test_an_undo_that_is_killed(owner, name, number, worn, path):
    mend(path)
    assert killed(lambda: unmend(path), owner, name, number)
    left = state(path)
    assert recover(path, None).repairs == (() if left in ("done", "undone") else (next((path / QUARANTINE).iterdir()).name,))
    assert_closed(path)
    if left == "done":
        assert [each.kind.id for each in validate(path).of_data] == []
        assert unmend(path)["exact"]
    assert files(path) == files(worn)
    assert not unmend(path)["changed"]


@pytest.mark.parametrize(("owner", "name", "number"), [(rows, "_insert", 2), (folders, "back", 1)])
def test_an_undo_by_rows_that_is_killed(owner, name, number, worn, path):
    """Before and after its transaction is committed."""
    mend(path)
    write_to(path, "PRAGMA user_version = 7")
    assert killed(lambda: unmend(path), owner, name, number)
    assert state(path) == "undoing"
    assert len(recover(path, None).repairs) == 1
    assert_closed(path)
    there, wanted = everything(path), everything(worn)
    assert there[1] == wanted[1]
    assert without_text(there[0]) == without_text(wanted[0])


@pytest.mark.parametrize("step", ["sync", "remove_tree"])
def test_a_purge_that_is_killed(step, path):
    mend(path)
    assert killed(lambda: mend(path, grace_days=0), purge, step, 1)
    write_to(path, "INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000001, 'a', 'b')")
    result = mend(path)
    assert [each.name for each in (path / QUARANTINE).iterdir()] == [result["quarantine"]]
    assert_closed(path)
    assert unmend(path)["exact"]


def write_to(path, statement):
    """Change the database as somebody else would."""
    connection = sqlite3.connect(path / "chroma.sqlite3")
    connection.execute(statement)
    connection.commit()
    connection.close()


def without_text(tables):
    """Leave out the full-text index: it is what the documents say, so it stays mended."""
    return {name: each for name, each in tables.items() if name != "embedding_fulltext_search"}
