# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest, the blocks of a database that changed, and the pieces of files."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import image, pieces
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.image import BLOCK, Difference
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import (
    MANIFEST,
    UNDONE,
    Piece,
    Quarantine,
    check_files,
    make_place,
    new_places,
    place_of,
    publish,
    quarantines,
    read,
    write,
)

ID = "20261121T090000Z-0a1b2c"
WHOLE = Quarantine(
    ID,
    steps=({"finding": "CHR017", "subject": "folder"},),
    findings=({"id": "CHR017"},),
    folders=("folder",),
    pieces=(Piece("segment/data_level0.bin", 4, 3),),
    changed={"segment/data_level0.bin": ("a", "b")},
    rows={"segments": 2},
    database=Difference("a", 1, "b", 2),
    checksums={"rows.sqlite3": "c"},
)


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, ID)


@pytest.fixture
def published(place, tmp_path):
    publish(tmp_path, place, Quarantine(ID))
    return place_of(tmp_path, ID)


def test_a_manifest_comes_back_as_it_was_written(place, tmp_path):
    write(place, WHOLE)
    assert [each.name for each in place.iterdir() if each.is_file()] == [MANIFEST]
    assert (quarantines(tmp_path), new_places(tmp_path)) == ([], [place])
    publish(tmp_path, place, Quarantine(ID))
    assert (quarantines(tmp_path), new_places(tmp_path)) == ([place_of(tmp_path, ID)], [])
    for quarantine in (WHOLE, Quarantine(ID), dataclasses.replace(WHOLE, state=UNDONE, database=None)):
        write(place_of(tmp_path, ID), quarantine)
        assert read(place_of(tmp_path, ID)) == quarantine


@pytest.mark.parametrize(
    "change",
    [
        {"rows": {"segments": 3}},
        {"state": "done"},
        {"folders": ["other"]},
        {"format": "something else"},
        {"sha256": "0" * 64},
        {"version": 99},
    ],
)
def test_a_manifest_that_was_edited_is_refused(change, published):
    place = published
    write(place, WHOLE)
    loaded = json.loads((place / MANIFEST).read_text())
    (place / MANIFEST).write_text(json.dumps({**loaded, **change}))
    with pytest.raises(ChromaError) as error:
        read(place)
    assert error.value.code == ("newer_backup" if "version" in change else "damaged_quarantine")


