# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an index leads to records: each of some is asked for by its own vector. FOR INTERNAL COLLECTION USE ONLY.

HNSW is approximate: an index that is right may lead to no path to one or the other record, in the original as in its copy. So one that is
not found is counted and told, and only where none is found the index is not what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient

# Records of each collection that are compared and asked for.
SAMPLE = 20
# Neighbours that Chroma is asked for first, and where the record itself is not among them: its search is approximate.
NEAR, FAR = 10, 500
# Of what rounding adds to a distance: of float32, relative to the squares of the vector's numbers, or to 1 by cosine.
_ROUNDING = 1e-5


def sample_offsets(count: int) -> list[int]:
    """Return the places of at most :data:`SAMPLE` of some records, evenly spread."""
    return sorted({number * count // SAMPLE for number in range(SAMPLE)}) if count else []


def unreached(client: ChromaClient, collection: Collection, ids: Sequence[str], vectors: Any, space: str, count: int) -> list[str]:
    """Ask for the neighbours of each of some records, by its own vector.

    Args:
        ids: of the records.
        vectors: theirs, ``(n, dimension)`` float32.
        space: distance function of the index.
        count: records of the collection.

    Returns:
        The ids of those that Chroma finds neither among :data:`FAR` neighbours, nor anything as near as they are to themselves.
    """
    missed = list(range(len(ids)))
    for most in (NEAR, FAR):
        missed = _missed(client, collection, ids, vectors, space, missed, min(most, count))
        if not missed or most >= count:
            break
    return [ids[each] for each in missed]


def reaches(name: str, vector: Any, space: str, neighbours: Sequence[dict[str, Any]]) -> bool:
    """Return whether the neighbours that were found for a record's own vector show that the index leads there.

    The record is one of them, or the nearest one is no farther than the record is from itself: another in the same place, or by inner
    product a longer one.

    Args:
        neighbours: ``id`` and ``distance``, nearest first.
    """
    if any(each["id"] == name for each in neighbours):
        return True
    square = float((vector.astype("float64") ** 2).sum())
    # Chroma's distances of a vector to itself: 1 - v·v by inner product (hnswlib's space_ip.h), otherwise 0.
    own = 1.0 - square if space == "ip" else 0.0
    rounding = _ROUNDING * (1.0 if space == "cosine" else max(1.0, square) if space == "ip" else square)
    return bool(neighbours) and neighbours[0]["distance"] <= own + rounding


def _missed(
    client: ChromaClient, collection: Collection, ids: Sequence[str], vectors: Any, space: str, which: list[int], most: int
) -> list[int]:
    asked = vectors[which]
    answers = client.query(collection, asked.tolist(), most, include=["distances"])
    return [
        each for each, vector, neighbours in zip(which, asked, answers, strict=True) if not reaches(ids[each], vector, space, neighbours)
    ]
