# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory as Chroma 1.5.9 would leave it, of any size, written in seconds without a server.

Everything that a reader looks at is valid: SQLite with documents and four metadata keys, the label map, ``header.bin`` and
``data_level0.bin`` with labels and vectors. A server serves it; but the graph has no links, so it is not for searching.
Usage: ``python bench/synthetic.py DIRECTORY --records N --dimension D [--collections C] [--fulltext]``.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LINKS = 32  # of the first level: twice M, which is 16
CHUNK = 20_000
WORDS = ["vector", "database", "index", "segment", "recall", "neighbour", "model", "token", "batch", "query", "memory", "cache", "journal"]

# As 1.5.9 creates it (read from a directory that it made).
SCHEMA = """
CREATE TABLE migrations (dir TEXT NOT NULL, version INTEGER NOT NULL, filename TEXT NOT NULL, sql TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (dir, version));
CREATE TABLE acquire_write (id INTEGER PRIMARY KEY, lock_status INTEGER NOT NULL);
CREATE TABLE collection_metadata (collection_id TEXT REFERENCES collections(id) ON DELETE CASCADE, key TEXT NOT NULL, str_value TEXT,
    int_value INTEGER, float_value REAL, bool_value INTEGER, PRIMARY KEY (collection_id, key));
CREATE TABLE segment_metadata (segment_id TEXT  REFERENCES segments(id) ON DELETE CASCADE, key TEXT NOT NULL, str_value TEXT,
    int_value INTEGER, float_value REAL, bool_value INTEGER, PRIMARY KEY (segment_id, key));
CREATE TABLE tenants (id TEXT PRIMARY KEY, UNIQUE (id));
CREATE TABLE databases (id TEXT PRIMARY KEY, name TEXT NOT NULL, tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    UNIQUE (tenant_id, name));
CREATE TABLE "collections" (id TEXT PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER,
    database_id TEXT NOT NULL REFERENCES databases(id) ON DELETE CASCADE, config_json_str TEXT, schema_str TEXT,
    UNIQUE (name, database_id));
CREATE TABLE maintenance_log (id INT PRIMARY KEY, timestamp INT NOT NULL, operation TEXT NOT NULL);
CREATE TABLE "segments" (id TEXT PRIMARY KEY, type TEXT NOT NULL, scope TEXT NOT NULL, collection TEXT REFERENCES collection(id) NOT NULL);
CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id TEXT NOT NULL, embedding_id TEXT NOT NULL, seq_id BLOB NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (segment_id, embedding_id));
CREATE TABLE embedding_metadata (id INTEGER REFERENCES embeddings(id), key TEXT NOT NULL, string_value TEXT, int_value INTEGER,
    float_value REAL, bool_value INTEGER, PRIMARY KEY (id, key));
CREATE TABLE max_seq_id (segment_id TEXT PRIMARY KEY, seq_id INTEGER);
CREATE VIRTUAL TABLE embedding_fulltext_search USING fts5(string_value, tokenize='trigram');
CREATE TABLE embedding_metadata_array (id INTEGER NOT NULL REFERENCES embeddings(id), key TEXT NOT NULL, string_value TEXT,
    int_value INTEGER, float_value REAL, bool_value INTEGER);
CREATE INDEX embedding_metadata_array_id_key ON embedding_metadata_array (id, key);
CREATE TABLE embeddings_queue (seq_id INTEGER PRIMARY KEY, created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    operation INTEGER NOT NULL, topic TEXT NOT NULL, id TEXT NOT NULL, vector BLOB, encoding TEXT, metadata TEXT);
CREATE TABLE embeddings_queue_config (id INTEGER PRIMARY KEY, config_json_str TEXT);
"""

