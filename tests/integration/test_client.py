# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client on a real wire: batches, tokens, TLS and disturbances."""

from __future__ import annotations

import random
import uuid

import pytest
import servers
import wire

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import WantedCollection, describe_collections, ensure_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._records import Record, ensure_no_records, ensure_records, find_nearest
from ansible_collections.thinkube.chroma.plugins.module_utils._server import auth_enforced, describe_server, wait_for_server
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

TOKEN = "integration-token"


def port_of(server):
    return int(server.url.rsplit(":", 1)[1])


def fresh(client, space="l2"):
    """Create a collection that no other test uses, and return its name."""
    name = f"c-{uuid.uuid4().hex[:8]}"
    ensure_collection(client, WantedCollection(name, configuration={"space": space}))
    return name


def failure(client_or_call):
    """Return the error that describing a server, or a call, ends with."""
    with pytest.raises(ChromaError) as failed:
        describe_server(client_or_call) if isinstance(client_or_call, ChromaClient) else client_or_call()
    return failed.value


def test_metadata_of_a_collection_is_replaced_and_removed(server):
    client = ChromaClient(Connection(server.url))
    name = fresh(client, "cosine")
    for metadata in ({"a": 1, "b": "x"}, {"b": "y", "open": True}, {}):
        wanted = WantedCollection(name, metadata=metadata, configuration={"space": "cosine"})
        assert ensure_collection(client, wanted)["changed"] is True
        assert ensure_collection(client, wanted)["changed"] is False
        [seen] = describe_collections(client, [name])
        assert (seen["metadata"], seen["space"], seen["embedding_function"]) == (metadata, "cosine", "")


def test_settings_of_the_index_are_kept_and_changed_where_possible(server):
    client = ChromaClient(Connection(server.url))
    name = f"c-{uuid.uuid4().hex[:8]}"
    settings = {"space": "ip", "ef_construction": 150, "ef_search": 50, "max_neighbors": 24, "resize_factor": 1.3, "sync_threshold": 500}
    assert ensure_collection(client, WantedCollection(name, configuration=settings))["collection"]["configuration"] == settings
    assert ensure_collection(client, WantedCollection(name, configuration=settings))["changed"] is False
    assert failure(lambda: ensure_collection(client, WantedCollection(name, configuration={"space": "l2"}))).code == "immutable"
    change = WantedCollection(name, configuration={"ef_search": 60})
    if client.legacy:
        assert failure(lambda: ensure_collection(client, change)).code == "immutable"
    else:
        assert ensure_collection(client, change)["collection"]["configuration"] == {**settings, "ef_search": 60}


def test_the_wanted_space_orders_the_neighbours(server):
    """Of a short vector in the right direction and a near one in another, cosine prefers the first and l2 the second."""
    client = ChromaClient(Connection(server.url))
    records = [Record("direction", [0.1, 0]), Record("near", [1, 0.3]), Record("long", [5, 5])]
    for space, nearest in (("cosine", "direction"), ("l2", "near"), ("ip", "long")):
        name = fresh(client, space)
        ensure_records(client, name, records)
        assert find_nearest(client, name, [[1, 0]], 1)[0][0]["id"] == nearest


@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
def test_embeddings_of_any_length_come_back_as_the_same(server, space):
    client = ChromaClient(Connection(server.url))
    name = fresh(client, space)
    numbers = random.Random(2)
    records = [Record(f"r{n}", [numbers.gauss(0, 10 ** (n % 9 - 4)) for _row in range(48)]) for n in range(200)]
    assert len(ensure_records(client, name, records)["created"]) == 200
    assert ensure_records(client, name, records)["changed"] is False
    moved = [Record("r7", [records[7].embedding[0] * 1.001, *records[7].embedding[1:]])]
    assert ensure_records(client, name, moved)["updated"] == ["r7"]


def test_more_than_one_batch_is_written_once_and_deleted(server):
    client = ChromaClient(Connection(server.url))
    name = fresh(client, "cosine")
    numbers = random.Random(1)
    records = [Record(f"r{number}", [numbers.gauss(0, 10) for _row in range(4)], f"text {number}", {"n": number}) for number in range(6000)]
    assert len(ensure_records(client, name, records)["created"]) == 6000
    collection = client.require_collection(name)
    assert client.count(collection) == 6000
    assert len({row["id"] for row in client.get(collection, include=())}) == 6000
    changed = [*records[:-1], Record("r5999", records[-1].embedding, "another text")]
    assert ensure_records(client, name, changed)["updated"] == ["r5999"]
    assert ensure_records(client, name, changed)["changed"] is False
    assert len(ensure_no_records(client, name, where={"n": {"$gte": 10}})["deleted"]) == 5990
    assert client.count(collection) == 10


