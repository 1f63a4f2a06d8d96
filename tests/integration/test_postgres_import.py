# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From PostgreSQL into a collection: nothing that others wrote is overwritten, and a damaged generation is passed over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import exporting
import postgres
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import bringing
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import Chosen, import_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings, settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import MARK

# What is left of those that are filled in.
RECORDS = 282


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    """Run a server that a test starts again."""
    with postgres.running("16") as running:
        yield running


@pytest.fixture(scope="module", params=[servers.VERSIONS[-1], pytest.param(servers.VERSIONS[1], marks=pytest.mark.thorough)])
def client(request: pytest.FixtureRequest) -> Iterator[ChromaClient]:
    """Run a server with a collection."""
    with servers.running(request.param) as server:
        connected = exporting.connect(server.url)
        exporting.fill(connected, "books", 300)
        yield connected


@pytest.fixture(scope="module")
def table(client: ChromaClient, cluster: postgres.Cluster) -> PostgresSettings:
    """Return a table with three generations of that collection."""
    settings = settings_from_environment(cluster.variables(BACKUP_TABLE=f"of_{client.version.replace('.', '_')}"))
    for _time in range(3):
        export_server(client, settings, Wanted(["books"]))
    return settings


def code(settings: PostgresSettings, client: ChromaClient, chosen: Chosen, check: bool = False) -> ChromaError:
    with pytest.raises(ChromaError) as error:
        import_generation(settings, client, chosen, check)
    return error.value


@pytest.mark.parametrize("name", ["switched", "books"])
def test_what_was_written_since_is_not_overwritten_unless_that_is_wanted(name, client, table):
    chosen = Chosen("books", name=name)
    assert import_generation(table, client, chosen)["collections"][0]["verified"] == RECORDS
    assert MARK not in client.require_collection(name).metadata
    again = import_generation(table, client, chosen)
    assert (again["changed"], again["collections"][0]["verified"]) == (False, RECORDS)
    newer = {"embedding": [0.25] * 8, "document": "newer", "uri": None, "metadata": {"n": 1}}
    exporting.upsert(client, client.require_collection(name), [{"id": min(exporting.served(client, name)), **newer}])
    before = exporting.served(client, name)
    for check in (True, False):
        assert code(table, client, chosen, check).code == "exists"
    assert exporting.served(client, name) == before
    done = import_generation(table, client, Chosen("books", name=name, overwrite=True))["collections"][0]
    assert (done["written"], done["verified"]) == (1, RECORDS)


def test_an_import_that_was_interrupted_goes_on_with_its_own_half_only(client, table, monkeypatch):
    class Ending(bringing.GenerationDataset):
        def pages(self, source: Any, rows: int) -> Iterator[Any]:
            yield from itertools.islice(super().pages(source, 100), 1)
            raise ChromaError("interrupted", "", "")

    with monkeypatch.context() as patched:
        patched.setattr(bringing, "GenerationDataset", Ending)
        assert code(table, client, Chosen("books", name="half")).code == "interrupted"
    half = client.require_collection("half")
    assert (client.count(half), MARK in half.metadata) == (100, True)
    other = code(table, client, Chosen("books", generation=1, name="half"))
    assert (other.code, half.metadata[MARK] in other.hint) == ("exists", True)
    assert import_generation(table, client, Chosen("books", name="half"))["collections"][0]["verified"] == RECORDS
    assert client.require_collection("half").metadata == client.require_collection("books").metadata


def test_an_empty_collection_is_filled(client, table):
    client.create_collection("empty", {"of": "somebody"})
    chosen = Chosen("books", name="empty")
    assert import_generation(table, client, chosen, check=True)["changed"]
    assert import_generation(table, client, chosen)["collections"][0]["verified"] == RECORDS
    found = client.require_collection("empty").metadata
    assert (found["of"], MARK in found) == ("somebody", False)


def test_a_damaged_generation_is_passed_over_and_named(client, table, cluster, run_module):
    cluster.query(f"UPDATE {table.table}_g3 SET document = 'other' WHERE id = 'id-9'")
    path = cluster.data / cluster.query("SELECT pg_relation_filepath(%s)", f"{table.table}_g2")[0][0]
    cluster.end()
    with path.open("r+b") as file:
        file.write(b"\xaa" * 8192)
    cluster.start()
    options = cluster.options(backup_table=table.table, url=client.connection.url, collection="books", name="older")
    result = run_module("chroma_import_postgres", options)
    assert (result["generation"], result["damaged"]) == (1, [3, 2])
    assert "generation 3, 2." in str(result["warnings"][0])
    assert result["collections"][0]["verified"] == RECORDS
    assert code(table, client, Chosen("books", generation=3, name="named")).code == "damaged_generation"
    cluster.query(f"DELETE FROM {table.table}_g1 WHERE id = 'id-9'")
    assert code(table, client, Chosen("books", name="none")).code == "damaged_generation"
    assert client.get_collection("none") is None
