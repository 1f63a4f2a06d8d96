# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repair or its undo was interrupted, and somebody wrote before the next operation: that stays, and nobody is kept from work."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import sqlite3
import subprocess
import sys

import filling
import pytest
import servers
from repairing import QUARANTINE, breaks, found, killed, mend, state, unmend
from restoring import files
from writing import stored

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import act, folders, image, pieces, revert, settle
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import read
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]


def grow(path, first, last):
    """Write records, which saves the index each time its threshold is reached."""
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = client.require_collection("books") if first else filling.create(client, "books")
        for start in range(first, last, 50):
            filling.write(client, books, range(start, start + 50), lists=True)


def vectors(path):
    (file,) = path.glob("*/data_level0.bin")
    return file


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A directory with an index whose file is too long."""
    path = tmp_path_factory.mktemp("small") / "data"
    grow(path, 0, 100)
    os.truncate(vectors(path), vectors(path).stat().st_size + 5)
    return path


@pytest.mark.parametrize("interrupted", ["repair", "undo"])
def test_an_index_that_a_server_has_saved_since_is_left_alone(interrupted, small, tmp_path):
    path = tmp_path / "data"
    shutil.copytree(small, path)
    if interrupted == "repair":
        assert killed(lambda: mend(path), pieces, "put", 1)
    else:
        mend(path)
        assert killed(lambda: unmend(path), pieces, "back", 1)
    grow(path, 100, 300)
    content, kept = vectors(path).read_bytes(), stored(path)
    assert len(kept["books"]) == 300
    (place,) = (path / QUARANTINE).iterdir()
    # Nobody has to stop the server for it.
    with servers.running(NEWEST, data=path):
        settled = recover(path, None)
    assert vectors(path).read_bytes() == content
    assert (found(path), stored(path)) == ([], kept)
    assert Journal.of(path).open_entries() == []
    if interrupted == "repair":
        assert (settled.repairs, settled.warnings, state(path)) == ((place.name,), (), "done")
    else:
        assert (settled.repairs, state(path)) == ((), "stuck")
        assert place.name in settled.warnings[0]
    again = recover(path, None)
    assert (again.repairs, again.warnings) == ((), ())


def test_an_undo_of_the_very_bytes_goes_on_row_by_row_where_somebody_has_written(bases, tmp_path):
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    mend(path)
    assert killed(lambda: unmend(path), image, "bring_back", 1)
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url))
        filling.write(client, client.require_collection("few"), [30])
        assert len(recover(path, None).repairs) == 1
    assert (state(path), found(path)) == ("undone", ["CHR082"])
    assert "id-30" in stored(path)["few"]


@pytest.mark.parametrize(
    ("how", "interrupted"),
    [
        ("destroyed", "repair"),
        ("gone", "undo"),
        *(
            pytest.param(how, interrupted, marks=pytest.mark.thorough)
            for how, interrupted in (("wal", "repair"), ("wal", "undo"), ("destroyed", "undo"), ("gone", "repair"))
        ),
    ],
)
def test_what_can_never_be_brought_to_its_end_keeps_nobody_from_work(how, interrupted, bases, tmp_path):
    """Least of all a restoration, which is what such a directory needs."""
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    if interrupted == "repair":
        assert killed(lambda: mend(path), pieces, "checksums", 2)
    else:
        mend(path)
        assert killed(lambda: unmend(path), image, "bring_back", 1)
    database = path / "chroma.sqlite3"
    if how == "wal":
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    elif how == "destroyed":
        database.write_bytes(b"x" * 8192)
    else:
        database.unlink()
    settled = recover(path, None)
    (place,) = (path / QUARANTINE).iterdir()
    assert (settled.repairs, state(path)) == ((), "stuck")
    assert place.name in settled.warnings[0]
    assert (place / "rows.sqlite3").is_file()
    assert recover(path, None).warnings == ()
    assert Journal.of(path).open_entries() == []


def test_nobody_writes_between_the_last_look_and_the_very_bytes(bases, tmp_path, monkeypatch):
    """The lock is held until the file has been exchanged."""
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    before = files(path)
    mend(path)
    rename, answers = os.rename, []

    def watched(source, target):
        if str(target).endswith("chroma.sqlite3"):
            code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
            ran = subprocess.run([sys.executable, "-c", code, str(target)], check=False, capture_output=True, text=True)
            answers.append(ran.stderr)
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    assert unmend(path)["exact"]
    assert len(answers) == 1
    assert "database is locked" in answers[0]
    assert files(path) == before


def test_a_write_just_before_the_lock_is_kept(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    mend(path)
    write = revert.write

    def late(*arguments):
        with sqlite3.connect(path / "chroma.sqlite3") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS newer (a)")
        return write(*arguments)

    monkeypatch.setattr(revert, "write", late)
    with pytest.raises(ChromaError) as error:
        unmend(path)
    assert (error.value.code, state(path)) == ("busy", "done")
    monkeypatch.undo()
    assert not unmend(path)["exact"]
    connection = sqlite3.connect(path / "chroma.sqlite3")
    assert connection.execute("SELECT count(*) FROM newer").fetchall() == [(0,)]
    connection.close()


def test_a_repair_that_is_told_to_end_takes_back_what_it_did(small, tmp_path, monkeypatch):
    """As the signal handler of a Job does; its server is started on the way out."""
    path = tmp_path / "data"
    shutil.copytree(small, path)
    before = files(path)

    def end(*_arguments):
        raise SystemExit(143)

    monkeypatch.setattr(pieces, "put", end)
    with pytest.raises(SystemExit):
        mend(path)
    assert (state(path), files(path)) == ("undone", before)


@pytest.mark.parametrize("exact", [True, False])
def test_an_undo_that_is_told_to_end_after_its_change_is_completed(exact, bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    shutil.copytree(scene.folder(), path / scene.id())
    result = mend(path)
    if not exact:
        scene.sql("PRAGMA user_version = 7")
    bring_back = image.bring_back

    class Writer(revert.Writer):
        def __exit__(self, *arguments):
            super().__exit__(*arguments)
            raise SystemExit(143)

    def end(*arguments):
        bring_back(*arguments)
        raise SystemExit(143)

    monkeypatch.setattr(*((image, "bring_back", end) if exact else (revert, "Writer", Writer)))
    with pytest.raises(SystemExit):
        unmend(path)
    monkeypatch.undo()
    assert state(path) == "undoing"
    assert recover(path, None).repairs == (result["quarantine"],)
    assert (state(path), found(path)) == ("undone", ["CHR017", "CHR082"])
    assert (path / scene.id()).is_dir()


@pytest.mark.parametrize("live", [True, False])
def test_a_folder_that_changed_after_a_kill_stays_where_it_is(live, bases, tmp_path):
    """Its quarantine would hold other files than its manifest says, and nobody could undo it."""
    path = tmp_path / "data"
    breaks("a_folder_belongs_to_nobody", NEWEST, bases, path)
    assert killed(lambda: mend(path), act, "_change", 1)
    (place,) = (path / QUARANTINE).iterdir()
    (name,) = read(place).folders
    (path / name / "header.bin").write_bytes(b"somebody's")
    before = files(path)
    if live:
        with servers.running(NEWEST, data=path):
            recover(path, None)
        assert read(place).state == "done"
    else:
        assert place.name in recover(path, None).warnings[0]
        assert (read(place).state, files(path)) == ("undone", before)
    assert (path / name / "header.bin").read_bytes() == b"somebody's"
    assert list((place / "folders").iterdir()) == []
    result = mend(path)
    assert result["folders"] == [name]
    assert unmend(path, repair=result["quarantine"])["changed"]
    assert (path / name / "header.bin").read_bytes() == b"somebody's"


def test_what_changed_between_the_look_and_the_lock_is_left_and_not_called_repaired(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    breaks("a_folder_belongs_to_nobody", NEWEST, bases, path)
    move = folders.move

    def touched(writer, directory, place, names, stamps):
        for name in names:
            os.utime(directory / name / "header.bin")
        move(writer, directory, place, names, stamps)

    monkeypatch.setattr(folders, "move", touched)
    result = mend(path, live=True)
    assert (result["changed"], result["repaired"], result["folders"]) == (False, [], [])
    assert "CHR017" in {each["finding"] for each in result["left"]}
    assert found(path) == ["CHR017"]


@pytest.mark.parametrize("live", [True, False])
def test_a_validation_that_could_not_look_proves_nothing(live, bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    before = files(path)
    look = settle.validate
    monkeypatch.setattr(settle, "validate", lambda *given, **options: dataclasses.replace(look(*given, **options), skipped=("the log",)))
    if live:
        assert "the log" in mend(path, live=True)["warnings"][0]
    else:
        with pytest.raises(ChromaError) as error:
            mend(path)
        assert (error.value.code, files(path)) == ("not_verified", before)


@pytest.mark.parametrize(("owner", "name"), [(act, "make_place"), (act, "publish"), (image, "keep"), (image, "_make")])
def test_a_full_volume_is_named_and_leaves_nothing_behind(owner, name, bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    before = files(path)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if name == "_make":
        mend(path)
        before = files(path)
    monkeypatch.setattr(owner, name, full)
    if name == "keep":
        # Only the very bytes can't come back then.
        result = mend(path)
        assert (result["exact"], found(path)) == (False, [])
        return
    with pytest.raises(ChromaError) as error:
        (unmend if name == "_make" else mend)(path)
    assert (error.value.code, files(path)) == ("no_space", before)
    assert [each.name for each in (path / QUARANTINE).glob("*/*.sqlite3")] == (["rows.sqlite3"] if name == "_make" else [])
