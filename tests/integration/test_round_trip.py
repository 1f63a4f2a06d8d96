# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Round trips, exact: directory → Parquet → server and server → Parquet → server, between releases.

What is compared is what the sources were filled with, record by record, against what the target's API returns.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, encode
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import DirectorySource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils._values import COSINE_TOLERANCE, same_metadata

TARGETS = ("0.6.3", "1.5.9")
WAYS = ("directory", "server")
# Enough to have an index on disk and newer vectors in the log, with the threshold below.
RECORDS, THRESHOLD, DIMENSION = 130, 50, 5

METADATA = (
    None,
    {"text": "", "int": 2**63 - 1, "float": 0.1, "bool": True},
    {"text": 'ünïcødé 𝄞 \u0000 \n"quoted"', "int": -(2**63), "float": -1.5e-20, "bool": False},
    {"mixed": "text", "ключ 🔑": "значение", "zero": 0},
    {"mixed": 7, "float": 1e16, "one": 1},
    {"mixed": 7.0, "float": 0.30000000000000004, "truth": True},
    {"mixed": True, "id": "a key of that name", "vector": 1, "document": 2.5, "uri": False, "_private": "x", "_m.str.x": 1},
    {"float": 5.0, "a": -0.5, "a.b": "nested?", "vector.list": 3, "text": "x" * 5000},
)
LISTS = (
    {"texts": ["a", "", "ж"], "ints": [2**63 - 1, -(2**63), 0], "floats": [0.1, 1.0], "bools": [True, False, True]},
    None,
    {"texts": ["one"], "ints": 5, "plain": "x"},
)
DOCUMENTS = (None, "", "plain", "ünïcødé 𝄞 日本語", 'line\nline\ttab "quote" \\', "long " * 2000)
URIS = (None, "", "file:///tmp/ä", "https://example.com/?q=1&r=2")


@dataclass(frozen=True)
class Filled:
    """A release's data: its directory, the datasets made of it by both ways, and what was put in: collection → rows."""

    version: str
    data: Path
    datasets: dict[str, Path]
    content: dict[str, Rows]


def ids(count: int) -> list[str]:
    """Return ids of all kinds, in no order that anything could sort them into."""
    kinds = ("plain-{}", "ünïcødé {}", "{} with spaces ", "日本/{}", "{}\n", "🔑{}", "0{}")
    return [kinds[number % len(kinds)].format(number * 7919 % 1000) + f".{number}" for number in range(count)]


def content(lists: bool) -> dict[str, Rows]:
    """Return what each source is filled with."""
    made = {}
    for seed, space in enumerate(("l2", "ip", "cosine")):
        vectors = np.random.default_rng(seed).standard_normal((RECORDS, DIMENSION)).astype(np.float32)
        vectors[3] = (-0.0, 1e-40, 1 / 3, 12345.678, -1e-7)
        vectors[100] = (1, 2**-126, 16777217, 0.1, -0.0)
        made[f"trip-{space}"] = rows(vectors, METADATA)
    if lists:
        made["trip-lists"] = rows(np.random.default_rng(9).standard_normal((7, 3)).astype(np.float32), LISTS)
    return made


def rows(vectors: Any, metadata: tuple[Any, ...]) -> Rows:
    """Return rows with every combination of the parts above in turn."""
    count = len(vectors)

    def turn(values: tuple[Any, ...]) -> list[Any]:
        return [values[number % len(values)] for number in range(count)]

    return Rows(ids(count), vectors, turn(DOCUMENTS), turn(metadata), turn(URIS))


def fill(client: ChromaClient, made: dict[str, Rows]) -> None:
    """Create the collections and write the rows, in two requests each."""
    for name, each in made.items():
        settings = {"space": name.removeprefix("trip-").replace("lists", "l2"), "sync_threshold": THRESHOLD, "ef_search": 37}
        metadata: dict[str, Any] = {"owner": "wir", "n": 2**53 + 1, "half": 0.5}
        if client.legacy:
            metadata["hnsw:batch_size"] = THRESHOLD  # may not exceed the threshold
        collection = client.create_collection(name, metadata, settings)
        half = len(each) * 2 // 3
        for part in (range(half), range(half, len(each))):
            client.write(collection, "upsert", encode(each.take(part), packed=not client.legacy))
    client.create_collection("trip-empty", {"flag": 1})


