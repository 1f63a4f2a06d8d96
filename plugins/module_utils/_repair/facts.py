# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan has to know of the database beside the findings. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import read_catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.log import usable


def pending(database: Path, segments: Sequence[str]) -> frozenset[str]:
    """Return those VECTOR segments of whose collection the log has entries that the index lacks: the next start applies them."""
    if not segments:
        return frozenset()
    found = set()
    with Database(database, live=True) as reader:
        catalogue = read_catalogue(reader)
        topics = {entry.id: entry.topic for entry in catalogue.collections}
        for part in (each for each in catalogue.segments if each.id in segments):
            start = usable(catalogue.positions.get(part.id, (None, ""))[0], None) or 0
            sql = "SELECT EXISTS (SELECT 1 FROM embeddings_queue WHERE seq_id > ? AND topic = ?)"
            if reader.value(sql, (start, topics.get(part.collection, ""))):
                found.add(part.id)
    return frozenset(found)
