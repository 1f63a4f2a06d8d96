# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations of a collection are kept, and which one a source is compared with. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation

KEEP, KEEP_DAYS = 3, 7


def largest(generations: Iterable[Generation]) -> Generation | None:
    """Return the generation with the most records since a loss was last accepted; of equal ones the newest.

    The last generation alone would let a collection go by less than the half each hour.

    Args:
        generations: of one collection.
    """
    every = sorted(generations, key=lambda each: each.number)
    accepted = max((each.number for each in every if each.accepted), default=0)
    return max((each for each in every if each.number >= accepted), key=lambda each: (each.records, each.number), default=None)


def too_many(generations: Iterable[Generation], keep: int, days: int) -> list[Generation]:
    """Return the generations of one collection that no retention keeps.

    Kept are the current one, the largest, the newest others, and the last one of each of the last days on which there was an export.

    Args:
        generations: of one collection.
        keep: how many others.
        days: how many days, in UTC.
    """
    every = sorted(generations, key=lambda each: -each.number)
    best = largest(every)
    last: dict[str, int] = {}
    for each in every:
        last.setdefault(each.created[:10], each.number)
    kept = {last[day] for day in sorted(last, reverse=True)[:days]} | ({best.number} if best else set())
    kept |= {each.number for each in [each for each in every if not each.current][:keep]}
    return [each for each in every if not each.current and each.number not in kept]
