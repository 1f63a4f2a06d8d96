# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes across beside the records: settings, schemas, metadata of collections."""

from __future__ import annotations

import json

import importing
import pytest
import servers
from importing import arguments

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

client, dataset = importing.client, importing.dataset


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
