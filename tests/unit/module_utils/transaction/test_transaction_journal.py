# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal says of transactions: which were interrupted, which can be undone, which restore points are needed."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import left_over
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.half import half_done
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import (
    DELETE,
    RENAME,
    UNDO,
    Place,
    points_in_use,
    unfinished,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.reversal import interim_of
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undoable
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


@pytest.fixture
def journal(tmp_path):
    return Journal.of(tmp_path)


def begin(journal, operation, collection="1", name="books", **facts):
    shared = {"collection": f"default_tenant/default_database/{name}", "id": collection, "name": name, "restore_point": f"point-{name}"}
    return journal.begin(operation, **{**shared, **facts})


def ended(journal, operation, status="done", end=None, **facts):
    entry = begin(journal, operation, **facts)
    journal.end(entry, status, **(end or {}))
    return entry.n


def test_what_has_no_end_is_left_over_with_its_steps(journal, tmp_path):
    ended(journal, DELETE)
    first = begin(journal, RENAME, name="a", new_name="b")
    journal.step(first, "snapshot")
    journal.begin("backup", id="x")
    second = begin(journal, DELETE, name="c")
    journal.step(second, "delete")
    found = left_over(journal)
    assert [(each.entry.n, each.steps, each.replaced) for each in found] == [
        (first.n, {"snapshot"}, False),
        (second.n, {"delete"}, False),
    ]
    assert points_in_use(tmp_path) == {"point-a", "point-c"}
    assert [said.split(" was ")[0].rpartition("/")[2] for said in unfinished(tmp_path)] == ["a", "c"]
    journal.end(first, "done")
    assert points_in_use(tmp_path) == {"point-c"}


@pytest.mark.parametrize(
    ("operation", "facts", "replaced"),
    [
        ("restore", {"backup": "x"}, True),
        ("undo-restore", {"backup": "x"}, True),
        ("restore", {"backup": "x", "collection": "books"}, False),
        ("backup", {"id": "x"}, False),
    ],
)
def test_a_restore_of_the_whole_directory_makes_it_another_one(journal, operation, facts, replaced):
    begin(journal, DELETE)
    journal.begin(operation, **facts)
    later = begin(journal, DELETE, name="later")
    assert [(each.entry.n == later.n, each.replaced) for each in left_over(journal)] == [(False, replaced), (True, False)]


def test_what_was_done_and_not_undone_can_be_undone(journal):
    first = ended(journal, DELETE, name="a")
    ended(journal, DELETE, "rolled_back", name="b")
    ended(journal, RENAME, "failed", name="c", new_name="d")
    second = ended(journal, RENAME, name="e", new_name="f")
    begin(journal, DELETE, name="open")
    third = ended(journal, DELETE, "interrupted", name="g")
    assert [each.n for each in undoable(journal)] == [first, second, third]
    ended(journal, UNDO, "failed", name="a", undoes=first, undone=DELETE)
    assert [each.n for each in undoable(journal)] == [first, second, third]
    ended(journal, UNDO, name="a", undoes=first, undone=DELETE)
    assert [each.n for each in undoable(journal)] == [second, third]


def test_a_renaming_is_undone_of_the_collection_that_came_back(journal):
    ended(journal, RENAME, collection="1", new_name="b")
    for old, new in (("1", "2"), ("2", "3")):
        number = ended(journal, DELETE, collection=old, name="b")
        ended(journal, UNDO, collection=old, name="b", undoes=number, undone=DELETE, end={"id": new})
    [left] = undoable(journal)
    assert (left.operation, left.facts["id"]) == (RENAME, "3")


def test_records_are_not_risked_and_places_have_to_be_there(tmp_path):
    client = ChromaClient(Connection("http://127.0.0.1:1"))
    bare = Place(client)
    bare.refuse_unkept("books", 0)
    Place(client, force=True).refuse_unkept("books", 7)
    for refused, code in (
        (lambda: bare.refuse_unkept("books", 7), "no_restore_point"),
        (Place(client, repository=lambda: None).check, "invalid_value"),
        (Place(client, journal_path=tmp_path / "absent").check, "not_found"),
        (Place(client, scratch=tmp_path / "absent").check, "not_found"),
    ):
        with pytest.raises(ChromaError) as failed:
            refused()
        assert failed.value.code == code
    Place(client, repository=lambda: None, journal_path=tmp_path).check()


def test_half_is_what_an_open_transaction_may_have_begun_to_delete_or_to_fill(journal, tmp_path):
    assert half_done(tmp_path) == {}
    place = {"tenant": "default_tenant", "database": "default_database"}
    deletion = begin(journal, DELETE, collection="deleted", **place)
    assert half_done(tmp_path) == {}
    journal.step(deletion, "delete")
    journal.step(begin(journal, RENAME, collection="renamed", new_name="b", **place), "rename")
    undo = begin(journal, UNDO, collection="undone", undoes=1, undone=DELETE, **place)
    journal.step(undo, "undo")
    journal.step(begin(journal, UNDO, collection="renamed back", undoes=2, undone=RENAME, **place), "undo")
    interim = f"default_tenant/default_database/{interim_of(undo.facts)}"
    found = half_done(tmp_path)
    assert found.keys() == {"deleted", interim}
    assert found["deleted"] == f"delete-collection of default_tenant/default_database/books (entry {deletion.n} of the journal)"
    journal.end(deletion, "done")
    journal.end(undo, "failed")
    assert half_done(tmp_path) == {}