def test_a_batch_stays_below_the_limit_in_bytes(newest):
    """About 45 MB: 1.5.9 closes the connection on one request of that size."""
    client = ChromaClient(Connection(newest.url, timeout=300))
    name = fresh(client)
    with wire.proxied(port_of(newest)) as proxy:
        records = [Record(f"r{number}", [number + 0.1] * 10, "x" * 150_000) for number in range(300)]
        ensure_records(client.within(url=proxy.url), name, records)
        sizes = [int(headers["Content-Length"]) for _method, path, headers in proxy.requests if path.endswith("/upsert")]
    assert len(sizes) == 2
    assert max(sizes) <= 40_000_000 < sum(sizes)
    assert client.count(client.require_collection(name)) == 300


@pytest.mark.parametrize("version", [each for each in servers.VERSIONS if each.startswith("0.")])
def test_the_token_that_0_x_demands(version):
    with servers.running(version, token=TOKEN) as server:
        right = ChromaClient(Connection(server.url, token=TOKEN))
        assert auth_enforced(right) is True
        assert describe_server(right)["auth_enforced"] is True
        for token in (None, "wrong"):
            assert failure(ChromaClient(Connection(server.url, token=token))).code == "unauthorized"
        assert failure(ChromaClient(Connection(server.url, token=TOKEN, token_header="Authorization"))).code == "unauthorized"


@pytest.mark.parametrize(("header", "value"), [("X-Chroma-Token", TOKEN), ("Authorization", f"Bearer {TOKEN}")])
def test_both_headers_reach_a_gateway(newest, header, value):
    with wire.proxied(port_of(newest)) as proxy:
        proxy.token = TOKEN
        client = ChromaClient(Connection(proxy.url, token=TOKEN, token_header=header))
        assert describe_server(client)["auth_enforced"] is True
        sent = {name.lower(): each for name, each in proxy.requests[0][2].items()}
        assert sent[header.lower()] == value
        assert failure(ChromaClient(Connection(proxy.url, token="wrong"))).code == "unauthorized"


def test_tls(newest, tmp_path):
    certificate, other = wire.make_certificate(tmp_path, "127.0.0.1"), wire.make_certificate(tmp_path, "other.example")
    with wire.proxied(port_of(newest), certificate) as proxy:
        trusted = str(tmp_path / "127.0.0.1.crt")
        assert describe_server(ChromaClient(Connection(proxy.url, ca_path=trusted)))["api_version"] == "v2"
        assert describe_server(ChromaClient(Connection(proxy.url, validate_certs=False)))["api_version"] == "v2"
        assert failure(ChromaClient(Connection(proxy.url))).code == "tls"
        assert failure(ChromaClient(Connection(proxy.url, ca_path=str(tmp_path / "other.example.crt")))).code == "tls"
        assert failure(ChromaClient(Connection(proxy.url.replace("https", "http"), retries=0))).code in ("unreachable", "not_chroma")
    with wire.proxied(port_of(newest), other) as proxy:
        ca_path = str(tmp_path / "other.example.crt")
        assert failure(ChromaClient(Connection(proxy.url, ca_path=ca_path))).code == "tls"  # trusted, but of another host
    assert failure(ChromaClient(Connection(newest.url.replace("http", "https"), retries=0))).code == "tls"


def test_a_write_survives_disturbances_and_is_done_once(newest):
    direct = ChromaClient(Connection(newest.url))
    name = fresh(direct)
    with wire.proxied(port_of(newest)) as proxy:
        client = direct.within(url=proxy.url)
        collection = client.require_collection(name)
        proxy.disturb = [503, 0, 502]
        client.write(collection, "upsert", b'{"ids":["a"],"embeddings":[[1.0]]}')
        assert [path.rsplit("/", 1)[1] for _method, path, _headers in proxy.requests[-4:]] == ["upsert"] * 4
        assert client.count(collection) == 1
        proxy.disturb = [503]
        assert failure(lambda: client.create_collection("never-created")).code == "unavailable"
        assert client.get_collection("never-created") is None


def test_a_server_that_is_not_there(newest):
    url = f"http://127.0.0.1:{servers.free_port()}"
    assert failure(ChromaClient(Connection(url, retries=1))).code == "unreachable"
    error = failure(lambda: wait_for_server(ChromaClient(Connection(url, retries=0)), 1))
    assert error.code == "unreachable"
    assert error.result["attempts"] > 2
    assert error.result["waited"] >= 1


def test_a_redirect_does_not_carry_the_token_away(newest):
    with wire.proxied(port_of(newest)) as proxy:
        proxy.disturb = [302]
        assert failure(ChromaClient(Connection(proxy.url, token=TOKEN))).code == "redirected"
        assert len(proxy.requests) == 1
