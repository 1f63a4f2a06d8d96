# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of records: metadata, lists and full text that belong to nobody, or to the wrong one. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import METADATA, Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import SUSPECTS, Database, OutOfTime, Row
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding, some

Again = Callable[[Database, Sequence[Finding]], list[Finding]]

_DOCUMENT = "chroma:document"
_CONTENT = "embedding_fulltext_search_content"


@dataclass(frozen=True)
class Scan:
    """One query over a table, in windows of an integer column that has an index.

    Args:
        kinds: identifier → message with ``{number}`` and ``{ids}``.
        sql: returns row ids and identifiers; ``{where}`` stands for the window.
        since: the migration that brings the table; None for the first ones.
    """

    kinds: Mapping[str, str]
    table: str
    column: str
    sql: str
    since: tuple[str, int] | None = None


# Before this migration a state is what Chroma leaves, and no finding.
QUIET_BEFORE = {"CHR085": ("sysdb", 5)}

SCANS = (
    Scan(
        {"CHR081": "{number} row ids of embedding_metadata belong to no record: {ids}."},
        "embedding_metadata",
        "id",
        "SELECT d.id, 'CHR081' FROM (SELECT DISTINCT t.id FROM embedding_metadata t WHERE {where}) d"
        " WHERE NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.id = d.id)",
    ),
    Scan(
        {"CHR084": "{number} documents are not in the full-text index; row ids {ids}."},
        "embeddings",
        "id",
        "SELECT t.id, 'CHR084' FROM embeddings t WHERE {where}"
        # First, because it is nearly never true.
        " AND NOT EXISTS (SELECT 1 FROM embedding_fulltext_search_docsize s WHERE s.id = t.id)"
        f" AND EXISTS (SELECT 1 FROM embedding_metadata m WHERE m.id = t.id AND m.key = '{_DOCUMENT}' AND m.string_value IS NOT NULL)",
    ),
    Scan(
        {
            "CHR082": "{number} row ids of embedding_metadata_array belong to no record: {ids}.",
            # Chroma replaces one by the other, and takes lists of one type only.
            "CHR083": "{number} records have a key both as a list and as a single value, or a list of several types; row ids {ids}.",
        },
        "embedding_metadata_array", "id",
        "SELECT DISTINCT id, CASE WHEN EXISTS (SELECT 1 FROM embeddings e WHERE e.id = g.id) THEN 'CHR083' ELSE 'CHR082' END FROM"
        " (SELECT t.id, (count(string_value) > 0) + (count(int_value) > 0) + (count(float_value) > 0) + (count(bool_value) > 0) > 1"
        "  OR EXISTS (SELECT 1 FROM embedding_metadata m WHERE m.id = t.id AND m.key = t.key) AS mixed"
        "  FROM embedding_metadata_array t WHERE {where} GROUP BY t.id, t.key) g"
        " WHERE mixed OR NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.id = g.id)",
        ("metadb", 6),
    ),
    Scan(
        {
            "CHR085": "{number} rows of the full-text index belong to no document: {ids}.",
            "CHR086": "{number} rows of the full-text index hold another text than the document: {ids}.",
        },
        _CONTENT, "id",
        # 0.5 and 0.6 add a row without text for a record without document.
        f"SELECT t.id, CASE WHEN m.id IS NULL THEN 'CHR085' ELSE 'CHR086' END FROM {_CONTENT} t"
        f" LEFT JOIN embedding_metadata m ON m.id = t.id AND m.key = '{_DOCUMENT}' WHERE {{where}} AND m.string_value IS NOT t.c0",
    ),
)  # fmt: skip


def scans(catalogue: Catalogue) -> Iterator[tuple[str, Callable[[Database], list[Finding]], Again]]:
    """Yield what this schema allows to scan: a name, the check, and the check of only those rows that it found."""
    quiet = {kind for kind, migration in QUIET_BEFORE.items() if not catalogue.has(*migration)}
    for scan in SCANS:
        if not scan.since or catalogue.has(*scan.since):
            yield f"{' and '.join(scan.kinds)} in {scan.table}", _check(scan, quiet), _look_again(scan, quiet)


