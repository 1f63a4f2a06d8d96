# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections of real servers deleted and renamed with a restore point, and brought back."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
import transacting
from interference import proxy
from transacting import NUMBERS, Spot, failure, serving, through

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import adopt_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention, plan_prune
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection, rename_held
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection

# Fixtures.
spot, name = transacting.spot, transacting.name


def rows(spot, sql, *values):
    with sqlite3.connect(f"file:{spot.data}/chroma.sqlite3?mode=ro", uri=True) as database:
        return database.execute(sql, values).fetchall()


@pytest.mark.parametrize("version", ["0.5.23", "0.6.3", "1.5.9"])
def test_what_was_deleted_or_renamed_comes_back_as_it_was(tmp_path, version):
    with serving(tmp_path, version) as spot:
        spot.fill("books")
        spot.fill("others", 3)
        before, others = spot.holds("books"), spot.holds("others")

        # Without it other servers with the same repository would take the restore points for their own.
        instance = adopt_instance(spot.data, "0123456789abcdef")
        renamed = rename_collection(spot.place(), "books", "library")
        assert (renamed["records"], renamed["collection"]["name"]) == (50, "library")
        assert (spot.holds("books"), spot.holds("library")) == (None, before)

        deleted = delete_collection(spot.place(), "library")
        assert (deleted["changed"], deleted["records"], deleted["warnings"]) == (True, 50, [])
        assert [each.instance for each in catalogue_of(spot.open().snapshots()).backups] == [instance, instance]
        assert spot.holds("library") is None
        # Nothing of its records is left, which 0.x would keep for ever; the other three have theirs.
        assert rows(spot, "SELECT count(*) FROM embeddings") == [(3,)]
        assert rows(spot, "SELECT count(*) FROM embedding_metadata WHERE id NOT IN (SELECT id FROM embeddings)") == [(0,)]
        assert rows(spot, "SELECT name FROM collections") == [("others",)]
        assert delete_collection(spot.place(), "library")["changed"] is False

        for each in (deleted, renamed):
            undone = undo_collection(spot.place())
            assert (undone["undone"], undone["records"]) == (each["entry"], 50)
        assert (spot.holds("books"), spot.holds("library"), spot.holds("others")) == (before, None, others)
        assert [(each.operation, each.status) for each in spot.operations()] == [
            ("rename-collection", "done"),
            ("delete-collection", "done"),
            ("undo-collection", "done"),
            ("undo-collection", "done"),
        ]
        assert failure(undo_collection, spot.place()).code == "not_found"


def test_a_later_collection_inherits_nothing_of_a_deleted_one(tmp_path):
    """Chroma 1.5 leaves the lists in the metadata of a deleted collection's records: https://github.com/chroma-core/chroma/issues/7594."""
    with serving(tmp_path) as spot:
        client = spot.client

        def later():
            """Return what records have whose metadata were never given."""
            plain = client.create_collection("later", {}, {})
            client.write(plain, "upsert", b'{"ids": ["x", "y"], "embeddings": [[1, 2, 3], [4, 5, 6]]}')
            return [row["metadata"] for row in client.get(plain)]

        lists = {"metadatas": [{"tags": ["ghost", "of", "books"]}] * 3}
        spot.fill("books", 3, **lists)
        client.delete_collection("books")
        assert later() == [{"tags": ["ghost", "of", "books"]}] * 2
        # As the server itself deletes it, it goes on haunting: so these records go first as well.
        delete_collection(spot.place(kept=False, force=True), "later")
        spot.fill("books", 3, **lists)
        delete_collection(spot.place(kept=False, force=True), "books")
        assert later() == [None, None]
        assert rows(spot, "SELECT count(*) FROM embedding_metadata_array") == [(0,)]


def test_without_a_restore_point_only_what_is_empty_or_forced_goes(spot, name):
    before, entries = spot.holds(name), len(spot.operations())
    for wanted in ((delete_collection, name), (rename_collection, name, f"{name}-new")):
        refused = failure(wanted[0], spot.place(kept=False), *wanted[1:])
        assert (refused.code, "repository" in refused.hint, "force" in refused.hint) == ("no_restore_point", True, True)
    assert (spot.holds(name), len(spot.operations())) == (before, entries)
    spot.fill("empty", 0)
    assert delete_collection(spot.place(kept=False), "empty")["changed"] is True
    forced = delete_collection(spot.place(kept=False, force=True), name)
    assert (spot.holds(name), forced["restore_point"]) == (None, "")
    assert failure(undo_collection, spot.place(), forced["entry"]).code == "no_restore_point"


def test_an_empty_collection_with_a_repository_can_be_undone_too(spot):
    spot.fill("empty", 0)
    before = spot.holds("empty")
    entry = delete_collection(spot.place(), "empty")["entry"]
    undo_collection(spot.place(), entry)
    assert spot.holds("empty") == before
    delete_collection(spot.place(kept=False), "empty")


