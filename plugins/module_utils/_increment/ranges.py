# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of SQLite's rowids as ranges: of n records in a row it takes two numbers to say which live. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np


def ranges_of(rowids: Any) -> Any:
    """Return a set of rowids as ranges.

    Args:
        rowids: ``(n,)`` int64, ascending, each once.

    Returns:
        ``(k, 2)`` int64: first and last of each range, ascending.
    """
    if not len(rowids):
        return np.empty((0, 2), np.int64)
    edges = np.flatnonzero(np.diff(rowids) != 1)
    return np.stack([rowids[np.concatenate(([0], edges + 1))], rowids[np.concatenate((edges, [len(rowids) - 1]))]], axis=1)


def size(ranges: Any) -> int:
    """Return how many rowids the ranges hold."""
    return int((ranges[:, 1] - ranges[:, 0] + 1).sum())


def within(ranges: Any, rowids: Any) -> Any:
    """Return for each rowid whether the ranges hold it, ``(n,)`` bool."""
    if not len(ranges):
        return np.zeros(len(rowids), np.bool_)
    at = np.searchsorted(ranges[:, 0], rowids, side="right") - 1
    return (at >= 0) & (rowids <= ranges[np.maximum(at, 0), 1])


def joined(parts: Sequence[Any]) -> Any:
    """Return ascending ranges that follow on each other as one set: neighbours become one range."""
    every = np.concatenate([np.empty((0, 2), np.int64), *parts])
    first = np.concatenate(([True], every[1:, 0] > every[:-1, 1] + 1))[: len(every)]
    last = np.concatenate((first[1:], [True]))[: len(every)]
    return np.stack([every[first, 0], every[last, 1]], axis=1)


def without(ranges: Any, rowids: Any) -> Any:
    """Return ranges less some rowids.

    Args:
        rowids: ``(n,)`` int64, each of them in the ranges, each once, in any order.
    """
    starts = np.sort(np.concatenate((ranges[:, 0], rowids + 1)))
    ends = np.sort(np.concatenate((ranges[:, 1], rowids - 1)))
    kept = starts <= ends
    return np.stack([starts[kept], ends[kept]], axis=1)


def missing(outer: Any, inner: Any) -> bool:
    """Return whether a range of ``inner`` is not whole in one of ``outer``."""
    at = np.searchsorted(outer[:, 0], inner[:, 0], side="right") - 1
    return bool(len(inner)) and not (len(outer) and ((at >= 0) & (inner[:, 1] <= outer[np.maximum(at, 0), 1])).all())


def pick(ranges: Any, count: int) -> list[int]:
    """Return at most so many rowids, evenly spread, the first and the last among them."""
    if not len(ranges):
        return []
    before = np.concatenate(([0], np.cumsum(ranges[:, 1] - ranges[:, 0] + 1)))
    wanted = np.unique(np.linspace(0, before[-1] - 1, count).astype(np.int64))
    at = np.searchsorted(before, wanted, side="right") - 1
    found: list[int] = (ranges[at, 0] + wanted - before[at]).tolist()
    return found


def encode(ranges: Any) -> list[int]:
    """Return ranges as numbers for JSON: the gap before each, and its length. Most are small."""
    before = np.concatenate(([0], ranges[:-1, 1])) if len(ranges) else np.empty(0, np.int64)
    found: list[int] = np.stack([ranges[:, 0] - before, ranges[:, 1] - ranges[:, 0] + 1], axis=1).reshape(-1).tolist()
    return found


def decode(numbers: Sequence[int]) -> Any:
    """Return the ranges that :func:`encode` wrote.

    Raises:
        ValueError: they are none.
    """
    pairs = np.array(numbers, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs[1:, 0].min(initial=2) < 2 or pairs[0, 0] < -(1 << 62) or pairs[:, 1].min() < 1):
        raise ValueError("ranges of rowids overlap or are empty")
    # The first number is where the first range begins; the next ones count from the end of the range before.
    ends = np.cumsum(pairs[:, 0]) + np.cumsum(pairs[:, 1]) - np.arange(1, len(pairs) + 1)
    return np.stack([ends - pairs[:, 1] + 1, ends], axis=1)
