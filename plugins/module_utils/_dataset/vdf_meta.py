# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``VDF_META.json``, by which vector-io's readers take a dataset. FOR INTERNAL COLLECTION USE ONLY.

The fields are those of ``VDFMeta`` and ``NamespaceMeta`` in vector-io 0.1.247 (``vdf_io/meta_types.py``); metrics have the names of
``vdf_io.util.standardize_metric``.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection, Manifest

# The newest version of the format's library; a reader warns of a version above its own.
VERSION = "0.1.247"

_METRICS = {"l2": "Euclid", "cosine": "Cosine", "ip": "Dot"}
_NOT_PROVIDED = "NOT_PROVIDED"


def encode_vdf(manifest: Manifest) -> bytes:
    """Return the content of ``VDF_META.json``."""
    indexes: dict[str, list[dict[str, Any]]] = {}
    for each in manifest.collections:
        if each.parts:  # a reader stops at a folder that is not there
            indexes.setdefault(each.name, []).append(_namespace(each))
    content = {
        "version": VERSION,
        "file_structure": [part.path for each in manifest.collections for part in each.parts],
        "author": manifest.generator["name"],
        "exported_from": "chroma",
        "exported_at": manifest.created,
        "id_column": "id",
        "indexes": indexes,
    }
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def _namespace(collection: DatasetCollection) -> dict[str, Any]:
    usual = (collection.tenant, collection.database) == ("default_tenant", "default_database")
    model = str((collection.embedding_function or {}).get("name") or _NOT_PROVIDED)
    column = {"model_name": model, "text_column": "document", "dimensions": collection.dimension or -1, "vector_column": "vector"}
    return {
        # A reader makes <index>_<namespace> of the two.
        "namespace": "" if usual else f"{collection.tenant}.{collection.database}",
        "index_name": collection.name,
        "total_vector_count": collection.records,
        "exported_vector_count": collection.records,
        "dimensions": collection.dimension or -1,
        "model_name": model,
        "model_map": {"vector": column},
        "vector_columns": ["vector"],
        "data_path": f"collections/{collection.id}",
        "metric": _METRICS.get(collection.space, "Cosine"),
        "index_config": dict(collection.configuration or {}),
    }
