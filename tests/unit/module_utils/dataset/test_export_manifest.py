# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: written, read again, refused where it can't be right; and what vector-io reads beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import (
    GENERATOR,
    DatasetCollection,
    Manifest,
    Origin,
    Part,
    encode_manifest,
    parse_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf_meta import encode_vdf
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

PART = Part("collections/c/part-00000.parquet", 3, 100, "a" * 64)
COLLECTION = DatasetCollection(
    id="c",
    name="bücher",
    tenant="default_tenant",
    database="default_database",
    dimension=2,
    space="ip",
    metadata={"a": 1, "f": 1.0},
    configuration={"space": "ip"},
    schema=None,
    records=3,
    columns=(Column("k", "k", "int"),),
    layout="columns",
    parts=(PART,),
    embedding_function={"name": "default", "type": "known", "config": {}},
)
MANIFEST = Manifest("2026-01-01T00:00:00+00:00", GENERATOR, Origin("server", "0.6.3", "f"), False, (COLLECTION,))


def test_it_comes_back_as_it_was():
    assert parse_manifest(encode_manifest(MANIFEST), "here") == MANIFEST


def changed(**fields):
    return {**json.loads(encode_manifest(MANIFEST)), **fields}


def with_part(**fields):
    content = json.loads(encode_manifest(MANIFEST))
    content["collections"][0]["parts"][0] |= fields
    return content


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (changed(version=2), "newer_dataset"),
        (changed(format="another"), "invalid_manifest"),
        (changed(collections=[{}]), "invalid_manifest"),
        (changed(collections=None), "invalid_manifest"),
        ([], "invalid_manifest"),
        (with_part(path="../../etc/passwd"), "invalid_manifest"),
        (with_part(path="/etc/passwd"), "invalid_manifest"),
        (with_part(path="collections//x"), "invalid_manifest"),
        (with_part(records=4), "invalid_manifest"),
        (with_part(sha256="short"), "invalid_manifest"),
        (with_part(bytes=-1), "invalid_manifest"),
    ],
)
def test_what_cannot_be_right_is_refused(content, code):
    with pytest.raises(ChromaError) as caught:
        parse_manifest(json.dumps(content).encode(), "here")
    assert caught.value.code == code
    assert "here" in caught.value.message
    assert caught.value.hint


def test_no_json_is_refused():
    with pytest.raises(ChromaError) as caught:
        parse_manifest(b"\x00{", "here")
    assert caught.value.code == "invalid_manifest"


def test_what_a_later_release_adds_is_passed_over():
    content = with_part(added=1) | {"added": {}}
    content["collections"][0]["added"] = []
    assert parse_manifest(json.dumps(content).encode(), "here") == MANIFEST


def test_it_names_the_version_of_the_collection(request):
    galaxy = yaml.safe_load((request.config.rootpath / "galaxy.yml").read_text())
    assert f"{galaxy['namespace']}.{galaxy['name']}" == GENERATOR["name"]
    assert galaxy["version"] == GENERATOR["version"]


def test_vector_io_finds_files_columns_and_metric():
    other = replace(COLLECTION, id="d", tenant="t", database="b", space="l2", parts=(replace(PART, path="collections/d/p.parquet"),))
    empty = replace(COLLECTION, id="e", name="empty", records=0, parts=())
    content = json.loads(encode_vdf(replace(MANIFEST, collections=(COLLECTION, other, empty))))
    # The fields that vector-io's VDFMeta and NamespaceMeta demand.
    assert {"version", "file_structure", "author", "exported_from", "indexes", "exported_at", "id_column"} <= content.keys()
    first, second = content["indexes"]["bücher"]
    assert list(content["indexes"]) == ["bücher"]
    demanded = {
        "namespace",
        "index_name",
        "total_vector_count",
        "exported_vector_count",
        "dimensions",
        "vector_columns",
        "data_path",
        "metric",
    }
    assert demanded <= first.keys()
    assert (first["namespace"], second["namespace"]) == ("", "t.b")
    assert (first["metric"], second["metric"]) == ("Dot", "Euclid")
    assert (first["data_path"], first["vector_columns"], content["id_column"]) == ("collections/c", ["vector"], "id")
