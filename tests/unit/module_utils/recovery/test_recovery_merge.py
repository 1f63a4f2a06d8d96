# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sources as one: each record once, each part from the first that has it, in any order of the sources' own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import Holding
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.merge import Merged
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.parts import Parts, Tally
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Ids, Stream

DIMENSION = 2


class Fixed:
    """A source that can be asked for ids. Records: id → (vector, document, number), each part or all of it None."""

    by_id = True

    def __init__(self, name, records, bare=False):
        self.name, self.records = name, records
        self.schema = table_schema(() if bare else plan_columns({"number": ["int"]}), DIMENSION, "books", "l2")
        self.holding = Holding(len(records), sum(each[0] is not None for each in records.values()))

    def batch(self, names):
        columns = [
            pa.array(names, pa.string()),
            pa.array([self.records[each][0] for each in names], self.schema.field("vector").type),
            pa.array([self.records[each][1] for each in names], pa.string()),
            pa.nulls(len(names), pa.string()),
        ]
        if len(self.schema) > 4:
            columns.append(pa.array([self.records[each][2] for each in names], pa.int64()))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def batches(self, ids=None):
        names = [each for each in (self.records if ids is None else ids.to_pylist()) if each in self.records]
        for first in range(0, len(names), 3):
            yield self.batch(names[first : first + 3])


def stream(name, records):
    fixed = Fixed(name, records)
    return Stream(name, DIMENSION, len(records), lambda: fixed.schema, fixed.batches)


def merged(rows=None, log=None, salvage=None, streams=(), rows_lost=False, texts_lost=False, labelled=True, deleted=()):
    gone = Ids()
    for each in deleted:
        gone.add(pa.array([each]))
    parts = Parts(rows, log, salvage, tuple(streams), rows_lost, texts_lost, labelled, gone)
    tally, found = Tally(), {}
    for batch in Merged(parts, DIMENSION, "books", "l2").batches(tally):
        assert batch.num_rows
        for row in batch.to_pylist():
            assert row["id"] not in found
            found[row["id"]] = (row["vector"], row["document"], row.get("number"))
    assert tally.records == len(found)
    return found, tally


def test_rows_get_the_vector_of_the_log_before_that_of_the_index_and_of_a_stream():
    rows = Fixed("sqlite", {name: (None, f"doc {name}", 1) for name in "abcd"})
    log = Fixed("log", {"a": ([1, 1], None, None)}, bare=True)
    salvage = Fixed("salvage", {"a": ([2, 2], None, None), "b": ([3, 3], None, None)}, bare=True)
    backup = stream("backup", {name: ([9, 9], "old", 9) for name in "abcx"})
    found, tally = merged(rows, log, salvage, [backup])
    assert found == {"a": ([1, 1], "doc a", 1), "b": ([3, 3], "doc b", 1), "c": ([9, 9], "doc c", 1)}
    assert (tally.lost, tally.first_lost, tally.bare) == (1, ["d"], 0)
    assert tally.vectors == {"log": 1, "salvage": 1, "backup": 1}


def test_a_second_stream_is_asked_for_what_the_first_had_not():
    rows = Fixed("sqlite", {name: (None, name, 1) for name in "abc"})
    found, tally = merged(
        rows, streams=[stream("backup", {"a": ([1, 1], "x", 2)}), stream("postgres", {name: ([2, 2], "y", 3) for name in "ab"})]
    )
    assert found == {"a": ([1, 1], "a", 1), "b": ([2, 2], "b", 1)}
    assert tally.lost == 1


def test_where_rows_are_lost_the_label_map_lists_the_records_and_a_stream_gives_their_text_and_more_records():
    salvage = Fixed(
        "salvage",
        {"a": ([1, 1], None, None), "b": ([2, 2], None, None), "gone": ([3, 3], None, None), "torn": (None, None, None)},
        bare=True,
    )
    backup = stream("backup", {name: ([8, 8], f"doc {name}", 5) for name in ("a", "torn", "more", "gone")})
    found, tally = merged(salvage=salvage, streams=[backup], rows_lost=True, deleted=["gone"])
    assert found == {
        "a": ([1, 1], "doc a", 5),
        "b": ([2, 2], None, None),
        "torn": ([8, 8], "doc torn", 5),
        "more": ([8, 8], "doc more", 5),
    }
    assert (tally.bare, tally.lost) == (1, 0)


def test_without_rows_what_only_the_log_has_is_a_record_too():
    log = Fixed("log", {"new": ([7, 7], None, None), "a": ([6, 6], None, None)}, bare=True)
    salvage = Fixed("salvage", {"a": ([1, 1], None, None), "b": ([2, 2], None, None)}, bare=True)
    found, tally = merged(log=log, salvage=salvage, rows_lost=True)
    assert {name: each[0] for name, each in found.items()} == {"new": [7, 7], "a": [6, 6], "b": [2, 2]}
    assert tally.bare == 3


