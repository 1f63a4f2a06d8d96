# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collections of a dataset go, and as what."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.indexes import STANDARD, indexes_of, schema_for
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import (
    ImportRequest,
    check_existing,
    deviations,
    plan_targets,
    settings_of,
    share,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

MODERN = {"space": "cosine", "ef_construction": 150, "ef_search": 50, "max_neighbors": 16, "resize_factor": 1.2, "sync_threshold": 1000}
OPENAI = {"type": "known", "name": "openai", "config": {"model_name": "m"}}


def collection(name="books", **fields):
    usual = {
        "id": f"id-of-{name}",
        "tenant": "t",
        "database": "d",
        "dimension": 3,
        "space": "l2",
        "metadata": {},
        "configuration": None,
        "schema": None,
        "records": 10,
        "columns": (),
        "layout": "columns",
        "parts": (),
    }
    return DatasetCollection(name=name, **{**usual, **fields})


def source(name="books", **fields):
    return Source(collection(name, **fields), Columns())


def plan(*sources, version="1.0.0", **request):
    return plan_targets(sources, ImportRequest(**request), "tenant", "database", version)


def failure(*sources, version="1.0.0", **request):
    with pytest.raises(ChromaError) as failed:
        plan(*sources, version=version, **request)
    assert failed.value.hint
    return failed.value.code


def test_collections_go_to_the_connection_s_database_under_their_names():
    [target] = plan(source())
    assert (target.tenant, target.database, target.name, target.records) == ("tenant", "database", "books", 10)


def test_collections_go_back_where_they_came_from():
    [target] = plan(source(), keep_databases=True)
    assert (target.tenant, target.database) == ("t", "d")


def test_a_name_or_an_id_renames_and_the_id_comes_first():
    targets = plan(source("one"), source("two"), rename={"one": "uno", "id-of-two": "due", "two": "no"})
    assert [each.name for each in targets] == ["uno", "due"]


@pytest.mark.parametrize(
    ("sources", "request_", "version", "code"),
    [
        ([source()], {"rename": {"boks": "x"}}, "1.0.0", "not_found"),
        ([source("one"), source("two")], {"rename": {"one": "two"}}, "1.0.0", "conflict"),
        ([source(id="a"), source(id="b", database="e")], {}, "1.0.0", "conflict"),
        ([source()], {"rename": {"books": "a"}}, "1.0.0", "invalid_name"),
        ([source("n" * 64)], {}, "0.6.3", "invalid_name"),
        ([source(metadata={"a": [1]})], {}, "1.0.0", "invalid_metadata"),
        ([source()], {"part": 1}, "1.0.0", "invalid_value"),
        ([source()], {"part": -1, "parts": 2}, "1.0.0", "invalid_value"),
        ([source()], {"concurrency": 0}, "1.0.0", "invalid_value"),
        ([source()], {"batch_size": 0}, "1.0.0", "invalid_value"),
    ],
)
def test_what_cannot_be_is_refused(sources, request_, version, code):
    assert failure(*sources, version=version, **request_) == code


def test_a_conflict_is_found_by_every_part():
    sources = [source(id="a"), source(id="b", database="e")]
    assert {failure(*sources, part=part, parts=2) for part in range(2)} == {"conflict"}


def test_one_name_in_two_databases_is_no_conflict_where_they_are_kept():
    assert len(plan(source(id="a"), source(id="b", database="e"), keep_databases=True)) == 2


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 20])
def test_every_collection_is_in_just_one_part(parts):
    targets = plan(*(source(f"name-{number}", records=number * number) for number in range(13)))
    shares = [share(targets, part, parts) for part in range(parts)]
    assert sorted(each.name for mine in shares for each in mine) == sorted(each.name for each in targets)
    loads = [sum(each.records for each in mine) for mine in shares]
    # The bound of this way of scheduling (Graham, 1969).
    best = max(sum(loads) / parts, max(each.records for each in targets))
    assert max(loads) <= best * 4 / 3 + 1


def test_settings_are_said_to_1x_as_they_are():
    assert settings_of(collection(space="cosine", configuration=MODERN), "1.0.0") == MODERN


def test_settings_that_0x_has_anyway_add_no_keys_to_its_metadata():
    assert settings_of(collection(space="cosine", configuration=MODERN), "0.6.3") == {
        "space": "cosine",
        "ef_construction": 150,
        "ef_search": 50,
    }
    usual = {"space": "l2", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16, "resize_factor": 1.2, "sync_threshold": 1000}
    assert settings_of(collection(configuration=usual), "0.6.3") == {}
    assert settings_of(collection(configuration=usual), "0.5.23") == {"ef_search": 100}