@pytest.mark.parametrize(
    "change",
    [
        {"folders": ("../outside",)},
        {"folders": (".thinkube-chroma",)},
        {"checksums": {"../../chroma.sqlite3": "a"}},
        {"pieces": (Piece("/etc/passwd", 0, 1),)},
        {"id": "20261121T090000Z-ffffff"},
        {"state": "odd"},
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused_whoever_made_it(change, published):
    place = published
    write(place, dataclasses.replace(WHOLE, **change))
    with pytest.raises(ChromaError) as error:
        read(place)
    assert error.value.code == "damaged_quarantine"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_manifest_that_is_none_is_refused(content, place):
    (place / MANIFEST).write_bytes(content)
    with pytest.raises(ChromaError) as error:
        read(place)
    assert error.value.code == "damaged_quarantine"


def test_a_link_in_a_quarantine_is_not_followed(place, tmp_path):
    (tmp_path / "rows").write_bytes(b"rows")
    (place / "rows.sqlite3").symlink_to(tmp_path / "rows")
    with pytest.raises(ChromaError) as error:
        check_files(place, dataclasses.replace(WHOLE, checksums={"rows.sqlite3": image.sha256_of(tmp_path / "rows")}))
    assert error.value.code == "damaged_quarantine"


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 6 * BLOCK), st.integers(0, 6 * BLOCK)),
    places=st.lists(st.integers(0, 6 * BLOCK), max_size=4),
    seed=st.integers(0, 255),
)
def test_the_very_bytes_come_back_whatever_changed(tmp_path_factory, sizes, places, seed):
    folder = tmp_path_factory.mktemp("image")
    before, after = (bytearray((seed + number // BLOCK) % 256 for number in range(size)) for size in sizes)
    for each in places:
        if each < len(after):
            after[each] ^= 0xFF
    database, kept = folder / "database", folder / "before"
    database.write_bytes(before)
    handle = os.open(database, os.O_RDONLY)
    image.keep(handle, kept)
    assert kept.read_bytes() == before
    with database.open("r+b") as file:
        file.write(after)
        file.truncate(len(after))
    difference = image.compare(handle, kept, folder / "blocks")
    assert (difference.before, difference.after) == (image.sha256_of(kept), image.sha256_of(database))
    image.bring_back(handle, database, folder / "blocks", folder / "made", difference)
    os.close(handle)
    assert database.read_bytes() == before
    assert not (folder / "made").exists()


def test_blocks_of_something_else_change_nothing(tmp_path):
    (tmp_path / "database").write_bytes(b"now")
    (tmp_path / "blocks").write_bytes(b"")
    now = image.sha256_of(tmp_path / "database")
    for after, code in ((now, "damaged_quarantine"), ("1" * 64, "busy")):
        difference = Difference("0" * 64, 3, after, 3)
        with (tmp_path / "database").open("r+b") as file, pytest.raises(ChromaError) as error:
            image.bring_back(file.fileno(), tmp_path / "database", tmp_path / "blocks", tmp_path / "made", difference)
        assert error.value.code == code
    assert (tmp_path / "database").read_bytes() == b"now"
    assert not (tmp_path / "made").exists()


def test_pieces_are_put_and_come_back_however_often(tmp_path):
    place = make_place(tmp_path, ID)
    (tmp_path / "one").write_bytes(b"0123456789")
    (tmp_path / "two").write_bytes(b"abcdef")
    changes = (Piece("one", 7, 3), Piece("one", 2, 1, "ff"), Piece("two", 0, 2, "4142"))
    was = pieces.checksums(tmp_path, changes)
    pieces.keep(tmp_path, place, changes)
    for _each in range(2):
        pieces.put(tmp_path, changes)
        assert ((tmp_path / "one").read_bytes(), (tmp_path / "two").read_bytes()) == (b"01\xff3456", b"ABcdef")
    now = pieces.checksums(tmp_path, changes)
    changed = {path: (was[path], now[path]) for path in was}
    for _each in range(2):
        pieces.check_unchanged(tmp_path, place, changes, changed)
        pieces.back(tmp_path, place, changes)
        assert pieces.checksums(tmp_path, changes) == was
    (tmp_path / "two").write_bytes(b"newer")
    with pytest.raises(ChromaError) as error:
        pieces.check_unchanged(tmp_path, place, changes, changed)
    assert error.value.code == "conflict"


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (b"0123456789", True),
        (b"01\xff3456789", True),
        (b"01\xff3456", True),
        (b"01234567", True),
        (b"012345678", True),
        (b"01\xff34567x", False),
        (b"01\xfe3456789", False),
        (b"0x23456789", False),
        (b"01234567890", False),
        (b"012345", False),
        (b"", False),
    ],
)
def test_pieces_are_only_put_where_nobody_else_has_written(content, known, tmp_path):
    """However far a repair or its undo came; and a server that has grown the file since has written."""
    place = make_place(tmp_path, ID)
    (tmp_path / "one").write_bytes(b"0123456789")
    changes = (Piece("one", 7, 3), Piece("one", 2, 1, "ff"))
    pieces.keep(tmp_path, place, changes)
    changed = {"one": (pieces.checksums(tmp_path, changes)["one"], "")}
    (tmp_path / "one").write_bytes(content)
    if known:
        pieces.check_unchanged(tmp_path, place, changes, changed)
    else:
        with pytest.raises(ChromaError) as error:
            pieces.check_unchanged(tmp_path, place, changes, changed)
        assert error.value.code == "conflict"
    (place / "pieces.bin").unlink()
    with pytest.raises(ChromaError) as error:
        pieces.check_unchanged(tmp_path, place, changes, changed)
    assert error.value.code == "damaged_quarantine"
