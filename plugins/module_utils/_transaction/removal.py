# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing a collection: its records, itself, and seeing that it is gone. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.point import PAGE, RestorePoint, compare
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rows import rows_left, segments_of

# Seconds that the server may be away meanwhile.
_PATIENCE = 60.0
# Records that an error names.
_NAMED = 3


def remove(place: Place, client: ChromaClient, collection: Collection, point: RestorePoint | None, every: bool = False) -> list[str]:
    """Delete a collection's records, then the collection, and see that it is gone.

    Args:
        client: of the collection's tenant and database.
        point: its records are deleted, as long as they are as it has them, and there may be no others.
        every: without a restore point: all records that there are; otherwise there may be none.

    Returns:
        Warnings: what is left of it in SQLite, where the data directory can be read.

    Raises:
        ChromaError: ``collection_changed`` where records have been written meanwhile, ``not_applied``, or what the server answers: the
            collection is still there then, and has what was written.
    """
    patience = Patience(_PATIENCE)
    warnings = _remove_records(client, collection, point, every, patience)
    return warnings + drop(place, client, collection)


def drop(place: Place, client: ChromaClient, collection: Collection) -> list[str]:
    """Delete a collection as it is, and see that it is gone; the server does not load its index for that.

    Returns:
        Warnings, as :func:`remove`.

    Raises:
        ChromaError: ``not_applied``, or what the server answers: it is still there then.
    """
    patience = Patience(_PATIENCE)
    segments = segments_of(place.path, collection.id) if place.path else ()
    found = patience(lambda: client.get_collection(collection.name))
    if found is not None and found.id == collection.id:
        try:
            client.delete_collection(collection.name)
        except ChromaError:
            # Only the answer may be lost.
            if _is_there(client, collection, patience):
                raise
        if _is_there(client, collection, patience):
            message = f"Collection {collection.name} is still there after its deletion."
            raise ChromaError("not_applied", message, "Look for a client that recreates it.")
    return _left(place.path, collection, segments) if place.path else []


def _left(directory: Path, collection: Collection, segments: tuple[str, ...]) -> list[str]:
    """Say what is left of a collection that is deleted; that nobody could look is no failure of the deletion."""
    try:
        left = rows_left(directory, collection.id, segments)
    except ChromaError as error:
        return [f"Collection {collection.name} is deleted; whether SQLite has rows of it still could not be seen: {error.message}"]
    said = ", ".join(f"{count} in {table}" for table, count in left.items())
    return [f"Collection {collection.name} is deleted, and SQLite still has rows of it: {said}. 41_repair removes them."] if left else []


def _remove_records(client: ChromaClient, collection: Collection, point: RestorePoint | None, every: bool, patience: Patience) -> list[str]:
    try:
        for ids in _unchanged(client, collection, point, patience) if point else _listed(client, collection) if every else ():
            patience(partial(client.delete, collection, ids, PAGE))
        left = patience(lambda: client.count(collection))
    except ChromaError as error:
        if not every:
            raise
        # Nothing could be brought back, and it is to go, whatever state it is in.
        return [f"The records of {collection.name} could not be deleted before it, and may leave rows in SQLite: {error.message}"]
    if not left:
        return []
    if every:
        return [f"{left} records of {collection.name} could not be deleted before it, and may leave rows in SQLite."]
    raise _changed(collection, f"{left} records were added")


def _unchanged(client: ChromaClient, collection: Collection, point: RestorePoint, patience: Patience) -> Iterator[list[str]]:
    """Yield the ids of a restore point, in pages; each is compared at the last moment: no other copy of a newer record exists.

    Raises:
        ChromaError: ``collection_changed``.
    """
    for rows in point.pages(PAGE):
        _absent, newer = compare(client, collection, rows, patience)
        if newer:
            named = ", ".join(repr(each.id) for each in newer[:_NAMED])
            raise _changed(collection, f"{len(newer)} or more records were changed, {named} for example,")
        yield rows.ids


def _changed(collection: Collection, what: str) -> ChromaError:
    message = f"{what} in collection {collection.name} while it was being deleted."
    return ChromaError("collection_changed", message, "Let nobody write to it, and run it again.")


def _listed(client: ChromaClient, collection: Collection) -> Iterator[list[str]]:
    """Yield the ids of the first page until there is none, or it stays the same."""
    last: list[str] = []
    while client.count(collection):
        ids = list(client.page(collection, [], PAGE, 0)["ids"])
        if ids == last:
            return
        yield ids
        last = ids


def _is_there(client: ChromaClient, collection: Collection, patience: Patience) -> bool:
    found = patience(lambda: client.get_collection(collection.name))
    return found is not None and found.id == collection.id
