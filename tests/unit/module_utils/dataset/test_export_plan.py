# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an export does is decided from what there is: the plan, the collections that are chosen, their settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import state_key
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, plan_export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import GENERATOR, Manifest, Origin
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import choose, chosen, stored_function, stored_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.dataset.numbered import Numbers

DATASET = Manifest("2026-01-01T00:00:00+00:00", GENERATOR, Origin("directory", None, state_key("f")), True, ())


@pytest.mark.parametrize(
    ("existing", "kind", "fingerprint", "overwrite", "expected"),
    [
        (None, "directory", "f", False, "export"),
        (None, "server", "f", True, "export"),
        (DATASET, "directory", "f", False, "nothing"),
        (DATASET, "directory", "f", True, "nothing"),
        (DATASET, "directory", "g", False, "exists"),
        (DATASET, "directory", "g", True, "replace"),
        # Of a server nobody knows whether it is the same.
        (DATASET, "server", "f", False, "exists"),
        (DATASET, "server", "f", True, "replace"),
        (replace(DATASET, source=Origin("server", "1.0.0", state_key("f"))), "directory", "f", False, "exists"),
    ],
)
def test_the_plan(existing, kind, fingerprint, overwrite, expected):
    source = Numbers({}, fingerprint=fingerprint)
    source.kind = kind
    arguments = (source, existing, (), Wanted(overwrite=overwrite), "there")
    if expected == "exists":
        with pytest.raises(ChromaError) as caught:
            plan_export(*arguments)
        assert caught.value.code == "exists"
    else:
        plan = plan_export(*arguments)
        assert (plan.changed, plan.replaces) == {"export": (True, None), "nothing": (False, None), "replace": (True, existing)}[expected]


def stored(**fields):
    plain = {"id": "i", "name": "n", "tenant": "t", "database": "d", "dimension": 2, "metadata": {}, "configuration": None, "schema": None}
    return StoredCollection(**{**plain, "vector": None, "metadata_segment": None, **fields})


HNSW = {"ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "num_threads": 2, "sync_threshold": 1500, "resize_factor": 1.2}
FUNCTION = {"name": "default", "type": "known", "config": {}}
INDEX = {"space": "ip", "hnsw": HNSW, "embedding_function": FUNCTION}
SETTINGS = {"space": "ip", "ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "sync_threshold": 1500, "resize_factor": 1.2}


@pytest.mark.parametrize(
    ("collection", "settings", "function"),
    [
        (stored(schema={"keys": {"#embedding": {"float_list": {"vector_index": {"config": INDEX}}}}}), SETTINGS, FUNCTION),
        (
            stored(configuration={"vector_index": {"hnsw": {**HNSW, "space": "ip"}}, "embedding_function": FUNCTION}),
            SETTINGS,
            FUNCTION,
        ),
        (
            stored(metadata={"hnsw:space": "ip", "hnsw:sync_threshold": 1500}, index_metadata={"hnsw:space": "ip"}),
            {**SETTINGS, "ef_search": 10},
            None,
        ),
    ],
    ids=["1.5", "1.0", "0.4"],
)
def test_settings_have_one_set_of_names_whatever_the_release(collection, settings, function):
    assert stored_settings(collection) == settings
    assert stored_function(collection) == function


@pytest.mark.parametrize(
    ("names", "ids"),
    [(None, "123"), ([], ""), (["docs"], "12"), (["t/e/docs"], "2"), (["1"], "1"), (["3", "t/d/docs", "docs"], "123"), (["other"], "3")],
)
def test_a_collection_is_chosen_by_name_id_or_place(names, ids):
    found = [stored(id="1", name="docs"), stored(id="2", name="docs", database="e"), stored(id="3", name="other")]
    assert "".join(each.id for each in chosen(found, names, "here")) == ids


def test_a_place_that_is_not_there_is_named():
    with pytest.raises(ChromaError) as caught:
        chosen([stored(name="docs")], ["t/x/docs"], "here")
    assert (caught.value.code, caught.value.hint) == ("not_found", "Did you mean docs?")


def test_an_unknown_name_is_refused_with_what_is_like_it():
    assert choose(None, ["a", "a"], "here") == {"a"}
    for names, hint in ((["boks"], "Did you mean books?"), (["zzz"], "It has books, letters.")):
        with pytest.raises(ChromaError) as caught:
            choose(names, ["letters", "books", "books"], "here")
        assert (caught.value.code, caught.value.hint) == ("not_found", hint)