# After the rows: an index is built faster than it is kept.
INDICES = """
CREATE INDEX embedding_metadata_int_value ON embedding_metadata (key, int_value) WHERE int_value IS NOT NULL;
CREATE INDEX embedding_metadata_float_value ON embedding_metadata (key, float_value) WHERE float_value IS NOT NULL;
CREATE INDEX embedding_metadata_string_value ON embedding_metadata (key, string_value) WHERE string_value IS NOT NULL;
CREATE INDEX embedding_metadata_array_key_string ON embedding_metadata_array (key, string_value) WHERE string_value IS NOT NULL;
CREATE INDEX embedding_metadata_array_key_int ON embedding_metadata_array (key, int_value) WHERE int_value IS NOT NULL;
CREATE INDEX embedding_metadata_array_key_float ON embedding_metadata_array (key, float_value) WHERE float_value IS NOT NULL;
"""

# Rows of table `migrations`, as 1.5.9 writes them: a server compares the texts and their hashes with its own.
MIGRATIONS = Path(__file__).with_name("migrations.json")

# A row of `embedding_metadata`: id, key, string, int, float, bool.
Row = tuple[int, str, str | None, int | None, float | None, int | None]


def create(directory: Path, records: int, dimension: int, collections: int = 1, fulltext: bool = False, seed: int = 1) -> None:
    """Write a data directory.

    Args:
        directory: is created; must not hold one already.
        records: in each collection.
        dimension: of the vectors.
        collections: how many, named ``synthetic-0`` and so on.
        fulltext: whether to fill the full-text index, which takes longer than all the rest.
        seed: of the random generator; the same seed, the same directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    database = sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)
    database.executescript("PRAGMA page_size=4096; PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF; PRAGMA cache_size=-65536;" + SCHEMA)
    database.execute("BEGIN")
    database.executemany("INSERT INTO migrations VALUES (?, ?, ?, ?, ?)", json.loads(MIGRATIONS.read_text()))
    database.execute("INSERT INTO tenants VALUES ('default_tenant')")
    database.execute("INSERT INTO databases VALUES (?, 'default_database', 'default_tenant')", (str(uuid.UUID(int=0)),))
    database.execute("""INSERT INTO embeddings_queue_config VALUES (1, '{"automatically_purge":true}')""")
    for number in range(collections):
        _add_collection(directory, database, generator, number, records, dimension)
    # A server leaves the newest entry of the log when it purges it, and counts on from there.
    database.execute(
        "INSERT INTO embeddings_queue (seq_id, operation, topic, id, metadata)"
        " SELECT ?, 1, 'persistent://default/default/' || id, ?, '{}' FROM collections LIMIT 1",
        (records, f"record-0-{records - 1:08d}"),
    )
    if fulltext:
        database.execute(
            "INSERT INTO embedding_fulltext_search (rowid, string_value)"
            " SELECT id, string_value FROM embedding_metadata WHERE key = 'chroma:document'"
        )
    database.execute("COMMIT")
    database.executescript(INDICES)
    database.close()


def _add_collection(
    directory: Path, database: sqlite3.Connection, generator: np.random.Generator, number: int, records: int, dimension: int
) -> None:
    name, vector, metadata = (str(uuid.UUID(bytes=generator.bytes(16), version=4)) for _each in range(3))
    config = {"space": "l2", "source_key": "#document", "hnsw": {"ef_construction": 100, "max_neighbors": 16, "sync_threshold": 1000}}
    schema = {"defaults": {}, "keys": {"#embedding": {"float_list": {"vector_index": {"enabled": True, "config": config}}}}}
    database.execute(
        "INSERT INTO collections VALUES (?, ?, ?, ?, '{}', ?)",
        (name, f"synthetic-{number}", dimension, str(uuid.UUID(int=0)), json.dumps(schema)),
    )
    kinds = {
        vector: ("urn:chroma:segment/vector/hnsw-local-persisted", "VECTOR"),
        metadata: ("urn:chroma:segment/metadata/sqlite", "METADATA"),
    }
    database.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", [(each, *kind, name) for each, kind in kinds.items()])
    database.executemany("INSERT INTO max_seq_id VALUES (?, ?)", [(vector, records), (metadata, records)])
    first = number * records + 1
    ids = [f"record-{number}-{each:08d}" for each in range(records)]
    for start in range(0, records, CHUNK):
        stop = min(start + CHUNK, records)
        database.executemany(
            "INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (?, ?, ?, ?)",
            ((first + each, metadata, ids[each], each + 1) for each in range(start, stop)),
        )
        database.executemany("INSERT INTO embedding_metadata VALUES (?, ?, ?, ?, ?, ?)", _values(generator, first, start, stop))
    folder = directory / vector
    folder.mkdir()
    write_index(folder, generator, records, dimension)
    write_labels(folder / "index_metadata.pickle", ids)


def _values(generator: np.random.Generator, first: int, start: int, stop: int) -> Iterator[Row]:
    words = generator.integers(0, len(WORDS), (stop - start, 40))
    scores = generator.random(stop - start)
    for row, score in enumerate(scores.tolist()):
        each = first + start + row
        text = " ".join([WORDS[word] for word in words[row]])
        yield each, "chroma:document", text, None, None, None
        yield each, "source", f"file-{each % 1000}.md", None, None, None
        yield each, "page", None, each % 500, None, None
        yield each, "score", None, None, score, None
        if each % 2:
            yield each, "draft", None, None, None, each % 4 // 2


def write_index(folder: Path, generator: np.random.Generator, records: int, dimension: int) -> None:
    """Write the four files of an index whose internal row ``n`` has label ``n + 1``."""
    vector_offset = 4 + 4 * LINKS
    label_offset = vector_offset + 4 * dimension
    header = (1, 0, records, records, label_offset + 8, label_offset, vector_offset, 0, 0, 16, LINKS, 16, 1 / np.log(16), 100)
    (folder / "header.bin").write_bytes(struct.pack("<i6QiI3QdQ", *header))
    (folder / "length.bin").write_bytes(bytes(4 * records))
    (folder / "link_lists.bin").write_bytes(bytes(4 * records))  # of each: no bytes of upper links
    element = np.dtype(
        {
            "names": ["vector", "label"],
            "formats": [("<f4", (dimension,)), "<u8"],
            "offsets": [vector_offset, label_offset],
            "itemsize": label_offset + 8,
        }
    )
    with (folder / "data_level0.bin").open("wb") as file:
        for start in range(0, records, CHUNK):
            stop = min(start + CHUNK, records)
            chunk = np.zeros(stop - start, element)
            chunk["vector"] = generator.random((stop - start, dimension), np.float32)
            chunk["label"] = np.arange(start + 1, stop + 1)
            file.write(chunk.tobytes())


def write_labels(path: Path, ids: list[str]) -> None:
    """Write a label map as serde-pickle does, with label ``n + 1`` for the n-th id."""

    def text(value: str) -> bytes:
        encoded = value.encode()
        return b"X" + struct.pack("<I", len(encoded)) + encoded

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    with path.open("wb") as file:
        file.write(
            b"\x80\x03}(" + text("dimensionality") + b"N" + text("total_elements_added") + number(len(ids)) + text("max_seq_id") + b"N"
        )
        file.write(text("id_to_label") + b"}(" + b"".join(text(each) + number(label) for label, each in enumerate(ids, 1)) + b"u")
        file.write(text("label_to_id") + b"}(" + b"".join(number(label) + text(each) for label, each in enumerate(ids, 1)) + b"u")
        file.write(text("id_to_seq_id") + b"}u.")


def main() -> None:
    """Write the directory that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--collections", type=int, default=1)
    parser.add_argument("--fulltext", action="store_true", help="fill the full-text index too")
    arguments = parser.parse_args()
    create(arguments.directory, arguments.records, arguments.dimension, arguments.collections, arguments.fulltext)


if __name__ == "__main__":
    main()
