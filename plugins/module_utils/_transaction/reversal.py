# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What undoes a deletion or a renaming. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.collection import CollectionRequest, interim_name, restore_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import give_name, is_called
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import DELETE
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Work

# Seconds that the server may be away meanwhile.
_PATIENCE = 60.0


def check_reversal(client: ChromaClient, facts: Mapping[str, Any], operation: str) -> None:
    """Refuse what can't be undone.

    Args:
        client: of the collection's tenant and database.
        facts: of the transaction.
        operation: that it was.

    Raises:
        ChromaError: ``exists``, ``not_found``, ``no_restore_point``.
    """
    name = facts["name"]
    if operation == DELETE and not facts.get("restore_point"):
        message = f"Collection {facts['collection']} was deleted without a restore point."
        if facts.get("damaged"):
            message = f"Collection {facts['collection']} was damaged; its rows are in quarantine, to be read (docs/recover.md)."
        raise ChromaError("no_restore_point", message, "Look for a backup that holds it: chroma_backup_info (backups).")
    if client.get_collection(name) is not None:
        hint = "Rename or delete that one first; or bring the old one back under another name: chroma_restore (30_restore)."
        raise ChromaError("exists", f"There is a collection {name} already; nothing was changed.", hint)
    if operation != DELETE and not is_called(client, facts["new_name"], facts["id"]):
        message = f"The collection that was renamed to {facts['new_name']} is not there under that name any more."
        raise ChromaError("not_found", message, "Look for it by its metadata, and rename it by its present name.")


def reverse(work: Work, client: ChromaClient, facts: Mapping[str, Any], operation: str, room: Path) -> tuple[Collection, int]:
    """Bring a deleted collection back under its name, or give a renamed one its old name; return it, and how many records it has.

    It can be done again where it was interrupted.

    Args:
        room: an empty folder.

    Raises:
        ChromaError: those of :func:`check_reversal` and of :func:`restore_collection`.
    """
    check_reversal(client, facts, operation)
    name = facts["name"]
    if operation == DELETE:
        repository = work.repository
        if repository is None:
            message = f"The restore point of {facts['collection']} is in the repository {facts.get('repository')}."
            raise ChromaError("no_repository", message, "Set repository and its password.")
        wanted = CollectionRequest(facts["collection"], name, facts["restore_point"], scratch=room, wait=_PATIENCE)
        work.warnings += restore_collection(lambda: repository, client, wanted)["warnings"]
    else:
        give_name(client, client.require_collection(facts["new_name"]), name, _PATIENCE)
    found = client.require_collection(name)
    if operation != DELETE and found.id != facts["id"]:
        raise ChromaError("not_applied", f"Another collection is called {name} now.", "Look for a client that created it.")
    return found, counted(client, found, facts, operation)


def counted(client: ChromaClient, collection: Collection, facts: Mapping[str, Any], operation: str) -> int:
    """Return how many records a collection has; of a renamed one how many it had, for a damaged index may end the server that loads it."""
    return client.count(collection) if operation == DELETE else int(facts.get("records", 0))


def interim_of(facts: Mapping[str, Any]) -> str:
    """Return the name that a deleted collection has until all of it is back."""
    return interim_name(facts["restore_point"], facts["id"], f"{facts['tenant']}/{facts['database']}", facts["name"])
