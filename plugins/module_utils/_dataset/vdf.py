# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDF, the interchange form of vector-io: what its meta file says of the Parquet files beside it. FOR INTERNAL COLLECTION USE ONLY.

Source: AI-Northstar-Tech/vector-io, ``src/vdf_io/meta_types.py`` and ``import_vdf/vdf_import_cls.py``.
"""

from __future__ import annotations

import json
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import DEFAULT_SPACE
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pq
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection, Part
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

VDF_META = "VDF_META.json"

# How vector-io and the databases that it reads spell the metrics.
_SPACES = {
    "cosine": "cosine",
    "euclid": "l2",
    "euclidean": "l2",
    "l2": "l2",
    "dot": "ip",
    "dotproduct": "ip",
    "dot_product": "ip",
    "ip": "ip",
}


def read_vdf(content: bytes, store: Store) -> Iterator[tuple[DatasetCollection, Columns]]:
    """Yield the collections of a VDF, one for each index and namespace, and where the parts of their records are.

    Args:
        content: of ``VDF_META.json``.
        store: where the Parquet files are; those below an index's ``data_path`` belong to it.

    Raises:
        ChromaError: ``invalid_vdf``, or ``damaged_dataset`` where a file is no Parquet.
    """
    where = store.location
    try:
        loaded = json.loads(content)
        id_column = str(loaded.get("id_column") or "id")
        found = [
            (_name(index, each), each, _data_path(each["data_path"])) for index, spaces in loaded["indexes"].items() for each in spaces
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{VDF_META} of {where} can't be used: {type(error).__name__}: {error}."
        raise ChromaError("invalid_vdf", message, "Export it again with the tool that made it.") from error
    for name, described, path in found:
        files = {each: size for each, size in sorted(store.files(path).items()) if each.endswith(".parquet")}
        if not files and path.endswith(".parquet"):
            files = {each: size for each, size in store.files().items() if each == path}
        yield _collection(name, described, id_column, files, store)


def _collection(
    name: str, described: Mapping[str, Any], id_column: str, files: Mapping[str, int], store: Store
) -> tuple[DatasetCollection, Columns]:
    where = store.location
    if not files:
        message = f"{where} has no Parquet file below {described['data_path']}, where {VDF_META} says that the records of {name} are."
        raise ChromaError("invalid_vdf", message, "Export it again with the tool that made it.")
    vector = str((described.get("vector_columns") or ["vector"])[0])
    names: dict[str, None] = {}
    parts = []
    measured = 0
    for path, size in files.items():
        try:
            with store.open_input(path) as stream:
                file = pq.ParquetFile(stream)
                names |= dict.fromkeys(file.schema_arrow.names)
                measured = measured or _dimension(file, vector)
                parts.append(Part(path, file.metadata.num_rows, size, ""))
        except pa.ArrowInvalid as error:
            message = f"{path} of the dataset {where} can't be read as Parquet: {str(error).splitlines()[0][:200]}."
            raise ChromaError("damaged_dataset", message, "Fetch it again from where it was copied, or export it again.") from error
    columns = Columns(id_column, vector)
    others = (columns.id, columns.vector, columns.document, columns.uri)
    # Pandas keeps its index in a column of that name.
    keys = {each: each for each in names if each not in others and each != "__index_level_0__"}
    space = _SPACES.get(str(described.get("metric") or "").lower(), DEFAULT_SPACE)
    dimension = int(described.get("dimensions") or 0)
    # -1 is how vector-io says that it does not know.
    dimension = dimension if dimension > 0 else measured
    collection = DatasetCollection(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"vdf:{where}/{described['data_path']}")),
        name=name,
        tenant="default_tenant",
        database="default_database",
        dimension=dimension or None,
        space=space,
        metadata={},
        configuration=None,
        schema=None,
        records=sum(each.records for each in parts),
        columns=(),
        layout="columns",
        parts=tuple(parts),
    )
    return collection, replace(columns, metadata=keys)


def _dimension(file: Any, column: str) -> int:
    """Return the length of a file's first vector; 0 where it has none."""
    if column not in file.schema_arrow.names:
        return 0
    first = next(file.iter_batches(batch_size=1, columns=[column]), None)
    return len(first.column(0)[0].as_py() or ()) if first is not None else 0


def _name(index: str, described: Mapping[str, Any]) -> str:
    """Return the name that vector-io gives a collection: a namespace is appended."""
    namespace = described.get("namespace")
    return f"{index}_{namespace}" if namespace else index


def _data_path(path: str) -> str:
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "..")):
        raise ValueError(f"data_path {path} leads elsewhere")
    return "" if clean == "." else clean
