# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which indexes a collection's schema, of Chroma 1.5 on, has beside the settings of HNSW. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

# Of the vector index's settings: what a collection's configuration says as well.
_SETTINGS = ("space", "hnsw", "spann", "embedding_function")
_VECTORS = "#embedding"

# (key, or nothing for those without an entry of their own; type; index) → whether it is on, and its settings.
Indexes = Mapping[tuple[str, str, str], tuple[bool, Mapping[str, Any]]]

# What 1.5.9 makes by itself (measured).
STANDARD: Indexes = {
    ("", "string", "fts_index"): (False, {}),
    ("", "string", "string_inverted_index"): (True, {}),
    ("", "float_list", "vector_index"): (False, {}),
    ("", "sparse_vector", "sparse_vector_index"): (False, {"embedding_function": {"type": "unknown"}, "bm25": False}),
    ("", "int", "int_inverted_index"): (True, {}),
    ("", "float", "float_inverted_index"): (True, {}),
    ("", "bool", "bool_inverted_index"): (True, {}),
    (_VECTORS, "float_list", "vector_index"): (True, {"source_key": "#document"}),
    ("#document", "string", "fts_index"): (True, {}),
    ("#document", "string", "string_inverted_index"): (False, {}),
}


def indexes_of(schema: Mapping[str, Any] | None) -> Indexes:
    """Return the indexes of a schema as 1.5 describes and stores it; the standard ones where there is none.

    An entry that says of a key what holds for every key anyway is left out.
    """
    if not schema or not _mapping(schema):
        return STANDARD
    found: dict[tuple[str, str, str], tuple[bool, Mapping[str, Any]]] = {}
    for key, types in (("", schema.get("defaults")), *_entries(schema.get("keys"))):
        for kind, named in _entries(types):
            for index, said in _entries(named):
                settings = dict(_entries(_mapping(said).get("config")))
                if index == "vector_index":
                    settings = {name: value for name, value in settings.items() if name not in _SETTINGS}
                found[key, kind, index] = (bool(_mapping(said).get("enabled")), settings)
    return {where: said for where, said in found.items() if not where[0] or found.get(("", where[1], where[2])) != said}


def schema_for(schema: Mapping[str, Any], settings: Mapping[str, Any], embedding_function: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a schema that makes a collection with the same indexes: 1.5 refuses a schema and a configuration at once.

    Args:
        schema: of the source.
        settings: of the vector index, by the names of ``_answers.HNSW_KEYS``; the number of threads is left to the server.
        embedding_function: what clients are told to use; None for none.
    """
    made: dict[str, Any] = copy.deepcopy(dict(schema))
    hnsw = {key: value for key, value in settings.items() if key != "space"}
    said = {"space": settings.get("space"), "hnsw": hnsw, "embedding_function": embedding_function}
    for types in (made.get("defaults"), _mapping(made.get("keys")).get(_VECTORS)):
        index = _mapping(_mapping(_mapping(types).get("float_list")).get("vector_index"))
        if index:
            kept = {name: value for name, value in _entries(index.get("config")) if name not in _SETTINGS}
            index["config"] = kept | {name: value for name, value in said.items() if value}
    return made


def _mapping(value: Any) -> Any:
    """Return a JSON object, or an empty one for anything else: a manifest may hold everything."""
    return value if isinstance(value, dict) else {}


def _entries(value: Any) -> Any:
    return _mapping(value).items()
