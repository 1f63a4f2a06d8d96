# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of backups with a real restic: what is brought in comes out as it was."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import repositories
from repositories import BACKUP, contents, make_tree, refused, save, settings

from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
# Fixtures.
tree, place, repository = repositories.tree, repositories.place, repositories.repository


def test_what_is_brought_in_comes_out_as_it_was(repository, tree, tmp_path):
    assert repository.created
    saved = save(repository, tree, time=NOW)
    assert saved.bytes == sum(each.stat().st_size for each in tree.rglob("*") if each.is_file())
    [found] = repository.snapshots()
    assert (found.snapshot, found.backup, found.time, found.tag("kind")) == (saved.snapshot, f"{BACKUP}1", NOW, "full")
    assert json.loads(repository.read_file(saved.snapshot, "manifest.json")) == {"seed": 1}
    repository.restore(saved.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)
    repository.restore(saved.snapshot, tmp_path / "part", ["data/7ad3c1f0-segment/name with * and [brackets]", "manifest.json"])
    assert sorted(contents(tmp_path / "part")) == ["data/7ad3c1f0-segment/name with * and [brackets]", "manifest.json"]
    assert refused(repository.read_file, saved.snapshot, "nothing").code == "not_found"
    assert refused(repository.read_file, saved.snapshot, "data/chroma.sqlite3", 1000).code == "too_large"
    assert refused(repository.restore, saved.snapshot, tmp_path / "none", ["increment"]).code == "not_found"
    assert refused(repository.restore, saved.snapshot, tmp_path / "whole").code == "not_empty"
    assert refused(repository.restore, "0" * 64, tmp_path / "none").code == "not_found"


def test_tags_are_changed_and_backups_removed_with_what_only_they_need(repository, place, tree, tmp_path):
    first = save(repository, tree)
    second = save(repository, make_tree(tmp_path / "other", 2), 2)
    size = sum(each.stat().st_size for each in place.rglob("*") if each.is_file())
    new = repository.retag(first.snapshot, ["verified=2026-11-21T09:00:00Z"], ["kind=full"])
    assert [each.backup for each in repository.snapshots(["verified=2026-11-21T09:00:00Z"])] == [f"{BACKUP}1"]
    assert {each.snapshot: each.tag("kind") for each in repository.snapshots()} == {new: "", second.snapshot: "full"}
    repository.forget([second.snapshot], prune=True)
    assert [each.backup for each in repository.snapshots()] == [f"{BACKUP}1"]
    assert sum(each.stat().st_size for each in place.rglob("*") if each.is_file()) < 0.6 * size
    repository.restore(new, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)
    for tags in (["a,b"], [""], [" a"]):
        assert refused(repository.retag, new, tags).code == "invalid_value"


def test_a_backup_that_an_interrupted_retag_left_twice_can_be_told(repository, place, tree):
    saved = save(repository, tree)
    [file] = place.glob("snapshots/*")
    before = file.read_bytes()
    new = repository.retag(saved.snapshot, ["verified=now"])
    file.write_bytes(before)
    assert {each.snapshot: each.tag("verified") for each in repository.snapshots()} == {new: "now", saved.snapshot: ""}
    # They are one by what they hold; see the catalogue. What is named goes, and nothing else.
    assert len({(each.tree, each.time) for each in repository.snapshots()}) == 1
    repository.forget([saved.snapshot])
    assert [each.snapshot for each in repository.snapshots()] == [new]
    repository.forget([new])
    assert repository.snapshots() == ()


def test_progress_comes_to_the_number_of_bytes(repository, tree, tmp_path):
    with Progress("backup", unit="bytes") as progress:
        saved = save(repository, make_tree(tmp_path / "large", 3, megabytes=100), progress=progress)
    assert progress.done == progress.total == saved.bytes
    with Progress("restore", unit="bytes") as progress:
        restored = repository.restore(saved.snapshot, tmp_path / "whole", progress=progress)
    assert progress.done == progress.total == restored.bytes == saved.bytes


def test_a_file_that_has_the_times_and_size_of_before_is_read_again(repository, tree, tmp_path):
    """What restic takes for unchanged by default, as a clock that is set back may make it."""
    save(repository, tree)
    file = tree / "data" / "chroma.sqlite3"
    times, content = file.stat(), bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    saved = save(repository, tree, 2)
    repository.restore(saved.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)


def test_a_clock_that_was_set_back_costs_nothing(repository, tree, tmp_path):
    later = save(repository, tree, 1, time=NOW)
    earlier = save(repository, make_tree(tmp_path / "other", 2), 2, time=NOW - timedelta(days=400))
    assert [each.snapshot for each in repository.snapshots()] == [earlier.snapshot, later.snapshot]
    for saved, source in ((later, tree), (earlier, tmp_path / "other")):
        repository.restore(saved.snapshot, tmp_path / saved.snapshot)
        assert contents(tmp_path / saved.snapshot) == contents(source)


def test_two_at_once_make_the_repository_and_both_bring_their_backup(place, tree, tmp_path):
    other = make_tree(tmp_path / "other", 2)

    def one(number: int) -> tuple[bool, str]:
        opened = open_repository(settings(place, lock_wait=30.0), create=True)
        return opened.created, save(opened, (tree, other)[number - 1], number).snapshot

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(one, (1, 2)))
    assert sorted(created for created, _snapshot in done) == [False, True]
    assert len(list(place.glob("keys/*"))) == 1
    opened = open_repository(settings(place))
    for (_created, snapshot), source in zip(done, (tree, other), strict=True):
        opened.restore(snapshot, tmp_path / snapshot)
        assert contents(tmp_path / snapshot) == contents(source)
    opened.check(read_data=True)
