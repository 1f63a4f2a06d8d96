# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: the plan, the batches, and the proof."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._records import (
    Record,
    check_records,
    encode_batches,
    ensure_no_records,
    ensure_records,
    find_nearest,
    plan_records,
)

STORED = {"a": {"id": "a", "embedding": [1.0, 0.5], "document": "text", "metadata": {"k": 1, "z": True}, "uri": "u"}}
# Equal to what the recordings hold.
A = Record("a", [1.0, 0.0, 0.1], "first", {"page": 1, "open": True, "score": 2.0}, "file:///a")
B = Record("b", [0.0, 1.0, 0.2])


@pytest.mark.parametrize(
    "wanted",
    [
        Record("a"),
        Record("a", [1, 0.5]),
        Record("a", document="text", uri="u"),
        Record("a", metadata={"k": 1}),
        Record("a", metadata={"absent": None}),
        Record("a", [1.0, 0.5], "text", {"k": 1, "z": True}, "u"),
    ],
)
def test_what_is_as_wanted_is_not_sent(wanted):
    plan = plan_records(STORED, [wanted], "l2")
    assert (plan.created, plan.changed, plan.upserts, plan.updates, plan.after) == ((), (), (), (), {})


@pytest.mark.parametrize(
    ("wanted", "kind", "sent", "metadata_after"),
    [
        (Record("a", [1, 0.6]), "upserts", Record("a", [1, 0.6], "text", None, "u"), {"k": 1, "z": True}),
        (Record("a", document="new"), "updates", Record("a", None, "new", None, "u"), {"k": 1, "z": True}),
        (Record("a", [1, 0.5], "new"), "updates", Record("a", None, "new", None, "u"), {"k": 1, "z": True}),
        (Record("a", document=""), "updates", Record("a", None, "", None, "u"), {"k": 1, "z": True}),
        (Record("a", metadata={"k": 2}), "updates", Record("a", None, "text", {"k": 2}, "u"), {"k": 2, "z": True}),
        (Record("a", metadata={"k": 1.0}), "updates", Record("a", None, "text", {"k": 1.0}, "u"), {"k": 1.0, "z": True}),
        (Record("a", metadata={"k": None}), "updates", Record("a", None, "text", {"k": None}, "u"), {"z": True}),
        (Record("a", metadata={"n": "x"}), "updates", Record("a", None, "text", {"n": "x"}, "u"), {"k": 1, "z": True, "n": "x"}),
        (Record("a", uri="v"), "updates", Record("a", None, "text", None, "v"), {"k": 1, "z": True}),
    ],
)
def test_a_difference_is_sent_with_all_that_shall_stay(wanted, kind, sent, metadata_after):
    plan = plan_records(STORED, [wanted], "l2")
    assert getattr(plan, kind) == (sent,)
    assert plan.changed == ("a",)
    assert plan.after["a"]["metadata"] == metadata_after
    assert plan.before["a"]["metadata"] == {"k": 1, "z": True}


def test_a_float_of_which_1x_holds_the_neighbour_is_not_sent_for_ever():
    stored = {"a": {**STORED["a"], "metadata": {"f": 0.3920132610940173}}}  # what 1.5.9 returns of the next line's
    assert plan_records(stored, [Record("a", metadata={"f": 0.39201326109401724})], "l2").after == {}
    assert plan_records(stored, [Record("a", metadata={"f": 0.3920132610940173})], "l2").after == {}
    assert plan_records(stored, [Record("a", metadata={"f": 0.392013261094017})], "l2").after != {}


def test_a_new_record_is_upserted_without_its_nulls():
    plan = plan_records({}, [Record("n", [1.0], metadata={"a": 1, "b": None})], "l2")
    assert plan.upserts == (Record("n", [1.0], None, {"a": 1}, None),)
    assert (plan.created, plan.before) == (("n",), {})


def test_a_new_record_needs_an_embedding():
    with pytest.raises(ChromaError) as failed:
        plan_records({}, [Record("n", document="text")], "l2")
    assert failed.value.code == "invalid_record"


