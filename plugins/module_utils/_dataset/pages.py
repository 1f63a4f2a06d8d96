# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of a server's answers as Arrow record batches. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column, arrow_type, columns_of, metadata_json, type_of

Metadata = Mapping[str, Any]


def page_types(metadatas: Sequence[Metadata | None], types: MutableMapping[str, set[str]]) -> bool:
    """Note the types of all metadata values.

    Args:
        metadatas: of a page's records.
        types: metadata key → types; extended.

    Returns:
        Whether a value is null.
    """
    nulls = False
    for metadata in metadatas:
        for key, value in (metadata or {}).items():
            seen = types.setdefault(key, set())
            if value is None:
                nulls = True
            else:
                seen.add(type_of(value))
    return nulls


def page_batch(page: Mapping[str, Any], schema: Any) -> Any:
    """Return a page as a record batch.

    Args:
        page: ``ids``, ``embeddings``, ``documents``, ``metadatas``, ``uris``; each but the first may be null.
        schema: from :func:`schema.table_schema`.

    Raises:
        ValueError, TypeError, OverflowError: a vector has another dimension, or a value a type that ``schema`` has no column for.
    """
    ids = page["ids"]
    absent = [None] * len(ids)
    metadatas: Sequence[Metadata] = [each or {} for each in page.get("metadatas") or absent]
    columns = columns_of(schema)
    _check_types(metadatas, columns)
    arrays = [
        pa.array(ids, pa.string()),
        _vectors(page.get("embeddings") or absent, schema.field("vector").type),
        pa.array(page.get("documents") or absent, pa.string()),
        pa.array(page.get("uris") or absent, pa.string()),
        *(_column(each, metadatas) for each in columns),
    ]
    return pa.record_batch(arrays, schema=schema)


def _vectors(embeddings: Sequence[Sequence[float] | None], kind: Any) -> Any:
    """Return float32 vectors; a server's JSON has a float32's digits, or a double's that is one: both become the same bits again."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(embeddings, kind)
    absent = [each is None for each in embeddings]
    filled = [[0.0] * kind.list_size if each is None else each for each in embeddings]
    values = np.array(filled, np.float32).reshape(len(filled), -1)
    if len(filled) and values.shape[1] != kind.list_size:
        raise ValueError(f"{values.shape[1]} dimensions instead of {kind.list_size}")
    if not np.isfinite(values).all():
        raise ValueError("a vector with NaN or infinity")
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), kind.list_size, mask=pa.array(absent) if any(absent) else None)


def _column(column: Column, metadatas: Sequence[Metadata]) -> Any:
    if column.type == "json":
        return pa.array([metadata_json(each) for each in metadatas], pa.string())
    if column.type == "nulls":
        named = [[key for key, value in each.items() if value is None] or None for each in metadatas]
        return pa.array(named, arrow_type("nulls"))
    values = (each.get(column.key) for each in metadatas)
    return pa.array([value if value is not None and type_of(value) == column.type else None for value in values], arrow_type(column.type))


def _check_types(metadatas: Sequence[Metadata], columns: Sequence[Column]) -> None:
    if any(each.type == "json" for each in columns):
        return
    known: dict[str, set[str]] = {}
    for each in columns:
        known.setdefault(each.key, set()).add(each.type)
    found: dict[str, set[str]] = {}
    if page_types(metadatas, found) and not any(each.type == "nulls" for each in columns):
        raise ValueError("metadata with a null")
    for key, types in found.items():
        if not types <= known.get(key, set()):
            raise ValueError(f"metadata {key!r} with a value of another type")
