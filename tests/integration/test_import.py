# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports that are disturbed, impossible, repeated, divided, or come from elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
import uuid
from pathlib import Path

import importing
import interference
import numpy as np
import object_store
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import bringing
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import importing as importing_engine
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import held
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset, takes_lists
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, encode
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

RECORDS = 2000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Return a dataset of one large, one small and one empty collection."""
    where = tmp_path_factory.mktemp("dataset")
    importing.write_dataset(where, {"large": RECORDS, "small": 10, "empty": 0})
    return where


@pytest.fixture
def client(newest):
    """Return a client for a database of its own."""
    client = ChromaClient(Connection(newest.url, database=f"d-{uuid.uuid4().hex[:8]}"))
    client.create_database()
    return client


def arguments(where, client, **more):
    """Return the options of chroma_import."""
    return {"dataset": str(where), "url": client.connection.url, "database": client.connection.database, **more}


def refused(where, client, check=False, **request):
    """Return the error of an import that must change nothing."""
    before = importing.state(client) if client.database_exists() else None
    with pytest.raises(ChromaError) as failed:
        import_dataset(open_store(str(where)), client, ImportRequest(**request), check)
    assert (importing.state(client) if client.database_exists() else None) == before
    assert failed.value.hint
    return failed.value


def views(result):
    """Return what became of each collection."""
    return {
        each["name"]: (each["created"], each["written"], each["skipped"], each["verified"], each["others"])
        for each in result["collections"]
    }


def test_check_mode_tells_the_plan_and_changes_nothing(dataset, client, run_module):
    planned = run_module("chroma_import", arguments(dataset, client), check_mode=True)
    assert views(planned) == {"large": (True, RECORDS, 0, 0, 0), "small": (True, 10, 0, 0, 0), "empty": (True, 0, 0, 0, 0)}
    assert planned["changed"]
    assert planned["diff"] == {"before": {"records": {}}, "after": {"records": {"large": RECORDS, "small": 10, "empty": 0}}}
    assert importing.state(client) == {}
    made = run_module("chroma_import", arguments(dataset, client))
    assert made["changed"]
    assert importing.state(client)["large"] == (RECORDS, {"made": "by a test"})
    for check in (True, False):
        again = run_module("chroma_import", arguments(dataset, client), check_mode=check)
        assert not again["changed"]
        assert views(again)["large"] == (False, 0, RECORDS, RECORDS, 0)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_killed_at_any_point_and_started_again(dataset, client, tmp_path, share):
    options = arguments(dataset, client, collections=["large"], batch_size=50, concurrency=2)
    process = importing.start(options, tmp_path)
    importing.wait_until(lambda: client.get_collection("large") and importing.count(client, "large") >= share * RECORDS, "records")
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
    importing.wait_until(lambda: importing.count(client, "large") == RECORDS, "records")
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
        importing.wait_until(lambda: importing.count(client, "large") >= RECORDS * 0.3, "records")
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


def test_two_imports_at_once_make_no_duplicates(dataset, client, tmp_path):
    processes = [importing.start(arguments(dataset, client, batch_size=100), tmp_path) for _number in range(2)]
    results = [importing.end(each) for each in processes]
    assert [each.get("msg") for each in results] == [None, None]
    assert {name: records for name, (records, _metadata) in importing.state(client).items()} == {"large": RECORDS, "small": 10, "empty": 0}


def test_what_differs_is_mended_and_what_is_not_in_the_dataset_stays(dataset, client):
    import_dataset(open_store(str(dataset)), client, ImportRequest(["small"]))
    collection = client.require_collection("small")
    client.delete(collection, ["id-1"])
    alien = Rows(["id-0", "id-2", "new"], np.ones((3, importing.DIMENSION), np.float32), ["x"] * 3, [{"alien": 1}] * 3, ["y"] * 3)
    client.write(collection, "upsert", encode(alien, packed=True))
    result = import_dataset(open_store(str(dataset)), client, ImportRequest(["small"]))
    assert views(result) == {"small": (False, 3, 7, 10, 1)}
    seen = {row["id"]: row for row in client.get(collection)}
    assert (seen["id-0"]["document"], seen["id-0"]["metadata"], seen["id-0"]["uri"]) == (None, {"text": "small 0"}, "file:///0")
    assert (seen["id-2"]["document"], seen["id-2"]["uri"]) == ("document 2", None)
    assert seen["new"]["metadata"] == {"alien": 1}


@pytest.mark.parametrize("version", servers.VERSIONS)
@pytest.mark.parametrize("others", [0, 1])
def test_documents_uris_and_keys_that_the_dataset_does_not_have_are_removed(version, others, tmp_path):
    """Of all records, so that no request has a document, and of all but one."""
    count = 6
    ids, vectors = [f"id-{number}" for number in range(count)], np.arange(count * 4, dtype=np.float32).reshape(-1, 4) + 1
    few = [None] * (count - others) + ["kept"] * others
    plain = Rows(ids, vectors, few, [{"a": 1, "b": "x"}, None, None, {"a": 2.5}, None, {"b": True}], few)
    full = Rows(ids, vectors, ["doc"] * count, [{"z": "new", "a": 7}] * count, ["file:///z"] * count)
    with servers.running(version) as server:
        client = ChromaClient(Connection(server.url))
        collection = client.create_collection("plain")
        client.write(collection, "upsert", encode(plain, packed=not client.legacy))
        wanted = {row["id"]: row for row in client.get(collection)}
        export(ServerSource(client), open_store(str(tmp_path / "set")), Wanted())
        client.write(collection, "upsert", encode(full, packed=not client.legacy))
        assert views(import_dataset(open_store(str(tmp_path / "set")), client, ImportRequest())) == {"plain": (False, count, 0, count, 0)}
        assert {row["id"]: row for row in client.get(collection)} == wanted
        assert import_dataset(open_store(str(tmp_path / "set")), client, ImportRequest())["changed"] is False


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


def test_an_existing_collection_that_does_not_fit_is_left_alone(dataset, client):
    other = client.create_collection("small")
    client.write(other, "upsert", encode(Rows(["a"], np.ones((1, 3), np.float32), [None], [None], [None]), packed=True))
    for check in (False, True):
        assert refused(dataset, client, check).code == "dimension_mismatch"
    client.delete_collection("small")
    client.create_collection("small", configuration={"space": "ip"})
    assert refused(dataset, client).code == "space_mismatch"
    assert views(import_dataset(open_store(str(dataset)), client, ImportRequest(["small"], rename={"small": "other"})))["other"][1] == 10


def test_no_such_database_and_no_such_collection(dataset, client):
    assert refused(dataset, client, collections=["nothing"]).code == "not_found"
    assert refused(dataset, client, rename={"nothing": "x"}).code == "not_found"
    elsewhere = client.within(database="missing")
    assert refused(dataset, elsewhere).code == "not_found"
    assert not elsewhere.database_exists()


def test_a_wrong_token_is_said_to_be_wrong(dataset, run_module):
    with servers.running("0.6.3", token="right") as server:
        failed = run_module("chroma_import", {"dataset": str(dataset), "url": server.url, "token": "wrong-one"})
        assert (failed["code"], "wrong-one" in json.dumps(failed)) == ("unauthorized", False)
        client = ChromaClient(Connection(server.url, token="right"))
        assert importing.state(client) == {}
        done = run_module("chroma_import", {"dataset": str(dataset), "url": server.url, "token": "right", "collections": ["small"]})
        assert views(done) == {"small": (True, 10, 0, 10, 0)}


def truncate(where):
    """Cut a part."""
    part = next(where.glob("collections/*/part-00001.parquet"))
    part.write_bytes(part.read_bytes()[:-100])


def flip(where):
    """Change one byte of a part."""
    part = next(where.glob("collections/*/part-00001.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def edit(**changes):
    """Return what changes a manifest."""

    def apply(where):
        content = json.loads((where / "manifest.json").read_text())
        (where / "manifest.json").write_text(json.dumps({**content, **changes}))

    return apply


def lose_records(where):
    """Let the manifest count one record less, consistently."""
    content = json.loads((where / "manifest.json").read_text())
    content["collections"][0]["records"] -= 1
    content["collections"][0]["parts"][0]["records"] -= 1
    (where / "manifest.json").write_text(json.dumps(content))


def claim_dimension(where):
    """Let the manifest say another dimension."""
    content = json.loads((where / "manifest.json").read_text())
    content["collections"][0]["dimension"] = 17
    (where / "manifest.json").write_text(json.dumps(content))


def no_dataset(where):
    """Leave an empty directory."""
    for each in sorted(where.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (truncate, "manifest_mismatch"),
        (flip, "manifest_mismatch"),
        (lambda where: next(where.glob("collections/*/part-00001.parquet")).unlink(), "manifest_mismatch"),
        (lose_records, "manifest_mismatch"),
        (claim_dimension, "dimension_mismatch"),
        (edit(version=2), "newer_dataset"),
        (edit(format="else"), "invalid_manifest"),
        (lambda where: (where / "manifest.json").write_text("{"), "invalid_manifest"),
        (lambda where: (where / "manifest.json").unlink(), "incomplete_dataset"),
        (no_dataset, "no_dataset"),
    ],
)
def test_a_broken_dataset_is_refused_and_nothing_changed(client, tmp_path, broken, code):
    importing.write_dataset(tmp_path, {"first": 20, "second": 20})
    broken(tmp_path)
    assert refused(tmp_path, client).code == code


@pytest.mark.parametrize("version", ["0.4.24", "1.0.20"])
def test_lists_are_refused_by_what_cannot_hold_them(version, tmp_path):
    importing.write_dataset(tmp_path, {"tagged": 4}, lists=True)
    with servers.running(version) as server:
        client = ChromaClient(Connection(server.url))
        assert takes_lists(client) is False
        error = refused(tmp_path, client)
        assert (error.code, "'tags'" in error.message) == ("unsupported", True)


@pytest.mark.parametrize("version", ["1.0.20", "1.5.9"])
def test_1x_holds_of_every_float_what_we_say(version, tmp_path):
    chance = random.Random(7)
    wanted = [5e-324, 1.7976931348623157e308, -0.0, 1e22, 1e23, 2**53 + 1.0]
    wanted += [chance.choice((-1, 1)) * chance.random() * 10 ** chance.randint(-300, 300) for _number in range(1500)]
    wanted += [chance.uniform(-1, 1) for _number in range(1500)]
    with servers.running(version) as server:
        client = ChromaClient(Connection(server.url))
        collection = client.create_collection("floats")
        ids = [str(number) for number in range(len(wanted))]
        some = Rows(ids, np.ones((len(ids), 2), np.float32), [None] * len(ids), [{"f": each} for each in wanted], [None] * len(ids))
        client.write(collection, "upsert", encode(some, packed=True))
        seen = {row["id"]: row["metadata"]["f"] for row in client.get(collection, include=("metadatas",))}
    assert [seen[each] for each in ids] == [held(each) for each in wanted]
    assert 0.02 < sum(held(each) != each for each in wanted) / len(wanted) < 0.3


def test_each_collection_goes_back_to_its_tenant_and_database(client, tmp_path):
    name = uuid.uuid4().hex[:8]
    importing.write_dataset(tmp_path, {"books": 5}, tenant=f"tenant-{name}", database=f"database-{name}")
    home = client.within(tenant=f"tenant-{name}", database=f"database-{name}")
    assert refused(tmp_path, home, keep_databases=True).code == "not_found"
    result = import_dataset(open_store(str(tmp_path)), client, ImportRequest(keep_databases=True, create_database=True))
    assert views(result) == {"books": (True, 5, 0, 5, 0)}
    assert importing.count(home, "books") == 5
    assert importing.state(client) == {}


def test_the_parts_of_an_indexed_job_bring_every_collection_once(client, tmp_path):
    sizes = {f"collection-{number}": number * 7 for number in range(9)}
    importing.write_dataset(tmp_path, sizes)
    processes = [importing.start(arguments(tmp_path, client, part=part, parts=3), tmp_path) for part in range(3)]
    results = [importing.end(each) for each in processes]
    assert sorted(each["name"] for result in results for each in result["collections"]) == sorted(sizes)
    assert {name: records for name, (records, _metadata) in importing.state(client).items()} == sizes
    loads = [sum(each["records"] for each in result["collections"]) for result in results]
    assert sorted(loads) == [77, 84, 91]
    assert refused(tmp_path, client, part=3, parts=3).code == "invalid_value"


def test_a_dataset_in_an_object_store(client, tmp_path, run_module):
    with object_store.running(tmp_path / "s3") as store:
        importing.write_dataset(tmp_path / "s3" / store.bucket / "exports" / "one", {"books": 50})
        where = f"s3://{store.bucket}/exports/one"
        keys = {"s3_endpoint": store.endpoint, "access_key": store.access_key, "secret_key": store.secret_key}
        done = run_module("chroma_import", arguments(where, client, **keys))
        assert views(done) == {"books": (True, 50, 0, 50, 0)}
        failed = run_module("chroma_import", arguments(where, client, **{**keys, "secret_key": "wrong-secret"}))
        assert (failed["code"], "wrong-secret" in json.dumps(failed)) == ("forbidden", False)
        nothing = open_store(
            f"s3://{store.bucket}/exports/none", StoreSettings(store.endpoint, "us-east-1", None, store.access_key, store.secret_key)
        )
        with pytest.raises(ChromaError) as error:
            import_dataset(nothing, client, ImportRequest())
        assert error.value.code == "no_dataset"


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


SPECIAL = {"defaults": {"string": {"string_inverted_index": {"enabled": True, "config": {}}}},
           "keys": {"text": {"string": {"string_inverted_index": {"enabled": False, "config": {}}}}}}  # fmt: skip


@pytest.mark.parametrize(("version", "held"), [("1.5.9", True), ("1.0.20", False), ("0.6.3", False)])
def test_an_index_that_is_off_stays_off_where_the_server_knows_schemas(version, held, tmp_path, run_module):
    with servers.running("1.5.9") as server:
        made = ChromaClient(Connection(server.url))
        made.create_collection("special", {"a": 1}, schema=SPECIAL)
        settings = {"space": "cosine", "ef_search": 37, "max_neighbors": 8}
        made.create_collection("usual", {"a": 1}, settings)
        wanted = made.require_collection("special").described["schema"]["keys"]["text"]
        export(ServerSource(made), open_store(str(tmp_path / "set")), Wanted())
    with servers.running(version) as server:
        client = ChromaClient(Connection(server.url))
        done = run_module("chroma_import", {"dataset": str(tmp_path / "set"), "url": server.url})
        seen = client.require_collection("special")
        assert ((seen.described.get("schema") or {}).get("keys", {}).get("text") == wanted) is held
        differs = {each["name"]: [one["what"] for one in each["differs"]] for each in done["collections"]}
        assert differs == {"special": [] if held else ["schema.text.string.string_inverted_index"], "usual": []}
        assert ("string_inverted_index" in json.dumps(done.get("warnings", []))) is not held
        usual = client.require_collection("usual").configuration
        assert {key: usual[key] for key in settings} == settings


def test_settings_come_across_beside_a_schema(client, tmp_path):
    usual = {"space": "cosine", "ef_search": 37, "max_neighbors": 8, "sync_threshold": 500}
    function = {"type": "known", "name": "openai", "config": {"model_name": "m"}}
    importing.write_dataset(
        tmp_path, {"special": 20}, space="cosine", configuration=usual, schema=_schema_of(client), embedding_function=function
    )
    [result] = import_dataset(open_store(str(tmp_path)), client, ImportRequest())["collections"]
    assert (result["verified"], result["differs"]) == (20, [])
    seen = client.require_collection("special")
    assert ({key: seen.configuration[key] for key in usual}, seen.embedding_function) == (usual, "openai")
    assert seen.described["schema"]["keys"]["text"] == SPECIAL["keys"]["text"]


def _schema_of(client):
    """Return a schema as a server of 1.5 describes it; the collection for it is removed again."""
    found = client.create_collection("for-its-schema", schema=SPECIAL).described["schema"]
    client.delete_collection("for-its-schema")
    return found


def test_an_existing_collection_keeps_its_metadata_and_the_result_says_so(dataset, client, run_module):
    client.create_collection("small", {"made": "by another", "more": 1}, {"ef_search": 11})
    done = run_module("chroma_import", arguments(dataset, client, collections=["small"]))
    [seen] = done["collections"]
    assert [(each["what"], each["dataset"], each["server"]) for each in seen["differs"]] == [
        ("metadata.made", "by a test", "by another"),
        ("metadata.more", None, 1),
    ]
    assert "metadata.made, metadata.more" in json.dumps(done["warnings"])


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


def write_vdf(where: Path, **described) -> np.ndarray:
    """Write what vector-io writes of an index in a foreign database; returns the vectors."""
    vectors = np.random.default_rng(3).standard_normal((30, 6))
    table = pa.table(
        {
            "id": list(range(30)),
            "vector": [list(each) for each in vectors],
            "title": [f"title {row}" if row % 2 else None for row in range(30)],
            "price": [float("nan") if row == 4 else row / 4 for row in range(30)],
            "when": pa.array([row * 86_400_000_000 for row in range(30)], pa.timestamp("us")),
            "tags": [["a"] if row % 3 else [] for row in range(30)],
            "nested": [{"a": row} for row in range(30)],
            "document": [f"text {row}" for row in range(30)],
        }
    )
    (where / "shop").mkdir(parents=True)
    pq.write_table(table.slice(0, 20), where / "shop" / "1.parquet")
    pq.write_table(table.slice(20), where / "shop" / "2.parquet")
    index = {"namespace": "eu", "index_name": "shop", "dimensions": -1, "vector_columns": ["vector"], "data_path": "shop", "metric": "Dot"}
    meta = {"version": "0.0.4", "author": "someone", "exported_from": "pinecone", "indexes": {"shop": [{**index, **described}]}}
    (where / "VDF_META.json").write_text(json.dumps(meta))
    return vectors.astype(np.float32)


def test_a_foreign_vdf(client, tmp_path):
    vectors = write_vdf(tmp_path)
    result = import_dataset(open_store(str(tmp_path)), client, ImportRequest())
    assert views(result) == {"shop_eu": (True, 30, 0, 30, 0)}
    collection = client.require_collection("shop_eu")
    assert (collection.space, collection.dimension) == ("ip", 6)
    seen = {row["id"]: row for row in client.get(collection)}
    assert np.array_equal(np.array([seen[str(row)]["embedding"] for row in range(30)], np.float32), vectors)
    assert (seen["4"]["document"], seen["4"]["metadata"]) == ("text 4", {"when": "1970-01-05T00:00:00", "tags": ["a"], "nested": '{"a":4}'})
    assert seen["3"]["metadata"] == {"title": "title 3", "price": 0.75, "when": "1970-01-04T00:00:00", "nested": '{"a":3}'}
    assert import_dataset(open_store(str(tmp_path)), client, ImportRequest())["changed"] is False


@pytest.mark.parametrize(
    ("described", "code"),
    [({"data_path": "../other"}, "invalid_vdf"), ({"data_path": "missing"}, "invalid_vdf"), ({"vector_columns": ["v"]}, "damaged_dataset"),
     ({"dimensions": 7}, "dimension_mismatch")],
)  # fmt: skip
def test_a_vdf_that_cannot_be_read_is_refused(client, tmp_path, described, code):
    write_vdf(tmp_path, **described)
    assert refused(tmp_path, client).code == code


def test_an_id_that_a_vdf_has_twice_is_named(client, tmp_path):
    write_vdf(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "shop" / "1.parquet").slice(3, 1), tmp_path / "shop" / "3.parquet")
    error = refused(tmp_path, client)
    assert (error.code, "'3' is there twice" in error.message) == ("invalid_record", True)


def test_the_data_playbook_hands_over_its_result(dataset, client, run_playbook, tmp_path):
    variables = {"chroma_dataset": str(dataset), "chroma_url": client.connection.url, "chroma_database": client.connection.database}
    variables |= {"chroma_collections": ["small"], "chroma_rename": {"small": "renamed"}}
    variables["ansible_python_interpreter"] = sys.executable  # the inventory names localhost, which undoes Ansible's default for it
    playbook = Path(__file__).resolve().parents[2] / "playbooks" / "data" / "import.yaml"
    done = run_playbook(str(playbook), "-e", json.dumps(variables), ANSIBLE_SHOW_CUSTOM_STATS="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"renamed"' in done.stdout
    assert importing.count(client, "renamed") == 10
