# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory consists of, as plain data. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

DATABASE = "chroma.sqlite3"
DATA_FILE = "data_level0.bin"
HEADER_FILE = "header.bin"
LENGTH_FILE = "length.bin"
LINKS_FILE = "link_lists.bin"
LABELS_FILE = "index_metadata.pickle"
# Our own folder on a data volume: backups, restores and the journal keep there what must be on the same file system.
PRIVATE = ".thinkube-chroma"

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

# What metadata can hold; the plural ones are lists, which 1.5 stores in a table of their own.
SCALARS = ("str", "int", "float", "bool")
LISTS = ("strs", "ints", "floats", "bools")

DOCUMENT_KEY = "chroma:document"
URI_KEY = "chroma:uri"

DEFAULT_SPACE = "l2"
SPACES = ("l2", "cosine", "ip")

# All migrations up to 1.5.9 by directory and version, and the release among those tested that brought each.
MIGRATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "sysdb": (
        ("00001-collections.sqlite.sql", "0.4.24"),
        ("00002-segments.sqlite.sql", "0.4.24"),
        ("00003-collection-dimension.sqlite.sql", "0.4.24"),
        ("00004-tenants-databases.sqlite.sql", "0.4.24"),
        ("00005-remove-topic.sqlite.sql", "0.5.23"),
        ("00006-collection-segment-metadata.sqlite.sql", "0.5.23"),
        ("00007-collection-config.sqlite.sql", "0.5.23"),
        ("00008-maintenance-log.sqlite.sql", "0.5.23"),
        ("00009-segment-collection-not-null.sqlite.sql", "0.5.23"),
        ("00010-collection-schema.sqlite.sql", "1.5.9"),
    ),
    "metadb": (
        ("00001-embedding-metadata.sqlite.sql", "0.4.24"),
        ("00002-embedding-metadata.sqlite.sql", "0.4.24"),
        ("00003-full-text-tokenize.sqlite.sql", "0.4.24"),
        ("00004-metadata-indices.sqlite.sql", "0.5.23"),
        ("00005-max-seq-id-int.sqlite.sql", "1.0.20"),
        ("00006-metadata-array-support.sqlite.sql", "1.5.9"),
    ),
    "embeddings_queue": (
        ("00001-embeddings.sqlite.sql", "0.4.24"),
        ("00002-embeddings-queue-config.sqlite.sql", "0.5.23"),
    ),
}


def is_uuid(text: str) -> bool:
    """Return whether a text is the id of a collection or segment as every release of Chroma makes it; it becomes the name of a folder."""
    return _UUID.fullmatch(text) is not None


class Damaged(ChromaError):
    """Something in a data directory is not as Chroma writes it.

    Args:
        what: the kind of damage, for programs: ``sqlite``, ``schema``, ``header``, ``vectors``, ``links``, ``labels``, ``log`` or
            ``records``.
        path: the file.
        detail: what was expected and what is there.
    """

    def __init__(self, what: str, path: Path | str, detail: str) -> None:
        hint = "Run data.validate on the directory; it says what is lost and what to do."
        super().__init__("damaged", f"{path} is damaged: {detail}", hint, {"damaged": what, "path": str(path), "detail": detail})
        self.what = what
        self.path = Path(path)
        self.detail = detail


@dataclass(frozen=True)
class Segment:
    """One part of a collection: its vectors (scope ``VECTOR``, with a folder named by ``id``) or its records (``METADATA``)."""

    id: str
    type: str
    scope: str
    collection: str


@dataclass(frozen=True)
class StoredCollection:
    """A collection as it is stored.

    Args:
        dimension: of its vectors; None until the first record came.
        metadata: of the collection, with its types; 0.4.24 stores booleans as integers.
        configuration: ``collections.config_json_str``; None before 0.5 and where it is empty.
        schema: ``collections.schema_str``; None before 1.5.
        vector, metadata_segment: None where the row is missing.
        index_metadata: ``hnsw:*`` settings that 0.x built the index with.
        topic: of its entries in the write-ahead log.
    """

    id: str
    name: str
    tenant: str
    database: str
    dimension: int | None
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None
    vector: Segment | None
    metadata_segment: Segment | None
    index_metadata: Mapping[str, Any] = field(default_factory=dict)
    topic: str = ""

    @property
    def space(self) -> str:
        """The distance function that the index was built with: ``l2``, ``cosine`` or ``ip``.

        1.5 keeps it in the schema, 1.0 in the configuration, 0.x in ``hnsw:space``: 0.5 and 0.6 store a configuration
        too, which says l2 whatever is used. 1.x falls back to ``hnsw:space`` where its configuration is the default.
        """
        modern = _at(self.schema, "keys", "#embedding", "float_list", "vector_index", "config", "space") or _at(
            self.configuration, "vector_index", "hnsw", "space"
        )
        legacy = self.index_metadata.get("hnsw:space") or self.metadata.get("hnsw:space")
        spann = _at(self.configuration, "vector_index", "spann", "space")
        wanted = (modern, legacy) if modern and modern != DEFAULT_SPACE else (legacy, modern, spann)
        return next((str(each) for each in wanted if each in SPACES), DEFAULT_SPACE)


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
