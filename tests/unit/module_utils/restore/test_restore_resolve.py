# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup is meant: never another one in silence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import adopt_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import SWAPPED, UNDONE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.collection import CollectionRequest, resolved_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import parse_moment, resolve, restore_point
from ansible_collections.thinkube.chroma.tests.unit.module_utils.backup.conftest import NOW, Shelf


@pytest.fixture
def shelf():
    return Shelf()


def refused(code, act, *words):
    with pytest.raises(ChromaError) as caught:
        act()
    assert caught.value.code == code
    assert caught.value.hint
    text = caught.value.message + caught.value.hint
    assert all(word in text for word in words), text
    return caught.value


def test_latest_is_the_newest_point_with_its_chain(shelf):
    chain = shelf.chain(4, age=10)
    shelf.add("restore-point", age=1, extra=(SWAPPED,))
    shelf.add("collection", age=1)
    shelf.add("full", age=1, pending=True)
    found = resolve(shelf.catalogue)
    assert found.backup.id == chain[-1]
    assert [each.id for each in found.chain] == chain
    assert (found.base.id, [each.id for each in found.increments]) == (chain[0], chain[1:])
    assert found.note == ""


@pytest.mark.parametrize(("hours", "index"), [(10, 0), (9.5, 0), (9, 1), (8.01, 1), (7, 3), (0, 3)])
def test_as_of_is_the_newest_that_is_not_later(shelf, hours, index):
    chain = shelf.chain(4, age=10)
    found = resolve(shelf.catalogue, as_of=NOW - timedelta(hours=hours))
    assert found.backup.id == chain[index]
    assert chain[index] in found.note
    assert (chain[-1] in found.note or "the next one" in found.note) or index < 3


def test_as_of_before_all_names_the_oldest(shelf):
    chain = shelf.chain(2, age=5)
    refused("not_found", lambda: resolve(shelf.catalogue, as_of=NOW - timedelta(hours=6)), "as old as", chain[0])


def test_a_clock_that_was_set_back_does_not_make_an_older_one_the_newest(shelf):
    shelf.add("full", age=1)
    later = shelf.add("full", age=5)  # by its clock it is older
    assert resolve(shelf.catalogue).backup.id == later


@pytest.mark.parametrize(("hours", "index"), [(1, 0), (0, 1), (-0.9, 1), (-2.5, 4)])
def test_as_of_never_means_one_whose_clock_was_behind(shelf, hours, index):
    # 11:00, 12:00; at 12:30 the clock was set back by three hours, and it was right again after 13:30.
    names = [shelf.add(age=age) for age in (1, 0, 2.5, 1.5, -2.5)]
    found = resolve(shelf.catalogue, as_of=NOW - timedelta(hours=hours), now=NOW + timedelta(hours=3))
    assert found.backup.id == names[index]
    assert [name in found.note and "clock was set back" in found.note for name in names[2:4]] == [index < 2] * 2
    # An id means it all the same.
    assert resolve(shelf.catalogue, names[3]).backup.id == names[3]


def test_as_of_is_not_misled_by_a_time_that_is_still_to_come_or_by_another_directory(shelf):
    first = shelf.add(age=3, instance="a" * 16)
    shelf.add(age=-24 * 365, instance="a" * 16)
    shelf.add(age=0.5, instance="b" * 16)
    last = shelf.add(age=1, instance="a" * 16)
    found = resolve(shelf.catalogue, as_of=NOW - timedelta(hours=1), now=NOW)
    assert (found.backup.id, "set back" in found.note) == (last, False)
    assert resolve(shelf.catalogue, as_of=NOW - timedelta(hours=2), now=NOW).backup.id == first


def test_as_of_before_all_says_where_a_clock_was_set_back(shelf):
    shelf.add("restore-point", age=1)
    behind = shelf.add(age=5)
    refused("not_found", lambda: resolve(shelf.catalogue, as_of=NOW - timedelta(hours=2), now=NOW), "set back", behind, "name it")


def test_an_id_is_that_one_even_a_restore_point(shelf):
    chain = shelf.chain(3, age=9)
    point = shelf.add("restore-point")
    assert resolve(shelf.catalogue, chain[1]).backup.id == chain[1]
    assert resolve(shelf.catalogue, point).backup.id == point


def test_what_is_unknown_unfinished_or_of_one_collection_is_refused(shelf):
    known = shelf.add("full", age=3)
    pending = shelf.add("full", age=2, pending=True)
    alone = shelf.add("collection", age=1)
    refused("not_found", lambda: resolve(shelf.catalogue, "20200101T000000Z-000000"), "20200101T000000Z-000000", known)
    refused("not_found", lambda: resolve(shelf.catalogue, pending), "was not finished")
    refused("unsupported", lambda: resolve(shelf.catalogue, alone), "default_tenant/default_database/books")
    assert resolve(shelf.catalogue, alone, collection="books").backup.id == alone
    refused("not_found", lambda: resolve(Shelf().catalogue), "right repository")


