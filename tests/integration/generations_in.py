# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections for the tests of PostgreSQL: servers, tables, made sources, and what a generation holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import exporting
import postgres
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import export as exports
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings, settings_from_environment

NEWEST = servers.VERSIONS[-1]


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, postgres.Cluster]]:
    """Run a server with pgvector and one without."""
    with postgres.running("16") as vector, postgres.running("15") as real:
        yield {"vector": vector, "real[]": real}


@pytest.fixture(params=["vector", "real[]"])
def target(request: pytest.FixtureRequest, clusters: dict[str, postgres.Cluster]) -> PostgresSettings:
    """Return a table of its own on either."""
    return of(clusters[request.param], request.node.name)


@pytest.fixture
def table(request: pytest.FixtureRequest, clusters: dict[str, postgres.Cluster]) -> PostgresSettings:
    """Return a table of its own, for what does not depend on the type of the vectors."""
    return of(clusters["vector"], request.node.name)


def of(cluster: postgres.Cluster, name: str) -> PostgresSettings:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return settings_from_environment(cluster.variables(BACKUP_TABLE=f'Daten "{digest}" %s; --'))


def rows(batches: Iterator[Any]) -> dict[str, dict[str, Any]]:
    """Return records by id; each id once, or the test fails."""
    found: dict[str, dict[str, Any]] = {}
    for batch in batches:
        for record in batch.to_pylist():
            assert record["id"] not in found
            found[record["id"]] = {**record, "vector": exporting.bits(record["vector"])}
            if record.get("_nulls"):  # keys, whose order means nothing
                found[record["id"]]["_nulls"] = sorted(record["_nulls"])
    return found


def in_directory(path: Path, name: str) -> dict[str, dict[str, Any]]:
    with open_directory(path) as directory:
        return rows(directory.batches(next(each for each in directory.collections() if each.name == name)))


class Made:
    """Records that a test makes, as an export reads them."""

    kind, version, consistent, path, lasts = "server", None, False, None, 0.0

    def __init__(self, name: str, pages: Sequence[dict[str, Any]], dimension: int | None = 2) -> None:
        types: dict[str, set[str]] = {}
        nulls = [page_types(page.get("metadatas") or [], types) for page in pages]
        self._schema = table_schema(plan_columns(types, any(nulls)), dimension, name, "l2")
        self._pages = pages
        count = sum(len(page["ids"]) for page in pages)
        self.collection = SourceCollection(f"id of {name}", name, "t", "d", dimension, "l2", {"x\0": 0.1}, {}, None, None, count, None)

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        return (self.collection,)

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        return ""

    def schema(self, collection: SourceCollection) -> Any:
        return self._schema

    def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
        return (page_batch(page, self._schema) for page in self._pages)

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        pass


def export_made(made: Made, where: PostgresSettings, wanted: Wanted | None = None) -> dict[str, Any]:
    return exports._export(made, where, wanted or Wanted(), False, exports.Done())


def plain(count: int) -> Made:
    """Return a collection of so many records."""
    pages = [{"ids": [f"id-{row}" for row in range(count)], "embeddings": [[float(row), 0.5] for row in range(count)]}] if count else []
    return Made("books", pages)


@contextmanager
def refused(code: str) -> Iterator[list[ChromaError]]:
    """Expect an error with a code; it is in the list afterwards."""
    seen: list[ChromaError] = []
    with pytest.raises(ChromaError) as error:
        yield seen
    assert (error.value.code, error.value.message) == (code, error.value.message)
    assert error.value.hint
    seen.append(error.value)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a stopped server with two collections; it is only read."""
    path = tmp_path_factory.mktemp("postgres") / "data"
    with servers.running(NEWEST, data=path) as server:
        client = exporting.connect(server.url)
        exporting.fill(client, "books", 600, lists=True)
        exporting.fill(client, "notes", 300)
    return path
