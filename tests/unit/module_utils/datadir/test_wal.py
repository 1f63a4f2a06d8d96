# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the write-ahead log changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.wal import ADD, DELETE, UPDATE, UPSERT, Entry

A, B = "indexed", "new"


@pytest.mark.parametrize(
    ("entries", "changes"),
    [
        ([(ADD, A, True)], {}),
        ([(ADD, B, True)], {B: 1}),
        ([(ADD, B, True), (ADD, B, True)], {B: 1}),
        ([(UPSERT, A, True), (UPSERT, A, True)], {A: 2}),
        ([(UPSERT, A, False)], {}),
        ([(UPDATE, A, True)], {A: 1}),
        ([(UPDATE, A, False)], {}),
        ([(UPDATE, B, True)], {}),
        ([(ADD, B, True), (UPDATE, B, True)], {B: 2}),
        ([(DELETE, A, False)], {A: None}),
        ([(DELETE, A, False), (UPDATE, A, True)], {A: None}),
        ([(DELETE, A, False), (ADD, A, True)], {A: 2}),
        ([(DELETE, A, False), (ADD, A, True), (ADD, A, True), (UPDATE, A, False)], {A: 2}),
        ([(UPSERT, B, True), (DELETE, B, False), (UPSERT, B, True), (UPDATE, B, True)], {B: 4}),
    ],
)
def test_later_entries_win_and_deletions_apply(entries, changes):
    log = (Entry(number, operation, name, vector, {}) for number, (operation, name, vector) in enumerate(entries, 1))
    assert wal.vector_changes(log, {A}.__contains__) == changes


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_the_changes_are_those_of_replaying_the_log(entries):
    """Against the plain way: a dictionary that every entry is applied to."""
    vectors: dict[str, int] = {"a": 0}
    for number, (operation, name, vector) in enumerate(entries, 1):
        if operation == DELETE:
            vectors.pop(name, None)
        elif vector and (operation == UPSERT or (name in vectors) == (operation == UPDATE)):
            vectors[name] = number
    log = [Entry(number, operation, name, vector, {}) for number, (operation, name, vector) in enumerate(entries, 1)]
    changes = wal.vector_changes(iter(log), {"a"}.__contains__)
    assert {name: each for name, each in {"a": 0, **changes}.items() if each is not None} == vectors


@pytest.mark.parametrize(
    ("stored", "number"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        ((300).to_bytes(8, "big"), 300),
        ((300).to_bytes(24, "big"), 300),
        (b"", None),
        (b"\x01\x02", None),
        (b"\xff" * 8, None),
        (-1, None),
        ("12", None),
        (1.5, None),
        (None, None),
    ],
)
def test_positions_of_all_releases(stored, number):
    assert wal.position(stored) == number
