# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of backups with files that are damaged or lost: found, named with the backups that need them, and mended."""

from __future__ import annotations

import contextlib
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import repositories
from repositories import BACKUP, contents, make_tree, refused, save, settings

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import SOCKET_VARIABLE
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.mending import Mended

# Fixtures.
tree, place, repository = repositories.tree, repositories.place, repositories.repository


@pytest.fixture
def events(tmp_path, monkeypatch):
    """Return what returns all that was said since it was asked last."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "events"))
        heard.setblocking(False)
        monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "events"))

        def said() -> str:
            datagrams = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    datagrams.append(heard.recv(1 << 16).decode())
            return "\n".join(datagrams)

        yield said


def spoil(pack: Path) -> None:
    """Flip a bit in the middle of a file: which part a pack begins with is chance, and its end only says what is in it."""
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)


def test_a_flipped_byte_is_found_and_named_with_the_backups_that_need_it(repository, place, tree, tmp_path):
    spoiled = save(repository, tree)
    before = set(place.glob("data/*/*"))
    whole = save(repository, make_tree(tmp_path / "other", 2), 2)
    largest = max(before, key=lambda each: each.stat().st_size)
    spoil(largest)
    repository.check()  # which files are there, not what is in them
    error = refused(repository.check, read_data=True)
    assert error.code == "damaged_repository"
    assert error.result["backups"] == (f"{BACKUP}1",)
    assert any(each.startswith("/data/") for each in error.result["files"])
    assert error.result["packs"] == (largest.name,)
    error = refused(repository.restore, spoiled.snapshot, tmp_path / "spoiled")
    assert error.code == "damaged_repository"
    assert error.result["backups"] == [f"{BACKUP}1"]
    assert f"{BACKUP}1" in error.message
    assert contents(tmp_path / "spoiled") == {}
    repository.restore(whole.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tmp_path / "other")


def test_a_damaged_pack_goes_only_for_its_own_sake_and_the_next_backup_brings_its_content_again(repository, place, tree, tmp_path, events):
    spoiled = save(repository, tree)
    before = set(place.glob("data/*/*"))
    other = save(repository, make_tree(tmp_path / "other", 2), 2)
    largest = max(before, key=lambda each: each.stat().st_size)
    named = f"Load(<data/{largest.name[:10]}>, 250, 1207) failed: ciphertext verification failed"
    content = largest.read_bytes()
    # A complaint alone, of a fault on the way, costs nothing.
    assert repository.mend([named]) == Mended()
    assert largest.read_bytes() == content
    assert largest.name in events()
    largest.chmod(0o600)
    largest.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert repository.mend([named]) == Mended((largest.name,), (f"{BACKUP}1",))
    said = events()
    assert f"Packs {largest.name} of {place} are damaged" in said
    assert f"{BACKUP}1" in said
    assert not largest.exists()
    repository.restore(other.snapshot, tmp_path / "whole")
    save(repository, tree, 3)
    repository.restore(spoiled.snapshot, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tree)
    repository.check(read_data=True, lock=False)


@pytest.mark.parametrize("left", [0, 50])
def test_a_pack_that_was_cut_off_is_damaged_and_one_that_is_absent_leaves_the_index(repository, place, tree, tmp_path, left):
    save(repository, tree)
    largest = max(place.glob("data/*/*"), key=lambda each: each.stat().st_size)
    largest.chmod(0o600)
    largest.write_bytes(largest.read_bytes()[:left])
    named = f"ReadFull(<data/{largest.name[:10]}>): unexpected EOF"
    if not left:
        largest.unlink()
    assert repository.mend([named]) == (Mended((largest.name,), (f"{BACKUP}1",)) if left else Mended(index=True))
    again = save(repository, tree, 2)
    repository.restore(again.snapshot, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tree)


def test_a_lost_pack_is_found_and_named_with_the_backups_that_need_it(repository, place, tree, tmp_path):
    save(repository, tree)
    before = set(place.glob("data/*/*"))
    save(repository, make_tree(tmp_path / "other", 2), 2)
    max(before, key=lambda each: each.stat().st_size).unlink()
    error = refused(repository.check)
    assert error.code == "damaged_repository"
    assert error.result["backups"] == (f"{BACKUP}1",)


# restic keeps folders in packs of their own, which are the small ones.
FOLDERS, CONTENT = min, max


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, (FOLDERS, Path.unlink)),
        # restic's find goes from the newest to the oldest, and complains of a folder in the middle of what it has found.
        ((FOLDERS, spoil), (CONTENT, spoil)),
        ((CONTENT, Path.unlink), (CONTENT, spoil)),
    ],
)
def test_each_backup_is_named_whose_folders_or_content_are_damaged_and_no_other(repository, place, tmp_path, first, second):
    known: set[Path] = set()
    damages = []
    for number, damage in enumerate((first, second, None), 1):
        save(repository, make_tree(tmp_path / str(number), number), number, time=datetime.now(UTC) + timedelta(minutes=number))
        brought = set(place.glob("data/*/*")) - known
        known |= brought
        assert len(brought) == 2
        if damage:
            which, do = damage
            damages.append((do, which(brought, key=lambda each: each.stat().st_size)))
    for do, pack in damages:
        do(pack)
    concerned = [f"{BACKUP}1"] * bool(first) + [f"{BACKUP}2"]
    listed = list_backups(settings(place), Filter(), check=True)
    assert sorted(listed["damage"]["backups"]) == concerned
    assert sorted(each["id"] for each in listed["backups"] if each["damaged"]) == concerned
    assert set(listed["damage"]["packs"]) == {pack.name for _do, pack in damages}


def test_a_lost_index_concerns_all_backups_that_it_had(repository, place, tree, tmp_path):
    saved = save(repository, tree)
    for each in place.glob("index/*"):
        each.unlink()
    error = refused(repository.check)
    assert error.code == "damaged_repository"
    assert error.result["backups"] == (f"{BACKUP}1",)
    assert refused(repository.restore, saved.snapshot, tmp_path / "whole").code == "damaged_repository"
