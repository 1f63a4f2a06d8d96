# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQLite has of one collection, read beside the server. FOR INTERNAL COLLECTION USE ONLY.

Chroma 0.5 and 0.6 leave the rows of the records of a deleted collection, 1.x the lists in their metadata, which later records inherit
(https://github.com/chroma-core/chroma/issues/7594). All of them remove them with the records (measured, docs/collections.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import Database, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import reading_room

Answer = TypeVar("Answer")

# A server may be writing: what is of two moments is read again.
_TRIES, _PAUSE = 20, 0.25


def segments_of(directory: Path, collection: str) -> tuple[str, ...]:
    """Return the ids of a collection's segments; none where the directory does not have the collection.

    Args:
        directory: the data directory.
        collection: its id.

    Raises:
        ChromaError: see :func:`open_database`.
    """

    def read(database: Database) -> tuple[str, ...]:
        return tuple(str(each) for (each,) in database.rows("SELECT id FROM segments WHERE collection = ? ORDER BY id", [collection]))

    return _read(directory, read)


def is_served(directory: Path, client: ChromaClient, url: str) -> bool | None:
    """Return whether a server serves a directory, as far as the collections of one database tell; None where it has no such database.

    Args:
        client: of the server, its tenant and database.
        url: of the server that served it; where neither has a collection, nothing else tells.

    Raises:
        ChromaError: see :func:`open_database`, and what the server answers.
    """
    place = [client.connection.tenant, client.connection.database]

    def read(database: Database) -> set[str] | None:
        if not list(database.rows("SELECT 1 FROM databases WHERE tenant_id = ? AND name = ?", place)):
            return None
        sql = "SELECT c.id FROM collections c JOIN databases d ON d.id = c.database_id WHERE d.tenant_id = ? AND d.name = ?"
        return {str(each) for (each,) in database.rows(sql, place)}

    here = _read(directory, read)
    if here is None:
        return None
    there = {each.id for each in client.list_collections()}
    return not here.isdisjoint(there) or (not here and not there and client.connection.url == url)


def check_served(directory: Path, url: str, collection: str) -> None:
    """Refuse a server that serves another directory: its journal and its SQLite would be the wrong ones.

    Args:
        url: of the server, which has the collection.

    Raises:
        ChromaError: ``conflict``; see :func:`open_database`.
    """
    if not segments_of(directory, collection):
        message = f"The server {url} has a collection that is not in {directory}: it serves another directory."
        raise ChromaError("conflict", message, "Correct path, or url.")


def position(directory: Path, collection: str) -> str:
    """Return the place in the log up to which a collection's metadata were written: it differs after each write that was read once.

    Source: table ``max_seq_id``; 0.5 and 0.6 keep the number as eight bytes (docs/data-directory.md).
    """
    sql = (
        "SELECT hex(max_seq_id.seq_id) FROM max_seq_id JOIN segments ON segments.id = max_seq_id.segment_id"
        " WHERE segments.collection = ? AND segments.scope = 'METADATA'"
    )

    def read(database: Database) -> str:
        return " ".join(str(each) for (each,) in database.rows(sql, [collection]))

    return _read(directory, read)


def records_in(directory: Path, collection: str) -> int:
    """Return how many records SQLite has of a collection; nothing asks the server, which might load a damaged index for that."""
    sql = "SELECT count(*) FROM embeddings JOIN segments ON segments.id = embeddings.segment_id WHERE segments.collection = ?"
    return _read(directory, lambda database: int(database.rows(sql, [collection])[0][0]))


def rows_left(directory: Path, collection: str, segments: tuple[str, ...]) -> dict[str, int]:
    """Return in which tables rows of a collection are, and how many.

    Args:
        segments: that it had.
    """
    marks = ", ".join("?" * len(segments))
    queries = {
        "collections": ("SELECT count(*) FROM collections WHERE id = ?", [collection]),
        "segments": ("SELECT count(*) FROM segments WHERE collection = ?", [collection]),
        "embeddings": (f"SELECT count(*) FROM embeddings WHERE segment_id IN ({marks})", list(segments)),
        "embeddings_queue": ("SELECT count(*) FROM embeddings_queue WHERE topic LIKE '%' || ?", [collection]),
    }

    def read(database: Database) -> dict[str, int]:
        counts = {table: int(database.rows(sql, values)[0][0]) for table, (sql, values) in queries.items()}
        return {table: count for table, count in counts.items() if count}

    return _read(directory, read)


def _read(directory: Path, read: Callable[[Database], Answer]) -> Answer:
    for attempt in range(_TRIES):
        try:
            with reading_room(directory, True) as room, open_database(directory, room) as database:
                return read(database)
        except ChromaError as error:
            if error.code not in ("busy", "directory_changed") or attempt == _TRIES - 1:
                raise
        time.sleep(_PAUSE)
    raise AssertionError("the loop returns or raises")
