# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what SQLite has of a collection that is deleted on purpose. FOR INTERNAL COLLECTION USE ONLY.

It is a quarantine like that of a repair, removed with those, but nothing puts it back: Chroma's tables have other rows by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.image import sha256_of
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import KEPT, Quarantine, make_place, publish
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rows import ROWS, copy
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rules import COLLECTION
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import worded
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree, sync


def keep_collection(directory: Path, identifier: str, collection: str, reason: str) -> Mapping[str, int]:
    """Copy all rows of a collection into a new quarantine, beside a server; when this returns, they are on disk.

    Args:
        directory: the data directory.
        identifier: of the quarantine.
        collection: its id.
        reason: a sentence for who finds it.

    Returns:
        The number of rows by table.

    Raises:
        ChromaError: ``busy``, ``no_space``, ``forbidden``.
        Damaged: ``sqlite``.
    """
    with worded(directory):
        place = make_place(directory, identifier)
        try:
            counts = copy(
                place / ROWS,
                directory / DATABASE,
                [("", collection)],
                lambda tables: [x for x in COLLECTION if x.table in tables],
                live=True,
            )
            sync(place / ROWS, place)
            checksums = {ROWS: sha256_of(place / ROWS)}
            publish(directory, place, Quarantine(identifier, state=KEPT, live=True, reason=reason, rows=counts, checksums=checksums))
        except BaseException:
            remove_tree(place)
            raise
    return counts
