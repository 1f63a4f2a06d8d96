# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets to import, made without a server, imports of them, and modules as processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import (
    GENERATOR,
    DatasetCollection,
    Manifest,
    Origin,
    Part,
    encode_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
DIMENSION = 16
RECORDS = 2000  # of the large collection in fixture dataset


def write_dataset(where: Path, sizes: dict[str, int], *, space: str = "l2", parts: int = 2, lists: bool = False, **fields: Any) -> None:
    """Write a dataset of collections, name → number of records, each in some Parquet files.

    Args:
        lists: whether metadata holds lists.
        fields: of each collection in the manifest, instead of the usual.
    """
    collections = tuple(
        _collection(where, number, name, count, space, parts, lists, fields) for number, (name, count) in enumerate(sizes.items())
    )
    manifest = Manifest("2026-01-01T00:00:00Z", GENERATOR, Origin("directory"), True, collections)
    (where / "manifest.json").write_bytes(encode_manifest(manifest))
    (where / "VDF_META.json").write_text(json.dumps({"version": "0.1", "author": GENERATOR["name"], "indexes": {}}))


def _collection(
    where: Path, number: int, name: str, count: int, space: str, parts: int, lists: bool, fields: dict[str, Any]
) -> DatasetCollection:
    identifier = f"00000000-0000-4000-8000-{number:012}"
    types: dict[str, set[str]] = {"text": {"str"}, "number": {"int"}} | ({"tags": {"strs"}} if lists else {})
    columns = plan_columns(types)
    schema = table_schema(columns, DIMENSION, name, space)
    rng = np.random.default_rng(number)
    made = []
    for part, rows in enumerate(np.array_split(np.arange(count), parts)):
        path = f"collections/{identifier}/part-{part:05}.parquet"
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        vectors = rng.standard_normal((len(rows), DIMENSION)).astype(np.float32)
        values = {
            "id": [f"id-{row}" for row in rows],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION),
            "document": [f"document {row}" if row % 5 else None for row in rows],
            "uri": [None if row % 3 else f"file:///{row}" for row in rows],
            "text": [f"{name} {row}" for row in rows],
            "number": [int(row) if row % 2 else None for row in rows],
            "tags": [["a", str(row)] for row in rows],
        }
        arrays = [each if isinstance(each, pa.Array) else pa.array(each, field.type) for field in schema for each in (values[field.name],)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), where / path, compression="zstd")
        content = (where / path).read_bytes()
        made.append(Part(path, len(rows), len(content), hashlib.sha256(content).hexdigest()))
    usual: dict[str, Any] = {
        "tenant": "default_tenant",
        "database": "default_database",
        "dimension": DIMENSION,
        "metadata": {"made": "by a test"},
        "configuration": {"space": space},
        "schema": None,
    }
    return DatasetCollection(
        id=identifier, name=name, space=space, records=count, columns=columns, layout="columns", parts=tuple(made), **{**usual, **fields}
    )


def start(arguments: dict[str, Any], scratch: Path, module: str = "chroma_import") -> subprocess.Popen[str]:
    """Start a module as a process of its own."""
    file = scratch / f"arguments-{time.monotonic_ns()}.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    command = [sys.executable, "-m", f"ansible_collections.thinkube.chroma.plugins.modules.{module}", str(file)]
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str], timeout: float = 120) -> dict[str, Any]:
    """Wait for the module and return its JSON; a traceback fails the test."""
    output, errors = process.communicate(timeout=timeout)
    assert output.strip(), errors
    result: dict[str, Any] = json.loads(output)
    assert "exception" not in result, result
    return result


def count(client: ChromaClient, name: str) -> int:
    """Return how many records a collection has; 0 where there is none."""
    collection = client.get_collection(name)
    return client.count(collection) if collection else 0


def state(client: ChromaClient) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the collections of a database, each with its number of records and metadata."""
    return {each.name: (client.count(each), dict(each.metadata)) for each in client.list_collections()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of one large, one small and one empty collection."""
    where = tmp_path_factory.mktemp("dataset")
    write_dataset(where, {"large": RECORDS, "small": 10, "empty": 0})
    return where


@pytest.fixture
def client(newest: servers.Server) -> ChromaClient:
    """Return a client for a database of its own."""
    client = ChromaClient(Connection(newest.url, database=f"d-{uuid.uuid4().hex[:8]}"))
    client.create_database()
    return client


def arguments(where: Path | str, client: ChromaClient, **more: Any) -> dict[str, Any]:
    """Return the options of chroma_import."""
    return {"dataset": str(where), "url": client.connection.url, "database": client.connection.database, **more}


def refused(where: Path, client: ChromaClient, check: bool = False, **request: Any) -> ChromaError:
    """Return the error of an import that must change nothing."""
    before = state(client) if client.database_exists() else None
    with pytest.raises(ChromaError) as failed:
        import_dataset(open_store(str(where)), client, ImportRequest(**request), check)
    assert (state(client) if client.database_exists() else None) == before
    assert failed.value.hint
    return failed.value


def views(result: dict[str, Any]) -> dict[str, tuple[bool, int, int, int, int]]:
    """Return what became of each collection."""
    return {
        each["name"]: (each["created"], each["written"], each["skipped"], each["verified"], each["others"])
        for each in result["collections"]
    }
