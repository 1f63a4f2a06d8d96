# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A malformed SQLite file, read around the pages that are broken."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.rebuild import is_malformed, rebuild

ROWS = 20_000
PAGE = 4096


@pytest.fixture
def file(tmp_path):
    """A database with a large table, a small one and an index."""
    path = tmp_path / "chroma.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("CREATE TABLE small (name TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE empty (name TEXT)")
        connection.executemany("INSERT INTO large VALUES (?, ?)", ((number, f"text of {number}") for number in range(ROWS)))
        connection.executemany("INSERT INTO small VALUES (?)", (("a",), ("b",)))
        connection.execute("CREATE INDEX by_text ON large (text)")
        connection.commit()
    return path


def rows(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def overwrite(path, page):
    with path.open("r+b") as opened:
        opened.seek((page - 1) * PAGE)
        opened.write(b"\xff" * PAGE)


def test_a_healthy_file_is_not_malformed(file):
    assert not is_malformed(file)


def test_rows_around_a_broken_page_are_read_and_the_loss_is_told(file):
    overwrite(file, 40)
    assert is_malformed(file)
    lost = rebuild(file)
    assert not is_malformed(file)
    left = dict(rows(file, "SELECT id, text FROM large"))
    assert left == {number: f"text of {number}" for number in left}
    assert ROWS - 1000 < len(left) < ROWS
    assert rows(file, "SELECT name FROM small ORDER BY name") == [("a",), ("b",)]
    [said] = lost
    assert "table large can't be read" in said
    assert int(said.split()[1]) >= ROWS - len(left)


def test_a_table_whose_root_is_broken_is_lost_alone(file):
    [(root,)] = rows(file, "SELECT rootpage FROM sqlite_master WHERE name = 'large'")
    overwrite(file, root)
    assert rebuild(file) == ["table large can't be read"]
    assert rows(file, "SELECT count(*) FROM large") == [(0,)]
    assert rows(file, "SELECT count(*) FROM small") == [(2,)]


def test_what_is_no_database_stays_as_it_is(tmp_path):
    path = tmp_path / "chroma.sqlite3"
    path.write_bytes(b"no database at all" * 1000)
    assert is_malformed(path)
    [said] = rebuild(path)
    assert said.startswith("nothing of it can be read")
    assert path.read_bytes().startswith(b"no database")
    assert list(tmp_path.iterdir()) == [path]
