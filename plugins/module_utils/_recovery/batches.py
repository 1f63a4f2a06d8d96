# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What recovery does with batches of records. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import hashes_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import vectors_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import JSON_COLUMN, Column, columns_of, plan_columns
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.interface import RecoverySource


def columns_for(sources: Sequence[RecoverySource]) -> tuple[Column, ...]:
    """Return metadata columns that hold what all of these sources have."""
    kinds: dict[str, set[str]] = {}
    nulls = False
    for each in (column for source in sources for column in columns_of(source.schema)):
        if each.type == "json":
            return (Column(JSON_COLUMN, "", "json"),)
        if each.type == "nulls":
            nulls = True
        else:
            kinds.setdefault(each.key, set()).add(each.type)
    return plan_columns({key: sorted(each) for key, each in kinds.items()}, nulls)


def with_vector(batch: Any) -> Any:
    """Return which records of a batch have a vector: ``(n,) bool``."""
    return batch.column("vector").is_valid().to_numpy(zero_copy_only=False)


def are_first(ids: Any) -> Any:
    """Return which ids are there for the first time: ``(n,) bool``; a damaged table may have one twice."""
    first = np.zeros(len(ids), np.bool_)
    first[np.unique(hashes_of(ids), return_index=True)[1]] = True
    return first


def masked(batch: Any, mask: Any) -> Any:
    """Return the records of a batch that a mask, ``(n,) bool``, chooses."""
    return batch if mask.all() else batch.filter(pa.array(mask))


def is_bare(batch: Any) -> Any:
    """Return which records have no document: ``(n,) bool``. Lists are in another table, which may be whole."""
    return batch.column("document").is_null().to_numpy(zero_copy_only=False)


def replaced(batch: Any, vectors: Any, missing: Any = None) -> Any:
    """Return a batch with other vectors, ``(n, dim) float32``; null where they are missing."""
    mask = pa.array(missing) if missing is not None and missing.any() else None
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1], mask=mask)
    place = batch.schema.get_field_index("vector")
    arrays = [column.cast(batch.schema.field(place).type) if at == place else each for at, each in enumerate(batch.columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def vector_hashes(batch: Any) -> Any:
    """Return a 64-bit hash of each vector's bytes."""
    vectors = np.ascontiguousarray(vectors_of(batch.column("vector")), "<f4")
    return np.fromiter((hash(each.tobytes()) for each in vectors), np.int64, len(vectors))
