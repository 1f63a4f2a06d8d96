# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of records: metadata, lists and full text that belong to nobody, or to the wrong one. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import METADATA, Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import SUSPECTS, Database, OutOfTime
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS, Finding, finding, some

_DOCUMENT = "chroma:document"
_CONTENT = "embedding_fulltext_search_content"


@dataclass(frozen=True)
class Scan:
    """One query over a table, in windows of an integer column.

    Args:
        kind: of the finding.
        table, column: what is scanned; the column has an index.
        sql: returns ids; ``{where}`` stands for the window.
        message: with ``{number}`` and ``{ids}``.
        since: the migration that brings the table; None for the first ones.
        quiet_before: before this migration the state is what Chroma leaves, and no finding.
    """

    kind: str
    table: str
    column: str
    sql: str
    message: str
    since: tuple[str, int] | None = None
    quiet_before: tuple[str, int] | None = None


SCANS = (
    Scan(
        "CHR081", "embedding_metadata", "id",
        "SELECT DISTINCT t.id FROM embedding_metadata t WHERE {where} AND NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.id = t.id)",
        "{number} row ids of embedding_metadata belong to no record: {ids}.",
    ),
    Scan(
        "CHR082", "embedding_metadata_array", "id",
        "SELECT DISTINCT t.id FROM embedding_metadata_array t WHERE {where} AND NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.id = t.id)",
        "{number} row ids of embedding_metadata_array belong to no record: {ids}.",
        since=("metadb", 6),
    ),
    Scan(
        "CHR083", "embedding_metadata_array", "id",
        # Chroma replaces one by the other, and takes lists of one type only.
        "SELECT DISTINCT id FROM (SELECT t.id, t.key FROM embedding_metadata_array t WHERE {where} GROUP BY t.id, t.key HAVING"
        " (count(string_value) > 0) + (count(int_value) > 0) + (count(float_value) > 0) + (count(bool_value) > 0) > 1"
        " OR EXISTS (SELECT 1 FROM embedding_metadata m WHERE m.id = t.id AND m.key = t.key)) g"
        " WHERE EXISTS (SELECT 1 FROM embeddings e WHERE e.id = g.id)",
        "{number} records have a key both as a list and as a single value, or a list of several types; row ids {ids}.",
        since=("metadb", 6),
    ),
    Scan(
        "CHR084", "embedding_metadata", "id",
        f"SELECT t.id FROM embedding_metadata t WHERE {{where}} AND t.key = '{_DOCUMENT}'"
        f" AND NOT EXISTS (SELECT 1 FROM {_CONTENT} c WHERE c.id = t.id) AND t.string_value IS NOT NULL",
        "{number} documents are not in the full-text index; row ids {ids}.",
    ),
    Scan(
        "CHR085", _CONTENT, "id",
        f"SELECT t.id FROM {_CONTENT} t WHERE {{where}}"
        f" AND NOT EXISTS (SELECT 1 FROM embedding_metadata m WHERE m.id = t.id AND m.key = '{_DOCUMENT}')"
        # 0.5 and 0.6 add a row without text for a record without document.
        " AND t.c0 IS NOT NULL",
        "{number} rows of the full-text index belong to no document: {ids}.",
        quiet_before=("sysdb", 5),
    ),
    Scan(
        "CHR086", _CONTENT, "id",
        f"SELECT t.id FROM {_CONTENT} t JOIN embedding_metadata m ON m.id = t.id AND m.key = '{_DOCUMENT}'"
        " WHERE {where} AND m.string_value IS NOT t.c0",
        "{number} rows of the full-text index hold another text than the document: {ids}.",
    ),
)  # fmt: skip


def scans(catalogue: Catalogue) -> Iterator[tuple[Scan, Callable[[Database], list[Finding]]]]:
    """Yield the scans that this schema allows, and the check of each."""
    for scan in SCANS:
        if scan.since and not catalogue.has(*scan.since):
            continue
        if scan.quiet_before and not catalogue.has(*scan.quiet_before):
            continue
        yield scan, _check(scan)


def look_again(scan: Scan) -> Callable[[Database, Sequence[Finding]], list[Finding]]:
    """Return a check of only the rows that an earlier run found."""

    def again(database: Database, found: Sequence[Finding]) -> list[Finding]:
        rows = [row for each in found for row in each.rows]
        still = [row[0] for row in database.rows(scan.sql.format(where=f"t.{scan.column} IN ({','.join(map(str, rows))})"))]
        return _told(scan, still, len(still))

    return again


def _check(scan: Scan) -> Callable[[Database], list[Finding]]:
    def check(database: Database) -> list[Finding]:
        kept: list[int] = []
        number = 0
        for above, upto in database.windows(scan.table, scan.column):
            for rows in _halved(database, scan, above, upto):
                number += len(rows)
                kept += rows[: SUSPECTS - len(kept)]
        return _told(scan, kept, number)

    return check


def _halved(database: Database, scan: Scan, above: int, upto: int) -> Iterator[list[int]]:
    """Yield what a window has; halve it as long as it takes too long."""
    try:
        where = f"t.{scan.column} > ? AND t.{scan.column} <= ?"
        yield [int(row[0]) for row in database.rows(scan.sql.format(where=where), (above, upto))]
    except OutOfTime:
        if upto - above <= 1:
            raise
        middle = (above + upto) // 2
        yield from _halved(database, scan, above, middle)
        yield from _halved(database, scan, middle, upto)


def _told(scan: Scan, rows: list[int], number: int) -> list[Finding]:
    if not rows:
        return []
    kind = KINDS[scan.kind]
    return [finding(kind.id, scan.message.format(number=number, ids=some(rows)), subject=scan.table, rows=rows)]


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
    """Check that the full-text index finds what it holds: its row counts, and some documents by a part of their text."""
    try:
        return list(_search(database))
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return [finding("CHR086", f"The full-text index cannot be searched: {error}.", subject="search")]


def _search(database: Database) -> Iterator[Finding]:
    rows = database.value(f"SELECT count(*) FROM {_CONTENT}")
    sizes = database.value("SELECT count(*) FROM embedding_fulltext_search_docsize")
    if rows != sizes:
        yield finding("CHR086", f"The full-text index has {rows} texts and the lengths of {sizes}.", subject="docsize")
    lost = [row for row, text in _samples(database) if not _finds(database, row, text)]
    if lost:
        yield finding("CHR086", f"Of a sample the full-text index does not find rows {some(lost)} by their own text.", subject="search")


def _samples(database: Database, number: int = 40) -> list[tuple[int, str]]:
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
