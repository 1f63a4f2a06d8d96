# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports that are killed, cut off, or given a dataset, a server or an object store that fails on the way."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time

import importing
import interference
import object_store
import pyarrow.parquet as pq
import pytest
import servers
from importing import RECORDS, arguments, views

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import bringing
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import importing as importing_engine
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.waiting import until

client, dataset = importing.client, importing.dataset


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_killed_at_any_point_and_started_again(dataset, client, tmp_path, share):
    options = arguments(dataset, client, collections=["large"], batch_size=50, concurrency=2)
    sent = itertools.count(1)

    def rest_hangs(_method, path, _number):
        return "hang" if path.endswith("/upsert") and next(sent) > share * RECORDS / 50 else None

    with interference.proxy(client.connection.url, rest_hangs) as proxy:
        process = importing.start({**options, "url": proxy.url}, tmp_path)
        until(lambda: client.get_collection("large") and importing.count(client, "large") >= share * RECORDS, "records")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    held = importing.count(client, "large")
    assert held < RECORDS
    result = importing.end(importing.start(options, tmp_path))
    [seen] = result["collections"]
    assert (seen["written"] + seen["skipped"], seen["verified"], seen["others"]) == (RECORDS, RECORDS, 0)
    # What a request in flight brought after the kill is not written again either.
    assert seen["skipped"] >= held
    assert importing.count(client, "large") == RECORDS


def test_killed_while_it_reads_back(dataset, client, tmp_path):
    process = importing.start(arguments(dataset, client, collections=["large"]), tmp_path)
    until(lambda: importing.count(client, "large") == RECORDS, "records")
    process.kill()
    process.wait()
    result = importing.end(importing.start(arguments(dataset, client, collections=["large"]), tmp_path))
    assert views(result) == {"large": (False, 0, RECORDS, RECORDS, 0)}


def test_the_server_is_killed_and_comes_back_during_an_import(dataset, tmp_path):
    data = tmp_path / "data"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(servers.running("1.5.9", data=data))
        proxy = stack.enter_context(interference.proxy(first.url))
        client = ChromaClient(Connection(proxy.url))
        options = {"dataset": str(dataset), "url": proxy.url, "batch_size": 20, "concurrency": 3, "wait": 60}
        process = importing.start(options, tmp_path)
        until(lambda: importing.count(client, "large") >= RECORDS * 0.3, "records")
        os.kill(first.pid, signal.SIGKILL)
        second = stack.enter_context(servers.running("1.5.9", data=data))
        proxy.target = second.url
        result = importing.end(process)
        assert views(result)["large"] == (True, RECORDS, 0, RECORDS, 0)
        assert importing.count(client, "large") == RECORDS


def test_a_server_that_stays_away_ends_the_import_in_time_and_the_next_one_completes_it(dataset, client):
    with interference.proxy(client.connection.url) as proxy:
        proxy.decide = lambda method, path, number: 503 if number > 12 else None
        through = ChromaClient(Connection(proxy.url, database=client.connection.database, retries=0))
        with pytest.raises(ChromaError) as failed:
            import_dataset(open_store(str(dataset)), through, ImportRequest(["large"], batch_size=100, wait=0.5))
    assert failed.value.code == "unavailable"
    assert failed.value.result["collections"][0]["created"] is True
    held = importing.count(client, "large")
    assert 0 < held < RECORDS
    result = import_dataset(open_store(str(dataset)), client, ImportRequest(["large"]))
    assert views(result) == {"large": (False, RECORDS - held, held, RECORDS, 0)}


