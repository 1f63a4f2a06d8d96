# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports that are planned, repeated, divided, or go into what is there."""

from __future__ import annotations

import json
import random
import sys
import uuid
from pathlib import Path

import importing
import numpy as np
import object_store
import pytest
import servers
from importing import RECORDS, arguments, refused, views

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import held
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, encode
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

client, dataset = importing.client, importing.dataset


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


def test_the_data_playbook_hands_over_its_result(dataset, client, run_playbook, tmp_path):
    variables = {"chroma_dataset": str(dataset), "chroma_url": client.connection.url, "chroma_database": client.connection.database}
    variables |= {"chroma_collections": ["small"], "chroma_rename": {"small": "renamed"}}
    variables["ansible_python_interpreter"] = sys.executable  # the inventory names localhost, which undoes Ansible's default for it
    playbook = Path(__file__).resolve().parents[2] / "playbooks" / "data" / "import.yaml"
    done = run_playbook(str(playbook), "-e", json.dumps(variables), ANSIBLE_SHOW_CUSTOM_STATS="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"renamed"' in done.stdout
    assert importing.count(client, "renamed") == 10
