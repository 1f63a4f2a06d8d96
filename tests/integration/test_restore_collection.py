# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collection restored beside what a server serves: the same records, the same neighbours, under a name that is whole or absent."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import servers
from chains import same_record, state_of, write
from interference import proxy
from restoring import NEWEST, Place

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

HERE = ("default_tenant", "default_database")


def upsert(client, collection, numbers, text):
    """Write records with numbers."""
    # By chance, so that no two are equally far from a third.
    vectors = np.random.default_rng(len(text)).standard_normal((1000, 6)).astype(np.float32)[list(numbers)].tolist()
    write(
        client,
        collection,
        "upsert",
        [f"id-{number}" for number in numbers],
        embeddings=vectors,
        documents=[f"{text} {number}" for number in numbers],
        metadatas=[{"number": number, "tags": [text, "x"]} for number in numbers],
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Backups of each kind, and what the server said of the collection at each of their moments."""
    place = Place(tmp_path_factory.mktemp("collections"))
    moments = []
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        settings = {"space": "cosine", "sync_threshold": 40, "batch_size": 10}
        books = client.create_collection("books", {"made": "by a test"}, settings)
        other = client.create_collection("other", {}, {})
        upsert(client, other, range(10), "other")
        upsert(client, books, range(120), "first")

        def moment(kind, **options):
            neighbours = client.query(books, probes(), 10, include=["distances"])
            moments.append((place.backup(kind, **options), state_of(server.url)[(*HERE, "books")], neighbours))

        moment("full")
        upsert(client, books, range(100, 150), "second")
        client.delete(books, [f"id-{number}" for number in range(20)])
        moment("increment")
        upsert(client, books, range(140, 160), "third")
        moment("collection", collection="books")
        upsert(client, books, range(300), "later")
    return place, moments


def probes():
    """Return vectors to ask with."""
    return np.random.default_rng(0).standard_normal((12, 6)).tolist()


@pytest.fixture
def place(prepared, tmp_path):
    shutil.copytree(prepared[0].root, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def moments(prepared):
    return prepared[1]


@pytest.fixture
def server(place):
    with servers.running(NEWEST, data=place.data) as server:
        yield server


def check(server, name, wanted, place=HERE):
    """Compare a restored collection with what the server said of the original."""
    backup, (about, rows), neighbours = wanted
    client = ChromaClient(Connection(server.url, tenant=place[0], database=place[1]))
    said, have = state_of(server.url)[(*place, name)]
    assert (said["metadata"], said["space"], said["dimension"]) == (about["metadata"], about["space"], about["dimension"]), backup
    assert said["configuration"] == about["configuration"]
    assert have.keys() == rows.keys()
    for key, row in rows.items():
        same_record(have[key], row, about["space"])
    found = client.query(client.require_collection(name), probes(), 10, include=["distances"])
    for ones, others in zip(found, neighbours, strict=True):
        assert [each["id"] for each in ones] == [each["id"] for each in others]
        assert [each["distance"] for each in ones] == pytest.approx([each["distance"] for each in others], abs=1e-5)


@pytest.mark.parametrize("number", range(3), ids=["full", "base and increment", "collection"])
def test_under_a_new_name_beside_the_old_one(place, moments, server, number):
    before = state_of(server.url)
    backup = moments[number][0]
    result = place.module("chroma_restore", url=server.url, path=str(place.data), collection="books", new_name="books-then", backup=backup)
    assert not result.get("failed"), result
    assert (result["backup"], result["collection"]["name"]) == (backup, "books-then")
    assert result["collection"]["verified"] == len(moments[number][1][1])
    check(server, "books-then", moments[number])
    after = state_of(server.url)
    del after[(*HERE, "books-then")]
    assert after == before


def test_into_another_database_under_its_own_name(place, moments, server):
    options = {"url": server.url, "collection": "books", "tenant": "second", "database": "other", "backup": moments[0][0]}
    refused = place.module("chroma_restore", **options)
    assert refused["code"] == "not_found"
    result = place.module("chroma_restore", create_database=True, **options)
    assert not result.get("failed"), result
    check(server, "books", moments[0], ("second", "other"))


def test_the_newest_backup_that_holds_it(place, moments, server):
    result = place.module("chroma_restore", url=server.url, collection="default_tenant/default_database/books", new_name="newest")
    assert result["backup"] == moments[2][0]
    other = place.module("chroma_restore", url=server.url, collection="other", new_name="other-then", check=True)
    assert other["backup"] == moments[1][0]  # the last one is of books alone
    assert "other-then" not in {name for _tenant, _database, name in state_of(server.url)}


def test_what_can_not_be_is_refused_and_nothing_is_changed(place, moments, server):
    before = state_of(server.url)

    def refused(**options):
        return place.module("chroma_restore", url=server.url, **options)

    taken = refused(collection="books")
    assert (taken["code"], "new_name" in taken["hint"]) == ("exists", True)
    assert refused(collection="bokos", new_name="x-y-z")["code"] == "not_found"
    unknown = refused(collection="bokos", new_name="x-y-z", backup=moments[0][0])
    assert unknown["code"] == "not_found"
    assert "books" in unknown["hint"] + unknown["msg"]
    assert refused(collection="books", new_name="x-y-z", backup="20200101T000000Z-000000")["code"] == "not_found"
    assert refused(collection="books", new_name="?")["code"] == "invalid_name"
    assert refused(collection="books", new_name="x-y-z", repository_password="another one")["code"] == "wrong_password"
    assert "holds one collection" in place.restore(check=True, backup=moments[2][0])["msg"]
    assert refused(new_name="x-y-z", path=str(place.data))["failed"]
    assert state_of(server.url) == before


@pytest.mark.parametrize(
    "function",
    ["_restore.collection.collection_dataset", "_restore.collection._bring_in", "_restore.collection.ChromaClient.update_collection"],
)
def test_one_that_was_killed_leaves_nothing_under_the_name_and_the_next_run_completes_it(place, moments, server, function):
    options = {"url": server.url, "path": str(place.data), "collection": "books", "new_name": "books-then", "backup": moments[0][0]}
    assert place.killed("chroma_restore", function, 1, **options)
    names = {name for _tenant, _database, name in state_of(server.url)}
    assert "books-then" not in names
    result = place.module("chroma_restore", **options)
    assert not result.get("failed"), result
    check(server, "books-then", moments[0])
    names = {name for _tenant, _database, name in state_of(server.url)}
    assert not [name for name in names if name.startswith("restoring-")]


def test_a_rename_whose_answer_is_lost_is_done(place, moments, server):
    """The server gives the collection its name, and goes away before it has said so."""

    with proxy(server.url) as between:

        def lose_the_answer(method, path, _number):
            if method != "PUT" or "/collections/" not in path:
                return None
            client = ChromaClient(Connection(server.url))
            for each in client.list_collections():
                if each.name.startswith("restoring-"):
                    client.update_collection(each, name="books-then")
            return 503

        between.decide = lose_the_answer
        result = place.module("chroma_restore", url=between.url, collection="books", new_name="books-then", backup=moments[0][0])
    assert not result.get("failed"), result
    assert any(method == "PUT" for method, _path in between.seen)
    check(server, "books-then", moments[0])
