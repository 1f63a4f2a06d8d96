# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms of operations on the data volume."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder, remove_leftovers, scratch

DEAD = """
import os, sys
from pathlib import Path
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
with scratch(Path(sys.argv[1]), "dead") as room:
    (room / "much").mkdir()
    (room / "much" / "data").write_bytes(bytes(1000))
    os._exit(9)
"""


def test_a_room_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch(tmp_path, "one") as room:
        assert room == tmp_path / ".thinkube-chroma" / "scratch" / "one"
        assert list(room.iterdir()) == []
        for each in (room, room.parent, room.parent.parent):
            assert each.stat().st_mode & 0o777 == 0o700
        (room / "file").touch()
    assert list(room.parent.iterdir()) == []


def test_a_room_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), scratch(tmp_path, "one") as room:
        room.mkdir()
    assert list(room.parent.iterdir()) == []


def test_what_the_dead_left_is_removed_and_what_the_living_have_is_not(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DEAD, str(tmp_path)], env={"PYTHONPATH": ":".join(sys.path)}, check=False, timeout=600)
    assert died.returncode == 9
    rooms = tmp_path / ".thinkube-chroma" / "scratch"
    assert (rooms / "dead" / "much" / "data").exists()
    (rooms / "without-a-lock").mkdir()
    with scratch(tmp_path, "living") as room:
        assert {each.name for each in rooms.iterdir()} == {"living", "living.lock"}
        with scratch(tmp_path, "other"):
            assert room.is_dir()
        assert remove_leftovers(tmp_path) == []
        with pytest.raises(ChromaError) as refused, scratch(tmp_path, "living"):
            pass
        assert refused.value.code == "busy"
        assert room.is_dir()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    data, precious = tmp_path / "data", tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (data / ".thinkube-chroma" / "scratch").mkdir(parents=True)
    (data / ".thinkube-chroma" / "scratch" / "link").symlink_to(precious)
    with scratch(data, "one") as room:
        (room / "other").symlink_to(precious)
    assert list(room.parent.iterdir()) == []
    assert (precious / "file").exists()


def test_a_folder_of_ours_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    (data / ".thinkube-chroma").symlink_to(other)
    with pytest.raises(ChromaError) as refused:
        private_folder(data)
    assert refused.value.code == "conflict"
    assert remove_leftovers(data) == []


def test_where_something_else_has_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".thinkube-chroma").touch()
    with pytest.raises(ChromaError) as refused:
        private_folder(tmp_path)
    assert refused.value.code == "conflict"