@pytest.mark.parametrize(
    ("records", "dimension", "lists", "code"),
    [
        ([Record("", [1.0])], None, True, "invalid_record"),
        ([Record("a", [1.0]), Record("a", [1.0])], None, True, "invalid_record"),
        ([Record("a", [1.0]), Record("b", [1.0, 2.0])], None, True, "dimension_mismatch"),
        ([Record("a", [1.0])], 2, True, "dimension_mismatch"),
        ([Record("a", [float("nan")])], None, True, "invalid_embedding"),
        ([Record("a", [1.0], metadata={"t": ["x"]})], None, False, "invalid_metadata"),
        ([Record("a", [1.0], metadata={"t": {}})], None, True, "invalid_metadata"),
    ],
)
def test_bad_records_are_refused(records, dimension, lists, code):
    with pytest.raises(ChromaError) as failed:
        check_records(records, dimension, lists)
    assert failed.value.code == code


def test_good_records_pass():
    check_records([Record("a", [1.0], metadata={"t": ["x"], "n": None}), Record("b")], 1, lists=True)


@pytest.mark.parametrize(
    ("most", "limit", "sizes"), [(10, 10_000, [5]), (2, 10_000, [2, 2, 1]), (10, 200, [3, 2]), (10, 130, [1] * 5), (1, 10_000, [1] * 5)]
)
def test_batches_keep_both_limits_and_lose_nothing(most, limit, sizes):
    records = [Record(f"id{number}", [0.5, number], "wörter", {"n": number}, None) for number in range(5)]
    batches = list(encode_batches(records, most, limit))
    assert [count for count, _body in batches] == sizes
    assert all(len(body) <= limit for _count, body in batches)
    bodies = [json.loads(body) for _count, body in batches]
    assert [each for body in bodies for each in body["ids"]] == [record.id for record in records]
    assert [each for body in bodies for each in body["embeddings"]] == [[0.5, number] for number in range(5)]
    assert all(set(body) == {"ids", "embeddings", "documents", "metadatas", "uris"} for body in bodies)


def test_the_limit_in_bytes_is_exact():
    records = [Record("a", [0.5], "x"), Record("b", [0.5], "y")]
    [(_count, whole)] = encode_batches(records, 10, 10_000)
    assert len(list(encode_batches(records, 10, len(whole)))) == 1
    assert len(list(encode_batches(records, 10, len(whole) - 1))) == 2


def test_updates_have_no_column_of_embeddings():
    [(count, body)] = encode_batches([Record("a", None, "x"), Record("b", None, "y")], 10, 10_000)
    assert count == 2
    assert json.loads(body) == {"ids": ["a", "b"], "documents": ["x", "y"], "metadatas": [None, None], "uris": [None, None]}


def test_a_record_that_no_request_can_carry_is_refused():
    with pytest.raises(ChromaError) as failed:
        list(encode_batches([Record("a", [0.5], "x" * 500)], 10, 400))
    assert failed.value.code == "too_large"


def test_upsert_is_sent_and_read_back(recorded, version):
    server = recorded(version, "collection_get", "records_none", "records", "upsert")
    result = ensure_records(server.client(), "books", [A, B])
    assert (result["changed"], result["created"], result["updated"], result["unchanged"]) == (True, ["a", "b"], [], 0)
    assert server.changes() == [("POST", "upsert")]
    sent = next(body for _method, path, body in server.sent if path.endswith("/upsert"))
    assert sent == recorded.load(version, "upsert")["body"]  # what the recorded server took


def test_the_second_run_writes_nothing(recorded, version):
    server = recorded(version, "collection_filled", "records")
    result = ensure_records(server.client(), "books", [A, B])
    assert (result["changed"], result["unchanged"], result["diff"]) == (False, 2, {"before": {}, "after": {}})
    assert server.changes() == []


def test_only_what_differs_is_written(recorded, version):
    server = recorded(version, "collection_filled", "records", "update", "records_updated")
    result = ensure_records(server.client(), "books", [A, Record("b", B.embedding, "second", {"page": 2})])
    assert (result["created"], result["updated"], result["unchanged"]) == ([], ["b"], 1)
    assert server.changes() == [("POST", "update")]
    assert result["diff"]["after"] == {
        "b": {"document": "second", "metadata": {"page": 2}, "embedding": result["diff"]["before"]["b"]["embedding"]}
    }


