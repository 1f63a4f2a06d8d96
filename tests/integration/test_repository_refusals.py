# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of backups where it can't be used: another's place, password, format or program, and disks that are full or fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import disks
import pytest
import repositories
from repositories import PASSWORD, by_hand, contents, forge, make_tree, refused, save, settings

from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import restic_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import run
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository

# Fixtures.
tree, place, repository = repositories.tree, repositories.place, repositories.repository


def test_a_first_use_that_was_killed_is_completed(place, tree):
    """restic had written its folders and a key, but not the config that this key encrypts."""
    open_repository(settings(place), create=True)
    (place / "config").unlink()
    assert refused(open_repository, settings(place)).code == "no_repository"
    opened = open_repository(settings(place), create=True)
    assert opened.created
    save(opened, tree)
    assert len(open_repository(settings(place)).snapshots()) == 1


def test_a_repository_that_lost_its_config_is_not_written_over(repository, place, tree):
    save(repository, tree)
    (place / "config").unlink()
    before = contents(place)
    for create in (True, False):
        assert refused(open_repository, settings(place), create=create).code == "damaged_repository"
    assert refused(save, repository, tree, 2).code == "damaged_repository"
    assert contents(place) == before


def test_what_is_no_place_for_backups_is_left_alone(place, tmp_path):
    absent = tmp_path / "not mounted" / "repository"
    assert refused(open_repository, settings(absent)).code == "no_repository"
    assert refused(open_repository, settings(absent), create=True).code == "not_found"
    assert not absent.parent.exists()
    place.mkdir()
    assert refused(open_repository, settings(place)).code == "no_repository"
    (place / "photos").mkdir()
    (place / "photos" / "one.jpg").write_bytes(b"x")
    file = tmp_path / "file"
    file.write_text("x")
    for create in (True, False):
        assert refused(open_repository, settings(place), create=create).code == "foreign_repository"
        assert refused(open_repository, settings(file), create=create).code == "invalid_value"
    assert contents(place) == {"photos/one.jpg": contents(place)["photos/one.jpg"]}


def test_somebody_elses_snapshots_are_refused_or_left_alone(place, tree, tmp_path):
    by_hand(settings(place), "init")
    assert by_hand(settings(place), "backup", str(tree), "--tag", "id=mine").returncode == 0
    assert refused(open_repository, settings(place), create=True).code == "foreign_repository"
    shutil.rmtree(place)
    opened = open_repository(settings(place), create=True)
    ours = save(opened, tree)
    by_hand(settings(place), "backup", str(tree))
    [theirs] = {each["id"] for each in json.loads(by_hand(settings(place), "snapshots", "--json").stdout)} - {ours.snapshot}
    assert [each.snapshot for each in opened.snapshots()] == [ours.snapshot]
    for method in (opened.forget, opened.retag):
        assert refused(method, [theirs] if method == opened.forget else theirs).code == "not_found"
    assert refused(opened.restore, theirs, tmp_path / "whole").code == "not_found"


def test_another_password_opens_nothing(repository, place, tmp_path):
    before = contents(place)
    file = tmp_path / "password"
    file.write_text(f"\n{PASSWORD} \n")
    assert refused(open_repository, settings(place, password="another"), create=True).code == "wrong_password"
    assert not open_repository(settings(place, password="", password_file=str(file))).created
    file.write_text("\n")
    for named in (file, tmp_path / "absent"):
        assert refused(open_repository, settings(place, password="", password_file=str(named))).code == "invalid_value"
    assert refused(open_repository, settings(place, password="")).code == "invalid_value"
    assert contents(place) == before


def test_a_newer_format_is_left_alone(repository, place):
    document = json.loads(by_hand(settings(place), "cat", "config").stdout)
    forge(settings(place), place, "config", {**document, "version": 3})
    before = contents(place)
    assert refused(open_repository, settings(place), create=True).code == "newer_repository"
    assert contents(place) == before


def test_without_a_fitting_restic_it_says_which_is_needed(place, tmp_path):
    assert refused(open_repository, settings(place, restic_path="no-such-restic"), create=True).code == "missing_restic"
    assert refused(open_repository, settings(place, restic_path="true"), create=True).code == "missing_restic"
    packaged = subprocess.run(["apt-get", "download", "restic"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if packaged.returncode:
        pytest.skip(f"no old restic from Debian: {packaged.stderr.strip()[-200:]}")
    [package] = tmp_path.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path / "old")], check=True)
    error = refused(open_repository, settings(place, restic_path=str(tmp_path / "old" / "usr" / "bin" / "restic")), create=True)
    assert error.code == "old_restic"
    assert "0.14" in error.message
    assert not place.exists()


