# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What killed operations left in a temporary directory is removed, and what living ones use is not."""

from __future__ import annotations

import os

from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room

OURS, THEIRS = ".thinkube-chroma-export", "chroma-export-20261121"


def test_what_a_killed_operation_left_is_removed_and_nothing_else(tmp_path):
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    for each in (scratch / f"{OURS}-left" / "copy", scratch / f"{OURS}-young", scratch / THEIRS, outside):
        each.mkdir(parents=True)
    (scratch / f"{OURS}-left" / "copy" / "file").write_bytes(b"x")
    (scratch / f"{OURS}-link").symlink_to(outside)
    for each in (f"{OURS}-left", THEIRS):
        os.utime(scratch / each, (0, 0))
    with temporary_room("export", str(scratch)) as living:
        os.utime(living, (0, 0))
        with temporary_room("export", str(scratch)) as other:
            found = {each.name for each in scratch.iterdir()}
            assert found == {living.name, other.name, f"{OURS}-young", THEIRS, f"{OURS}-link"}
        assert not other.exists()
    assert not living.exists()
    assert outside.is_dir()
