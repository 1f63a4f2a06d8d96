# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of damaged directories, without a server: nothing that is wrong, and everything that is there."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from functools import partial

import broken
import numpy as np
import pytest
import recovering
import repositories
import servers
from recovering import looked, recovered, same, same_vectors
from restoring import PASSWORD

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import assembled
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

VERSIONS = ("1.5.9", pytest.param("0.6.3", marks=pytest.mark.thorough))
# Findings of one collection that need no recovery, and those of which a copy would be no better.
LEFT = ("CHR083",)
# The name of a case → records of books of which the vector is lost, in any way that is right.
LOST = {
    "a_folder_is_gone_and_the_log_was_purged": "saved",
    "the_vectors_are_gone": "saved",
    # Outside of the directory nothing is looked at.
    "the_id_of_a_segment_leads_outside": "saved",
    "the_vectors_are_empty": "saved",
    "the_label_map_is_gone": "saved",
    "the_label_map_is_empty": "saved",
    "the_label_map_is_noise": "saved",
    "the_label_map_would_run_a_command": "saved",
    "the_vectors_are_cut_off": "some",
    "the_label_map_is_torn": "some",
    "the_index_is_older_than_sqlite": "some",
    "a_vector_holds_nan": "maybe",
    "a_vector_holds_infinities": "maybe",
    "a_vector_in_the_log_holds_nan": 1,
    "two_ids_have_one_label": 2,
    "the_halves_of_the_label_map_differ": "few",
    "an_element_has_another_label": "maybe",
    "an_element_is_marked_as_deleted": "maybe",
    "a_log_entry_has_another_length": 1,
    "the_end_of_the_log_is_gone": "some",
}
# All cases of a release are a long matrix.
# What the case itself changed in SQLite, so that it is not as the server said before.
OLD_AND_NEW = ("0.6.3", "1.5.9")
OTHERWISE = (
    "an_entry_of_0x_waits_for_1x",
    "the_end_of_the_log_is_gone",
    "sqlite_is_older_than_the_index",
    "the_index_is_older_than_sqlite",
    "the_table_of_lists_is_gone",
)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Return a function that makes the directory of a release once."""
    return lambda version: recovering.once(version, tmp_path_factory)


def repository_of(place):
    return partial(open_repository, repositories.settings(place.repository, password=PASSWORD), gone=lambda _hostname: False)


def is_severe(case):
    return any(KINDS[name].severity == "severe" and where == "books" and name not in LEFT for name, where in case.expected)


@pytest.mark.parametrize(
    ("version", "every"), [("1.5.9", False), *(pytest.param(each, True, marks=pytest.mark.thorough) for each in OLD_AND_NEW)]
)
def test_of_each_damaged_collection_every_record_comes_back_as_it_was_or_is_counted_as_lost(version, every, whole, tmp_path):
    original, wrong = whole(version), {}
    books = original.records["books"]
    cases = [each for each in broken.CASES if version in each.versions and is_severe(each)]
    if not every:  # one of each finding
        cases = list({tuple(sorted(each.expected)): each for each in cases}.values())
    assert len(cases) > (40 if every else 20)
    for case in cases:
        place, scene = original.copy(tmp_path / "place")
        case.act(scene)
        with looked(place.data) as (view, backups, found):
            mine = [each for each in found if each.stored.id == original.ids["books"]]
            if len(mine) != 1 or mine[0].kind != "damaged":
                wrong[case.name] = [each.kind for each in mine]
                continue
            records, tally, _space = recovered(place.data, mine[0], view, backups)
        expected = LOST.get(case.name, 0)
        lost = {"saved": len(original.saved), "some": tally.lost if 0 < tally.lost < len(books) else -1}
        # Which record has a certain row of the index is chance, and whether it is one that was deleted.
        lost["maybe"] = tally.lost if tally.lost <= 2 else -1
        lost["few"] = tally.lost if 0 < tally.lost <= 6 else -1
        if tally.lost != lost.get(expected, expected) or (case.name not in OTHERWISE and tally.lost + len(records) not in (172, 173)):
            wrong[case.name] = (tally, expected, len(original.saved))
        if case.name not in OTHERWISE:
            try:
                same(records, books)
            except AssertionError as error:
                wrong[case.name] = str(error)[:500]
        shutil.rmtree(place.root)
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_without_sqlite_the_label_map_gives_the_ids_and_the_index_its_vectors_bit_by_bit(version, whole, tmp_path):
    original = whole(version)
    place, scene = original.copy(tmp_path / "place")
    folders = {name: scene.segment(name=name) for name in ("books", "angles")}
    scene.database.unlink()
    with looked(place.data) as (view, backups, found):
        by_folder = {each.segment: each for each in found}
        books, tally, space = recovered(place.data, by_folder[folders["books"]], view, backups)
        assert space == "l2"  # a guess, as nothing says otherwise
        angles, _tally, _space = recovered(place.data, by_folder[folders["angles"]], view, backups)
    assert {each.kind for each in found} == {"orphan"}
    assert set(original.saved) <= set(books)
    # What the log had newer is older in the index; all else is as it was.
    same_vectors({name: books[name] for name in original.saved}, original.records["books"])
    assert tally.bare == tally.records == len(books)
    # Nobody says that these were measured by angle: as the index has them, of length 1. It has not all of them on each release.
    assert angles
    for name, record in angles.items():
        vector = np.array(original.records["angles"][name]["embedding"], np.float32)
        np.testing.assert_allclose(record["embedding"], vector / np.linalg.norm(vector), rtol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_without_sqlite_and_label_map_ids_are_made_of_the_labels_and_the_vectors_are_the_same_ones(version, whole, tmp_path):
    original = whole(version)
    place, scene = original.copy(tmp_path / "place")
    folder = scene.folder()
    scene.database.unlink()
    (folder / "index_metadata.pickle").unlink()
    with looked(place.data) as (view, backups, found):
        [remains] = [each for each in found if each.segment == folder.name]
        books, tally, _space = recovered(place.data, remains, view, backups)
    assert all(name.startswith("recovered-") for name in books)
    assert tally.relabelled == len(books)
    have = {each["embedding"].tobytes() for each in books.values()}
    assert {np.array(original.records["books"][name]["embedding"], np.float32).tobytes() for name in original.saved} <= have


@pytest.mark.parametrize("header", [b"", b"\0" * 40])
def test_without_sqlite_and_header_the_layout_is_found_out_from_the_labels(header, whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    folder = scene.folder()
    (folder / "header.bin").write_bytes(header)
    with looked(place.data) as (view, backups, found):
        [remains] = [each for each in found if each.segment == folder.name]
        books, tally, _space = recovered(place.data, remains, view, backups)
    assert tally.lost == 0
    same(books, original.records["books"])


def test_documents_come_from_the_backup_where_sqlite_is_lost_and_vectors_from_the_newer_index(whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    folder = scene.folder()
    scene.database.unlink()
    with looked(place.data, repository_of(place)) as (view, backups, found):
        kinds = {each.stored.name: each.kind for each in found}
        [remains] = [each for each in found if each.segment == folder.name]
        books, tally, _space = recovered(place.data, remains, view, backups)
    assert backups.warnings == []
    assert kinds["books"] == "orphan"
    assert kinds["few"] == kinds["empty"] == "missing"
    same_vectors({name: books[name] for name in original.saved}, original.records["books"])
    # id-20 to id-22 were changed since the backup, id-3 to id-8 were deleted before it.
    unchanged = {name: each for name, each in books.items() if int(name[3:]) in {*range(3), *range(9, 20), *range(23, 90)} - {30}}
    same(unchanged, original.records["books"])
    assert tally.bare == len([name for name in books if int(name[3:]) >= 90])
    assert "id-90" in books


@pytest.mark.parametrize("act", ["a_folder_is_gone_and_the_log_was_purged", "the_label_map_is_gone", "the_vectors_are_gone"])
def test_lost_vectors_come_from_the_backup_and_the_newer_ones_are_counted_as_lost(act, whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    next(each for each in broken.CASES if each.name == act).act(scene)
    with looked(place.data, repository_of(place)) as (view, backups, found):
        [remains] = [each for each in found if each.kind == "damaged"]
        books, tally, _space = recovered(place.data, remains, view, backups)
    known = original.records["books"]
    assert set(books) | {name for name in known if int(name[3:]) >= 90} == set(known)
    assert tally.lost == len(known) - len(books)
    assert tally.lost > 0
    # Rows are SQLite's, so they are as new as they were; id-22 got another vector since.
    for name in ("id-20", "id-21"):
        assert (books[name]["document"], books[name]["metadata"]) == (
            known[name]["document"] or "",
            known[name]["metadata"],
        ) or name == "id-20"
    same_vectors({name: each for name, each in books.items() if name != "id-22"}, known)


def test_a_vector_that_the_backup_has_under_its_id_is_not_recovered_a_second_time_under_a_label(whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    folder = scene.folder()
    scene.database.unlink()
    (folder / "index_metadata.pickle").unlink()
    with looked(place.data, repository_of(place)) as (view, backups, found):
        [remains] = [each for each in found if each.segment == folder.name]
        books, tally, _space = recovered(place.data, remains, view, backups)
    vectors = [each["embedding"].tobytes() for each in books.values()]
    assert len(set(vectors)) == len(vectors)
    assert 0 < tally.relabelled < len(books)
    assert {"id-0", "id-89"} <= set(books)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_folder_of_a_deleted_collection_is_an_orphan_with_its_rows_where_the_release_leaves_them(version, whole, tmp_path):
    original = whole(version)
    place, scene = original.copy(tmp_path / "place")
    folder = scene.folder()
    with servers.running(version, data=place.data) as server:
        ChromaClient(Connection(server.url)).delete_collection("books")
    with looked(place.data) as (view, backups, found):
        [remains] = [each for each in found if each.kind == "orphan"]
        books, tally, _space = recovered(place.data, remains, view, backups)
        with assembled(view, remains, backups, None) as one:
            notes = one.notes
    assert remains.segment == folder.name
    if version == "0.6.3":
        # Documents and metadata stay; the log goes, and with it the vectors that the index had not been given yet.
        known = original.records["books"]
        same({name: books[name] for name in original.saved}, known)
        assert len(books) + tally.lost == len(known)
        assert tally.bare == 0
        assert any("may be older ones" in each for each in notes)
    else:
        assert tally.bare == len(books)
        same_vectors({name: books[name] for name in original.saved}, original.records["books"])


@pytest.mark.parametrize("backed", [False, True])
def test_a_folder_with_the_same_ids_is_not_taken_for_the_one_that_sqlite_names(backed, whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    # As one is left of a collection that was deleted, and made again with the same ids.
    scene.folder().rename(place.data / str(uuid.uuid4()))
    with looked(place.data, repository_of(place) if backed else None) as (view, backups, found):
        [remains] = [each for each in found if each.kind == "damaged"]
        books, tally, _space = recovered(place.data, remains, view, backups)
    assert "salvage" not in tally.vectors
    assert tally.lost == len(original.records["books"]) - len(books)
    assert tally.lost == (len([name for name in original.saved if int(name[3:]) >= 90]) if backed else len(original.saved))


@pytest.mark.parametrize(
    ("backed", "expected"), [pytest.param(True, ("cosine", "backup"), marks=pytest.mark.thorough), (False, ("l2", "guess"))]
)
def test_where_the_distance_function_is_lost_the_backup_says_it_or_it_is_called_a_guess(backed, expected, whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    if backed:
        place.backup()
    scene.sql("UPDATE collections SET schema_str = NULL, config_json_str = substr(config_json_str, 2) WHERE name = 'angles'")
    with looked(place.data, repository_of(place) if backed else None) as (view, backups, found):
        [remains] = [each for each in found if each.stored.name == "angles"]
        with assembled(view, remains, backups, None) as one:
            assert (one.space, one.space_from) == expected
        angles, _tally, _space = recovered(place.data, remains, view, backups)
    if backed:
        same(angles, original.records["angles"], "cosine")


def test_where_a_page_of_the_rows_is_lost_the_label_map_says_which_records_there_were(whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    with contextlib.closing(sqlite3.connect(scene.database)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        leaves = [row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE name = 'embeddings' AND pagetype = 'leaf'")]
    scene.patch(scene.database, (leaves[1] - 1) * size, b"\xff" * size)
    with looked(place.data) as (view, backups, found):
        [remains] = [each for each in found if each.stored.name == "books"]
        books, tally, _space = recovered(place.data, remains, view, backups)
    assert set(books) >= set(original.records["books"])
    assert tally.bare > 0
    same_vectors({name: books[name] for name in original.records["books"]}, original.records["books"])


def test_a_vector_that_the_log_has_under_its_id_is_not_recovered_a_second_time_under_a_label(whole, tmp_path):
    original = whole("1.5.9")
    place, scene = original.copy(tmp_path / "place")
    (scene.folder() / "index_metadata.pickle").unlink()
    known = list(original.saved)[:20]
    # As a log that was never emptied still has them.
    vectors = [(name, np.array(original.records["books"][name]["embedding"], "<f4").tobytes()) for name in known]
    with contextlib.closing(sqlite3.connect(scene.database, isolation_level=None)) as connection:
        connection.executemany(
            "INSERT INTO embeddings_queue (operation, topic, id, vector, encoding) VALUES (2, ?, ?, ?, 'FLOAT32')",
            [(scene.topic(), *each) for each in vectors],
        )
    scene.sql("DELETE FROM embeddings")
    with looked(place.data) as (view, backups, found):
        [remains] = [each for each in found if each.stored.name == "books"]
        books, _tally, _space = recovered(place.data, remains, view, backups)
    found_vectors = [each["embedding"].tobytes() for each in books.values()]
    assert set(known) <= set(books)
    assert len(set(found_vectors)) == len(found_vectors)


def test_nothing_is_found_where_nothing_is_wrong(whole):
    original = whole("1.5.9")
    with looked(original.place.data, repository_of(original.place)) as (_view, _backups, found):
        assert found == ()
