# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against what real servers answered."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Reply

BOOKS = "11111111-1111-4111-8111-111111111111"


def test_the_api_is_found_once(recorded, version):
    server = recorded(version)
    client = server.client()
    assert client.api == ("v1" if version == "0.4.24" else "v2")
    assert client.legacy is version.startswith("0.")
    assert client.version == (version if client.legacy else "1.0.0")
    assert len(server.sent) == (2 if client.api == "v1" else 1)
    assert client.within(tenant="acme").api == client.api
    assert len(server.sent) <= 2


def test_a_refused_token_is_reported_before_v1_is_tried(recorded):
    server = recorded("0.4.24", "token_absent_v2_version")
    client = ChromaClient(Connection("http://chroma.test"), lambda *request: Reply(401, b'{"error":"AuthError"}'))
    with pytest.raises(ChromaError) as failed:
        client.version  # noqa: B018
    assert failed.value.code == "unauthorized"
    assert server.load("0.4.24", "token_absent_v2_version")["status"] == 401


@pytest.mark.parametrize("reply", [Reply(404, b""), Reply(200, b'{"version": 1}'), Reply(410, b"")])
def test_something_else_than_chroma_is_named(reply):
    client = ChromaClient(Connection("http://chroma.test"), lambda *request: reply)
    with pytest.raises(ChromaError) as failed:
        client.heartbeat()
    assert failed.value.code == "not_chroma"


def test_heartbeat_and_limits(recorded, version):
    client = recorded(version).client()
    assert client.heartbeat() == 1_700_000_000_000_000_000
    assert client.max_batch_size == (41666 if client.legacy else 5461)


def test_tenants_and_databases(recorded, version):
    acme = {"tenant": "acme", "database": "docs"}
    absent = recorded(version, "tenant_missing", "database_missing").client(**acme)
    assert (absent.tenant_exists(), absent.database_exists()) == (False, False)
    there = recorded(version, "tenant_get", "database_get", "database_count").client(**acme)
    assert (there.tenant_exists(), there.database_exists(), there.count_collections()) == (True, True, 0)


def test_a_database_cannot_be_deleted_on_0_4_and_0_5(recorded, version):
    client = recorded(version, "database_delete").client(tenant="acme", database="docs")
    if version in ("0.4.24", "0.5.23"):
        with pytest.raises(ChromaError) as failed:
            client.delete_database()
        assert failed.value.code == "unsupported"
    else:
        client.delete_database()


def test_a_collection_is_read_the_same_from_all(recorded, version):
    collection = recorded(version, "collection_filled").client().require_collection("books")
    assert (collection.id, collection.name, collection.space) == (BOOKS, "books", "cosine")
    assert collection.metadata["year"] == 2026
    assert collection.dimension == (None if version == "0.4.24" else 3)
    ef_search = 100 if version in ("0.6.3", "1.0.20", "1.5.9") else 10
    settings = {"ef_construction": 100, "ef_search": ef_search, "max_neighbors": 16, "resize_factor": 1.2, "sync_threshold": 1000}
    assert collection.configuration == {"space": "cosine", **settings}
    assert collection.embedding_function == ""


def test_an_absent_collection_is_none_or_an_error(recorded, version):
    client = recorded(version, "collection_missing").client()
    assert client.get_collection("books") is None
    with pytest.raises(ChromaError) as failed:
        client.require_collection("books")
    assert failed.value.code == "not_found"


def test_a_collection_is_created_without_an_embedding_function(recorded, version):
    server = recorded(version, "collection_create")
    server.client().create_collection("books", {"year": 2026}, {"space": "cosine"})
    _method, _path, body = server.sent[-1]
    assert body == recorded.load(version, "collection_create")["body"]  # what the recorded server took
    if not version.startswith("0."):
        assert body["configuration"]["embedding_function"] is None


def test_a_collection_without_metadata_sends_null(recorded):
    server = recorded("1.5.9", "collection_create")
    server.client().create_collection("books")
    assert server.sent[-1][2]["metadata"] is None


def test_a_create_that_may_have_happened_is_not_repeated(recorded):
    server = recorded("1.5.9", "collection_exists")
    with pytest.raises(ChromaError) as failed:
        server.client(retries=3).create_collection("books", {"year": 2026}, {"space": "cosine"})
    assert failed.value.code == "conflict"
    assert server.changes() == [("POST", "collections")]


