# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore would do: pure decisions from the backup, the directory and the release. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import rfc3339
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import MIGRATIONS
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import Current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import Resolution
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import RESERVE
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import RESTORE_POINT, BackupManifest

# That were tested, see docs/data-directory.md.
TESTED = ("0.4.24", "0.5.23", "0.6.3", "1.0.20", "1.5.9")
# An increment's Parquet is compressed; the records that it brings in grow the directory by more, with index and full-text index.
_GROWTH = 4


@dataclass(frozen=True)
class CollectionPlan:
    """What becomes of one collection.

    Args:
        label: tenant, database and name.
        fate: ``replaced``, ``removed`` (the backup does not have it) or ``created`` (it is not there now).
        now, then: records before and after; None where what is there can't be read.
        lost: records that were written or deleted after the backup, which is undone; None where nobody can tell.
    """

    label: str
    fate: str
    now: int | None
    then: int
    lost: int | None


@dataclass(frozen=True)
class RestorePlan:
    """What a restore does.

    Args:
        resolution: which backup, and what is needed for it.
        manifest: of the backup.
        current: the directory.
        collections: by label.
        needed: bytes on the data volume, see :func:`_snapshot.hot.check_room`.
    """

    resolution: Resolution
    manifest: BackupManifest
    current: Current
    collections: tuple[CollectionPlan, ...]
    needed: int

    @property
    def lost(self) -> int | None:
        """Records whose latest state is lost; None where nobody can tell."""
        each = [one.lost for one in self.collections]
        return None if self.current.damaged or self.current.unread or None in each else sum(one or 0 for one in each)

    @property
    def free(self) -> int:
        """Bytes that have to be free on the data volume."""
        return self.needed + RESERVE

    def warnings(self) -> list[str]:
        """Return what is to be said of it."""
        return [f"What is there was not counted, so nobody can tell what is lost: {self.current.unread}"] if self.current.unread else []

    def as_result(self) -> dict[str, Any]:
        """Return it as the modules return it."""
        return {
            "backup": self.manifest.id,
            "kind": self.manifest.kind,
            "created": rfc3339(self.resolution.backup.created),
            "chain": [each.id for each in self.resolution.chain],
            "note": self.resolution.note,
            "records": self.manifest.records,
            "lost_records": self.lost,
            "collections": [vars(each) for each in self.collections],
            "current": "damaged" if self.current.damaged else "present" if self.current.entries else "empty",
            "damaged": self.current.damaged,
            "needed_bytes": self.free,
            "table": self.table(),
        }

    def table(self) -> list[str]:
        """Return it as lines to read: which backup, what becomes of each collection, what is lost."""
        backup, here = self.resolution.backup, self.current
        lines = [f"backup {backup.id}: {backup.kind}, of {rfc3339(backup.created)}, {self.manifest.records:,} records"]
        if self.resolution.note:
            lines.append(self.resolution.note)
        if here.damaged:
            lines.append(f"what is there can't be read: {here.damaged}")
        lines += self.warnings()
        width = max([len(each.label) for each in self.collections] + [10])
        lines += ["", f"{'collection':<{width}}  {'before':>11}  {'after':>11}  {'lost':>9}"]
        lines += [
            f"{each.label:<{width}}  {_counted(each.now):>11}  {each.then:>11,}  {_counted(each.lost):>9}  {each.fate}"
            for each in self.collections
        ]
        kept = "; a restore point keeps what is there" if here.entries else ""
        lost = "nobody can tell how many records" if self.lost is None else f"{self.lost:,} records"
        return [*lines, "", f"written or deleted since, and lost: {lost}{kept}", f"needs {self.free >> 20:,} MiB on the data volume"]

    def diff(self) -> dict[str, Any]:
        """Return the records of each collection before and after."""
        before: dict[str, Any] = {each.label: each.now for each in self.collections if each.fate != "created"}
        if self.current.damaged:
            before = {"damaged": self.current.damaged}
        return {"before": before, "after": {each.label: each.then for each in self.collections if each.fate != "removed"}}