def test_vectors_without_ids_come_beside_those_of_a_stream_but_not_a_second_time():
    salvage = Fixed("salvage", {"recovered-1": ([1, 1], None, None), "recovered-2": ([2, 2], None, None)}, bare=True)
    backup = stream("backup", {"a": ([1, 1], "doc", 1)})
    found, tally = merged(salvage=salvage, streams=[backup], rows_lost=True, labelled=False)
    assert found == {"a": ([1, 1], "doc", 1), "recovered-2": ([2, 2], None, None)}
    assert (tally.relabelled, tally.bare) == (1, 1)


def test_where_the_texts_of_sqlite_are_lost_those_of_a_stream_are_taken_and_the_vector_stays_the_newer_one():
    rows = Fixed("sqlite", {"a": (None, None, None), "b": (None, "kept", 1), "c": (None, None, None), "d": (None, None, None)})
    log = Fixed("log", {"a": ([1, 1], None, None), "b": ([2, 2], None, None), "c": ([3, 3], None, None)}, bare=True)
    backup = stream("backup", {"a": ([9, 9], "old a", 4), "b": ([9, 9], "old b", 4), "d": ([9, 9], "old d", 4)})
    found, tally = merged(rows, log, streams=[backup], texts_lost=True)
    assert found == {"a": ([1, 1], "old a", 4), "b": ([2, 2], "kept", 1), "c": ([3, 3], None, None), "d": ([9, 9], "old d", 4)}
    assert (tally.bare, tally.lost) == (1, 0)


def test_an_id_that_a_damaged_table_has_twice_is_one_record():
    rows = Fixed("sqlite", {"a": (None, "doc", 1)})
    rows.batches = lambda ids=None: iter([rows.batch(["a", "a"]), rows.batch(["a"])])
    found, tally = merged(rows, Fixed("log", {"a": ([1, 1], None, None)}, bare=True))
    assert (list(found), tally.lost) == (["a"], 0)


def test_ids_of_the_index_that_sqlite_has_not_are_counted():
    rows = Fixed("sqlite", {"a": (None, "doc", 1)})
    salvage = Fixed("salvage", {name: ([1, 1], None, None) for name in "abc"}, bare=True)
    found, tally = merged(rows, salvage=salvage, deleted=["c"])
    assert (list(found), tally.strangers) == (["a"], 1)


names = st.lists(st.sampled_from("abcdefghijkl"), unique=True)


# A machine that is busy with something else is no reason to fail.
@settings(deadline=None)
@given(rows=names, log=names, salvage=names, backup=names, postgres=names, lost=st.booleans(), deleted=names)
def test_whatever_the_sources_have_each_record_comes_once_with_the_best_vector_or_is_counted_as_lost(
    rows, log, salvage, backup, postgres, lost, deleted
):
    def vectors(name, number, ids):
        return Fixed(name, {each: ([number, number], None, None) for each in ids}, bare=True)

    log = [each for each in log if each not in deleted]
    sources = {
        "log": vectors("log", 1, log),
        "salvage": vectors("salvage", 2, salvage),
        "backup": {each: ([3, 3], "backup", 3) for each in backup},
        "postgres": {each: ([4, 4], "postgres", 4) for each in postgres},
    }
    found, tally = merged(
        Fixed("sqlite", dict.fromkeys(rows, (None, "sqlite", 0))),
        sources["log"],
        sources["salvage"],
        [stream("backup", sources["backup"]), stream("postgres", sources["postgres"])],
        rows_lost=lost,
        deleted=deleted,
    )
    known = [(1, log), (2, salvage), (3, backup), (4, postgres)]
    every = set(rows) | ({each for _number, ids in known for each in ids} - set(deleted) if lost else set())
    expected = {name: next((number for number, ids in known if name in ids), None) for name in every}
    assert {name: each[0][0] for name, each in found.items()} == {name: number for name, number in expected.items() if number is not None}
    assert tally.lost == sum(number is None for number in expected.values())
    for name, (_vector, document, _number) in found.items():
        texts = [text for text, ids in (("sqlite", rows), ("backup", backup), ("postgres", postgres)) if name in ids]
        assert document == (texts[0] if texts else None)


def test_a_set_of_ids():
    ids = Ids()
    assert not ids.mask(pa.array(["a"])).any()
    ids.add(pa.array(["a", "b", "a"]))
    ids.add(pa.array(["ü"]))
    assert len(ids) == 3
    assert ids.mask(pa.array(["a", "x", "ü"])).tolist() == [True, False, True]
    for number in range(100):
        ids.add(pa.array([f"{number}-{each}" for each in range(number)]))
    assert len(ids) == 3 + sum(range(100))
    assert ids.mask(pa.array(["a", "b", "99-98", "99-99", "1-0"])).tolist() == [True, True, True, False, True]
    assert not ids.mask_hashes(np.array([1, 2])).any()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_yields_nothing(count):
    found, tally = merged(Fixed("sqlite", {str(each): (None, None, None) for each in range(count)}))
    assert (found, tally.lost) == ({}, count)
