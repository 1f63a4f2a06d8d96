# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Chroma takes as metadata and as an embedding. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

_INT64 = range(-(2**63), 2**63)

# Largest difference relative to the length of the vector. A cosine index stores unit vectors and their length, and
# multiplies again: 4.3e-8 was measured on 0.4.24 to 1.5.9 for lengths from 0.006 to 71, with indexes written to disk.
COSINE_TOLERANCE = 1e-6


def check_metadata(owner: str, metadata: Mapping[str, Any], lists: bool, nulls: bool) -> None:
    """Refuse metadata that a release of Chroma would drop silently, store as something else, or crash on.

    Args:
        owner: what the metadata belongs to, for the message.
        lists: whether lists are allowed; in the metadata of a collection one panics a worker of 1.x,
            and 0.x drops them silently from records.
        nulls: whether null is allowed; in an update it removes the key.

    Raises:
        ChromaError: ``invalid_metadata``.
    """
    for key, value in metadata.items():
        if not isinstance(key, str) or not key or key.startswith("chroma:"):
            raise _refused(owner, key, "keys are text, not empty, and do not start with chroma:")
        if isinstance(value, list):
            if not lists:
                raise _refused(owner, key, "a list is not possible here; use one key for each value, or a joined text")
            if not value or any(type(each) is not type(value[0]) or not _is_scalar(each) for each in value):
                raise _refused(
                    owner, key, "a list must not be empty, and all its values must be of one type: text, integer, float or boolean"
                )
        elif value is None:
            if not nulls:
                raise _refused(owner, key, "null is not possible here; leave the key out")
        elif not _is_scalar(value):
            raise _refused(owner, key, f"{type(value).__name__} is not possible; use text, a 64-bit integer, a finite float or a boolean")


def same_value(first: Any, second: Any) -> bool:
    """Return whether two metadata values are the same to Chroma, which keeps 1, 1.0 and true apart."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same_value, first, second))
    return type(first) is type(second) and bool(first == second)


def same_metadata(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two metadata have the same keys and values."""
    return first.keys() == second.keys() and all(same_value(value, second[key]) for key, value in first.items())


def check_embedding(owner: str, embedding: Sequence[float], dimension: int | None) -> None:
    """Refuse an embedding that is empty, not finite in float32, or of another dimension.

    Args:
        owner: what the embedding belongs to, for the message.
        embedding: ``(dim,)``.
        dimension: of the collection; None while it has none.

    Raises:
        ChromaError: ``invalid_embedding`` or ``dimension_mismatch``.
    """
    if not embedding:
        raise ChromaError("invalid_embedding", f"The embedding of {owner} is empty.", "Pass a list of numbers.")
    if not all(math.isfinite(value) for value in _float32(owner, embedding)):
        raise ChromaError("invalid_embedding", f"The embedding of {owner} has NaN or infinity as float32.", "Look at the model's output.")
    if dimension is not None and len(embedding) != dimension:
        message = f"The embedding of {owner} has {len(embedding)} dimensions, the collection has {dimension}."
        raise ChromaError("dimension_mismatch", message, "Use the model that filled the collection, or another collection.")


def same_embedding(stored: Sequence[float], wanted: Sequence[float], space: str) -> bool:
    """Return whether a stored embedding is the wanted one as Chroma keeps it: float32.

    Args:
        stored, wanted: ``(dim,)``.
        space: ``l2`` and ``ip`` come back bit-exact; ``cosine`` within :data:`COSINE_TOLERANCE` of the length.
    """
    if len(stored) != len(wanted):
        return False
    first, second = array("f", stored), array("f", wanted)
    if space != "cosine":
        return first == second
    tolerance = COSINE_TOLERANCE * math.sqrt(math.fsum(value * value for value in second))
    return all(abs(one - other) <= tolerance for one, other in zip(first, second, strict=True))


def _float32(owner: str, embedding: Sequence[float]) -> array[float]:
    try:
        return array("f", embedding)
    except (TypeError, OverflowError) as error:
        raise ChromaError("invalid_embedding", f"The embedding of {owner} is not a list of numbers: {error}.", "Pass numbers.") from error


def _is_scalar(value: Any) -> bool:
    if isinstance(value, int):  # also a boolean
        return value in _INT64
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, str)


def _refused(owner: str, key: Any, rule: str) -> ChromaError:
    return ChromaError("invalid_metadata", f"Metadata {key!r} of {owner} is refused: {rule}.", "Correct the value.")