def _look_again(scan: Scan, quiet: set[str]) -> Again:
    def again(database: Database, found: Sequence[Finding]) -> list[Finding]:
        rows = sorted({row for each in found for row in each.rows})
        where = f"t.{scan.column} IN ({','.join(map(str, rows))})"
        return _told(scan, quiet, [database.rows(scan.sql.format(where=where))])

    return again


def _check(scan: Scan, quiet: set[str]) -> Callable[[Database], list[Finding]]:
    def check(database: Database) -> list[Finding]:
        windows = database.windows(scan.table, scan.column)
        return _told(scan, quiet, (rows for above, upto in windows for rows in _halved(database, scan, above, upto)))

    return check


def _halved(database: Database, scan: Scan, above: int, upto: int) -> Iterator[list[Row]]:
    """Yield what a window has; halve it as long as it takes too long."""
    try:
        where = f"t.{scan.column} > ? AND t.{scan.column} <= ?"
        yield database.rows(scan.sql.format(where=where), (above, upto))
    except OutOfTime:
        if upto - above <= 1:
            raise
        middle = (above + upto) // 2
        yield from _halved(database, scan, above, middle)
        yield from _halved(database, scan, middle, upto)


def _told(scan: Scan, quiet: set[str], pages: Iterable[list[Row]]) -> list[Finding]:
    """Turn rows into one finding for each identifier, with the first of them."""
    kept: dict[str, list[int]] = {}
    numbers: Counter[str] = Counter()
    for page in pages:
        for row, kind in page:
            numbers[kind] += 1
            if len(kept.setdefault(kind, [])) < SUSPECTS:
                kept[kind].append(int(row))
    return [
        finding(kind, scan.kinds[kind].format(number=numbers[kind], ids=some(rows)), subject=scan.table, rows=rows)
        for kind, rows in sorted(kept.items())
        if kind not in quiet
    ]


def check_strangers(database: Database) -> list[Finding]:
    """Check that each record's segment exists and is a METADATA segment."""
    known = {str(row[0]) for row in database.rows("SELECT id FROM segments WHERE scope = ?", (METADATA,))}
    found: list[Finding] = []
    segment = ""
    while True:
        # One step of the index for each segment, however many records it has.
        segment = database.value("SELECT min(segment_id) FROM embeddings WHERE segment_id > ?", (segment,))
        if segment is None:
            return found
        if segment not in known:
            number = database.value("SELECT count(*) FROM embeddings WHERE segment_id = ?", (segment,))
            message = f"{number} records belong to segment {segment}, which does not exist."
            found.append(finding("CHR080", message, segment=str(segment)))


def check_search(database: Database) -> list[Finding]:
    """Check that the full-text index finds what it holds: some documents by a part of their text."""
    try:
        return list(_search(database))
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return [finding("CHR086", f"The full-text index cannot be searched: {error}.", subject="search")]


def _search(database: Database) -> Iterator[Finding]:
    lost = [row for row, text in _samples(database) if not _finds(database, row, text)]
    if lost:
        yield finding("CHR086", f"Of a sample the full-text index does not find rows {some(lost)} by their own text.", subject="search")


def _samples(database: Database, number: int = 20) -> list[tuple[int, str]]:
    """Return rows spread over the index, and a part of the text of each that the trigram tokenizer can search for."""
    low, high = database.rows(f"SELECT min(id), max(id) FROM {_CONTENT}")[0]
    if low is None:
        return []
    samples = {}
    for step in range(number):
        row = database.rows(
            f"SELECT id, substr(c0, 1, 24) FROM {_CONTENT} WHERE id >= ? ORDER BY id LIMIT 1", (low + (high - low) * step // number,)
        )
        text = row[0][1] if row else None
        if isinstance(text, str) and len(text) >= 3 and "\0" not in text:
            samples[int(row[0][0])] = text
    return list(samples.items())


def _finds(database: Database, row: int, text: str) -> bool:
    phrase = '"' + text.replace('"', '""') + '"'
    sql = "SELECT 1 FROM embedding_fulltext_search WHERE embedding_fulltext_search MATCH ? AND rowid = ?"
    return bool(database.rows(sql, (phrase, row)))
