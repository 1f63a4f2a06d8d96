# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections that a transaction has left half. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.finish import left_over
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import DELETE, UNDO
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.reversal import interim_of


def half_done(directory: Path) -> dict[str, str]:
    """Return which collections transactions without an end may have left half: they were killed, or are at work.

    A renaming leaves all records where they are, and a collection that is being undone has its interim name until it is whole.

    Args:
        directory: the data directory.

    Returns:
        Id of a collection, or ``tenant/database/name`` where that is all that is known → what was being done, for a message.

    Raises:
        ChromaError: see :meth:`Journal.lines`.
    """
    found: dict[str, str] = {}
    for left in left_over(Journal.of(directory)):
        facts = left.entry.facts
        said = f"{left.entry.operation} of {facts['collection']} (entry {left.entry.n} of the journal)"
        if left.entry.operation == DELETE and "delete" in left.steps:
            found[facts["id"]] = said
        elif left.entry.operation == UNDO and facts["undone"] == DELETE and "undo" in left.steps:
            found[f"{facts['tenant']}/{facts['database']}/{interim_of(facts)}"] = said
    return found
