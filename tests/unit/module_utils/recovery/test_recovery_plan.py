# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of recoveries: names, order, and that nothing else is done than what was read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import (
    PlanItem,
    RecoveryPlan,
    free_name,
    numbered,
    order,
    parse_plan,
    priority_of,
)

ITEM = PlanItem(
    id="0123456789abcdef",
    kind="damaged",
    segment="5c8edc48-5f80-4f5e-821d-6dae7b4f8f51",
    collection="7f4ef70f-ea12-4c1d-ae9b-e3b9eaffb9cd",
    name="Straße",
    tenant="t",
    database="d",
    target="books-recovered",
    records=10,
    recoverable=8,
    lost=2,
    bare=0,
    relabelled=0,
    dimension=3,
    space="l2",
    space_from="sqlite",
    sources=({"name": "log", "records": 2},),
    findings=("CHR050",),
    priority="high",
)


def test_a_plan_comes_back_from_json_as_it_was():
    plan = RecoveryPlan((ITEM, replace(ITEM, id="other", name="")))
    assert parse_plan(json.loads(json.dumps(plan.document()))) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"target": "elsewhere"},
        {"lost": 0},
        {"sources": []},
        {"id": "ffffffffffffffff"},
        {"more": "than there was"},
    ],
)
def test_whatever_is_changed_in_an_item_the_plan_is_refused(change):
    document = RecoveryPlan((ITEM,)).document()
    document["items"][0] |= change
    with pytest.raises(ChromaError) as caught:
        parse_plan(document)
    assert caught.value.code == "stale_plan"


@pytest.mark.parametrize(
    "document", [{}, {"items": []}, {"format": "x"}, {**RecoveryPlan().document(), "version": 2}, {"items": 3, "sha256": 1}]
)
def test_what_is_no_plan_is_refused(document):
    with pytest.raises(ChromaError) as caught:
        parse_plan(document)
    assert caught.value.code == "stale_plan"


def test_a_plan_is_false_where_nothing_can_be_recovered():
    assert not RecoveryPlan()
    assert not RecoveryPlan((replace(ITEM, recoverable=0),))
    assert RecoveryPlan((replace(ITEM, recoverable=0), ITEM))


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("books", set(), "books"),
        ("books", {"books"}, "books-recovered"),
        ("books", {"books", "books-recovered"}, "books-recovered-2"),
        ("books", {"books", "books-recovered", "books-recovered-2"}, "books-recovered-3"),
        ("", set(), "recovered-5c8edc48"),
        ("", {"recovered-5c8edc48"}, "recovered-5c8edc48-2"),
    ],
)
def test_the_name_of_the_new_collection(name, taken, expected):
    assert free_name(name, ITEM.segment, taken) == expected


def test_a_numbered_name_is_no_longer_than_every_release_takes():
    long = "x" * 60
    first = free_name(long, "", {long})
    second = free_name(long, "", {long, first})
    assert len(first) <= 63
    assert len(second) <= 63
    assert second.endswith("-2")
    assert second != first
    # A name must end with a letter or a digit before the number as well.
    assert numbered("ab" + "-" * 70, ()) == "ab"


def test_what_is_in_use_comes_first_and_vectors_without_text_last():
    items = [
        replace(ITEM, id="3", kind="orphan", name="", priority=priority_of("orphan", 5, 5)),
        replace(ITEM, id="2", kind="missing", name="b", priority=priority_of("missing", 0, 5)),
        replace(ITEM, id="1", kind="damaged", name="z", priority=priority_of("damaged", 5, 5)),
    ]
    assert [each.id for each in order(items)] == ["1", "2", "3"]