def test_a_gap_is_named_and_what_can_be_restored_instead(shelf):
    older = shelf.add("full", age=30)
    chain = shelf.chain(5, age=10)
    shelf.without(chain[2])
    for backup, name in (("latest", chain[4]), (chain[3], chain[3])):
        error = refused("broken_chain", lambda backup=backup: resolve(shelf.catalogue, backup), name, chain[2], f"restored is {chain[1]}")
        assert error.result == {"missing": chain[2]}
    assert resolve(shelf.catalogue, chain[1]).backup.id == chain[1]
    shelf.without(chain[0])
    refused("broken_chain", lambda: resolve(shelf.catalogue, chain[1]), chain[0], f"restored is {older}")
    shelf.without(older)
    refused("broken_chain", lambda: resolve(shelf.catalogue, chain[1]), "No backup before it")


def test_of_a_collection_the_newest_that_holds_it_counts(shelf):
    full = shelf.add("full", age=5, names=("books", "films"))
    alone = shelf.add("collection", age=4, names=("books",))
    shelf.add("full", age=3, names=("films",))
    assert resolve(shelf.catalogue, collection="books").backup.id == alone
    assert resolve(shelf.catalogue, collection="default_tenant/default_database/books").backup.id == alone
    assert resolve(shelf.catalogue, as_of=NOW - timedelta(hours=4.5), collection="books").backup.id == full
    refused("not_found", lambda: resolve(shelf.catalogue, collection="songs"), "songs")


def test_an_undo_takes_the_point_of_the_last_restore_that_was_done(shelf):
    shelf.add("full", age=9)
    refused("not_found", lambda: restore_point(shelf.catalogue), "nothing to undo")
    died = shelf.add("restore-point", age=8)  # of a restore that died before it swapped
    refused("not_found", lambda: restore_point(shelf.catalogue, known=[died]), "nothing to undo")
    first = shelf.add("restore-point", age=7, extra=(SWAPPED, UNDONE))
    second = shelf.add("restore-point", age=6, extra=(SWAPPED,))
    last = shelf.add("restore-point", age=5)
    assert restore_point(shelf.catalogue, known=[died, first, second, last]).backup.id == second
    assert restore_point(shelf.catalogue, first).backup.id == first


def test_an_undo_takes_no_point_that_the_directory_does_not_know(shelf):
    mine = shelf.add("restore-point", age=7, extra=(SWAPPED,), instance="a" * 16)
    # Of a directory that was new: it had no instance yet.
    others = shelf.add("restore-point", age=6, extra=(SWAPPED,))
    assert restore_point(shelf.catalogue, known=[mine]).backup.id == mine
    refused("not_found", lambda: restore_point(shelf.catalogue), "name it", "chroma_backup_info")
    assert restore_point(shelf.catalogue, others).backup.id == others


def test_an_undo_takes_restore_points_only(shelf):
    full = shelf.add("full")
    refused("unsupported", lambda: restore_point(shelf.catalogue, full), "no restore point")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-08-31T12:00:00Z", NOW),
        ("2026-08-31T14:00:00+02:00", NOW),
        ("2026-08-31 12:00", NOW),
        (" 2026-08-31T12:00:00 ", NOW),
        ("2026-08-31", NOW - timedelta(hours=12)),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text, wanted):
    assert parse_moment(text) == wanted


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "31.8.2026"])
def test_what_is_no_time_is_refused(text):
    refused("invalid_value", lambda: parse_moment(text), "2026-08-31T14:00:00Z")


def test_of_a_collection_the_newest_is_never_another_servers(shelf, tmp_path):
    one, other = "a" * 16, "b" * 16
    adopt_instance(tmp_path, one)

    def found(path=tmp_path, **wanted):
        return resolved_collection(shelf.catalogue, CollectionRequest("books", path=path, **wanted)).backup.id

    mine = shelf.add(age=5, instance=one)
    by_api = shelf.add("collection", age=4)
    # Of one directory, and of none that is known, it is as it was.
    assert (found(), found(None)) == (by_api, by_api)
    assert found(as_of=(NOW - timedelta(hours=4.5)).isoformat()) == mine
    others = shelf.add("collection", age=3, instance=other)
    refused("invalid_value", found, by_api, "name it")
    refused("invalid_value", lambda: found(None), "by its id")
    refused("invalid_value", lambda: found(None, as_of=NOW.isoformat()), "by its id")
    assert [found(backup=each) for each in (mine, by_api, others)] == [mine, by_api, others]
    assert found(as_of=(NOW - timedelta(hours=4.5)).isoformat()) == mine
    newest = shelf.add(age=2, instance=one)
    shelf.add("collection", age=1, instance=other)
    assert found() == newest


def test_where_backups_are_by_the_api_alone_the_newest_counts(shelf):
    shelf.add("collection", age=2)
    newest = shelf.add("collection", age=1)
    assert resolved_collection(shelf.catalogue, CollectionRequest("books")).backup.id == newest
