# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of directories that nobody serves: what is in them, and what is refused."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import WriteLock, lock_holder, write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot import hot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take

HOT_JOURNAL = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN")
connection.execute("UPDATE embedding_metadata SET string_value = upper(string_value) || 'x'")
os._exit(9)
"""


def content(path: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return content, mode and time of all files."""
    files = [each for each in path.rglob("*") if each.is_file()]
    return {str(each.relative_to(path)): (each.read_bytes(), each.stat().st_mode, each.stat().st_mtime_ns) for each in files}


@pytest.mark.parametrize("live", [None, True, False])
def test_a_copy_is_equal_and_the_manifest_says_what_is_in_it(directory: Path, tmp_path: Path, live: bool | None) -> None:
    before = content(directory)
    tree = tmp_path / "tree"
    about = About(new_id(), chroma_version="1.5.9", chroma_image="chroma@sha256:00")
    manifest = take(directory, tree, about, live=live)
    assert content(tree / "data") == content(directory) == before
    assert sorted(os.listdir(tree)) == ["data", "manifest.json"]
    assert parse_manifest((tree / "manifest.json").read_bytes(), "") == manifest
    assert (manifest.id, manifest.kind, manifest.mode) == (about.id, "full", "stopped" if live is False else "hot")
    assert manifest.migrations == {"sysdb": 10, "metadb": 6, "embeddings_queue": 2}
    assert (manifest.tenants, manifest.databases) == (("default_tenant",), (("default_tenant", "default_database"),))
    assert [(each.name, each.count, each.dimension, each.space) for each in manifest.collections] == [
        ("synthetic-0", 60, 4, "l2"),
        ("synthetic-1", 60, 4, "l2"),
    ]
    assert manifest.records == 120
    assert manifest.position == 60
    assert manifest.bytes == sum(len(each[0]) for each in before.values())
    assert (manifest.chroma_version, manifest.chroma_image) == ("1.5.9", "chroma@sha256:00")


def test_holes_stay_holes(directory: Path, tmp_path: Path) -> None:
    file = next(directory.glob("*/link_lists.bin"))
    with file.open("r+b") as opened:
        opened.truncate(64 << 20)
        opened.seek(32 << 20)
        opened.write(b"in the middle")
    tree = tmp_path / "tree"
    take(directory, tree, About(new_id()), live=False)
    copy = tree / "data" / file.relative_to(directory)
    assert filecmp.cmp(file, copy, shallow=False)
    assert copy.stat().st_blocks * 512 < 1 << 20


def test_what_is_not_chromas_stays_outside(directory: Path, tmp_path: Path) -> None:
    """Also that nothing hangs: nobody writes to the FIFO."""
    expected = set(content(directory))
    (tmp_path / "secret").write_text("secret")
    (directory / "link").symlink_to(tmp_path)
    (directory / "00000000-0000-4000-8000-000000000000").symlink_to(tmp_path)
    os.mkfifo(directory / "pipe")
    (directory / "foreign").mkdir()
    (directory / "foreign" / "file").write_text("foreign")
    orphan = directory / "11111111-0000-4000-8000-000000000000"
    orphan.mkdir()
    os.mkfifo(orphan / "header.bin")
    (orphan / "data_level0.bin").symlink_to(tmp_path / "secret")
    for number, live in enumerate((True, False)):
        tree = tmp_path / f"tree-{number}"
        take(directory, tree, About(new_id()), live=live)
        assert set(content(tree / "data")) == expected


@pytest.mark.parametrize("make", [lambda file, _other: os.mkfifo(file), lambda file, other: file.symlink_to(other)])
def test_an_index_that_is_a_link_is_no_backup_without_it(directory: Path, tmp_path: Path, make) -> None:
    file = next(directory.glob("*/data_level0.bin"))
    shutil.move(file, tmp_path / "moved")
    make(file, tmp_path / "moved")
    with pytest.raises(ChromaError) as refused:
        take(directory, tmp_path / "tree", About(new_id()))
    assert refused.value.code == "unsupported"
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda data, tree: (data / "chroma.sqlite3").unlink(), "not_chroma_directory"),
        (lambda data, tree: shutil.rmtree(data), "not_chroma_directory"),
        (lambda data, tree: (tree / "mine").mkdir(parents=True), "not_empty"),
        (lambda data, tree: (data / "chroma.sqlite3").write_bytes(b"no database" * 1000), "damaged"),
        (lambda data, tree: tree.parent.rename(tree.parent.with_name("moved")), "not_found"),
    ],
)
def test_what_can_be_no_backup_is_refused_and_nothing_changes(directory: Path, tmp_path: Path, prepare, code: str) -> None:
    tree = tmp_path / "place" / "tree"
    tree.parent.mkdir()
    prepare(directory, tree)
    before = content(tmp_path)
    with pytest.raises(ChromaError) as refused:
        take(directory, tree, About(new_id()))
    assert refused.value.code == code
    assert content(tmp_path) == before
    assert not (tree / "data").exists()


