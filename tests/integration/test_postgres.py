# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections through a real PostgreSQL and back: in every bit, and never a worse generation in the place of a good one."""

from __future__ import annotations

import math
from typing import Any

import exporting
import generations_in
import postgres
import pytest
import servers
from generations_in import Made, export_made, in_directory, of, plain, refused, rows
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import Chosen, import_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import current_generation, generation_batches

NEWEST = servers.VERSIONS[-1]
# Fixtures.
clusters, directory, table, target = generations_in.clusters, generations_in.directory, generations_in.table, generations_in.target
RELEASES = servers.VERSIONS[1:]
MANY = ("0.5.23", "1.0.20")


@pytest.mark.parametrize("version", [pytest.param(each, marks=pytest.mark.thorough if each in MANY else ()) for each in RELEASES])
def test_every_release_comes_back_in_every_bit(version, clusters, tmp_path):
    lists = version == NEWEST
    spaces = {"books": "l2", "inner": "ip", "angles": "cosine"}
    with servers.running(version, data=tmp_path / "data") as server:
        client = exporting.connect(server.url)
        for name, space in spaces.items():
            exporting.fill(client, name, 300, space=space, lists=lists)
        odd = {"document": "a\0b", "uri": "u\0", "metadata": {"k": "a\0b"}}
        exporting.upsert(client, client.require_collection("books"), [{"id": "o\0dd", "embedding": [0.5] * 8, **odd}])
        before = {name: exporting.served(client, name) for name in spaces}
        for kind, cluster in clusters.items():
            where = of(cluster, version)
            result = export_directory(str(tmp_path / "data"), where, Wanted(collections=list(spaces)))
            assert [each["status"] for each in result["collections"]] == ["exported"] * 3
            assert result["embedding_type"] == kind
            for name in spaces:
                assert rows(generation_batches(where, name)) == in_directory(tmp_path / "data", name)
            imported = import_generation(where, client, Chosen("books", name=f"again-{cluster.release}"))["collections"][0]
            assert (imported["written"], imported["verified"], imported["differs"]) == (len(before["books"]), len(before["books"]), [])
            assert exporting.served(client, f"again-{cluster.release}") == before["books"]
            again = import_generation(where, client, Chosen("books", name=f"again-{cluster.release}"))
            assert (again["changed"], again["collections"][0]["skipped"]) == (False, len(before["books"]))
        for name in ("inner", "angles"):  # what was read back was compared; the lengths of cosine's are multiplied by another float
            imported = import_generation(where, client, Chosen(name, name=f"{name}-again"))["collections"][0]
            assert (imported["verified"], imported["differs"]) == (len(before[name]), [])
        assert exporting.served(client, "inner-again") == before["inner"]
        assert {name: exporting.served(client, name) for name in spaces} == before


def test_by_api_it_is_the_same_as_from_the_directory(newest, target):
    client = exporting.connect(newest.url)
    name = f"by-api-{target.port}"
    exporting.fill(client, name, 300, lists=True)
    result = export_server(client, target, Wanted(collections=[name]))
    assert result["collections"][0]["status"] == "exported"
    assert rows(generation_batches(target, name)) == in_directory(newest.data, name)
    # Of a server nothing can be called the same.
    assert export_server(client, target, Wanted(collections=[name]))["collections"][0]["generation"] == 2


def test_the_same_state_of_a_directory_is_exported_once_unless_the_copy_is_damaged(clusters, table, directory):
    first = export_directory(str(directory), table, Wanted())
    assert [(each["status"], each["generation"]) for each in first["collections"]] == [("exported", 1), ("exported", 2)]
    assert not export_directory(str(directory), table, Wanted())["changed"]
    clusters["vector"].query(f"""UPDATE "{table.table.replace('"', '""')}_g1" SET document = 'other' WHERE id = 'id-9'""".replace("%", "%"))
    with refused("damaged_generation"):
        rows(generation_batches(table, "books"))
    assert current_generation(table, "books") is None
    mended = export_directory(str(directory), table, Wanted())
    assert [(each["status"], each["generation"]) for each in mended["collections"]] == [("exported", 3), ("unchanged", 2)]
    assert rows(generation_batches(table, "books")) == in_directory(directory, "books")


def test_whoever_recovers_gets_the_newest_generation_that_is_whole(clusters, table):
    for records in (4, 5, 6):
        export_made(plain(records), table)
    clusters["vector"].query(f"""UPDATE "{table.table.replace('"', '""')}_g3" SET document = 'other'""")
    assert current_generation(table, "books").number == 2  # type: ignore[union-attr]
    assert len(rows(generation_batches(table, "books"))) == 5


def test_release_14_without_pgvector_holds_the_same(directory):
    try:
        home = postgres.installed("14")
    except RuntimeError as error:
        pytest.skip(str(error))
    assert home.is_dir()
    with postgres.running("14") as cluster:
        where = of(cluster, "fourteen")
        assert export_directory(str(directory), where, Wanted())["embedding_type"] == "real[]"
        assert rows(generation_batches(where, "books")) == in_directory(directory, "books")


def test_real_lists_can_be_asked_for_where_pgvector_is(clusters, table, directory):
    result = export_directory(str(directory), table, Wanted(["notes"], embedding_type="real[]"))
    assert result["embedding_type"] == "real[]"
    assert rows(generation_batches(table, "notes")) == in_directory(directory, "notes")
    with refused("conflict"):
        export_directory(str(directory), table, Wanted(embedding_type="vector"))
    with refused("unsupported"):
        export_directory(str(directory), of(clusters["real[]"], "none"), Wanted(embedding_type="vector"))


SCALARS = {
    "str": st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=64),
    "bool": st.booleans(),
}
VALUES = st.one_of(*SCALARS.values(), *(st.lists(each, min_size=1, max_size=3) for each in SCALARS.values()), st.none())
RECORDS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8),
        st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        st.one_of(st.none(), SCALARS["str"]),
        st.one_of(st.none(), st.dictionaries(SCALARS["str"].filter(bool), VALUES, max_size=5)),
        st.one_of(st.none(), SCALARS["str"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each[0],
)


# Each example is a whole export: a failing one is not made smaller.
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=RECORDS)
def test_whatever_a_record_holds_comes_back(records, target):
    names = ("ids", "embeddings", "documents", "metadatas", "uris")
    made = Made("made", [dict(zip(names, map(list, zip(*records, strict=True)), strict=True))])
    export_made(made, target, Wanted(keep_generations=0, allow_shrink=True))
    assert same(rows(generation_batches(target, "made")), rows(made.batches(made.collection, 0)))
    found = current_generation(target, "made")
    assert found is not None
    assert found.metadata == {"x\0": 0.1}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, of the same types; NaN is NaN, and zero has no sign (PostgreSQL's numeric has none)."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other)))


def test_hundreds_of_metadata_keys_come_back(table):
    metadatas = [{f"key-{row}-{number}": float(number) for number in range(100)} for row in range(4)] + [None, {"x": [1e300, math.inf]}]
    made = Made("wide", [{"ids": list("abcdef"), "embeddings": [[1.0, 2.0]] * 6, "metadatas": metadatas}])
    assert made.schema(made.collection).names[-1] == "_metadata"
    export_made(made, table)
    assert rows(generation_batches(table, "wide")) == rows(made.batches(made.collection, 0))
