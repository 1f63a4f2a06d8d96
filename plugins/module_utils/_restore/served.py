# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the server whether it serves what was restored. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest


def check_served(client: ChromaClient, manifest: BackupManifest, warnings: list[str]) -> dict[str, Any]:
    """Compare the server's collections and counts with a manifest.

    Clients may write from the moment that the server is ready: another count is a warning, for what was swapped in had been proven. A
    collection that is not there, or another one, is an error: it is not this directory that is served.

    Args:
        client: of the server, with a token that may read everything.
        warnings: takes what is to be said.

    Returns:
        ``collections`` and ``records`` that it serves.

    Raises:
        ChromaError: ``not_verified``; those of the client.
    """
    there: dict[str, tuple[ChromaClient, Collection]] = {}
    for tenant, database in manifest.databases:
        within = client.within(tenant=tenant, database=database)
        there |= {each.id: (within, each) for each in within.list_collections()}
    records, said = 0, []
    for wanted in manifest.collections:
        if wanted.id not in there:
            raise ChromaError(
                "not_verified",
                f"The server at {client.connection.url} does not serve collection {wanted.label} of backup {manifest.id}.",
                "Is url the server of this data directory? It serves another one; 39_undo_restore brings back what was there.",
            )
        within, collection = there[wanted.id]
        count = within.count(collection)
        records += count
        if count != wanted.count:
            said.append(f"{wanted.label} has {count} records, {wanted.count} were restored: clients write already.")
    warnings += said
    return {"collections": len(manifest.collections), "records": records}