def test_check_mode_only_looks(spot, name):
    entries, backups = len(spot.operations()), len(spot.open().snapshots())
    assert delete_collection(spot.place(), name, check=True)["records"] == 50
    assert rename_collection(spot.place(), name, f"{name}-new", check=True)["diff"]["after"]["name"] == f"{name}-new"
    assert (len(spot.operations()), len(spot.open().snapshots())) == (entries, backups)
    assert spot.holds(name) is not None


def test_a_new_name_that_is_taken_is_refused_before_anything(spot, name):
    other = f"{name}-other"
    spot.fill(other, 2)
    before = (spot.holds(name), spot.holds(other), len(spot.operations()), len(spot.open().snapshots()))
    assert failure(rename_collection, spot.place(), name, other).code == "conflict"
    assert failure(rename_collection, spot.place(), name, "no such name").code == "invalid_name"
    assert failure(rename_collection, spot.place(), "nobody", "somebody").code == "not_found"
    with proxy(spot.url) as between:
        failure(rename_collection, through(spot, between).place(), name, other)
        assert [method for method, _path in between.seen if method != "GET"] == []
    assert (spot.holds(name), spot.holds(other), len(spot.operations()), len(spot.open().snapshots())) == before


def test_an_undo_does_not_replace_a_collection(spot, name):
    entry = delete_collection(spot.place(), name)["entry"]
    spot.fill(name, 2)
    theirs = spot.holds(name)
    assert failure(undo_collection, spot.place(), entry).code == "exists"
    assert failure(undo_collection, spot.place(), 10_000).code == "not_found"
    assert spot.holds(name) == theirs
    assert spot.last("delete-collection").n == entry


def test_the_next_attempt_of_a_job_does_not_go_further_back(spot, name, monkeypatch):
    first = delete_collection(spot.place(kept=False, force=True), name)
    spot.fill(name, 0)
    second = delete_collection(spot.place(), name)
    monkeypatch.setenv("CHROMA_OPERATION_JOB", f"chroma-undo-{name}")
    done, again = undo_collection(spot.place()), undo_collection(spot.place())
    assert (done["undone"], done["changed"]) == (second["entry"], True)
    assert (again["undone"], again["changed"], again["entry"]) == (second["entry"], False, done["entry"])
    assert second["entry"] > first["entry"]


def test_a_directory_that_the_server_does_not_serve_is_refused(spot, tmp_path):
    shutil.copytree(spot.data, tmp_path / "data")
    made = f"books-{next(NUMBERS)}"
    spot.fill(made, 3)
    before = spot.holds(made)
    for wanted in ((delete_collection, made), (rename_collection, made, f"{made}-new")):
        assert failure(wanted[0], spot.place(path=tmp_path / "data"), *wanted[1:]).code == "conflict"
    assert spot.holds(made) == before


def test_a_restore_point_is_kept_as_long_as_retention_says(spot, name):
    before = spot.holds(name)
    deleted = delete_collection(spot.place(), name)
    catalogue = catalogue_of(spot.open().snapshots())

    def kept(days):
        verdicts = plan_prune(catalogue, Retention(30, 1), datetime.now(UTC) + timedelta(days=days))
        return [each.keep for each in verdicts if each.backup.id == deleted["restore_point"]]

    assert kept(29) == [True]
    spot.fill(f"{name}-2", 1)
    prune(spot.repository, lambda _host: False, Retention(30, 1), (), spot.data)
    undo_collection(spot.place(), deleted["entry"])
    assert spot.holds(name) == before


def test_without_the_directory_the_journal_is_elsewhere(spot, name, tmp_path):
    beside = Spot(spot.url, spot.root, None, tmp_path)
    before = beside.holds(name)
    delete_collection(beside.place(), name)
    undo_collection(beside.place())
    assert beside.holds(name) == before
    # A deletion on another server is none of this one's business.
    entry = Journal.of(tmp_path).begin("delete-collection", **{**beside.last("delete-collection").facts, "url": "http://127.0.0.2:1"})
    Journal.of(tmp_path).step(entry, "delete")
    result = delete_collection(beside.place(), "nothing-of-this-name")
    assert (result["finished"], "http://127.0.0.2:1" in result["warnings"][0]) == ([], True)
    assert beside.holds(name) == before


def test_a_rename_within_another_operation_can_be_undone(spot, name):
    before = spot.holds(name)
    client = spot.client
    journal = Journal.of(spot.data)
    found = rename_held(client, journal, client.require_collection(name), f"{name}-new")
    assert found.name == f"{name}-new"
    spot.fill(f"{name}-3", 1)
    assert failure(rename_held, client, journal, found, f"{name}-3").code == "conflict"
    undo_collection(spot.place(), spot.last("rename-collection").n)
    assert spot.holds(name) == before
