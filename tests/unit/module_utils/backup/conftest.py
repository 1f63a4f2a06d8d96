# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues without a repository: snapshots with the tags that a backup of a manifest gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import PENDING, tags_of
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import MARK, Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest

NOW = datetime(2026, 8, 31, 12, 0, tzinfo=UTC)
MIGRATIONS = {"sysdb": 10, "metadb": 6, "embeddings_queue": 2}
SCHEMA = "10.6.2"
LINEAGE = "c0ffee0123456789"


def collection(name="books", tenant="default_tenant", database="default_database", count=3):
    return BackupCollection("00000000-0000-4000-8000-000000000001", name, tenant, database, {}, None, None, 4, "l2", count)


class Shelf:
    """Backups that are made one after the other.

    Args:
        now: the clock, which a test may set.
    """

    def __init__(self, now=NOW):
        self.now = now
        self.snapshots = []

    def add(
        self,
        kind="full",
        *,
        age=0.0,
        parent=None,
        verified=True,
        pending=False,
        number=None,
        schema=None,
        extra=(),
        names=("books",),
        instance="",
        lineage=LINEAGE,
    ):
        """Make a backup of ``age`` hours; return its id."""
        moment = self.now - timedelta(hours=age)
        count = len(self.snapshots) + 1
        before = catalogue_of(self.snapshots)
        name = f"{moment:%Y%m%dT%H%M%SZ}-{count:06x}"
        base = before.require(parent).base or parent if parent else ""
        manifest = BackupManifest(
            name,
            kind,
            f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}",
            "hot",
            parent=parent or "",
            base=base,
            pause_seconds=0.125,
            chroma_version="1.5.9",
            migrations=schema or MIGRATIONS,
            position=7 * count,
            collections=tuple(collection(each) for each in names),
        )
        more = (*extra, *([PENDING] if pending else []))
        tags = (MARK, *tags_of(manifest, before.next_number if number is None else number, *more, instance=instance, lineage=lineage))
        if verified and not pending:
            tags += (f"verified={moment:%Y%m%dT%H%M%SZ}", "verify-seconds=1.5")
        self.snapshots.append(Snapshot(f"{count:064x}", moment, tags, "host", 5, 1000, 600, f"tree-{count}"))
        return name

    def chain(self, length, *, age=0.0):
        """Make a full backup and increments that follow on it, an hour between them; return their ids."""
        names = [self.add("full", age=age)]
        for number in range(1, length):
            names.append(self.add("increment", age=age - number, parent=names[-1]))
        return names

    @property
    def catalogue(self):
        return catalogue_of(self.snapshots)

    def without(self, name):
        """Remove a backup as somebody with restic would."""
        self.snapshots = [each for each in self.snapshots if each.backup != name]


@pytest.fixture
def shelf():
    return Shelf()
