# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a data directory, for an operation that only reads it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _directory_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held, held_if_writable, is_held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


def test_one_that_reads_and_one_that_writes_exclude_each_other(tmp_path):
    with held_if_writable(tmp_path, "export-postgres"):
        assert is_held(tmp_path)
        with pytest.raises(ChromaError) as refused, held(tmp_path, "delete-collection"):
            pass
    assert (refused.value.code, refused.value.result["holder"]["operation"]) == ("lock_held", "export-postgres")
    assert not is_held(tmp_path)


@pytest.mark.parametrize("code", ["forbidden", "no_space"])
def test_where_no_lock_can_be_written_it_is_enough_that_nobody_holds_it(tmp_path, monkeypatch, code):
    with held(tmp_path, "delete-collection"):
        pass

    def refuse(directory: Path) -> Path:
        raise ChromaError(code, f"{directory} can't be written to.")

    monkeypatch.setattr(_directory_lock, "private_folder", refuse)
    with held_if_writable(tmp_path, "export-postgres"):
        assert not is_held(tmp_path)
    other = os.open(tmp_path / ".thinkube-chroma" / "lock", os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ChromaError) as refused, held_if_writable(tmp_path, "export-postgres"):
            pass
    finally:
        os.close(other)
    assert (refused.value.code, refused.value.result["holder"]["operation"]) == ("lock_held", "delete-collection")


def test_a_place_that_is_in_the_way_is_no_reason_to_go_on_without_the_lock(tmp_path):
    (tmp_path / ".thinkube-chroma").write_text("")
    with pytest.raises(ChromaError) as refused, held_if_writable(tmp_path, "export-postgres"):
        pass
    assert refused.value.code == "conflict"
