# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full-text index, made equal to the documents. FOR INTERNAL COLLECTION USE ONLY.

The table that FTS5 keeps the texts in is put right first; then FTS5 builds its index from it (https://www.sqlite.org/fts5.html, 6.10).
"""

from __future__ import annotations

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DOCUMENT_KEY
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.rules import CONTENT, SEARCH
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.writer import Writer

# In a database of this size at most it is built anew beside a server, bytes: its writers wait meanwhile. Measured: 36 MiB with 5.6 MB of
# text take half a second of a processor.
LIVE_BYTES = 32 << 20


def rebuild(writer: Writer) -> None:
    """Let the full-text index hold each document of each record, and its text.

    Args:
        writer: in a transaction.
    """
    records = "c.embedding_metadata d JOIN c.embeddings e ON e.id = d.id"
    document = f"FROM {records} WHERE d.key = '{DOCUMENT_KEY}' AND d.string_value IS NOT NULL"
    writer.execute(
        f"UPDATE c.{CONTENT} SET c0 = (SELECT d.string_value {document} AND d.id = {CONTENT}.id)"
        f" WHERE EXISTS (SELECT 1 {document} AND d.id = {CONTENT}.id AND d.string_value IS NOT {CONTENT}.c0)"
    )
    writer.execute(
        f"INSERT INTO c.{CONTENT} (id, c0) SELECT d.id, d.string_value {document}"
        f" AND NOT EXISTS (SELECT 1 FROM c.{CONTENT} t WHERE t.id = d.id)"
    )
    writer.execute(f"INSERT INTO c.{SEARCH} ({SEARCH}) VALUES ('rebuild')")
