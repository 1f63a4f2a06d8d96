# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports that are impossible: refused before anything is changed."""

from __future__ import annotations

import json

import importing
import numpy as np
import pytest
import servers
from importing import refused, views

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset, takes_lists
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, encode
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

client, dataset = importing.client, importing.dataset


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
