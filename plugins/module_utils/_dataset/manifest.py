# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dataset's manifest: what it holds, from where, and how to prove that it is whole. FOR INTERNAL COLLECTION USE ONLY.

``manifest.json`` is written last: a directory or prefix without it is no dataset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, check_path, encode, known, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

MANIFEST = "manifest.json"
FORMAT = "thinkube.chroma/dataset"
VERSION = 1
# Of the collection: a module runs from an archive, where no file of it can be asked.
GENERATOR = {"name": "thinkube.chroma", "version": "1.3.0"}

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Part:
    """A Parquet file of a dataset.

    Args:
        path: below the dataset.
        records: rows.
        bytes: size of the file.
        sha256: of the file, hexadecimal.
        missing_vectors: records whose vector is null; above 0 only where that was allowed.
    """

    path: str
    records: int
    bytes: int
    sha256: str
    missing_vectors: int = 0


@dataclass(frozen=True)
class DatasetCollection:
    """A collection in a dataset.

    Args:
        id: UUID that it had at its source.
        dimension: of the vectors; None while it had none.
        space: distance function: ``l2``, ``cosine`` or ``ip``.
        metadata: as the source has it, including ``hnsw:`` keys.
        configuration: index settings in effect, by the names of ``_answers.HNSW_KEYS``.
        schema: as a 1.5 stores it; None where the source has none.
        records: how many there are.
        columns: of the metadata.
        layout: ``columns``, or ``json`` where the metadata is one column.
        parts: in the order of the records.
        embedding_function: what clients are told to use, as 1.x stores it (``name``, ``type``, ``config``); None where it says none.
    """

    id: str
    name: str
    tenant: str
    database: str
    dimension: int | None
    space: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None
    records: int
    columns: tuple[Column, ...]
    layout: str
    parts: tuple[Part, ...]
    embedding_function: Mapping[str, Any] | None = None

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(each.bytes for each in self.parts)


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from.

    Args:
        kind: ``directory`` or ``server``.
        version: what the server called itself; None for a directory.
        fingerprint: of what was read; the same fingerprint means the same records.
    """

    kind: str
    version: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    Args:
        created: moment of the export, ISO 8601 in UTC.
        generator: ``name`` and ``version`` of the program.
        consistent: whether all records are of one moment; a server's are not, it may be written to meanwhile.
    """

    created: str
    generator: Mapping[str, str]
    source: Origin
    consistent: bool
    collections: tuple[DatasetCollection, ...]

    @property
    def records(self) -> int:
        """Records of all collections."""
        return sum(each.records for each in self.collections)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of ``manifest.json``."""
    return encode(FORMAT, VERSION, manifest)


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Read and check the content of ``manifest.json``.

    Args:
        content: of the file.
        where: the dataset, for messages.

    Raises:
        ChromaError: ``invalid_manifest``, or ``newer_dataset`` where a later version of the format wrote it.
    """
    try:
        loaded = load(content, FORMAT, VERSION, "newer_dataset", f"The dataset {where}")
        manifest = Manifest(
            created=str(loaded["created"]),
            generator=dict(loaded["generator"]),
            source=Origin(**known(Origin, loaded["source"])),
            consistent=bool(loaded["consistent"]),
            collections=tuple(_collection(each) for each in loaded["collections"]),
        )
        _check(manifest)
    except INVALID as error:
        message = f"The manifest of the dataset {where} can't be used: {reason(error)}."
        raise ChromaError("invalid_manifest", message, "Export it again, or fetch it again from where it was copied.") from error
    return manifest


def _collection(loaded: Mapping[str, Any]) -> DatasetCollection:
    return DatasetCollection(
        **{
            **known(DatasetCollection, loaded),
            "columns": tuple(Column(**known(Column, each)) for each in loaded["columns"]),
            "parts": tuple(Part(**known(Part, each)) for each in loaded["parts"]),
        }
    )


def _check(manifest: Manifest) -> None:
    """Refuse what would lead a reader out of the dataset, or to wrong counts."""
    paths = [part.path for each in manifest.collections for part in each.parts]
    if len(set(paths)) != len(paths):
        raise ValueError("a part is named twice")
    for each in manifest.collections:
        if each.records != sum(part.records for part in each.parts):
            raise ValueError(f"the parts of {each.name} do not add up to {each.records} records")
        if each.layout not in ("columns", "json"):
            raise ValueError(f"the layout {each.layout!r} of {each.name} is unknown")
        for part in each.parts:
            check_path(part.path)
            if part.bytes < 0 or part.records < 0 or not _SHA256.fullmatch(part.sha256):
                raise ValueError(f"size or checksum of {part.path} is no such thing")