@pytest.fixture(scope="session", params=servers.VERSIONS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Fill a server of each release, export it by its API, stop it, and export its directory."""
    version = request.param
    scratch = tmp_path_factory.mktemp(f"trip-{version}")
    data, made = scratch / "data", content(lists=version == "1.5.9")
    datasets = {way: scratch / way for way in WAYS}
    with servers.running(version, data=data) as server:
        client = ChromaClient(Connection(server.url))
        fill(client, made)
        export(ServerSource(client), open_store(str(datasets["server"])), Wanted())
    with open_directory(str(data)) as directory:
        export(DirectorySource(directory), open_store(str(datasets["directory"])), Wanted())
    return Filled(version, data, datasets, made)


@pytest.fixture(scope="session")
def targets() -> Any:
    """Run both targets for all trips."""
    with contextlib.ExitStack() as stack:
        running = {version: stack.enter_context(servers.running(version)) for version in TARGETS}
        yield {version: ChromaClient(Connection(each.url, timeout=120)) for version, each in running.items()}


def assert_equal(client: ChromaClient, name: str, wanted: Rows, space: str) -> None:
    """Compare a collection's records with rows: every id, bit, document, metadata type and uri."""
    collection = client.require_collection(name)
    found = {row["id"]: row for row in client.get(collection)}
    assert sorted(found) == sorted(wanted.ids)
    assert client.count(collection) == len(wanted)
    for row, each in enumerate(wanted.ids):
        have = found[each]
        assert (have["document"], have["uri"]) == (wanted.documents[row], wanted.uris[row]), each
        assert same_metadata(have["metadata"] or {}, wanted.metadatas[row] or {}), (each, have["metadata"])
        vector = np.array(have["embedding"], np.float32)
        if space == "cosine":
            # Once on the way into the source, and once into the target.
            assert np.abs(vector - wanted.vectors[row]).max() <= 2 * COSINE_TOLERANCE * np.linalg.norm(wanted.vectors[row]), each
        else:
            assert vector.tobytes() == wanted.vectors[row].tobytes(), each


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_round_trip_is_exact(filled, targets, target, way):
    database = f"{way}-{filled.version}".replace(".", "-")
    client = targets[target].within(database=database)
    names = [each for each in [*filled.content, "trip-empty"] if each != "trip-lists" or target == "1.5.9"]
    request = ImportRequest(collections=names, create_database=True)
    store = open_store(str(filled.datasets[way]))
    result = import_dataset(store, client, request)
    assert [(each["name"], each["written"], each["verified"], each["others"]) for each in result["collections"]] == [
        (name, len(filled.content.get(name, "")), len(filled.content.get(name, "")), 0)
        for name in (each["name"] for each in result["collections"])
    ]
    assert [each["differs"] for each in result["collections"]] == [[]] * len(names)
    assert {each.name for each in client.list_collections()} == set(names)
    for name in names:
        seen = client.require_collection(name)
        if name == "trip-empty":
            assert (client.count(seen), seen.metadata["flag"]) == (0, 1)
            continue
        space = name.removeprefix("trip-").replace("lists", "l2")
        assert_equal(client, name, filled.content[name], space)
        assert (seen.space, seen.configuration["ef_search"], seen.configuration["sync_threshold"]) == (space, 37, THRESHOLD)
        plain = {key: value for key, value in seen.metadata.items() if not key.startswith("hnsw:")}
        assert same_metadata(plain, {"owner": "wir", "n": 2**53 + 1, "half": 0.5})
    again = import_dataset(store, client, request)
    assert (again["changed"], {each["written"] for each in again["collections"]}) == (False, {0})


@pytest.mark.parametrize("filled", ["1.5.9"], indirect=True)  # the only one that holds lists
def test_what_the_target_cannot_hold_is_refused_before_anything_is_written(filled, targets):
    client = targets["0.6.3"].within(database="refused")
    for way in WAYS:
        with pytest.raises(ChromaError, match=re.escape("holds lists, which this server does not take")) as failed:
            import_dataset(open_store(str(filled.datasets[way])), client, ImportRequest(create_database=True))
        assert failed.value.code == "unsupported"
        long = ImportRequest(collections=["trip-l2"], rename={"trip-l2": "n" * 64}, create_database=True)
        with pytest.raises(ChromaError, match="3 to 63 are allowed") as failed:
            import_dataset(open_store(str(filled.datasets[way])), client, long)
        assert failed.value.code == "invalid_name"
    assert not client.database_exists()
