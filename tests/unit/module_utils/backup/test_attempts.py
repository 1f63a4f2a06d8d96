# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the attempts: what is tried again, after how long, and what the last failure says."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.attempts import (
    SNAPSHOT,
    TAG,
    UPLOAD,
    VERIFICATION,
    attempts,
    worth_another,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import BAD_INPUT, exit_code


class Work:
    """Fails in a phase with these errors, one after the other, and then succeeds."""

    def __init__(self, phase, *codes):
        self.phase, self.codes = phase, list(codes)
        self.cleaned, self.slept = [], []

    def __call__(self, attempt):
        attempt.phase = self.phase
        if self.codes:
            raise ChromaError(self.codes.pop(0), "It is torn.", "Look.", {"object": "books"})
        return attempt.number

    def run(self, times=3):
        return attempts(times, self, lambda attempt, error: self.cleaned.append((attempt.number, error.code)), self.slept.append)


def test_it_is_tried_until_it_is_right():
    work = Work(VERIFICATION, "not_verified", "damaged_backup")
    assert work.run() == 3
    assert work.cleaned == [(1, "not_verified"), (2, "damaged_backup")]
    assert 1 <= work.slept[0] <= 2 <= work.slept[1] <= 4


def test_the_last_error_names_attempt_object_and_reason():
    work = Work(VERIFICATION, *["not_verified"] * 3)
    with pytest.raises(ChromaError) as given_up:
        work.run()
    assert given_up.value.message == "Attempt 3 of 3 failed in the verification: It is torn."
    assert given_up.value.hint == "Look."
    named = {"attempt": 3, "attempts": 3, "phase": "verification", "object": "books", "reason": "It is torn."}
    assert given_up.value.result == named
    assert len(work.slept) == 2
    assert len(work.cleaned) == 3


@pytest.mark.parametrize("code", ["no_space", "wrong_password", "forbidden", "no_bucket"])
@pytest.mark.parametrize("phase", [SNAPSHOT, UPLOAD, VERIFICATION])
def test_what_no_repetition_changes_is_said_at_once(phase, code):
    work = Work(phase, code, code)
    with pytest.raises(ChromaError):
        work.run()
    assert work.cleaned == [(1, code)]
    assert work.slept == []


@pytest.mark.parametrize(
    ("phase", "code", "again"),
    [
        (SNAPSHOT, "directory_changed", True),
        (SNAPSHOT, "pause_exceeded", False),
        (SNAPSHOT, "not_chroma_directory", False),
        (UPLOAD, "unavailable", True),
        (UPLOAD, "timeout", True),
        (UPLOAD, "damaged_repository", True),
        (UPLOAD, "invalid_value", False),
        (VERIFICATION, "chroma_failed", True),
        (VERIFICATION, "invalid_manifest", True),
        (VERIFICATION, "damaged", True),
    ],
)
def test_what_is_worth_another_attempt(phase, code, again):
    assert worth_another(phase, ChromaError(code, "")) is again


def test_a_chain_that_broke_meanwhile_is_worth_a_full_backup_and_one_that_was_broken_is_not():
    error = ChromaError("broken_chain", "Its parent is gone.", "Make a full backup.")
    assert worth_another(TAG, error)
    assert worth_another(VERIFICATION, error)
    assert not worth_another(SNAPSHOT, error)


@pytest.mark.parametrize("code", ["not_verified", "chroma_failed", "incomplete_backup"])
def test_what_was_tried_three_times_is_not_tried_by_four_pods_more(code):
    assert exit_code(code) == BAD_INPUT
    assert worth_another(VERIFICATION, ChromaError(code, "It is torn.", "Look."))