def test_removing_all_metadata_sends_nulls(recorded, version):
    server = recorded(version, "collection_get", "metadata_replace")
    client = server.client()
    collection = client.require_collection("books")
    client.update_collection(collection, metadata={})
    assert server.sent[-1][2] == {"new_metadata": dict.fromkeys(collection.metadata)}


def test_collections_are_listed_sorted_and_counted(recorded, version):
    client = recorded(version, "collections", "collections_count").client()
    assert [each.name for each in client.list_collections()] == ["books", "taken"]
    assert client.count_collections() == 2


def test_the_broken_v1_list_of_0_6_3_is_not_used(recorded):
    assert recorded.load("0.6.3", "v1_collections")["status"] == 400
    assert recorded("0.6.3", "collections").client().list_collections()


def test_listing_goes_on_until_a_page_is_short():
    def exchange(method, path, payload):
        if path.endswith("/version"):
            return Reply(200, b'"1.0.0"')
        offset = int(path.rsplit("=", 1)[1])
        names = [f"c{number:04}" for number in range(offset, min(offset + 1000, 2300))]
        page = [{"id": name, "name": name, "tenant": "t", "database": "d"} for name in names]
        return Reply(200, json.dumps(page).encode())

    found = ChromaClient(Connection("http://chroma.test"), exchange).list_collections()
    assert [each.name for each in found] == [f"c{number:04}" for number in range(2300)]


def test_names_are_quoted_in_paths():
    asked = []

    def exchange(method, path, payload):
        asked.append(path)
        return Reply(200, b'"1.0.0"') if path.endswith("version") else Reply(404, b"")

    ChromaClient(Connection("http://chroma.test", tenant="a/b", database="c d"), exchange).get_collection("x?y")
    assert asked[-1] == "/api/v2/tenants/a%2Fb/databases/c%20d/collections/x%3Fy"


def test_records_are_read_as_rows(recorded, version):
    client = recorded(version, "collection_filled", "records", "records_page", "count").client()
    collection = client.require_collection("books")
    rows = list(client.get(collection, ["a", "b"]))
    assert rows == list(client.get(collection))
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["embedding"] == pytest.approx([1.0, 0.0, 0.1], abs=1e-6)
    assert {key: rows[0][key] for key in ("document", "metadata", "uri")} == {
        "document": "first",
        "metadata": {"page": 1, "open": True, "score": 2.0},
        "uri": "file:///a",
    }
    assert (rows[1]["document"], rows[1]["uri"], rows[1]["metadata"] or {}) == (None, None, {})
    assert client.count(collection) == 2


def test_records_are_paged():
    asked = []

    def exchange(method, path, payload):
        if path.endswith("/version"):
            return Reply(200, b'"1.0.0"')
        if method == "GET":
            return Reply(200, b'{"id": "u", "name": "books", "tenant": "t", "database": "d"}')
        body = json.loads(payload)
        asked.append(body)
        ids = body["ids"] if "ids" in body else [str(number) for number in range(body["offset"], min(body["offset"] + body["limit"], 25))]
        return Reply(200, json.dumps({"ids": ids, "documents": None}).encode())

    client = ChromaClient(Connection("http://chroma.test"), exchange)
    books = client.require_collection("books")
    assert len(list(client.get(books, page=10, include=()))) == 25
    assert [body["offset"] for body in asked] == [0, 10, 20]
    asked.clear()
    assert len(list(client.get(books, [str(number) for number in range(25)], page=10, include=()))) == 25
    assert [len(body["ids"]) for body in asked] == [10, 10, 5]


def test_a_query_returns_the_nearest_first(recorded, version):
    server = recorded(version, "collection_filled", "query")
    client = server.client()
    [hits] = client.query(client.require_collection("books"), [[1.0, 0.0, 0.1]], 2, include=["distances", "documents", "metadatas"])
    assert [hit["id"] for hit in hits] == ["a", "b"]
    assert hits[0]["distance"] == pytest.approx(0, abs=1e-6)
    assert hits[0]["document"] == "first"
    assert set(hits[0]) == {"id", "distance", "document", "metadata"}
    assert server.sent[-1][2] == recorded.load(version, "query")["body"]
