# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting a damaged collection, once it was recovered as another one. FOR INTERNAL COLLECTION USE ONLY.

A server that loads a damaged index may end (docs/health.md), and a count, a page or the deletion of a record loads it. So it is asked for
nothing but the deletion of the collection. Instead of a restore point SQLite's rows go into quarantine; the vectors are in the folder of
the index, which Chroma leaves where it is.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.record import recovered
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.keeping import keep_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import label_of
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.removal import drop
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Record


def check_recovered(client: ChromaClient, directory: Path, damaged: Collection) -> None:
    """Refuse a collection that was not recovered: by the journal, as one that is there and can be counted.

    Raises:
        ChromaError: ``no_restore_point``.
    """
    why = f"Collection {damaged.name} was not recovered, as far as the journal knows."
    for each in recovered(directory).values():
        if each.damaged != damaged.id:
            continue
        place = client.within(tenant=each.tenant, database=each.database)
        there = place.list_collections() if place.database_exists() else ()
        found = next((other for other in there if other.id == each.collection), None)
        if found is not None and place.count(found):
            return
        why = f"What collection {damaged.name} was recovered as, {each.old_name or each.name}, {'has no records' if found else 'is gone'}."
    hint = "Recover it first (42_recover); or force, if a check (45_check_collection) brought it back, or nobody will miss what is in it."
    raise ChromaError("no_restore_point", f"{why} Nothing was deleted.", hint)


def keep_and_drop(place: Place, client: ChromaClient, directory: Path, damaged: Collection, record: Record) -> tuple[str, list[str]]:
    """Keep what SQLite has of a collection, and delete it; where that was interrupted it is done again from the beginning.

    Args:
        client: of the collection's tenant and database.
        directory: the data directory.
        record: of the deletion, begun.

    Returns:
        The id of the quarantine, and warnings.

    Raises:
        ChromaError: of :func:`keep_collection`: nothing was changed; of :func:`drop`.
    """
    identifier = new_id()
    keep_collection(
        directory, identifier, damaged.id, f"Rows of the damaged collection {label_of(damaged)}, id {damaged.id}, which was deleted."
    )
    record.step("delete", quarantine=identifier)
    return identifier, drop(place, client, damaged)
