# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vectors of the write-ahead log: of each id the newest, as Chroma would replay it, with two numbers kept for each."""

from __future__ import annotations

import contextlib
import sqlite3
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery import rows
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.rows import LogVectors

DIMENSION = 2
STORED = SimpleNamespace(topic="topic", name="books", space="l2")
INDEXED = {"a", "c"}
ADD, UPDATE, UPSERT, DELETE = wal.ADD, wal.UPDATE, wal.UPSERT, wal.DELETE


@contextlib.contextmanager
def log_of(entries, indexed=INDEXED.__contains__):
    """Open a log of ``(operation, id, vector's first number or None)``."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE embeddings_queue (seq_id INTEGER PRIMARY KEY, operation, topic, id, vector BLOB, encoding)")
        connection.executemany(
            "INSERT INTO embeddings_queue VALUES (?, ?, 'topic', ?, ?, 'FLOAT32')",
            (
                (number + 1, operation, name, None if first is None else np.array([first, number], "<f4").tobytes())
                for number, (operation, name, first) in enumerate(entries)
            ),
        )
        database = SimpleNamespace(path="chroma.sqlite3", rows=lambda sql, given=(): connection.execute(sql, given).fetchall())
        yield LogVectors(database, STORED, DIMENSION, indexed)


def replayed(entries):
    """Return id → the entry whose vector counts, or None where it is deleted, by the plainest means."""
    places = {}
    for number, (operation, name, first) in enumerate(entries):
        exists = places[name] is not None if name in places else name in INDEXED
        if operation == DELETE:
            places[name] = None
        elif first is not None and not (operation == ADD and exists):
            places[name] = number
    return places


def read(batches):
    found = {}
    for batch in batches:
        assert not set(batch.column("id").to_pylist()) & set(found)
        found |= dict(zip(batch.column("id").to_pylist(), batch.column("vector").to_pylist(), strict=True))
    return found


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(rows, "_PAGE", 3)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([ADD, UPDATE, UPSERT, DELETE]), st.sampled_from("abcdef"), st.sampled_from([None, 1.5, -2.0])),
        max_size=40,
    )
)
def test_of_each_id_the_newest_vector_counts(entries):
    wanted = replayed(entries)
    there = {name: [entries[number][2], number] for name, number in wanted.items() if number is not None}
    with log_of(entries) as log:
        assert read(log.batches()) == there
        assert read(log.batches(pa.array(list("gfedcba")))) == there
        assert (log.holding.records, log.holding.vectors) == (len(there), len(there))
        assert set(log.deleted.tolist()) == {hash(name) for name, number in wanted.items() if number is None}
        assert log.has(list("abcdefg")).tolist() == [name in {each[1] for each in entries} for name in "abcdefg"]


def test_a_log_that_was_never_emptied_needs_little_memory(monkeypatch):
    monkeypatch.setattr(rows, "_PAGE", 10_000)
    count = 50_000
    with log_of((UPSERT, f"a-name-of-some-length-{number}", 1.0) for number in range(count)) as log:
        tracemalloc.start()
        again = LogVectors(log._database, STORED, DIMENSION, INDEXED.__contains__)
        kept, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert again.holding.records == count
    # A dictionary of these takes 168 bytes for each.
    assert kept < 40 * count, kept
