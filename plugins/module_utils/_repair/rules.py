# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows that belong to nobody: which they are, table by table. FOR INTERNAL COLLECTION USE ONLY.

Each table has one condition under which a row of it belongs to nobody. It is looked at twice: when the rows are copied to quarantine, and
again under SQLite's write lock, when they are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DOCUMENT_KEY
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import METADATA
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import Step

CONTENT = "embedding_fulltext_search_content"
SEARCH = "embedding_fulltext_search"
ARRAYS = "embedding_metadata_array"

# The end of a topic, behind its last slash.
_OWNER = "replace(t.topic, rtrim(t.topic, replace(t.topic, '/', '')), '')"
_DOCUMENT = f"EXISTS (SELECT 1 FROM c.embedding_metadata d WHERE d.id = t.id AND d.key = '{DOCUMENT_KEY}'"
_NO_COLLECTION = "NOT EXISTS (SELECT 1 FROM c.collections o WHERE o.id = t.{})"
_NO_SEGMENT = "NOT EXISTS (SELECT 1 FROM c.segments o WHERE o.id = t.segment_id)"
_NO_RECORD = "NOT EXISTS (SELECT 1 FROM c.embeddings o WHERE o.id = t.id)"

# When a row ``t`` belongs to nobody; ``c`` is Chroma's database. In the order in which they go: what goes first makes nobodies of others.
NOBODY: Mapping[str, str] = {
    "segments": _NO_COLLECTION.format("collection"),
    "segment_metadata": _NO_SEGMENT,
    "max_seq_id": _NO_SEGMENT,
    "collection_metadata": _NO_COLLECTION.format("collection_id"),
    "embeddings_queue": f"{_OWNER} NOT IN (SELECT id FROM c.collections)",
    "embeddings": f"NOT EXISTS (SELECT 1 FROM c.segments o WHERE o.id = t.segment_id AND o.scope = '{METADATA}')",
    "embedding_metadata": _NO_RECORD,
    ARRAYS: _NO_RECORD,
    CONTENT: f"NOT {_DOCUMENT})",
}
# Log entries that 0.x wrote for records without document.
NULLS = (
    "(t.metadata LIKE '%\"chroma:document\": null%' OR t.metadata LIKE '%\"chroma:document\":null%')"
    f" AND json_valid(t.metadata) AND NOT ({NOBODY['embeddings_queue']})"
)
# What tells a row from the others of its table; of lists all rows of one record belong together.
KEYS: Mapping[str, tuple[str, ...]] = {
    "segments": ("id",),
    "segment_metadata": ("segment_id", "key"),
    "max_seq_id": ("segment_id",),
    "collection_metadata": ("collection_id", "key"),
    "embeddings_queue": ("seq_id",),
    "embeddings": ("id",),
    "embedding_metadata": ("id", "key"),
    ARRAYS: ("id",),
    CONTENT: ("id",),
}
# Tables whose ``id`` is the row of a record.
OF_RECORDS = ("embedding_metadata", ARRAYS, CONTENT)


@dataclass(frozen=True)
class Fill:
    """Rows of one table that are to be copied to quarantine.

    Args:
        table: the table.
        where: the condition, with ``t`` for the row, ``c`` for Chroma's database and ``main`` for the quarantine.
        source: what is gone through in windows: ``c`` the table itself, otherwise a table of the quarantine, whose rows are joined.
        column: that the windows are of.
        join: the column of ``t`` that is equal to the joined row's ``column``.
    """

    table: str
    where: str
    source: str = "c"
    column: str = "rowid"
    join: str = ""


_ORPHANS = "t.segment_id IN (SELECT id FROM main.segments)"
_CHOSEN = " AND {} IN (SELECT value FROM main.chosen WHERE finding = '{}')"
# 0.5 and 0.6 add rows without text for records without document.
_LEFT_OVER = f"t.c0 IS NOT NULL AND NOT {_DOCUMENT})"
_OTHER_TEXT = f"{_DOCUMENT} AND d.string_value IS NOT t.c0)"
_FILLS: Mapping[str, tuple[Fill, ...]] = {
    "CHR012": (
        Fill("segments", NOBODY["segments"] + _CHOSEN.format("t.id", "CHR012")),
        Fill("segment_metadata", _ORPHANS),
        Fill("max_seq_id", _ORPHANS),
        Fill("embeddings", _ORPHANS, column="id"),
    ),
    "CHR064": (Fill("embeddings_queue", NOBODY["embeddings_queue"] + _CHOSEN.format(_OWNER, "CHR064"), column="seq_id"),),
    "CHR066": (Fill("embeddings_queue", NULLS, column="seq_id"),),
    "CHR080": (Fill("embeddings", NOBODY["embeddings"] + _CHOSEN.format("t.segment_id", "CHR080"), column="id"),),
    "CHR081": (Fill("embedding_metadata", NOBODY["embedding_metadata"], column="id"),),
    "CHR082": (Fill(ARRAYS, NOBODY[ARRAYS], column="id"),),
    "CHR085": (Fill(CONTENT, _LEFT_OVER, column="id"),),
    "CHR086": (Fill(CONTENT, _OTHER_TEXT, column="id"),),
}
_ONE_BY_ONE = ("CHR012", "CHR064", "CHR080")
# What belongs to the records that go.
_OF_THEM = tuple(Fill(table, "1", "embeddings", "rowid_", "id") for table in OF_RECORDS)


_NAMED = "SELECT value FROM main.chosen"
# All that is of one collection; a document is in its record's metadata.
COLLECTION = (
    Fill("collections", f"t.id IN ({_NAMED})"),
    Fill("collection_metadata", f"t.collection_id IN ({_NAMED})"),
    Fill("segments", f"t.collection IN ({_NAMED})"),
    Fill("segment_metadata", _ORPHANS),
    Fill("max_seq_id", _ORPHANS),
    Fill("embeddings_queue", f"{_OWNER} IN ({_NAMED})", column="seq_id"),
    Fill("embeddings", _ORPHANS, column="id"),
    *_OF_THEM,
)


def chosen(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Return identifiers of findings and the segment or owner that each is about: no other one is touched."""
    return [(step.finding, step.subject if step.finding == "CHR064" else step.segment) for step in steps if step.finding in _ONE_BY_ONE]


def fills(steps: Sequence[Step], tables: Sequence[str]) -> list[Fill]:
    """Return which rows are copied to quarantine for steps of a plan.

    Args:
        tables: that the database has.
    """
    found: list[Fill] = []
    for step in steps:
        wanted = (Fill(step.subject, NOBODY[step.subject]),) if step.finding == "CHR016" else _FILLS.get(step.finding, ())
        found += [each for each in wanted if each not in found]
    if any(each.table == "embeddings" for each in found):
        found += _OF_THEM
    return [each for each in found if each.table in tables]
