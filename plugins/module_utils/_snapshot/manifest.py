# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's manifest: what was kept, of which moment, and how to prove that it came back. FOR INTERNAL COLLECTION USE ONLY.

``manifest.json`` lies at the root of a backup's tree and is written last: a tree without it is no backup.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import GENERATOR
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, encode, known, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

MANIFEST = "manifest.json"
FORMAT = "thinkube.chroma/backup"
VERSION = 1

FULL, INCREMENT, COLLECTION, RESTORE_POINT = "full", "increment", "collection", "restore-point"
KINDS = (FULL, INCREMENT, COLLECTION, RESTORE_POINT)
HOT, COLD, STOPPED, API = "hot", "cold", "stopped", "api"
MODES = (HOT, COLD, STOPPED, API)

# What a tree holds beside the manifest, by kind.
DATA, CHANGES, DATASET = "data", "increment", "dataset"

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}", re.ASCII)


@dataclass(frozen=True)
class BackupCollection:
    """A collection at the moment of a backup.

    Args:
        id: UUID.
        metadata: as stored, including ``hnsw:`` keys.
        configuration, schema: as stored; None where the release stores none.
        dimension: of the vectors; None while it had none.
        space: distance function: ``l2``, ``cosine`` or ``ip``.
        count: records, those included that were only in the log.
    """

    id: str
    name: str
    tenant: str
    database: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None
    dimension: int | None
    space: str
    count: int

    @property
    def label(self) -> str:
        """Tenant, database and name, as they are given to modules."""
        return f"{self.tenant}/{self.database}/{self.name}"


@dataclass(frozen=True)
class BackupManifest:
    """The content of ``manifest.json``.

    Args:
        id: of the backup, see :func:`new_id`.
        kind: one of :data:`KINDS`.
        created: the moment of the state that was kept: when the lock was got, or the copy begun; see :func:`utc`.
        mode: one of :data:`MODES`.
        parent: id of the backup that an increment follows on; empty for others.
        base: id of the full backup that its chain begins with; empty for others.
        pause_seconds: for so long writers waited.
        lock_attempts: how often the lock was taken until a copy succeeded; 0 without a lock.
        reflink: whether the copy shared its blocks with the original.
        chroma_version, chroma_image: of the server, the latter with its digest; empty where nobody said.
        migrations: version of each schema: ``sysdb``, ``metadb``, ``embeddings_queue``.
        position: the last ``seq_id`` that the write-ahead log had given.
        source: the data directory, for people.
        bytes: size of the tree without the manifest.
        tenants: all there are.
        databases: tenant and name of each.
        collections: by tenant, database and name.
        damaged: why the content could not be read; only a restore point may be damaged, its collections are empty then.
        generator: ``name`` and ``version`` of the program.
    """

    id: str
    kind: str
    created: str
    mode: str
    parent: str = ""
    base: str = ""
    pause_seconds: float = 0.0
    lock_attempts: int = 0
    reflink: bool = False
    chroma_version: str = ""
    chroma_image: str = ""
    migrations: Mapping[str, int] = field(default_factory=dict)
    position: int = 0
    source: str = ""
    bytes: int = 0
    tenants: tuple[str, ...] = ()
    databases: tuple[tuple[str, str], ...] = ()
    collections: tuple[BackupCollection, ...] = ()
    damaged: str = ""
    generator: Mapping[str, str] = field(default_factory=lambda: dict(GENERATOR))

    @property
    def records(self) -> int:
        """Records of all collections."""
        return sum(each.count for each in self.collections)


def utc(moment: datetime | None = None) -> str:
    """Return a moment, by default the present one, as ISO 8601 in UTC with microseconds: such texts sort as their moments do."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_id(moment: datetime | None = None) -> str:
    """Return the id of a new backup: its second in UTC and six random digits, so that two of one second differ."""
    return f"{(moment or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_id(text: str) -> bool:
    """Return whether a text is the id of a backup; it becomes the name of a folder and a tag."""
    return _ID.fullmatch(text) is not None


def encode_manifest(manifest: BackupManifest) -> bytes:
    """Return the content of ``manifest.json``."""
    return encode(FORMAT, VERSION, manifest)


def parse_manifest(content: bytes, where: str) -> BackupManifest:
    """Read and check the content of ``manifest.json``.

    Args:
        content: of the file.
        where: the backup, for messages.

    Raises:
        ChromaError: ``invalid_manifest``, or ``newer_backup`` where a later version of the format wrote it.
    """
    try:
        loaded = load(content, FORMAT, VERSION, "newer_backup", f"The backup {where}")
        manifest = BackupManifest(
            **{
                **known(BackupManifest, loaded),
                "tenants": tuple(str(each) for each in loaded["tenants"]),
                "databases": tuple((str(tenant), str(name)) for tenant, name in loaded["databases"]),
                "collections": tuple(BackupCollection(**known(BackupCollection, each)) for each in loaded["collections"]),
            }
        )
        _check(manifest)
    except INVALID as error:
        message = f"The manifest of the backup {where} can't be used: {reason(error)}."
        raise ChromaError("invalid_manifest", message, "Use another backup; chroma_backup_info (backups) lists them.") from error
    return manifest


def _check(manifest: BackupManifest) -> None:
    """Refuse what is no backup, or a chain that cannot be."""
    if not is_id(manifest.id):
        raise ValueError(f"{manifest.id!r} is no id of a backup")
    if manifest.kind not in KINDS or manifest.mode not in MODES:
        raise ValueError(f"kind {manifest.kind!r} or mode {manifest.mode!r} is unknown")
    chain = (manifest.parent, manifest.base)
    if not all(is_id(each) for each in chain) if manifest.kind == INCREMENT else any(chain):
        raise ValueError(f"parent {manifest.parent!r} and base {manifest.base!r} do not belong to kind {manifest.kind}")
    numbers = (manifest.position, manifest.bytes, *manifest.migrations.values(), *(each.count for each in manifest.collections))
    if not all(isinstance(each, int) and each >= 0 for each in numbers):
        raise ValueError("a count, size, position or migration is no number of that kind")
    ids = [each.id for each in manifest.collections]
    if len(set(ids)) != len(ids):
        raise ValueError("a collection is named twice")
