# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup as the tags of its snapshot say it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest, is_id

# Not read back yet, and nobody said that it need not be: its operation is at work, or died.
PENDING = "pending"
# Chroma itself opened it when it was read back.
OPENED = "opened"
# Of restore points, see ``_restore.point``.
SWAPPED, UNDONE = "swapped", "undone"
# Collections that get a tag each; of more the manifest has to be asked. A tag is kept for ever in a small object of the repository.
MOST_TAGGED = 100


@dataclass(frozen=True)
class Backup:
    """A backup in the repository.

    Args:
        id: of the backup.
        snapshot: restic's id; another one after each change of its tags.
        twins: further snapshots of the same backup, which a change of tags that was cut short left.
        kind: one of ``_snapshot.manifest.KINDS``.
        created: moment of the state that it holds, by the clock that there was.
        number: of its place in the order of backups; 0 where it has none.
        parent, base: ids; empty but for increments.
        mode: ``hot``, ``cold``, ``stopped`` or ``api``.
        pause_seconds: for so long writers waited.
        schema: versions of the three schemas of SQLite, ``sysdb.metadb.embeddings_queue``.
        position: the last ``seq_id`` of the write-ahead log.
        records: of all its collections.
        bytes: size of its tree, and ``added_bytes`` what the repository grew by; None where restic did not say.
        collections: ``tenant/database/name`` of at most :data:`MOST_TAGGED`.
        collection_count: how many it holds.
        chroma: release of the server; empty where nobody said.
        image: of the server, with its digest where that was known; empty where nobody said.
        instance: of the data directory, see :mod:`instance`; empty where there was none.
        lineage: of that directory then, see :mod:`lineage`; empty where there was none.
        verified: when it was read back; None where it was not.
        verify_seconds: that this took.
        opened: whether Chroma opened it then, and was asked.
        attempts: how often it was tried until it was right.
        pending: whether it was to be read back and that has not ended.
        undoes: of a restore point: the backup whose restore it undoes.
        swapped: of a restore point: that the restore which it was made for was done.
        undone: of a restore point: that it has been restored.
    """

    id: str
    snapshot: str
    kind: str
    created: datetime
    number: int = 0
    parent: str = ""
    base: str = ""
    mode: str = ""
    pause_seconds: float = 0.0
    schema: str = ""
    position: int = 0
    records: int = 0
    bytes: int | None = None
    added_bytes: int | None = None
    collections: tuple[str, ...] = ()
    collection_count: int = 0
    chroma: str = ""
    image: str = ""
    instance: str = ""
    lineage: str = ""
    verified: datetime | None = None
    verify_seconds: float = 0.0
    opened: bool = False
    attempts: int = 1
    pending: bool = False
    undoes: str = ""
    swapped: bool = False
    undone: bool = False
    twins: tuple[str, ...] = ()

    @property
    def snapshots(self) -> tuple[str, ...]:
        """All its snapshots in the repository."""
        return (self.snapshot, *self.twins)

    @property
    def order(self) -> tuple[int, datetime, str]:
        """What sorts backups from the oldest to the newest."""
        return self.number, self.created, self.id


def parse_backup(snapshot: Snapshot) -> Backup | None:
    """Return the backup that a snapshot is, or None for somebody else's. A tag that can't be read counts as absent."""
    if not snapshot.is_ours or not is_id(snapshot.backup):
        return None
    return Backup(
        id=snapshot.backup,
        snapshot=snapshot.snapshot,
        kind=snapshot.tag("kind"),
        created=snapshot.time,
        number=_integer(snapshot.tag("number")),
        parent=snapshot.tag("parent"),
        base=snapshot.tag("base"),
        mode=snapshot.tag("mode"),
        pause_seconds=_real(snapshot.tag("pause-seconds")),
        schema=snapshot.tag("schema"),
        position=_integer(snapshot.tag("position")),
        records=_integer(snapshot.tag("records")),
        bytes=snapshot.bytes,
        added_bytes=snapshot.stored,
        collections=tuple(
            urllib.parse.unquote(tag.partition("=")[2]) for tag in snapshot.tags if tag.startswith("collection=") and "/" in tag
        ),
        collection_count=_integer(snapshot.tag("collections")),
        chroma=urllib.parse.unquote(snapshot.tag("chroma")),
        image=urllib.parse.unquote(snapshot.tag("image")),
        instance=snapshot.tag("instance"),
        lineage=snapshot.tag("lineage"),
        verified=_moment(snapshot.tag("verified")),
        verify_seconds=_real(snapshot.tag("verify-seconds")),
        opened=OPENED in snapshot.tags,
        attempts=_integer(snapshot.tag("attempts")) or 1,
        pending=PENDING in snapshot.tags,
        undoes=snapshot.tag("undoes"),
        swapped=SWAPPED in snapshot.tags,
        undone=UNDONE in snapshot.tags,
    )


def tags_of(manifest: BackupManifest, number: int, *extra: str, instance: str = "", lineage: str = "") -> tuple[str, ...]:
    """Return the tags of a backup beside the mark; none has a comma, and no text of a user's is in them as it is.

    Args:
        manifest: of the backup.
        number: :attr:`Catalogue.next_number`.
        extra: more tags: :data:`PENDING`, ``undoes=<id>``, ``attempts=<n>``.
        instance: of the data directory, see :mod:`instance`; empty for a backup by the API.
        lineage: of it, see :mod:`lineage`; empty for what no increment follows on.
    """
    values = {
        "id": manifest.id,
        "kind": manifest.kind,
        "number": number,
        "parent": manifest.parent,
        "base": manifest.base,
        "mode": manifest.mode,
        "pause-seconds": round(manifest.pause_seconds, 3),
        "schema": schema_of(manifest.migrations),
        "position": manifest.position,
        "records": manifest.records,
        "collections": len(manifest.collections),
        "chroma": urllib.parse.quote(manifest.chroma_version),
        "image": urllib.parse.quote(manifest.chroma_image),
        "instance": instance,
        "lineage": lineage,
    }
    named = [each.label for each in manifest.collections[:MOST_TAGGED]]
    return (
        *(f"{key}={value}" for key, value in values.items() if value != ""),
        *(f"collection={urllib.parse.quote(each)}" for each in named),
        *extra,
    )


def verified_tags(when: datetime, seconds: float, opened: bool = False) -> tuple[str, ...]:
    """Return the tags of a backup that was read back.

    Args:
        opened: whether Chroma opened it.
    """
    said = (f"verified={when.astimezone(UTC):%Y%m%dT%H%M%SZ}", f"verify-seconds={seconds:.3f}")
    return (*said, OPENED) if opened else said


def schema_of(migrations: Mapping[str, int]) -> str:
    """Return the versions of the three schemas as one text; empty where they are not known."""
    return ".".join(str(migrations.get(name, 0)) for name in ("sysdb", "metadb", "embeddings_queue")) if migrations else ""


def _integer(text: str) -> int:
    """Return a number of 0 or more; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() else 0


def _real(text: str) -> float:
    """Return a number; 0 where it is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _moment(text: str) -> datetime | None:
    """Return the moment that :func:`verified_tags` wrote; None where it is none."""
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
