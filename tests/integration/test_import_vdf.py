# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets that vector-io wrote of foreign databases."""

from __future__ import annotations

import json
from pathlib import Path

import importing
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import refused, views

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest

client = importing.client


def write_vdf(where: Path, **described) -> np.ndarray:
    """Write what vector-io writes of an index in a foreign database; returns the vectors."""
    vectors = np.random.default_rng(3).standard_normal((30, 6))
    table = pa.table(
        {
            "id": list(range(30)),
            "vector": [list(each) for each in vectors],
            "title": [f"title {row}" if row % 2 else None for row in range(30)],
            "price": [float("nan") if row == 4 else row / 4 for row in range(30)],
            "when": pa.array([row * 86_400_000_000 for row in range(30)], pa.timestamp("us")),
            "tags": [["a"] if row % 3 else [] for row in range(30)],
            "nested": [{"a": row} for row in range(30)],
            "document": [f"text {row}" for row in range(30)],
        }
    )
    (where / "shop").mkdir(parents=True)
    pq.write_table(table.slice(0, 20), where / "shop" / "1.parquet")
    pq.write_table(table.slice(20), where / "shop" / "2.parquet")
    index = {"namespace": "eu", "index_name": "shop", "dimensions": -1, "vector_columns": ["vector"], "data_path": "shop", "metric": "Dot"}
    meta = {"version": "0.0.4", "author": "someone", "exported_from": "pinecone", "indexes": {"shop": [{**index, **described}]}}
    (where / "VDF_META.json").write_text(json.dumps(meta))
    return vectors.astype(np.float32)


def test_a_foreign_vdf(client, tmp_path):
    vectors = write_vdf(tmp_path)
    result = import_dataset(open_store(str(tmp_path)), client, ImportRequest())
    assert views(result) == {"shop_eu": (True, 30, 0, 30, 0)}
    collection = client.require_collection("shop_eu")
    assert (collection.space, collection.dimension) == ("ip", 6)
    seen = {row["id"]: row for row in client.get(collection)}
    assert np.array_equal(np.array([seen[str(row)]["embedding"] for row in range(30)], np.float32), vectors)
    assert (seen["4"]["document"], seen["4"]["metadata"]) == ("text 4", {"when": "1970-01-05T00:00:00", "tags": ["a"], "nested": '{"a":4}'})
    assert seen["3"]["metadata"] == {"title": "title 3", "price": 0.75, "when": "1970-01-04T00:00:00", "nested": '{"a":3}'}
    assert import_dataset(open_store(str(tmp_path)), client, ImportRequest())["changed"] is False


@pytest.mark.parametrize(
    ("described", "code"),
    [({"data_path": "../other"}, "invalid_vdf"), ({"data_path": "missing"}, "invalid_vdf"), ({"vector_columns": ["v"]}, "damaged_dataset"),
     ({"dimensions": 7}, "dimension_mismatch")],
)  # fmt: skip
def test_a_vdf_that_cannot_be_read_is_refused(client, tmp_path, described, code):
    write_vdf(tmp_path, **described)
    assert refused(tmp_path, client).code == code


def test_an_id_that_a_vdf_has_twice_is_named(client, tmp_path):
    write_vdf(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "shop" / "1.parquet").slice(3, 1), tmp_path / "shop" / "3.parquet")
    error = refused(tmp_path, client)
    assert (error.code, "'3' is there twice" in error.message) == ("invalid_record", True)
