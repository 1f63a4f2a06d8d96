# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table form of a collection: its Arrow schema and the names of its columns. FOR INTERNAL COLLECTION USE ONLY.

``id``, ``vector``, ``document``, ``uri``, then one column for each metadata key, sorted by column name. An absent key is a null
cell; where Chroma keeps a null under a key, the record names that key in the column ``_nulls``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa

FIXED = ("id", "vector", "document", "uri")
JSON_COLUMN = "_metadata"
NULLS_COLUMN = "_nulls"
# Beyond it a table has one JSON column: each Parquet column costs memory in every writer and reader.
MOST_COLUMNS = 256

SCALARS = ("str", "int", "float", "bool")
TYPES = (*SCALARS, "strs", "ints", "floats", "bools")


@dataclass(frozen=True)
class Column:
    """A column that holds metadata.

    Args:
        name: of the column.
        key: of the metadata; empty for the columns ``_metadata`` and ``_nulls``.
        type: one of :data:`TYPES`, ``json`` or ``nulls``.
    """

    name: str
    key: str
    type: str


def type_of(value: Any) -> str:
    """Return the type, one of :data:`TYPES`, of a metadata value that is not null.

    Raises:
        TypeError: the value is none that Chroma keeps.
    """
    if isinstance(value, list) and value:
        return f"{type_of(value[0])}s"
    # A boolean is an int to Python.
    for kind, name in ((str, "str"), (bool, "bool"), (int, "int"), (float, "float")):
        if isinstance(value, kind):
            return name
    raise TypeError(f"{type(value).__name__} is no metadata value")


def plan_columns(types: Mapping[str, Collection[str]], nulls: bool = False) -> tuple[Column, ...]:
    """Return the metadata columns of a table, sorted by name.

    Args:
        types: metadata key → the types that its values have, of :data:`TYPES`; none for a key that is only ever null.
        nulls: whether a record has a key whose value is null.
    """
    columns = []
    for key, seen in types.items():
        plain = len(seen) == 1 and key not in FIXED and not key.startswith("_")
        columns += [Column(key if plain else f"_m.{each}.{key}", key, each) for each in seen]
    if nulls:
        columns.append(Column(NULLS_COLUMN, "", "nulls"))
    if len(columns) > MOST_COLUMNS:
        return (Column(JSON_COLUMN, "", "json"),)
    return tuple(sorted(columns, key=lambda each: each.name))


def table_schema(columns: Iterable[Column], dimension: int | None, name: str, space: str) -> Any:
    """Return the Arrow schema of a collection.

    Args:
        columns: of the metadata, from :func:`plan_columns`.
        dimension: of the vectors; None for a collection that has none yet.
        name, space: of the collection; kept in the schema's metadata.
    """
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()) if dimension is None else pa.list_(pa.float32(), dimension)),
        pa.field("document", pa.string()),
        pa.field("uri", pa.string()),
    ]
    for each in columns:
        notes = {"chroma:type": each.type} | ({} if each.type in ("json", "nulls") else {"chroma:key": each.key})
        fields.append(pa.field(each.name, arrow_type(each.type), metadata=notes))
    return pa.schema(fields, metadata={"chroma:collection": name, "chroma:space": space})


def columns_of(schema: Any) -> tuple[Column, ...]:
    """Return the metadata columns of an Arrow schema that :func:`table_schema` made, also after it went through Parquet."""
    found = []
    for field in schema:
        notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        if "chroma:type" in notes:
            found.append(Column(field.name, notes.get("chroma:key", ""), notes["chroma:type"]))
    return tuple(found)


def arrow_type(kind: str) -> Any:
    """Return the Arrow type of a column's type."""
    scalars = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    if kind in scalars:
        return scalars[kind]
    return {"json": pa.string(), "nulls": pa.list_(pa.string())}.get(kind) or pa.list_(scalars[kind.removesuffix("s")])


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as the column ``_metadata`` holds it: keys sorted, integers as integers, floats with a dot or an exponent."""
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
