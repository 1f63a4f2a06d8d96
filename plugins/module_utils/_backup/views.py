# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups somebody asks for, and how the modules return them. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, holds, rfc3339
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup


def select(
    catalogue: Catalogue, kind: str = "", collection: str = "", verified: bool | None = None, since: datetime | None = None
) -> tuple[Backup, ...]:
    """Return the backups that fit, newest first.

    Args:
        kind: only these.
        collection: only those that hold it; those of which only the manifest knows are among them.
        verified: only those that were, or were not, read back.
        since: only those of this moment or later.
    """
    return tuple(
        each
        for each in reversed(catalogue.backups)
        if (not kind or each.kind == kind)
        and (not collection or holds(each, collection) is not False)
        and (verified is None or verified == (each.verified is not None))
        and (since is None or each.created >= since)
    )


def as_result(catalogue: Catalogue, backup: Backup) -> dict[str, Any]:
    """Return a backup as the modules return it."""
    chain = catalogue.chain(backup)
    return {
        "id": backup.id,
        "kind": backup.kind,
        "created": rfc3339(backup.created),
        "parent": backup.parent,
        "base": backup.base,
        "mode": backup.mode,
        "pause_seconds": backup.pause_seconds,
        "position": backup.position,
        "records": backup.records,
        "bytes": backup.bytes,
        "added_bytes": backup.added_bytes,
        "collections": list(backup.collections),
        "collection_count": backup.collection_count,
        "chroma_version": backup.chroma,
        "chroma_image": backup.image,
        "instance": backup.instance,
        "verified": rfc3339(backup.verified) if backup.verified else "",
        "verify_seconds": backup.verify_seconds,
        "opened": backup.opened,
        "attempts": backup.attempts,
        "undoes": backup.undoes,
        "chain": [each.id for each in chain.backups],
        "chain_verified": chain.verified,
        "restorable": chain.restorable,
        "missing": chain.missing,
    }
