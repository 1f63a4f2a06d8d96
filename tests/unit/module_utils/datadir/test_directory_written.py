# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that may not be written, is written meanwhile, or whose writer was killed: read unchanged, from a copy, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.datadir.directories import database, folder_of, read


def test_reading_changes_no_byte_and_no_time_and_creates_no_file(directory, state):
    before = state(directory)
    read(directory)
    with open_directory(directory) as opened, pytest.raises(ChromaError, match="readonly"):
        opened.database.rows("DELETE FROM embeddings")
    assert state(directory) == before


def test_from_a_place_where_nothing_may_be_written(pattern, state):
    """As another user, as root may write everywhere; with a journal that has to be rolled back too."""
    place = Path(tempfile.mkdtemp(prefix="chroma-reader-test-"))
    try:
        for name, source in (("clean", pattern), ("hot", None)):
            shutil.copytree(pattern if source is None else source, place / name)
        leave_hot_journal(place / "hot")
        for each in [place, *place.rglob("*")]:
            each.chmod(0o555 if each.is_dir() else 0o444)
        before = state(place)
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
                ok = not os.access(place / "clean", os.W_OK) and read(place / "clean") == read(place / "hot") != {}
                os._exit(0 if ok else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert state(place) == before
    finally:
        for each in [place, *place.rglob("*")]:
            each.chmod(0o755)
        shutil.rmtree(place)


def leave_hot_journal(directory: Path) -> None:
    """Leave the directory as a server does that is killed in the middle of a transaction."""
    copy = directory.with_name(f"{directory.name}-killed")
    connection = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(connection):
        connection.executescript("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN IMMEDIATE;")
        connection.execute("UPDATE embedding_metadata SET string_value = 'never committed' || string_value")
        connection.execute("DELETE FROM embeddings WHERE id % 2")
        shutil.copytree(directory, copy)
        connection.execute("ROLLBACK")
    shutil.rmtree(directory)
    copy.rename(directory)
    assert (directory / "chroma.sqlite3-journal").stat().st_size > 512


def test_an_interrupted_transaction_is_rolled_back_in_a_copy(directory, state, tmp_path):
    expected = read(directory)
    leave_hot_journal(directory)
    before = state(directory)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with open_directory(directory, scratch=scratch) as opened:
        assert len(list(scratch.iterdir())) == 1
        rows = [row for batch in opened.batches(opened.collections()[0]) for row in batch.to_pylist()]
    assert rows == expected["synthetic-0"]
    assert list(scratch.iterdir()) == []
    assert state(directory) == before


def test_a_transaction_that_goes_on_is_not_taken_for_an_interrupted_one(directory):
    expected = read(directory)
    writer = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(writer):
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM embeddings")
        assert (directory / "chroma.sqlite3-journal").exists()
        child = os.fork()  # locks do not hold against the process that took them
        if not child:
            try:
                os._exit(0 if read(directory) == expected else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        writer.execute("ROLLBACK")


def test_a_database_in_wal_mode_is_read_from_a_copy(directory, state, tmp_path):
    expected = read(directory)
    with database(directory) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = state(directory)
    assert read(directory) == expected
    assert state(directory) == before


def leave_in_wal_mode(directory: Path) -> None:
    """Leave the directory as somebody's sqlite3 does that was killed: the last commit is in the log beside the database only."""
    copy = directory.with_name(f"{directory.name}-killed")
    connection = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE collections SET name = 'renamed' WHERE name = 'synthetic-1'")
        shutil.copytree(directory, copy)
    shutil.rmtree(directory)
    copy.rename(directory)
    assert (directory / "chroma.sqlite3-wal").stat().st_size


@pytest.mark.parametrize("leave", [leave_hot_journal, leave_in_wal_mode])
def test_of_a_copied_database_the_original_is_watched(directory, leave):
    leave(directory)
    with open_directory(directory) as opened:
        first = opened.fingerprint()
    with open_directory(directory) as opened:
        assert opened.fingerprint() == first, "an export that goes on would start afresh"
        collection = next(each for each in opened.collections() if each.name == "synthetic-0")
        batches = opened.batches(collection, bytes_per_batch=1000)
        next(batches)
        writer = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
        with contextlib.closing(writer):
            writer.execute("UPDATE tenants SET id = id || '-changed'")
            with pytest.raises(ChromaError) as told:
                list(batches)
    assert told.value.code == "directory_changed"
    with open_directory(directory) as opened:
        assert opened.fingerprint() != first
        assert opened.tenants == ("default_tenant-changed",)


@pytest.mark.parametrize("leave", [leave_hot_journal, leave_in_wal_mode])
def test_a_server_that_starts_while_the_database_is_copied_is_noticed(directory, leave, monkeypatch, tmp_path):
    leave(directory)
    copyfile = shutil.copyfile

    def interrupted(source: str, target: Path) -> None:
        if not str(source).endswith(".sqlite3"):
            with database(directory) as connection:
                connection.execute("UPDATE tenants SET id = id || '-changed'")
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ChromaError) as told, open_database(directory, scratch):
        pass
    assert told.value.code == "directory_changed"
    assert list(scratch.iterdir()) == []


def test_what_is_written_while_the_catalogue_is_read_is_noticed(directory):
    with open_database(directory) as opened:
        with database(directory) as connection:
            connection.execute("UPDATE collections SET name = 'another' WHERE name = 'synthetic-1'")
        with pytest.raises(ChromaError) as told:
            DataDirectory(directory, opened)
    assert told.value.code == "directory_changed"


def test_what_is_written_meanwhile_is_noticed(directory):
    with open_directory(directory) as opened:
        collection = opened.collections()[0]
        batches = opened.batches(collection, bytes_per_batch=1000)
        next(batches)
        with database(directory) as connection:
            connection.execute("UPDATE collections SET name = 'another' WHERE name = 'synthetic-1'")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"
    with open_directory(directory) as opened:
        batches = opened.batches(opened.collections()[0])
        os.utime(folder_of(directory) / "data_level0.bin")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"


def test_what_is_damaged_because_somebody_writes_is_a_change(directory):
    with open_directory(directory) as opened:
        batches = opened.batches(opened.collections()[0], bytes_per_batch=1000)
        next(batches)
        with database(directory) as connection:
            connection.execute("DELETE FROM embeddings")
        with pytest.raises(ChromaError) as told:
            list(batches)
    assert told.value.code == "directory_changed"


def test_an_index_that_is_saved_while_its_collection_is_opened_is_a_change(directory):
    with open_directory(directory) as opened:
        collection = next(each for each in opened.collections() if each.vector and each.vector.id == folder_of(directory).name)
        (folder_of(directory) / "header.bin").write_bytes(b"half")
        with pytest.raises(ChromaError) as told:
            opened.schema(collection)
    assert told.value.code == "directory_changed"
