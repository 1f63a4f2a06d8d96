# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Chroma's HTTP API answers, read: collections and records, of each release alike. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Name of a setting in 1.x's configuration → the key in the metadata of a collection, which all releases read.
HNSW_KEYS = {
    "space": "hnsw:space",
    "ef_construction": "hnsw:construction_ef",
    "ef_search": "hnsw:search_ef",
    "max_neighbors": "hnsw:M",
    "resize_factor": "hnsw:resize_factor",
    "sync_threshold": "hnsw:sync_threshold",
}
DEFAULT_SPACE = "l2"
# In effect on 0.4, which describes no configuration (chromadb/segment/impl/vector/hnsw_params.py).
_DEFAULTS_0_4 = {"space": DEFAULT_SPACE, "ef_construction": 100, "ef_search": 10, "M": 16, "resize_factor": 1.2, "sync_threshold": 1000}
_FIELDS = {"embeddings": "embedding", "documents": "document", "metadatas": "metadata", "uris": "uri", "distances": "distance"}
_ALL = ("ids", *_FIELDS)


@dataclass(frozen=True)
class Collection:
    """A collection as the server describes it.

    Args:
        id: UUID; the data endpoints take it and not the name.
        metadata: as stored, including ``hnsw:*`` keys; empty where there is none.
        dimension: of the embeddings; None while it is empty, and on 0.4, which does not say.
        configuration: index settings in effect, by the names of 1.x (see :data:`HNSW_KEYS`); what the server does not say is absent.
        embedding_function: name of the function that clients are told to use; empty where it is null.
        described: the server's whole description, as it came.
    """

    id: str
    name: str
    metadata: Mapping[str, Any]
    dimension: int | None
    configuration: Mapping[str, Any]
    embedding_function: str
    tenant: str
    database: str
    described: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def space(self) -> str:
        """The distance function: ``l2``, ``cosine`` or ``ip``."""
        return str(self.configuration.get("space", DEFAULT_SPACE))


def collection_of(answer: Mapping[str, Any]) -> Collection:
    """Return a collection that a server describes."""
    metadata = answer.get("metadata") or {}
    return Collection(
        id=answer["id"],
        name=answer["name"],
        metadata=metadata,
        dimension=answer.get("dimension"),
        configuration=index_settings(answer.get("configuration_json") or {}, metadata),
        embedding_function=str(((answer.get("configuration_json") or {}).get("embedding_function") or {}).get("name") or ""),
        tenant=answer["tenant"],
        database=answer["database"],
        described=answer,
    )


def index_settings(stored: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the index settings in effect: 1.x says them; on 0.x the ``hnsw:`` keys of the metadata override its defaults."""
    if "hnsw" in stored:
        return {key: stored["hnsw"][key] for key in HNSW_KEYS if key in (stored["hnsw"] or {})}
    defaults = stored.get("hnsw_configuration") or _DEFAULTS_0_4
    settings = {key: defaults.get({"max_neighbors": "M"}.get(key, key)) for key in HNSW_KEYS}
    settings |= {key: metadata[name] for key, name in HNSW_KEYS.items() if name in metadata}
    return {key: value for key, value in settings.items() if value is not None}


def rows_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn Chroma's columns into rows; 0.4 to 1.x agree on them, and leave out by null what was not asked for."""
    columns = {field: answer[key] for key, field in _FIELDS.items() if isinstance(answer.get(key), list)}
    return [{"id": each, **{field: values[index] for field, values in columns.items()}} for index, each in enumerate(answer["ids"])]


def nearest_of(answer: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Turn the answer to a query into rows, for each of its embeddings."""
    return [
        rows_of({key: value[index] for key, value in answer.items() if isinstance(value, list) and key in _ALL})
        for index in range(len(answer["ids"]))
    ]
