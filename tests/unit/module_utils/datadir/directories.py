# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories for the unit tests of their reader: what is in one, and how a test changes it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory

RECORDS, DIMENSION = 60, 4


@contextlib.contextmanager
def database(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the SQLite file of a directory for writing, and commit."""
    connection = sqlite3.connect(directory / "chroma.sqlite3")
    with contextlib.closing(connection), connection:
        yield connection


def read(path: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the records of all collections by name; every one is looked at."""
    found = {}
    with open_directory(path) as directory:
        for each in directory.collections():
            rows: list[dict[str, Any]] = []
            for batch in directory.batches(each, **options):
                batch.validate(full=True)
                rows += batch.to_pylist()
            assert len(rows) == directory.count(each)
            found[each.name] = rows
    return found


def folder_of(path: Path, name: str = "synthetic-0") -> Path:
    """Return the folder of a collection's index."""
    with database(path) as connection:
        sql = "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = ? AND s.scope = 'VECTOR'"
        return path / connection.execute(sql, (name,)).fetchone()[0]


def segment_of(path: Path, name: str = "synthetic-0") -> tuple[str, str]:
    """Return the METADATA segment of a collection, and the collection."""
    with database(path) as connection:
        sql = "SELECT s.id, c.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = ? AND s.scope = 'METADATA'"
        segment, collection = connection.execute(sql, (name,)).fetchone()
        return segment, collection


def log(path: Path, seq_id: int, operation: int, name: str, vector: list[float] | None, metadata: dict[str, Any] | None) -> None:
    """Append an entry to the write-ahead log, as a server does before it does anything else."""
    topic = f"persistent://default/default/{segment_of(path)[1]}"
    content = None if vector is None else np.array(vector, "<f4").tobytes()
    encoding = None if vector is None else "FLOAT32"
    row = (seq_id, operation, topic, name, content, encoding, None if metadata is None else json.dumps(metadata))
    with database(path) as connection:
        sql = "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)"
        connection.execute(sql, row)