@pytest.mark.parametrize("answers", ["reading", "making"])
def test_a_server_that_is_away_before_the_first_record_is_waited_for(answers, client, tmp_path):
    importing.write_dataset(tmp_path, {"tagged": 4}, lists=True)
    left = [503] * 3
    # Of the last requests before the first record: what the server takes, and the collection's creation.
    wanted = (lambda method, path: path.endswith("/upsert")) if answers == "reading" else (
        lambda method, path: method == "POST" and path.endswith("/collections"))  # fmt: skip
    with interference.proxy(client.connection.url) as proxy:
        proxy.decide = lambda method, path, number: left.pop() if left and wanted(method, path) else None
        through = ChromaClient(Connection(proxy.url, database=client.connection.database, retries=0))
        result = import_dataset(open_store(str(tmp_path)), through, ImportRequest(wait=30))
    assert (left, views(result)) == ([], {"tagged": (True, 4, 0, 4, 0)})


def test_what_does_not_read_back_is_named(dataset, client, monkeypatch):
    genuine = bringing.verify

    def disturbed(client, collection, *rest):
        client.delete(collection, ["id-3"])
        client.write(collection, "update", json.dumps({"ids": ["id-5"], "documents": ["other"]}).encode())
        return genuine(client, collection, *rest)

    monkeypatch.setattr(bringing, "verify", disturbed)
    with pytest.raises(ChromaError, match=r"^2 of 10 records of collection small .*'id-3' \(missing\); 'id-5' \(document\)") as failed:
        import_dataset(open_store(str(dataset)), client, ImportRequest(["small"]))
    assert failed.value.code == "not_verified"
    assert failed.value.result["differing"] == [{"id": "id-3", "differs": ["missing"]}, {"id": "id-5", "differs": ["document"]}]
    assert failed.value.result["collections"][0]["written"] == 10


@pytest.mark.parametrize("remote", [False, True])
def test_a_part_that_is_replaced_after_it_was_proven_is_not_imported(client, tmp_path, monkeypatch, remote):
    genuine = importing_engine.create

    def replacing(*rest, **options):
        part = next(tmp_path.rglob("part-00001.parquet"))
        table = pq.read_table(part)
        time.sleep(1.1)  # an object store may tell times by the second
        pq.write_table(table, part)
        return genuine(*rest, **options)

    monkeypatch.setattr(importing_engine, "create", replacing)
    with contextlib.ExitStack() as stack:
        where, settings = tmp_path, None
        if remote:
            store = stack.enter_context(object_store.running(tmp_path / "s3"))
            where = tmp_path / "s3" / store.bucket / "one"
            settings = StoreSettings(store.endpoint, "us-east-1", None, store.access_key, store.secret_key)
        importing.write_dataset(where, {"books": 500})
        with pytest.raises(ChromaError) as failed:
            import_dataset(open_store(f"s3://{store.bucket}/one" if remote else str(where), settings), client, ImportRequest())
    assert failed.value.code == "dataset_changed"
    assert importing.count(client, "books") <= 250


@pytest.mark.parametrize("fault", [500, "hang"])
@pytest.mark.parametrize("phase", ["reading", "writing"])
def test_an_object_store_that_fails_ends_the_import_and_the_next_one_completes_it(client, tmp_path, fault, phase):
    with object_store.running(tmp_path / "s3") as store, interference.proxy(store.endpoint) as proxy:
        importing.write_dataset(tmp_path / "s3" / store.bucket / "one", {"books": 500})
        proxy.decide = lambda method, path, number: (
            fault if path.endswith("part-00001.parquet") and (phase == "reading" or client.get_collection("books")) else None
        )
        where = f"s3://{store.bucket}/one"

        def reached(endpoint):
            return open_store(where, StoreSettings(endpoint, "us-east-1", None, store.access_key, store.secret_key, 2))

        with pytest.raises(ChromaError) as failed:
            import_dataset(reached(proxy.url), client, ImportRequest(batch_size=100))
        assert failed.value.code == ("timeout" if fault == "hang" else "unavailable")
        assert ("collections" in failed.value.result) is (client.get_collection("books") is not None) is (phase == "writing")
        held = importing.count(client, "books")
        assert held < 500
        result = import_dataset(reached(store.endpoint), client, ImportRequest())
        assert views(result) == {"books": (phase == "reading", 500 - held, held, 500, 0)}
