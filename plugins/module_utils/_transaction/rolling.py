# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a transaction that failed. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.naming import is_called
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.point import RestorePoint, put_back
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import Record, reason

ROLL_BACK, ROLLED_BACK = "roll-back", "rolled_back"
_LATER = "The next transaction on this server brings its records back."


def roll_back(record: Record, client: ChromaClient, collection: Collection, point: RestorePoint | None, error: ChromaError) -> ChromaError:
    """Bring the records of a collection back that could not be deleted as a whole, and end the entry if that is possible now.

    Returns:
        The error to raise, with ``rolled_back`` in its result.
    """
    told = ChromaError(error.code, error.message, error.hint, {**error.result, ROLLED_BACK: False})
    if point is None and error.code == "collection_changed":
        # It was empty: nothing had been deleted.
        record.fail(ROLLED_BACK, error)
        told.result[ROLLED_BACK] = True
        return told
    if point is None:
        record.fail("failed", error)
        told.hint = "There is no restore point that anything could be brought back from. Run it again."
        return told
    told.result["restore_point"] = point.id
    try:
        newer = bring_records_back(record, client, collection, point, error)
    except Exception as second:
        told.hint = f"{_LATER} They could not be brought back now: {getattr(second, 'message', second)}"
        return told
    record.fail(ROLLED_BACK, error)
    told.result[ROLLED_BACK] = True
    told.hint = f"{brought(newer)} {error.hint}".strip()
    return told


def brought(newer: int) -> str:
    """Say what became of the records."""
    if not newer:
        return "All its records are as they were; what others have added stays."
    return f"Its records are back, but for {newer} that others have written anew meanwhile: those stay as they are now."


def bring_records_back(record: Record, client: ChromaClient, collection: Collection, point: RestorePoint, error: ChromaError) -> int:
    """Bring the records back; the entry can be ended then.

    Returns:
        How many of them others have written anew, which stay.

    Raises:
        ChromaError: the entry has to stay open then, for the next run to go on with.
    """
    record.step(ROLL_BACK, **reason(error))
    if not is_called(client, collection.name, collection.id):
        message = f"Collection {collection.name} is not there any more."
        raise ChromaError("not_found", message, "It can be undone.")
    return put_back(client, collection, point)
