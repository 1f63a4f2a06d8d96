# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal for which there is no room keeps no server down, and turns nothing that is done into a failure."""

from __future__ import annotations

import os

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal import journal as journals
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.record import RESTORE, recorded


def full(_handle, _content):
    raise OSError(28, "No space left on device")


def test_a_line_that_does_not_fit_is_a_warning_once_it_has_begun(tmp_path, monkeypatch):
    warnings = []
    with recorded(tmp_path, RESTORE, warnings, id="one") as record, monkeypatch.context() as patched:
        patched.setattr(journals.os, "write", full)
        record.step("start")
        record.end("done")
    assert len(warnings) == 1
    assert "No space left" in warnings[0]


def test_what_cannot_be_journalled_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(journals.os, "write", full)
    with pytest.raises(ChromaError, match="No space left"), recorded(tmp_path, RESTORE, []):
        raise AssertionError("it has begun")


def test_what_failed_is_said_and_those_that_were_killed_are_ended(tmp_path):
    Journal.of(tmp_path).begin(RESTORE, id="killed")

    def fails():
        with recorded(tmp_path, RESTORE, [], id="two") as record:
            record.facts["restore_point"] = "three"
            raise ChromaError("no_space", "No.")

    with pytest.raises(ChromaError, match="No"):
        fails()
    ends = {each.entry: (each.name, each.facts) for each in Journal.of(tmp_path).lines() if each.event == "end"}
    assert [name for name, _facts in ends.values()] == ["interrupted", "failed"]
    assert list(ends.values())[1][1] == {"restore_point": "three", "code": "no_space", "message": "No."}
    assert not Journal.of(tmp_path).open_entries()
    assert os.listdir(tmp_path) == [".thinkube-chroma"]