def test_a_dataset_without_settings_still_has_its_space():
    assert settings_of(collection(space="ip"), "1.0.0") == {"space": "ip"}
    assert settings_of(collection(space="ip"), "0.6.3") == {"space": "ip"}


def test_the_embedding_function_goes_where_there_is_a_place_for_it():
    [modern] = plan(source(embedding_function=OPENAI))
    [legacy] = plan(source(embedding_function=OPENAI), version="0.6.3")
    [unknown] = plan(source(embedding_function={"type": "unknown"}))
    assert (modern.embedding_function, legacy.embedding_function, unknown.embedding_function) == (OPENAI, None, None)


def test_booleans_of_a_collection_are_integers_on_0_4():
    [target] = plan(source(metadata={"a": True, "b": None, "hnsw:space": "l2"}), version="0.4.24")
    assert target.metadata == {"a": 1, "hnsw:space": "l2"}
    assert not isinstance(target.metadata["a"], bool)


def test_an_existing_collection_has_to_fit():
    [target] = plan(source())
    existing = Collection("x", "books", {}, 3, {"space": "l2"}, "", "t", "d")
    check_existing(target, existing, 3)
    check_existing(target, existing, None)
    with pytest.raises(ChromaError) as failed:
        check_existing(target, existing, 4)
    assert failed.value.code == "dimension_mismatch"
    with pytest.raises(ChromaError) as failed:
        check_existing(target, Collection("x", "books", {}, 3, {"space": "ip"}, "", "t", "d"), 3)
    assert failed.value.code == "space_mismatch"


def schema(**keys):
    """Return a schema as 1.5.9 describes it, with entries for more keys."""
    made = {"defaults": {}, "keys": {}}
    for (key, kind, index), (enabled, config) in STANDARD.items():
        types = made["keys"].setdefault(key, {}) if key else made["defaults"]
        said = {"enabled": enabled, "config": dict(config)}
        if index == "vector_index":
            said["config"] |= {"space": "l2", "hnsw": {"ef_search": 100, "num_threads": 8}, "embedding_function": OPENAI}
        types.setdefault(kind, {})[index] = said
    made["keys"] |= {key: {"string": {"string_inverted_index": {"enabled": on, "config": {}}}} for key, on in keys.items()}
    return made


def test_a_schema_that_says_what_all_collections_have_is_not_special():
    assert indexes_of(schema()) == indexes_of(schema(title=True)) == indexes_of(None) == STANDARD
    [target] = plan(source(schema=schema(title=True)))
    assert target.schema is None


def test_an_index_that_is_off_is_special():
    [target] = plan(source(schema=schema(secret=False)))
    assert target.schema == schema(secret=False)


@pytest.mark.parametrize("broken", [[1], "text", {"defaults": 1, "keys": {"a": {"string": [1]}}}, {"keys": {"#embedding": None}}])
def test_a_schema_of_a_manifest_may_be_anything(broken):
    [target] = plan(source(schema=broken))
    if target.schema:
        schema_for(target.schema, {"space": "l2"}, None)


def test_the_schema_that_is_sent_holds_settings_and_function():
    sent = schema_for(schema(secret=False), {"space": "ip", "ef_search": 37}, None)
    for types in (sent["defaults"], sent["keys"]["#embedding"]):
        settings = types["float_list"]["vector_index"]["config"]
        assert (settings["space"], settings["hnsw"], settings.get("embedding_function")) == ("ip", {"ef_search": 37}, None)
    assert indexes_of(sent) == indexes_of(schema(secret=False))


def test_what_an_existing_collection_has_otherwise_is_said():
    usual = {"metadata": {"a": 1, "b": True, "hnsw:space": "l2"}, "configuration": {"space": "l2", "ef_search": 50}}
    [target] = plan(source(**usual, embedding_function=OPENAI, schema=schema(secret=False)))
    described = {"configuration_json": {"embedding_function": OPENAI}, "schema": schema(secret=False)}
    same = Collection("x", "books", {"a": 1, "b": True}, 3, {"space": "l2", "ef_search": 50}, "openai", "t", "d", described)
    assert deviations(target, same) == []
    other = Collection("x", "books", {"a": 1.0, "c": 2}, 3, {"space": "l2", "ef_search": 10}, "", "t", "d", {})
    assert deviations(target, other) == [
        {"what": "metadata.a", "dataset": 1, "server": 1.0},
        {"what": "metadata.b", "dataset": True, "server": None},
        {"what": "metadata.c", "dataset": None, "server": 2},
        {"what": "configuration.ef_search", "dataset": 50, "server": 10},
        {"what": "embedding_function", "dataset": {"name": "openai", "config": {"model_name": "m"}}, "server": None},
        {"what": "schema.secret.string.string_inverted_index", "dataset": {"enabled": False}, "server": {"enabled": True}},
    ]
