# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an export decides: which source is too little, and which generations are too many. What a failure means."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import exit_code
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, check_source, check_wanted, check_whole
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.faults import fault
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.retention import largest, too_many
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings

SETTINGS = PostgresSettings("postgres", "vectors", "chroma", "hush")


def source(records: int) -> SourceCollection:
    return SourceCollection("id", "books", "t", "d", 3, "l2", {}, {}, None, None, records, None)


def generation(number: int, records: int = 100, current: bool = False, day: int = 1, accepted: bool = False) -> Generation:
    facts = (f"2026-11-{day:02}T06:00:00Z", records, 3, "l2", {}, {}, None, None, (), "0", current, accepted)
    return Generation(number, "t", "d", "books", "server", "id", None, *facts)


@pytest.mark.parametrize(
    ("records", "wanted", "code"),
    [
        (100, Wanted(), None),
        (50, Wanted(), None),
        (49, Wanted(), "source_shrunken"),
        (0, Wanted(), "source_empty"),
        (0, Wanted(allow_shrink=True), None),
        (99, Wanted(shrink_share=0), "source_shrunken"),
        (1, Wanted(shrink_share=1), None),
        (0, Wanted(shrink_share=1), "source_empty"),
    ],
)
def test_a_source_that_lost_what_postgresql_has_is_refused(records, wanted, code):
    if code is None:
        check_source(source(records), generation(7, current=True), wanted)
        return
    with pytest.raises(ChromaError) as refused:
        check_source(source(records), generation(7, current=True), wanted)
    assert refused.value.code == code
    assert exit_code(code) == 5


@pytest.mark.parametrize(
    ("metadata", "halves", "named"),
    [
        ({}, {}, ""),
        ({"title": "Books"}, {"another": "delete-collection of t/d/notes", "t/d/restoring-1": "undo-collection of t/d/notes"}, ""),
        ({}, {"id": "delete-collection of t/d/books"}, "delete-collection of t/d/books"),
        ({}, {"t/d/books": "undo-collection of t/d/notes"}, "undo-collection of t/d/notes"),
        ({"thinkube.chroma/recovery": "0f"}, {}, "42_recover"),
        ({"thinkube.chroma/fault": "0f"}, {}, "45_check_collection"),
    ],
)
def test_what_an_operation_has_left_half_is_refused(metadata, halves, named):
    collection = dataclasses.replace(source(100), metadata=metadata)
    if not named:
        check_whole(collection, halves)
        return
    with pytest.raises(ChromaError) as refused:
        check_whole(collection, halves)
    assert named in f"{refused.value.message} {refused.value.hint}"
    assert (refused.value.code, exit_code(refused.value.code)) == ("source_incomplete", 5)


def test_where_there_is_nothing_to_lose_an_empty_collection_is_exported():
    check_source(source(0), None, Wanted())
    check_source(source(0), generation(7, records=0, current=True), Wanted())


@pytest.mark.parametrize("wanted", [Wanted(keep_generations=-1), Wanted(keep_days=-1), Wanted(shrink_share=-0.1), Wanted(shrink_share=1.1)])
def test_settings_that_can_not_be_meant_are_refused(wanted):
    with pytest.raises(ChromaError) as refused:
        check_wanted(wanted)
    assert refused.value.code == "invalid_value"


def test_the_current_generation_and_the_newest_others_are_kept():
    every = [generation(each, current=each == 6) for each in (5, 1, 6, 2, 3, 4)]
    assert [each.number for each in too_many(every, 2, 0)] == [3, 2, 1]
    assert [each.number for each in too_many(every, 0, 0)] == [5, 4, 3, 2, 1]
    assert too_many(every, 9, 0) == []


def test_the_last_generation_of_each_of_the_last_days_is_kept():
    hourly = [generation(24 * day + hour, day=day, current=(day, hour) == (9, 23)) for day in range(1, 10) for hour in range(24)]
    kept = {each.number for each in hourly} - {each.number for each in too_many(hourly, 3, 7)}
    assert kept == {24 * day + 23 for day in range(3, 10)} | {24 * 9 + hour for hour in (20, 21, 22)}


def test_a_collection_that_goes_bit_by_bit_is_compared_with_the_largest_which_stays():
    every = [generation(1, 160), generation(2, 82, current=True)]
    with pytest.raises(ChromaError) as refused:
        check_source(source(42), largest(every), Wanted())
    assert "generation 1" in refused.value.message
    every += [generation(each, 82, day=each) for each in range(3, 30)]
    assert 1 not in [each.number for each in too_many(every, 0, 1)]


def test_a_loss_that_was_accepted_counts_from_then_on():
    every = [generation(1, 160), generation(2, 42, accepted=True), generation(3, 44), generation(4, 41, current=True)]
    assert largest(every) == every[2]
    check_source(source(40), largest(every), Wanted())
    assert [each.number for each in too_many(every, 0, 0)] == [2, 1]
    assert largest([]) is None


class Failure(Exception):
    """An error as psycopg has them."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failure("could not extend file", "53100"), "no_space"),
        (Failure("canceling statement due to lock timeout", "55P03"), "timeout"),
        (Failure("too many connections", "53300"), "unavailable"),
        (Failure("permission denied", "42501"), "forbidden"),
        (Failure("read-only transaction", "25006"), "forbidden"),
        (Failure("terminating connection", "57P01"), "unavailable"),
        (Failure("something new", "22023"), "postgres_error"),
        (Failure("invalid page in block 3", "XX001"), "damaged_postgres"),
        (Failure('FATAL: password authentication failed for user "chroma"'), "unauthorized"),
        (Failure('FATAL: database "vectors" does not exist'), "no_database"),
        (Failure("FATAL: no pg_hba.conf entry for host, no encryption"), "tls"),
        (Failure("SSL error: certificate verify failed"), "tls"),
        (Failure("connection timeout expired"), "timeout"),
        (Failure("FATAL: the database system is starting up"), "unavailable"),
        (Failure("connection refused"), "unreachable"),
        (Failure("server closed the connection unexpectedly"), "unreachable"),
    ],
)
def test_a_failure_has_a_code_a_next_step_and_no_password(error, code):
    found = fault("Could not export", Failure(f"{error} (hush)", error.sqlstate), SETTINGS)
    assert found.code == code
    assert found.hint
    assert "hush" not in found.message