def plan_restore(resolution: Resolution, manifest: BackupManifest, current: Current, copied: bool) -> RestorePlan:
    """Return what restoring a backup over a directory does.

    Args:
        copied: whether what was staged is copied once more, to be opened by Chroma.
    """
    wanted = {each.id: each for each in manifest.collections}
    labels = {each.label: each for each in manifest.collections}
    plans: list[CollectionPlan] = []
    met: set[str] = set()
    for each in current.collections:
        # A collection that an increment brought has another id once it was replayed.
        target = wanted.get(each.id) or labels.get(each.label)
        if target is None:
            plans.append(CollectionPlan(each.label, "removed", each.count, 0, each.count))
        else:
            met.add(target.id)
            plans.append(CollectionPlan(target.label, "replaced", each.count, target.count, each.newer))
    unread = bool(current.damaged or current.unread)
    plans += [
        CollectionPlan(each.label, "replaced" if unread else "created", None if unread else 0, each.count, None if unread else 0)
        for each in manifest.collections
        if each.id not in met
    ]
    sizes = [each.bytes or 0 for each in resolution.chain]
    needed = sizes[0] * (2 if copied else 1) + _GROWTH * sum(sizes[1:])
    return RestorePlan(resolution, manifest, current, tuple(sorted(plans, key=lambda each: each.label)), needed)


def check_release(manifest: BackupManifest, server: str, here: str, current: Current) -> None:
    """Refuse to restore into an older Chroma: it would open a newer schema without complaint, and break on it.

    Args:
        manifest: of the backup.
        server: release of the server that is to serve the data; empty where nobody said, and then the directory tells which one did.
        here: release of this environment's Chroma, which proves the data before anything is replaced.
        current: the directory.

    Raises:
        ChromaError: ``newer_backup``; ``busy`` where nothing says what the server is.
    """
    if current.unread and not current.migrations and schema_of_release(server) is None:
        message = f"Nobody can tell which release of Chroma is to serve backup {manifest.id}: {current.unread}"
        raise ChromaError("busy", message, "Name the server's release (chroma_version), or stop the server.")
    where = f"the server's Chroma {server}" if server else "the Chroma that wrote the data directory"
    newer = _unknown(manifest, server, current.migrations)
    if not newer and manifest.kind != RESTORE_POINT:
        newer, where = _unknown(manifest, here, {}), f"Chroma {here} of this environment"
    if newer:
        made = f" (Chroma {manifest.chroma_version})" if manifest.chroma_version else ""
        raise ChromaError(
            "newer_backup",
            f"Backup {manifest.id}{made} has migration {newer}, which {where} does not know.",
            f"Upgrade Chroma to {release_of(manifest.migrations)} or newer first, or restore an older backup.",
        )


def check_replayed(manifest: BackupManifest, made: BackupManifest, server: str, here: str, current: Current) -> None:
    """Refuse what a replay has made if the server is older than this environment's Chroma: that brought the schema to its own version.

    Args:
        manifest: of the backup; ``made``: of what was made of it.
        server, here, current: see :func:`check_release`.

    Raises:
        ChromaError: ``newer_backup``.
    """
    if made.migrations != manifest.migrations:
        check_release(replace(made, chroma_version=here), server, here, current)


def schema_of_release(release: str, most: bool = False) -> dict[str, int] | None:
    """Return the version of each schema that a release of Chroma writes; None where its number says nothing, as ``latest`` does not.

    Source: ``_datadir.layout.MIGRATIONS``. A release between two that were tested counts as the older one, or with ``most`` as the newer.
    """
    number = _number(release)
    if number is None:
        return None
    if most:
        number = next((found for each in TESTED if (found := _number(each) or ()) >= number), number)
    return {name: sum(1 for _file, since in steps if (_number(since) or ()) <= number) for name, steps in MIGRATIONS.items()}


def release_of(migrations: Mapping[str, int]) -> str:
    """Return the oldest release, among those tested, that knows all migrations of a backup."""
    steps = [(MIGRATIONS.get(name, ()), version) for name, version in migrations.items()]
    since = [known[version - 1][1] for known, version in steps if 0 < version <= len(known)]
    return max(since, key=lambda each: _number(each) or (), default="a newer release")


def _counted(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _unknown(manifest: BackupManifest, release: str, written: Mapping[str, int]) -> str:
    """Return the migrations of a backup that a release does not know; empty for none.

    Args:
        release: its number; empty, or no number, where that is not known.
        written: migrations of what it wrote, which tells for a release between two that were tested.
    """
    least, most = schema_of_release(release), schema_of_release(release, most=True)
    if least is None or most is None:
        return _above(manifest.migrations, written) if written else ""
    if beyond := _above(manifest.migrations, most):
        return beyond
    between = _above(manifest.migrations, least)
    return between if between and written and release != manifest.chroma_version and _above(manifest.migrations, written) else ""


def _above(wanted: Mapping[str, int], known: Mapping[str, int]) -> str:
    """Return the migrations that are beyond those that are known; empty for none."""
    return ", ".join(f"{name} {version}" for name, version in sorted(wanted.items()) if version > known.get(name, 0))


def _number(release: str) -> tuple[int, ...] | None:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", release)
    return tuple(map(int, found.groups())) if found else None
