# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead log and the positions that segments have in it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.wal import ADD, DELETE, UPDATE, UPSERT, position
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import read_catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding

# The log counts writes: at a million a second it takes thirty years to come here. Upgrades from 0.x that read a position's
# bytes as text left values like 1.2e18.
POISONED = 10**15
# The largest batch that a client sends.
_BATCH = 41_666
# A log entry's vector, by encoding: bytes of one number.
_ENCODINGS = {"FLOAT32": 4, "INT32": 4}
_PAGE = 20_000
# Whether the log lacks the vector of a record of a collection, or nobody knows its records. Where an index was never saved, nothing of the
# log was removed.
LACKS = f"""
    SELECT NOT EXISTS (SELECT 1 FROM segments WHERE collection = ?1 AND scope = 'METADATA') OR EXISTS (
        SELECT 1 FROM embeddings e JOIN segments s ON s.id = e.segment_id WHERE s.collection = ?1 AND s.scope = 'METADATA'
        AND e.embedding_id NOT IN (
            SELECT id FROM embeddings_queue WHERE topic LIKE '%/' || ?1 AND operation IN ({ADD}, {UPSERT}) AND vector IS NOT NULL
        )
    )
"""


@dataclass(frozen=True)
class Change:
    """A log entry, as far as membership is concerned: its operation and id."""

    operation: int
    id: str


def usable(raw: Any, last: int | None) -> int | None:
    """Return a position as a number where the log can have it; None where there is none, or it is wrong.

    Args:
        raw: as it is stored.
        last: the log's last entry; None where the log is empty.
    """
    number = position(raw)
    return None if number is None or number >= POISONED or (last is not None and number > last) else number


def check_positions(database: Database) -> list[Finding]:
    """Check type and value of each position that belongs to a segment; leftovers of deleted ones harm nobody."""
    catalogue = read_catalogue(database)
    last = database.value("SELECT max(seq_id) FROM embeddings_queue")
    # A position of an older schema is bytes, of a newer one an integer.
    wanted = "integer" if catalogue.has("metadb", 5) else "blob"
    found = []
    for part in catalogue.segments:
        if part.id not in catalogue.positions:
            continue
        raw, kind = catalogue.positions[part.id]
        number = position(raw)
        label = catalogue.label(part.collection)
        about = f"The position of the {part.scope} segment"
        if kind != wanted or (kind == "blob" and len(raw) not in (8, 24)):
            found.append(finding("CHR061", f"{about} is {kind} {raw!r:.60}; this schema has {wanted}.", label, part.id))
        elif number is None or number >= POISONED:
            found.append(finding("CHR060", f"{about} is {raw if number is None else number}, which no log reaches.", label, part.id))
        elif last is not None and number > last:
            found.append(finding("CHR062", f"{about} is {number}, the log ends at {last}.", label, part.id))
    return found


def check_log(database: Database) -> list[Finding]:
    """Check that each entry belongs to a collection and is one that can be replayed."""
    catalogue = read_catalogue(database)
    found: list[Finding] = []
    dimensions = {entry.id: (entry.label, entry.dimension) for entry in catalogue.collections}
    strangers: dict[str, int] = {}
    broken: dict[str, list[int]] = {}
    for above, upto in database.windows("embeddings_queue", "seq_id"):
        sql = "SELECT topic, count(*) FROM embeddings_queue WHERE seq_id > ? AND seq_id <= ? GROUP BY topic"
        for topic, number in database.rows(sql, (above, upto)):
            if owner(topic) not in dimensions:
                strangers[topic] = strangers.get(topic, 0) + number
        # One row for each kind of entry: the lengths are in the header of the row, the vectors are not read.
        sql = (
            "SELECT topic, operation, encoding, typeof(vector), length(vector), count(*), min(seq_id) FROM embeddings_queue"
            " WHERE seq_id > ? AND seq_id <= ? GROUP BY 1, 2, 3, 4, 5"
        )
        for topic, operation, encoding, kind, length, number, first in database.rows(sql, (above, upto)):
            label, dimension = dimensions.get(owner(topic), ("", None))
            if label and not _replayable(operation, encoding, kind, length, dimension):
                seen = broken.setdefault(label, [0, first])
                seen[0] += number
    for topic, number in sorted(strangers.items()):
        found.append(finding("CHR064", f"{number} log entries belong to {owner(topic)}, which is no collection.", subject=owner(topic)))
    for label, (number, first) in sorted(broken.items()):
        message = f"{number} log entries have an unknown operation, or a vector of another length or encoding; the first is {first}."
        found.append(finding("CHR065", message, label))
    return found


def check_lag(database: Database, topic: str, threshold: int, start: int) -> list[Finding]:
    """Check that the index follows the log: not more entries wait for it than a synchronisation and a batch explain."""
    allowed = 2 * threshold + _BATCH
    behind = database.value(
        "SELECT count(*) FROM (SELECT 1 FROM embeddings_queue WHERE seq_id > ? AND topic = ? LIMIT ?)", (start, topic, allowed + 1)
    )
    if behind <= allowed:
        return []
    message = f"More than {allowed} log entries wait for the index."
    return [finding("CHR063", message)]


def changes(database: Database, topic: str, start: int) -> Iterator[Change]:
    """Yield the entries of a collection beyond a position, oldest first."""
    while True:
        rows = database.rows(
            "SELECT seq_id, operation, id FROM embeddings_queue WHERE seq_id > ? AND topic = ? ORDER BY seq_id LIMIT ?",
            (start, topic, _PAGE),
        )
        for _seq_id, operation, name in rows:
            yield Change(operation, str(name))
        if len(rows) < _PAGE:
            return
        start = rows[-1][0]


def membership(entries: Iterator[Change]) -> Mapping[str, bool]:
    """Return which ids exist after the entries, and which do not; those that are not touched are absent.

    Replaying from any earlier point gives the same, for only the last addition or deletion of an id counts.
    """
    last: dict[str, bool] = {}
    for entry in entries:
        if entry.operation in (ADD, UPSERT):
            last[entry.id] = True
        elif entry.operation == DELETE:
            last[entry.id] = False
    return last


def owner(topic: Any) -> str:
    """Return the collection's id in a topic: ``persistent://default/default/<id>``."""
    return str(topic).rpartition("/")[2]


def _replayable(operation: Any, encoding: Any, kind: str, length: int | None, dimension: Any) -> bool:
    if operation not in (ADD, UPDATE, UPSERT, DELETE):
        return False
    if kind == "null":
        return operation in (UPDATE, DELETE)
    if kind != "blob" or encoding not in _ENCODINGS or not length or length % _ENCODINGS[encoding]:
        return False
    return not isinstance(dimension, int) or length == dimension * _ENCODINGS[encoding]
