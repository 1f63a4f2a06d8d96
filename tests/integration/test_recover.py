# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery by the module, into a real server and beside none: whole or not at all, once, and as the plan says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import filling
import numpy as np
import postgres
import pytest
import recovering
import servers
from recovering import NEWEST, assert_none_is_half, details, names, recover, same, same_vectors, served

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils.data_recovery_tool import DataRecoveryTool, parse_plan

# Fixtures.
whole, torn, damaged = recovering.whole, recovering.torn, recovering.damaged


def test_two_collections_come_back_beside_the_damaged_ones_and_a_second_run_changes_nothing(damaged, whole):
    place, _scene = damaged
    planned = recover(place, check=True)
    assert planned["changed"] is True, details(planned)
    assert not (place.data / PRIVATE / "journal.jsonl").read_text().count("recover")
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        before = names(client)
        done = recover(place, url=server.url, plan=planned["plan"])
        assert (done.get("success"), done.get("failed")) == (2, 0), details(done)
        books, angles = served(client, "books-recovered"), served(client, "angles-recovered")
        same(angles, whole.records["angles"], "cosine")
        assert len(angles) == 80
        same_vectors({name: each for name, each in books.items() if name != "id-22"}, whole.records["books"])
        [detail] = [each for each in done["details"] if each["name"] == "books"]
        assert detail["lost"] == len(whole.records["books"]) - len(books) > 0
        made = client.require_collection("books-recovered")
        assert (made.metadata, made.space) == (client.require_collection("books").metadata, "l2")
        assert names(client) == before | {"books-recovered", "angles-recovered"}
        again = recover(place, url=server.url)
        assert again["changed"] is False, details(again)
        assert {each["target"] for each in again["done"]} == {"books-recovered", "angles-recovered"}
        assert names(client) == before | {"books-recovered", "angles-recovered"}


@pytest.mark.thorough
def test_without_a_server_a_chroma_of_its_own_takes_what_is_recovered_and_goes(damaged, whole):
    place, _scene = damaged
    done = recover(place, repository=None, kinds=["damaged"], collections=["angles"])
    assert (done.get("success"), done.get("failed")) == (1, 0), details(done)
    with servers.running(NEWEST, data=place.data) as server:
        same(served(ChromaClient(Connection(server.url)), "angles-recovered"), whole.records["angles"], "cosine")


def test_a_chroma_of_its_own_is_refused_while_somebody_has_the_directory_open(damaged):
    place, _scene = damaged
    with servers.running(NEWEST, data=place.data):
        refused = recover(place, repository=None)
    assert refused["code"] == "server_running", refused


def test_in_place_gives_the_name_to_the_recovered_one_and_keeps_the_damaged_one_until_that_is_undone(damaged, whole):
    place, _scene = damaged
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        old = client.require_collection("angles").id
        done = recover(place, url=server.url, collections=["angles"], in_place=True)
        assert done.get("success") == 1, details(done)
        assert client.require_collection("angles-damaged").id == old
        same(served(client, "angles"), whole.records["angles"], "cosine")
        assert "angles-recovered" not in names(client)
        again = recover(place, url=server.url, collections=["angles-damaged"], in_place=True)
        assert again["changed"] is False, details(again)
        for _each in range(2):
            undone = place.module("chroma_collection_undo", path=str(place.data), url=server.url)
            assert undone.get("changed") is True, undone
        assert client.require_collection("angles").id == old
        assert client.count(client.require_collection("angles-recovered")) == 80


@pytest.mark.thorough
def test_names_that_are_taken_are_numbered(damaged):
    place, _scene = damaged
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        for name in ("angles-recovered", "angles-recovered-2"):
            client.create_collection(name)
        done = recover(place, url=server.url, collections=["angles"])
        assert [each["target"] for each in done["details"]] == ["angles-recovered-3"], details(done)
        assert client.count(client.require_collection("angles-recovered")) == 0


def edited(plan):
    plan["items"][0]["target"] = "another"


def of_another_version(plan):
    plan["version"] = 99


def without_its_checksum(plan):
    del plan["sha256"]


def no_plan_at_all(plan):
    plan.clear()


@pytest.mark.thorough
def test_an_edited_plan_is_refused_and_nothing_changes(damaged):
    place, _scene = damaged
    plan = recover(place, check=True, repository=None)["plan"]
    before = sorted(place.data.iterdir())
    for spoil in (edited, of_another_version, without_its_checksum, no_plan_at_all):
        spoilt = json.loads(json.dumps(plan))
        spoil(spoilt)
        refused = recover(place, repository=None, plan=spoilt)
        assert refused["code"] == "stale_plan", (spoil, refused)
    assert sorted(place.data.iterdir()) == before


@pytest.mark.thorough
def test_a_plan_of_another_state_is_refused_and_nothing_changes(damaged):
    place, scene = damaged
    plan = recover(place, check=True)["plan"]
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        before = names(client)
        client.create_collection("angles-recovered")
        refused = recover(place, url=server.url, plan=plan)
        assert refused["code"] == "stale_plan", refused
        client.delete_collection("angles-recovered")
        (scene.folder("angles") / "header.bin").write_bytes(b"torn once more")
        refused = recover(place, url=server.url, plan=plan)
        assert refused["code"] == "stale_plan", refused
        assert names(client) == before
    assert '"recover"' not in (place.data / PRIVATE / "journal.jsonl").read_text()


