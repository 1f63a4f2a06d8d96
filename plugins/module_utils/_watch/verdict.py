# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a collection is as its last good export says it was. FOR INTERNAL COLLECTION USE ONLY.

``look`` asks the server, ``judge`` decides, ``settled`` believes a fault only when it is seen twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

HEALTHY, SERVER_DOWN = "healthy", "server_down"
MISSING, EMPTY, SHRUNKEN, UNREADABLE, VECTORS_LOST = "missing", "empty", "shrunken", "unreadable", "vectors_lost"
# Those after which the last good export is brought back; a server that is down could not take it.
RECOVERED = (MISSING, EMPTY, SHRUNKEN, UNREADABLE, VECTORS_LOST)
# Records of one request of the sample.
PAGE = 100
# Seconds between the two looks that make a fault, and how often it may be another one each time.
CONFIRM, LOOKS = 5.0, 4

# What a server that is away answers, or does not; everything else is its word.
_AWAY = ("unreachable", "unavailable", "timeout", "rate_limited")
_REFUSED = ("server_error", "invalid_request", "not_chroma")
_ALL = ["embeddings", "documents", "metadatas"]


@dataclass(frozen=True)
class Baseline:
    """The last good export of a collection.

    Args:
        generation: its number.
        records: how many it holds.
        created: when it was made, as text.
        largest: another one that is kept and holds more; what exports are compared with, too.
    """

    generation: int
    records: int
    created: str = ""
    largest: Baseline | None = None


@dataclass(frozen=True)
class Observation:
    """What a server said of a collection.

    Args:
        answers: whether it is there at all.
        collection: as it describes it; None where there is none.
        records: how many it counts; None where it could not say.
        sampled: how many records were read.
        readable: whether those can be read without their vectors.
        vectors: whether those have their vectors.
        detail: what it answered where it did not do as it was asked.
    """

    answers: bool = True
    collection: Collection | None = None
    records: int | None = None
    sampled: int = 0
    readable: bool = True
    vectors: bool = True
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a collection is: one of :data:`HEALTHY`, :data:`SERVER_DOWN` and :data:`RECOVERED`, and why, as a sentence."""

    kind: str
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether nothing has to be done."""
        return self.kind == HEALTHY


def look(client: ChromaClient, name: str, sample: int | None, patience: Patience) -> Observation:
    """Ask a server for a collection, its count, and some of its records.

    Args:
        sample: how many records to read, evenly spread; None for all.
        patience: how long the server may be away.

    Raises:
        ChromaError: what is neither the server's absence nor its word on the collection: ``unauthorized``, ``forbidden``, ``tls``, …
    """
    try:
        patience(client.heartbeat)
    except ChromaError as error:
        if error.code in (*_AWAY, *_REFUSED):
            return Observation(answers=False, detail=error.message)
        raise
    collection, records = None, None
    try:
        collection = patience(lambda: client.get_collection(name))
        if collection is None:
            return Observation()
        found = collection
        records = patience(lambda: client.count(found))
        return _sampled(client, found, records, records if sample is None else sample, patience)
    except ChromaError as error:
        if error.code == "not_found":  # it was deleted meanwhile
            return Observation()
        if error.code in _AWAY:
            return Observation(answers=False, detail=error.message)
        if error.code in _REFUSED:
            return Observation(True, collection, records, 0, readable=False, vectors=False, detail=error.message)
        raise


def judge(seen: Observation, baseline: Baseline | None, shrink_share: float) -> Verdict:
    """Decide what a collection is.

    Args:
        baseline: its last good export; None where there is none.
        shrink_share: the share of the export's records that it may have lost.
    """
    held = f"; generation {baseline.generation} has {baseline.records:,}" if baseline else ""
    if not seen.answers:
        return Verdict(SERVER_DOWN, f"The server does not answer: {seen.detail}")
    if not seen.readable:
        return Verdict(UNREADABLE, f"The server can't read it: {seen.detail}")
    if seen.collection is None:
        return Verdict(MISSING, f"There is no such collection{held}.")
    records = seen.records or 0
    if not records and baseline and baseline.records:
        return Verdict(EMPTY, f"It has no records{held}.")
    if not seen.vectors:
        return Verdict(VECTORS_LOST, f"It counts {records:,} records, and vectors of them are lost: {seen.detail}")
    # The last one alone would let it go by less than that share each hour.
    if baseline and records < (1 - shrink_share) * (best := baseline.largest or baseline).records:
        return Verdict(SHRUNKEN, f"It has {records:,} records; generation {best.generation} has {best.records:,}.")
    return Verdict(HEALTHY, f"It has {records:,} records; {seen.sampled:,} of them were read with their vectors{held}.")


def settled(again: Callable[[bool], Verdict], pause: float = CONFIRM, sleep: Callable[[float], None] = time.sleep) -> Verdict:
    """Return a verdict that was seen twice in a row; a healthy one counts at once.

    A server that starts, or a client that writes a collection anew, shows for a moment what is not so. One that says something else
    at each of :data:`LOOKS` looks is none to import into: it counts as down.

    Args:
        again: looks; it is told whether this look is to confirm another one.
        pause: seconds between two looks.
        sleep: replaced in unit tests.
    """
    verdict = again(False)
    for _look in range(LOOKS - 1):
        if verdict.healthy:
            return verdict
        sleep(pause)
        before, verdict = verdict, again(True)
        if verdict.kind == before.kind:
            return verdict
    if verdict.healthy:
        return verdict
    return Verdict(SERVER_DOWN, f"The server says something else each time, at last: {verdict.reason}")


def _sampled(client: ChromaClient, collection: Collection, records: int, sample: int, patience: Patience) -> Observation:
    """Read pages that are evenly spread over a collection; where one can't be read, see whether it can without vectors."""
    sampled = 0
    for start, rows in pages(records, sample):
        try:
            page = patience(partial(client.page, collection, _ALL, rows, start))
        except ChromaError as error:
            if error.code not in _REFUSED:
                raise
            patience(partial(client.page, collection, _ALL[1:], rows, start))
            return Observation(True, collection, records, sampled, vectors=False, detail=error.message)
        without = sum(each is None for each in page.get("embeddings") or [None] * len(page["ids"]))
        if without:
            detail = f"{without} of {len(page['ids'])} records came without one."
            return Observation(True, collection, records, sampled, vectors=False, detail=detail)
        sampled += len(page["ids"])
        if len(page["ids"]) < rows:
            left = patience(partial(client.count, collection))
            detail = f"{len(page['ids'])} of {rows} records came from place {start} on."
            # Where somebody deletes meanwhile, a page may be short; what is left is judged by its number.
            return Observation(True, collection, left, sampled, readable=left < records, detail=detail)
    return Observation(True, collection, records, sampled)


def pages(records: int, sample: int) -> list[tuple[int, int]]:
    """Return (first record, number of records) of the pages of a sample, none twice, among them the first and the last record."""
    wanted = min(records, sample)
    count = -(-wanted // PAGE)
    if count < 2:
        return [(0, wanted)] if wanted else []
    ends = [wanted * number // count for number in range(count + 1)]
    # What is left out is spread over the gaps between the pages.
    return [(ends[each] + (records - wanted) * each // (count - 1), ends[each + 1] - ends[each]) for each in range(count)]
