# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server holds the records of a dataset. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._client import PAGE, ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience, spread
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import holds
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._values import COSINE_TOLERANCE, same_value

# Bytes of one answer; a number of an embedding takes about twelve of them.
_ANSWER_BYTES = 16 * 1024 * 1024
_NAMED = 10


@dataclass(frozen=True)
class Difference:
    """A record that the server holds otherwise than the dataset.

    Args:
        row: its place among the rows compared.
        id: its id.
        parts: what differs: ``missing`` alone, or some of ``vector``, ``document``, ``metadata``, ``uri``.
    """

    row: int
    id: str
    parts: tuple[str, ...]


def stored(client: ChromaClient, collection: Collection, rows: Rows) -> dict[str, dict[str, Any]]:
    """Return what the server holds under the ids of some rows: id → record; absent ones are left out."""
    page = max(1, min(PAGE, _ANSWER_BYTES // (12 * max(1, rows.vectors.shape[1]))))
    return {row["id"]: row for row in client.get(collection, rows.ids, page=page)}


def differences(rows: Rows, found: Mapping[str, Mapping[str, Any]], space: str, legacy: bool) -> list[Difference]:
    """Return where the server's records are not the dataset's, in the order of the rows.

    Args:
        rows: of the dataset.
        found: what :func:`stored` returned for them.
        space: vectors of ``l2`` and ``ip`` have to be equal in all bits, those of ``cosine`` within ``COSINE_TOLERANCE`` of their length.
        legacy: the server is a 0.x, which holds every float; 1.x may hold a neighbour (see ``floats``), and then has to hold just that.
    """
    wrong_vectors = _wrong_vectors(rows, found, space)
    seen = []
    for row, (record, document, metadata, uri) in enumerate(zip(rows.ids, rows.documents, rows.metadatas, rows.uris, strict=True)):
        have = found.get(record)
        if have is None:
            seen.append(Difference(row, record, ("missing",)))
            continue
        parts = (
            ("vector", row in wrong_vectors),
            ("document", have.get("document") != document),
            ("metadata", not _same_metadata(have.get("metadata") or {}, metadata or {}, legacy)),
            ("uri", have.get("uri") != uri),
        )
        if any(differs for _part, differs in parts):
            seen.append(Difference(row, record, tuple(part for part, differs in parts if differs)))
    return seen


def verify(
    client: ChromaClient,
    collection: Collection,
    pages: Iterable[Rows],
    patience: Patience,
    width: int = 4,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Read every record of a dataset's collection back from the server, and compare it.

    Args:
        pages: all rows, in pages of any size.
        width: requests in flight.
        advance: told how many records were compared.

    Returns:
        How many records were compared; all of them were equal.

    Raises:
        ChromaError: ``not_verified``, with ``differing`` (the first ids, and what differs) in its result.
    """

    def compare(rows: Rows) -> tuple[int, list[Difference]]:
        found = patience(lambda: stored(client, collection, rows))
        return len(rows), differences(rows, found, collection.space, client.legacy)

    compared = count = 0
    first: list[Difference] = []
    for size, different in spread(compare, pages, width, patience):
        compared += size
        count += len(different)
        first = (first + different)[:_NAMED]
        advance(size)
    if count:
        raise not_verified(collection.name, count, compared, first)
    return compared


def not_verified(name: str, count: int, compared: int, first: Iterable[Difference]) -> ChromaError:
    """Return the error that names a collection, how many of its records differ, and the first of them."""
    # Pages are compared side by side, and come in any order.
    named = [{"id": each.id, "differs": list(each.parts)} for each in sorted(first, key=lambda each: each.id)]
    shown = "; ".join(f"{each['id']!r} ({', '.join(each['differs'])})" for each in named)
    return ChromaError(
        "not_verified",
        f"{count} of {compared} records of collection {name} are not on the server as they are in the dataset. The first: {shown}.",
        "Look for another client that writes to the collection, and at the server's log; then run the import again: it mends what differs.",
        {"collection": name, "differing": named, "differing_count": count},
    )


def _wrong_vectors(rows: Rows, found: Mapping[str, Mapping[str, Any]], space: str) -> set[int]:
    dimension = rows.vectors.shape[1]
    have = [(row, (found.get(each) or {}).get("embedding")) for row, each in enumerate(rows.ids)]
    wrong = {row for row, vector in have if vector is None or len(vector) != dimension}
    places = [row for row, _vector in have if row not in wrong]
    if not places:
        return wrong
    stored_vectors = np.array([vector for row, vector in have if row not in wrong], np.float32)
    wanted = np.ascontiguousarray(rows.vectors[places], np.float32)
    if space == "cosine":
        tolerance = COSINE_TOLERANCE * np.linalg.norm(wanted.astype(np.float64), axis=1, keepdims=True)
        same = (np.abs(stored_vectors.astype(np.float64) - wanted) <= tolerance).all(axis=1)
    else:
        same = (stored_vectors.view(np.uint32) == wanted.view(np.uint32)).all(axis=1)
    return wrong | {places[each] for each in np.flatnonzero(~same)}


def _same_metadata(have: Mapping[str, Any], want: Mapping[str, Any], legacy: bool) -> bool:
    same = same_value if legacy else holds
    return have.keys() == want.keys() and all(same(have[key], value) for key, value in want.items())
