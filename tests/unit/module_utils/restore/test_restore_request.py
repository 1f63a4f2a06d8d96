# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can't be meant is refused; and which swaps count as the restore that is asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import RESTORE, UNDO
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import Recovered
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import (
    RestoreRequest,
    content_of,
    is_done,
    meant,
    resolved,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import FINISHED, GIVEN_UP, SWAPPED, Swap, write_swap

FULL = Backup("20260831T110000Z-000001", "s1", "full", datetime(2026, 8, 31, 11, tzinfo=UTC), 1)
POINT = Backup("20260831T120000Z-000002", "s2", "restore-point", datetime(2026, 8, 31, 12, tzinfo=UTC), 2)
CATALOGUE = Catalogue((FULL, POINT), {FULL.id: FULL, POINT.id: POINT})


@pytest.mark.parametrize("wrong", [{"stops": 0.0}, {"starts": -1.0}, {"operation": "../x"}, {"operation": ""}])
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ChromaError) as caught:
        replace(RestoreRequest(Path("/data"), "one"), **wrong).check()
    assert caught.value.code == "invalid_value"
    RestoreRequest(Path("/data"), "one").check()


def swapped(directory, **parts):
    """Return a swap that has brought the full backup into a directory, by operation ``one``."""
    (directory / "chroma.sqlite3").write_text("restored")
    return Swap(**{"operation": "one", "backup": FULL.id, "restore_point": POINT.id, "staged": "", "old": (), "new": (), **parts})


@pytest.mark.parametrize(
    ("operation", "state", "completed", "expected"),
    [
        ("one", SWAPPED, False, True),
        ("one", FINISHED, False, True),
        ("one", GIVEN_UP, True, False),
        ("another", SWAPPED, True, True),
        ("another", SWAPPED, False, False),
        ("another", FINISHED, False, False),
    ],
)
def test_a_swap_of_somebody_else_counts_only_where_it_was_completed_just_now(tmp_path, operation, state, completed, expected):
    found = Recovered(swapped(tmp_path, state=state), completed, None)
    assert is_done(found, CATALOGUE, RestoreRequest(tmp_path, operation, FULL.id)) is expected
    assert not is_done(found, CATALOGUE, RestoreRequest(tmp_path, operation, POINT.id))


def test_an_interrupted_one_counts_until_a_file_is_touched(tmp_path):
    swap = swapped(tmp_path, state=SWAPPED)
    found = Recovered(replace(swap, content=content_of(tmp_path)), False, None)
    request = RestoreRequest(tmp_path, "another", FULL.id)
    assert is_done(found, CATALOGUE, request)
    assert not is_done(replace(found, swap=replace(found.swap, state=FINISHED)), CATALOGUE, request)
    (tmp_path / "chroma.sqlite3").write_text("written since")
    assert not is_done(found, CATALOGUE, request)


def test_an_undo_means_the_last_restore_before_any_tag_says_so(tmp_path):
    undo = RestoreRequest(tmp_path, "two", undo=True)
    restored = swapped(tmp_path, state=SWAPPED)
    assert meant(CATALOGUE, undo, restored).backup == POINT.id
    # Of an undo that died, what it was to bring back.
    assert meant(CATALOGUE, undo, replace(restored, backup=POINT.id, restore_point="x")).backup == POINT.id
    assert meant(CATALOGUE, undo, replace(restored, state=FINISHED)) == undo
    assert meant(CATALOGUE, replace(undo, backup="named"), restored).backup == "named"
    assert meant(CATALOGUE, undo, None) == undo


def test_a_restore_into_an_empty_directory_has_nothing_to_undo(tmp_path):
    undo = RestoreRequest(tmp_path, "two", undo=True)
    into_nothing = swapped(tmp_path, restore_point="")
    # The restore point in the catalogue is of an earlier restore, and so is what an undo brought into nothing.
    for done in (
        replace(into_nothing, state=SWAPPED),
        replace(into_nothing, state=FINISHED),
        replace(into_nothing, state=FINISHED, backup=POINT.id),
    ):
        with pytest.raises(ChromaError, match="empty directory") as caught:
            meant(CATALOGUE, undo, done)
        assert caught.value.code == "not_found"
    assert meant(CATALOGUE, replace(undo, backup=POINT.id), into_nothing).backup == POINT.id
    assert meant(CATALOGUE, undo, replace(into_nothing, state=GIVEN_UP)) == undo
    # An undo that died behind its swap is asked for again.
    assert meant(CATALOGUE, undo, replace(into_nothing, state=SWAPPED, backup=POINT.id)).backup == POINT.id


def test_an_undo_means_a_restore_point_that_swap_or_journal_of_the_directory_name(tmp_path):
    others = replace(POINT, id="20260831T130000Z-000003", number=3)
    found = {each.id: replace(each, swapped=True) for each in (POINT, others)}
    shared = Catalogue(tuple(found.values()), found)
    undo = RestoreRequest(tmp_path, "two", undo=True)

    def refused():
        with pytest.raises(ChromaError) as caught:
            resolved(shared, undo)
        return caught.value.code == "not_found"

    journal = Journal.of(tmp_path)
    journal.begin("delete-collection", restore_point=others.id)
    assert refused()
    assert resolved(shared, replace(undo, backup=others.id)).backup.id == others.id
    write_swap(tmp_path, swapped(tmp_path, state=FINISHED))
    assert resolved(shared, undo).backup.id == POINT.id
    write_swap(tmp_path, swapped(tmp_path, state=FINISHED, restore_point="x"))
    assert refused()
    for operation in (RESTORE, UNDO):
        (tmp_path / ".thinkube-chroma" / "journal.jsonl").unlink()
        (tmp_path / ".thinkube-chroma" / "journal.head").unlink()
        entry = journal.begin(operation)
        assert refused()
        # What was killed after this has no end.
        journal.step(entry, "swap", restore_point=POINT.id)
        assert resolved(shared, undo).backup.id == POINT.id