def test_check_mode_writes_nothing_and_needs_no_collection(recorded, version):
    server = recorded(version, "collection_get", "records_none")
    assert ensure_records(server.client(), "books", [A, B], check=True)["created"] == ["a", "b"]
    absent = recorded(version, "collection_missing")
    assert ensure_records(absent.client(), "books", [A, B], check=True)["created"] == ["a", "b"]
    assert server.changes() == absent.changes() == []


def test_a_write_that_does_not_read_back_is_an_error(recorded):
    server = recorded("1.5.9", "collection_get", "records_none", "upsert")
    with pytest.raises(ChromaError) as failed:
        ensure_records(server.client(), "books", [A, B])
    assert (failed.value.code, failed.value.result["differing"]) == ("not_applied", ["a", "b"])


def test_a_refused_batch_says_what_was_written(recorded, version):
    server = recorded(version, "collection_get", "records_none", "upsert_dimension")
    with pytest.raises(ChromaError) as failed:
        ensure_records(server.client(), "books", [A, B])
    assert (failed.value.code, failed.value.result) == ("dimension_mismatch", {"written": 0})


def test_records_of_an_absent_collection_are_refused(recorded, version):
    with pytest.raises(ChromaError) as failed:
        ensure_records(recorded(version, "collection_missing").client(), "books", [A])
    assert failed.value.code == "not_found"


def test_delete_by_filter_resolves_ids_and_sees_them_gone(recorded, version):
    server = recorded(version, "collection_filled", "records_found", "records_left", "delete")
    result = ensure_no_records(server.client(), "books", where={"page": 1})
    assert (result["changed"], result["deleted"], list(result["diff"]["before"])) == (True, ["a"], ["a"])
    assert server.changes() == [("POST", "delete")]
    assert next(body for _method, path, body in server.sent if path.endswith("/delete")) == {"ids": ["a"]}


def test_delete_of_what_is_absent_changes_nothing(recorded, version):
    server = recorded(version, "collection_filled", "records_left")
    assert ensure_no_records(server.client(), "books", ids=["zz"])["changed"] is False
    gone = recorded(version, "collection_missing")
    assert ensure_no_records(gone.client(), "books", ids=["a"])["changed"] is False
    assert server.changes() == gone.changes() == []


@pytest.mark.parametrize("conditions", [{}, {"where": {}}, {"where": {}, "where_document": {}}])
def test_delete_without_a_condition_is_refused(recorded, conditions):
    server = recorded("1.5.9")
    with pytest.raises(ChromaError) as failed:
        ensure_no_records(server.client(), "books", **conditions)
    assert (failed.value.code, server.sent) == ("invalid_value", [])


@pytest.mark.parametrize("conditions", [{}, {"where": {"page": 1}}, {"where_document": {"$contains": "a"}}])
def test_no_ids_are_no_records_whatever_else_is_asked_for(recorded, conditions):
    server = recorded("1.5.9", "collection_filled", "records_found", "records_left", "delete")
    result = ensure_no_records(server.client(), "books", ids=[], **conditions)
    assert (result["changed"], result["deleted"], server.changes()) == (False, [], [])


def test_records_that_stay_are_an_error(recorded):
    server = recorded("1.5.9", "collection_filled", "records_found", "delete")
    with pytest.raises(ChromaError) as failed:
        ensure_no_records(server.client(), "books", ids=["a"])
    assert (failed.value.code, failed.value.result) == ("not_applied", {"left": ["a"]})


@pytest.mark.parametrize(
    ("embeddings", "n_results", "code"),
    [([], 1, "invalid_value"), ([[1.0, 0.0, 0.1]], 0, "invalid_value"), ([[float("nan")] * 3], 1, "invalid_embedding")],
)
def test_queries_that_cannot_work_are_refused(recorded, version, embeddings, n_results, code):
    with pytest.raises(ChromaError) as failed:
        find_nearest(recorded(version, "collection_filled").client(), "books", embeddings, n_results)
    assert failed.value.code == code


def test_a_query_of_another_dimension_is_refused_by_all(recorded, version):
    with pytest.raises(ChromaError) as failed:
        find_nearest(recorded(version, "collection_filled", "query_dimension").client(), "books", [[1.0]], 2)
    assert failed.value.code == "dimension_mismatch"