# restic 0.18.1 does so at one of 23 backups into a full disk, and can't be made to.
def test_a_restic_that_does_not_end_after_it_lost_something_is_stopped():
    said = "Save(<data/1>) failed: write /r/data/1: no space left on device"
    script = f"echo '{said}' >&2; echo 'Save(<data/2>) operation successful after 1 retries' >&2; exec sleep 60"
    outcome = run(["sh", "-c", script], dict(os.environ), patience=0.2)
    assert (outcome.gave_up, outcome.code, outcome.text) == (True, -signal.SIGINT, said)
    assert restic_fault("Could not write", outcome, settings(Path("/r"))).code == "no_space"


def test_a_restic_that_can_not_refresh_its_lock_goes_on():
    script = "echo 'Save(<lock/1>) failed: write /r/locks/1: no space left on device' >&2; sleep 1"
    outcome = run(["sh", "-c", script], dict(os.environ), patience=0.2)
    assert (outcome.gave_up, outcome.code) == (False, 0)


def test_a_full_disk_is_named_and_what_was_there_is_kept(tree, tmp_path):
    large = make_tree(tmp_path / "large", 5, megabytes=30)
    with disks.mounted(tmp_path / "disk", "size=12m") as mount:
        opened = open_repository(settings(mount / "repository"), create=True)
        first = save(opened, tree)
        assert refused(save, opened, large, 2).code == "no_space"
        assert [each.snapshot for each in opened.snapshots()] == [first.snapshot]
        with pytest.raises(OSError, match="No space"):
            (mount / "filler").write_bytes(bytes(100 << 20))
        opened.restore(first.snapshot, tmp_path / "while full")
        assert contents(tmp_path / "while full") == contents(tree)
        (mount / "filler").unlink()
        disks.resize(mount, "100m")
        second = save(opened, large, 2)
        opened.prune()
        opened.check(read_data=True)
        opened.restore(second.snapshot, tmp_path / "whole")
        assert contents(tmp_path / "whole") == contents(large)
        with disks.mounted(tmp_path / "small", "size=8m") as small:
            assert refused(opened.restore, second.snapshot, small / "target").code == "no_space"
            assert contents(small) == {}


def test_a_read_only_directory_is_named_and_can_be_restored_from(repository, place, tree, tmp_path):
    saved = save(repository, tree)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        assert refused(save, repository, tree, 2).code == "forbidden"
        assert refused(repository.forget, [saved.snapshot]).code == "forbidden"
        opened = open_repository(settings(place))
        assert opened.read_file(saved.snapshot, "manifest.json")
        opened.restore(saved.snapshot, tmp_path / "whole")
        assert contents(tmp_path / "whole") == contents(tree)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_file_that_can_not_be_read_leaves_no_backup(repository, tree):
    file = tree / "data" / "chroma.sqlite3"
    # The kernel answers a read of another process's memory at address 0 with an error, to root too.
    subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", str(file)], check=True)
    try:
        error = refused(save, repository, tree)
    finally:
        subprocess.run(["umount", str(file)], check=True)
    assert error.code == "incomplete_backup"
    assert "chroma.sqlite3" in error.message
    assert repository.snapshots() == ()


def test_a_repository_beside_the_data_is_warned_of_and_one_inside_refused(repository, place, tmp_path):
    (tmp_path / "data").mkdir()
    assert "same volume" in repository.warn_of(tmp_path / "data")
    assert repository.warn_of(Path("/dev/shm")) == ""
    for data in (tmp_path, place / "data", place):
        assert refused(repository.warn_of, data).code == "invalid_value"


def test_settings_that_can_not_be_right_start_nothing(place):
    for changes in ({"location": ""}, {"location": "s3://bucket"}, {"location": "gs://bucket/prefix"}, {"lock_wait": -1.0}):
        assert refused(open_repository, replace(settings(place), **changes), create=True).code == "invalid_value"
    assert refused(open_repository, settings("s3://bucket/prefix"), create=True).code == "invalid_value"
    assert PASSWORD not in repr(settings(place))