def test_of_several_collections_one_that_fails_leaves_nothing_and_the_others_are_whole(damaged, whole):
    place, scene = damaged
    # Chroma refuses such a name, which an edit brought into SQLite: nothing can be called so.
    scene.sql("UPDATE collections SET name = 'far off!' WHERE name = 'far'")
    folder = place.data / scene.segment(name="far off!")
    (folder / "header.bin").write_bytes(b"torn")
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        before = names(client)
        done = recover(place, url=server.url)
        assert (done["code"], done["success"], done["failed"]) == ("recovery_failed", 2, 1), details(done)
        [bad] = [each for each in done["details"] if not each["success"]]
        assert bad["code"] == "invalid_name"
        assert "far off!" in bad["reason"]
        assert names(client) == before | {"books-recovered", "angles-recovered"}
        assert_none_is_half(client)
        far = client.within(tenant="other", database="elsewhere")
        assert names(far) == {"far off!"}
    said = [json.loads(line) for line in (place.data / PRIVATE / "journal.jsonl").read_text().splitlines()]
    assert [(each["event"], each["name"]) for each in said if each["operation"] == "recover"][-1] == ("end", "failed")


def test_a_server_of_another_directory_is_refused(damaged):
    place, _scene = damaged
    with servers.running(NEWEST) as other:
        refused = recover(place, url=other.url)
        assert refused.get("code") == "conflict", refused
        assert names(ChromaClient(Connection(other.url))) == set()


def test_the_facade_scans_plans_and_recovers(damaged, whole):
    place, _scene = damaged
    tool = DataRecoveryTool(Path(place.data))
    found = tool.scan_orphaned_collections()
    assert [each.name for each in found] == ["angles", "books"]
    plan = tool.generate_recovery_plan([each for each in found if each.name == "angles"])
    assert plan
    assert parse_plan(json.loads(json.dumps(plan.document()))) == plan
    done = tool.batch_recover_collections(plan)
    assert (done["total"], done["success"], done["failed"]) == (1, 1, 0)
    left = tool.generate_recovery_plan()
    assert [each.name for each in left.items] == ["books"]
    assert not tool.generate_recovery_plan([])
    assert not [each for each in validate(place.data).of_data if each.collection.endswith("-recovered")]


def test_orphans_missing_ones_and_a_lost_database_are_recovered_with_the_names_and_documents_of_the_backup(whole, tmp_path):
    place, scene = whole.copy(tmp_path / "place")
    scene.database.unlink()
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        left = recover(place, url=server.url)
        assert left["changed"] is False, details(left)
        assert "(orphan)" in str(left["warnings"])
        assert "(missing)" in str(left["warnings"])
        done = recover(place, url=server.url, kinds=["damaged", "orphan", "missing"])
        assert not done.get("failed"), details(done)
        assert {"books", "few"} <= names(client)
        books = served(client, "books")
        assert client.require_collection("books").metadata == {"title": "Books"}
        same({name: books[name] for name in ("id-0", "id-10", "id-89")}, whole.records["books"])
        assert books["id-120"]["document"] is None
        vectors = np.array(books["id-120"]["embedding"], np.float32)
        assert vectors.tobytes() == np.array(whole.records["books"]["id-120"]["embedding"], np.float32).tobytes()
        # Nobody knows the name of what came after the backup.
        assert [name for name in names(client) if name.startswith("recovered-")]
        assert client.within(tenant="other", database="elsewhere").database_exists() is False or "far" not in names(client)


@pytest.mark.thorough
def test_lost_vectors_come_bit_by_bit_from_the_current_generation_in_a_real_postgresql(whole, tmp_path, monkeypatch):
    place, scene = whole.copy(tmp_path / "place")
    with postgres.running("15") as cluster:
        for name, value in cluster.variables(BACKUP_TABLE="kept").items():
            monkeypatch.setenv(name, value)
        export_directory(place.data, settings_from_environment(), Wanted(collections=["books"]))
        shutil.copytree(place.data, tmp_path / "other")
        shutil.rmtree(scene.folder())
        without = recover(place, check=True, repository=None)
        [item] = without["plan"]["items"]
        assert item["lost"] == len(whole.saved)
        planned = recover(place, check=True, repository=None, postgres=True)["plan"]
        # Another generation of as many records: what the plan says of it was not said of this one.
        with servers.running(NEWEST, data=tmp_path / "other") as server:
            client = ChromaClient(Connection(server.url))
            vector = np.array(whole.records["books"]["id-100"]["embedding"], np.float32).tolist()
            filling.change(client, client.require_collection("books"), "id-100", embeddings=vector)
        export_directory(tmp_path / "other", settings_from_environment(), Wanted(collections=["books"]))
        with servers.running(NEWEST, data=place.data) as server:
            refused = recover(place, url=server.url, repository=None, postgres=True, plan=planned)
            assert refused["code"] == "stale_plan", refused
            done = recover(place, url=server.url, repository=None, postgres=True)
            assert (done.get("success"), done.get("failed")) == (1, 0), details(done)
            assert done["details"][0]["lost"] == 0
            books = served(ChromaClient(Connection(server.url)), "books-recovered")
    assert len(books) == len(whole.records["books"])
    same(books, whole.records["books"])
