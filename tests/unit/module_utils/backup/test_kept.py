# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup keeps for the next one: it comes back as it was, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.kept import NAME, Kept, keep, read_kept
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE


@pytest.fixture
def kept(shelf):
    _first, second = shelf.chain(2)
    shelf.add("collection")
    return Kept(tuple(shelf.snapshots), second, '{"id": "ä"}', '{"anchors": [1]}')


@pytest.fixture
def file(tmp_path, kept):
    (tmp_path / PRIVATE).mkdir()
    keep(tmp_path, kept)
    return tmp_path / PRIVATE / NAME


def test_it_comes_back_as_it_was_and_nobody_else_may_read_it(file, kept, tmp_path):
    assert read_kept(tmp_path) == kept
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == [NAME]
    keep(tmp_path, replace(kept, backup=""))
    assert read_kept(tmp_path).backup == ""


def test_what_is_damaged_counts_as_absent(file, tmp_path):
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert read_kept(tmp_path) == Kept()
        file.write_bytes(content[:place])
        assert read_kept(tmp_path) == Kept()
    file.write_bytes(content)
    assert read_kept(tmp_path) != Kept()


def test_where_there_is_nothing_or_no_file_nothing_is_known(file, tmp_path):
    other = tmp_path / "elsewhere"
    file.rename(other)
    assert read_kept(tmp_path) == Kept()
    file.symlink_to(other)
    assert read_kept(tmp_path) == Kept()
    file.unlink()
    file.mkdir()
    assert read_kept(tmp_path) == Kept()


def test_that_it_can_not_be_written_is_no_failure(kept, tmp_path):
    keep(tmp_path, kept)
    (tmp_path / PRIVATE / NAME).mkdir(parents=True)
    keep(tmp_path, kept)
    assert read_kept(tmp_path) == Kept()


def test_its_files_are_those_of_one_backup_under_one_id_of_restic(kept, shelf):
    backups = shelf.catalogue
    first, second = (backups.require(each.backup) for each in kept.snapshots[:2])
    assert kept.files_of(second) == ('{"id": "ä"}'.encode(), b'{"anchors": [1]}')
    assert kept.files_of(first) is None
    # Its tags were changed since, or another snapshot has them, too.
    assert kept.files_of(replace(second, snapshot=64 * "e")) is None
    twice = replace(kept, snapshots=(*kept.snapshots, replace(kept.snapshots[1], snapshot=64 * "e")))
    assert twice.files_of(second) is None
    assert replace(kept, snapshots=()).files_of(second) is None
    assert Kept().files_of(second) is None


def test_two_snapshots_of_one_backup_are_for_restic_to_tell_apart(file, kept, tmp_path):
    # Both were made just now: neither tree is known, so one that is another backup would pass for a twin.
    both = [replace(kept.snapshots[1], tree=""), replace(kept.snapshots[1], tree="", snapshot=64 * "e")]
    keep(tmp_path, replace(kept, snapshots=(kept.snapshots[0], *both)))
    assert read_kept(tmp_path).snapshots == ()
    # Those of others have no id at all.
    others = [replace(kept.snapshots[0], snapshot=64 * each, tags=()) for each in "ab"]
    keep(tmp_path, replace(kept, snapshots=(*kept.snapshots, *others)))
    assert len(read_kept(tmp_path).snapshots) == len(kept.snapshots) + 2