def test_a_copy_into_the_directory_itself_is_refused(directory: Path) -> None:
    with pytest.raises(ChromaError) as refused:
        take(directory, directory / "copy", About(new_id()))
    assert refused.value.code == "invalid_value"


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"no database" * 1000)])
def test_a_restore_point_is_made_of_a_damaged_directory_too(directory: Path, tmp_path: Path, damage) -> None:
    damage(directory / "chroma.sqlite3")
    before = content(directory)
    for live in (None, False):
        tree = tmp_path / f"tree-{live}"
        manifest = take(directory, tree, About(new_id(), kind="restore-point", mode="cold"), live=live)
        assert content(tree / "data") == before
        assert manifest.mode == "cold"
        assert manifest.damaged
        assert manifest.collections == ()
        assert parse_manifest((tree / "manifest.json").read_bytes(), "") == manifest


def test_an_interrupted_transaction_belongs_to_a_copy_of_a_stopped_directory(directory: Path, tmp_path: Path) -> None:
    """Its journal is copied with it, and counted is what is there once it is rolled back."""
    subprocess.run([sys.executable, "-c", HOT_JOURNAL, str(directory / "chroma.sqlite3")], check=False, timeout=600)
    before = content(directory)
    assert "chroma.sqlite3-journal" in before
    tree = tmp_path / "tree"
    manifest = take(directory, tree, About(new_id()), live=False)
    assert content(tree / "data") == before
    assert sorted(os.listdir(tree)) == ["data", "manifest.json"]
    assert manifest.records == 120


def test_a_directory_that_changes_without_a_lock_is_told(directory: Path, tmp_path: Path, monkeypatch) -> None:
    file = next(directory.glob("*/header.bin"))
    monkeypatch.setattr(
        "ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take.utc", lambda: file.write_bytes(file.read_bytes()) and "now"
    )
    with pytest.raises(ChromaError) as told:
        take(directory, tmp_path / "tree", About(new_id()), live=False)
    assert told.value.code == "directory_changed"
    assert not (tmp_path / "tree").exists()


def test_a_database_in_wal_mode_is_not_copied_beside_a_server(directory: Path, tmp_path: Path) -> None:
    with sqlite3.connect(directory / "chroma.sqlite3") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with pytest.raises(ChromaError) as refused:
        take(directory, tmp_path / "tree", About(new_id()), live=True)
    assert refused.value.code == "unsupported"
    assert take(directory, tmp_path / "tree", About(new_id()), live=False).records == 120


def test_a_lock_that_others_keep_is_waited_for_and_then_told(directory: Path, tmp_path: Path) -> None:
    command = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(directory / "chroma.sqlite3")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert lock_holder(directory / "chroma.sqlite3") == other.pid
        began = time.monotonic()
        with pytest.raises(ChromaError) as told:
            take(directory, tmp_path / "tree", About(new_id()), live=True, patience=0.5)
        assert time.monotonic() - began >= 0.5
        other.kill()
    assert told.value.code == "busy"
    assert not (tmp_path / "tree").exists()
    assert lock_holder(directory / "chroma.sqlite3") == 0
    take(directory, tmp_path / "tree", About(new_id()), live=True)


def test_a_lock_that_is_lost_is_noticed(directory: Path, tmp_path: Path, monkeypatch) -> None:
    @contextlib.contextmanager
    def lost(*arguments: Any) -> Iterator[WriteLock]:
        with write_lock(*arguments) as lock:
            yield lock
            os.kill(lock.holder, signal.SIGKILL)
            while lock_holder(directory / "chroma.sqlite3"):
                time.sleep(0.005)

    monkeypatch.setattr(hot, "write_lock", lost)
    with pytest.raises(ChromaError) as told:
        take(directory, tmp_path / "tree", About(new_id()), live=True)
    assert told.value.code == "lock_lost"
    assert not (tmp_path / "tree").exists()
