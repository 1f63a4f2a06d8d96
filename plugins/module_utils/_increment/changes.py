# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an increment holds, and how it is proven whole. FOR INTERNAL COLLECTION USE ONLY.

``increment/changes.json`` names the Parquet parts of each collection that changed, with sizes and checksums. A part has the columns ``id``,
``vector``, ``document``, ``uri``, ``_metadata`` (JSON), ``rowid`` (null where the record was only in the log) and ``seq_id``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pq
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import Part
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import JSON_COLUMN, Column, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, check_path, encode, known, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS, Parent, parse_parent
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    CHANGES,
    INCREMENT,
    MANIFEST,
    BackupManifest,
    parse_manifest,
)

CONTENT = f"{CHANGES}/changes.json"
FORMAT = "thinkube.chroma/increment"
VERSION = 1

ROWID, SEQ_ID = "rowid", "seq_id"
METADATA = (Column(JSON_COLUMN, "", "json"),)

_USE_ANOTHER = "Restore an older point of the chain, or a backup of another chain; chroma_backup_info (backups) lists them."


@dataclass(frozen=True)
class ChangedCollection:
    """The records of a collection that were written since the parent.

    Args:
        id: of the collection.
        records: in all parts.
        parts: paths are below the tree.
    """

    id: str
    records: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Changes:
    """The content of ``changes.json``.

    Args:
        anchors: checksum of ``anchors.json``, which says what lives on.
        collections: those with changed records or with fewer of them; all others are as in the parent.
    """

    anchors: str
    collections: tuple[ChangedCollection, ...]


@dataclass(frozen=True, eq=False)
class Increment:
    """An increment's tree, opened and its small files checked; see :func:`open_increment`.

    Args:
        tree: where it lies.
        alive: which rows each collection has, as the next increment's parent.
    """

    tree: Path
    manifest: BackupManifest
    changes: Changes
    alive: Parent

    def check_parts(self) -> None:
        """Read every part, and compare its size and checksum.

        Raises:
            ChromaError: ``damaged_backup``, which names the part and the backup.
        """
        for part in (part for each in self.changes.collections for part in each.parts):
            path = self.tree / part.path
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                bytes_found = path.stat().st_size
            except OSError as error:
                raise damaged(self.manifest.id, part.path, f"can't be read: {error.strerror}") from error
            if (bytes_found, digest) != (part.bytes, part.sha256):
                raise damaged(self.manifest.id, part.path, "is not what was written: its size or checksum is another one")

    def batches(self, collection: str, rows: int = 1000) -> Iterator[Any]:
        """Yield the changed records of a collection as ``pa.RecordBatch``, see the module's head; at most ``rows`` in each."""
        for each in self.changes.collections:
            for part in each.parts if each.id == collection else ():
                try:
                    with pq.ParquetFile(self.tree / part.path) as file:
                        yield from file.iter_batches(batch_size=rows, use_threads=False)
                except (OSError, pa.ArrowException) as error:
                    raise damaged(self.manifest.id, part.path, f"can't be read as Parquet: {str(error)[:200]}") from error


def part_schema(dimension: int | None, name: str, space: str) -> Any:
    """Return the Arrow schema of a collection's parts.

    Args:
        dimension: of the vectors; None where the collection has none yet.
    """
    schema = table_schema(METADATA, dimension, name, space)
    return schema.append(pa.field(ROWID, pa.int64())).append(pa.field(SEQ_ID, pa.int64()))


def encode_changes(changes: Changes) -> bytes:
    """Return the content of ``changes.json``."""
    return encode(FORMAT, VERSION, changes)


def open_increment(tree: Path) -> Increment:
    """Open the tree of an increment.

    Raises:
        ChromaError: ``damaged_backup``, ``newer_backup``, ``invalid_manifest``; ``invalid_value`` where it is no increment.
    """
    manifest = parse_manifest(_content(tree, MANIFEST, str(tree)), str(tree))
    if manifest.kind != INCREMENT:
        raise ChromaError("invalid_value", f"The backup {manifest.id} is of kind {manifest.kind}, no increment.", "Restore it as it is.")
    changes = _parse(_content(tree, CONTENT, manifest.id), manifest.id)
    content = _content(tree, ANCHORS, manifest.id)
    if hashlib.sha256(content).hexdigest() != changes.anchors:
        raise damaged(manifest.id, ANCHORS, "is not what was written: its checksum is another one")
    alive = parse_parent(content, manifest.id)
    if (alive.id, alive.base) != (manifest.id, manifest.base) or {each.id for each in manifest.collections} != set(alive.collections):
        raise damaged(manifest.id, ANCHORS, "belongs to another backup")
    return Increment(tree, manifest, changes, alive)


def damaged(backup: str, path: str, what: str) -> ChromaError:
    """Return the error for a file of a backup that is not what was written."""
    return ChromaError("damaged_backup", f"{path} of backup {backup} {what}.", _USE_ANOTHER, {"backup": backup, "path": path})


def _content(tree: Path, path: str, backup: str) -> bytes:
    try:
        return (tree / path).read_bytes()
    except OSError as error:
        raise damaged(backup, path, f"can't be read: {error.strerror}") from error


def _parse(content: bytes, backup: str) -> Changes:
    try:
        loaded = load(content, FORMAT, VERSION, "newer_backup", f"{CONTENT} of the backup {backup}")
        return Changes(str(loaded["anchors"]), tuple(map(_collection, loaded["collections"])))
    except INVALID as error:
        raise damaged(backup, CONTENT, f"can't be used: {reason(error)}") from error


def _collection(loaded: Mapping[str, Any]) -> ChangedCollection:
    parts = tuple(Part(**known(Part, each)) for each in loaded["parts"])
    for part in parts:
        check_path(part.path)
        if not part.path.startswith(f"{CHANGES}/"):
            raise ValueError(f"the path {part.path!r} leads elsewhere")
    if sum(part.records for part in parts) != loaded["records"]:
        raise ValueError(f"the parts of {loaded['id']} do not add up to {loaded['records']} records")
    return ChangedCollection(str(loaded["id"]), int(loaded["records"]), parts)
