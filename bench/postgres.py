# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An export to PostgreSQL beside PostgreSQL's own limit: ``python bench/postgres.py [--records N] [--dimension D] [--rounds N]``.

On a synthetic directory (documents, four metadata keys) and a real server with pgvector (``--release 15``: real[]), in turn, each in a
process of its own and into an empty table:

- COPY BINARY of frames that were prepared in memory before, into a plain table of the same columns,
- chroma_export_postgres' engine from the directory: reading, frames, COPY, checksum of what is stored, switch (target: at least 0.7 of
  that rate),
- of that export, the comparison of all that PostgreSQL stored: a SHA-256 of each row, which takes twice as long where it was built
  without OpenSSL, as the one with pgvector is that the tests use,
- psycopg's ``write_row`` of values that were prepared in memory before, of a fifth of the records.

Prints vectors a second, peak memory and ratios; then the reading back of the generation.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
COLLECTIONS = CHECKOUT / "playbooks" / "collections"
sys.path[:0] = [str(CHECKOUT / "tests" / "integration"), str(COLLECTIONS)]

import postgres  # noqa: E402
import pyarrow  # noqa: E402

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import require_generation  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres, connected  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import HEADER, TRAILER, frames  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.making import intact  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import COLUMNS, VECTOR, read_layout  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings, settings_from_environment  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import generation_batches  # noqa: E402

NAME = "synthetic-0"


def prepared(data: str, embedding: str) -> list[bytes]:
    """Return all frames of the directory's collection, a batch each."""
    with open_directory(data) as directory:
        collection = next(each for each in directory.collections() if each.name == NAME)
        columns = columns_of(directory.schema(collection))
        return [bytes(frames(batch, columns, embedding, NAME).data) for batch in directory.batches(collection)]


def plain_table(server: Postgres, embedding: str) -> str:
    """Make an empty table of the export's columns, and return the statement that copies into it."""
    server.rows("DROP TABLE IF EXISTS plain")
    types = f"id text NOT NULL, document text, uri text, metadata jsonb, exact bytea, embedding {embedding} NOT NULL"
    server.rows(f"CREATE TABLE plain ({types}, generation bigint DEFAULT 1)")
    return f"COPY plain ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"


def copy_prepared(data: str, settings: PostgresSettings, embedding: str) -> float:
    """Return the seconds of COPY alone."""
    rows = prepared(data, embedding)
    with connected(settings) as server:
        statement = plain_table(server, embedding)
        begin = time.monotonic()
        with server.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for each in (HEADER, *rows, TRAILER):
                copy.write(each)
        return time.monotonic() - begin


def write_rows(data: str, settings: PostgresSettings, embedding: str, share: int) -> float:
    """Return the seconds of psycopg's own encoding for a share of the records."""
    with open_directory(data) as directory:
        collection = next(each for each in directory.collections() if each.name == NAME)
        batches = [each.to_pylist() for each in directory.batches(collection)]
    records = [each for batch in batches for each in batch]
    records = records[: len(records) // share]
    rows: list[tuple[Any, ...]] = []
    for each in records:
        metadata = {key: value for key, value in each.items() if key not in ("id", "vector", "document", "uri") and value is not None}
        vector = each["vector"] if embedding != VECTOR else str(each["vector"])
        rows.append((each["id"], each["document"], each["uri"], json.dumps(metadata), None, vector))
    with connected(settings) as server:
        statement = plain_table(server, embedding).replace(" (FORMAT BINARY)", "")
        begin = time.monotonic()
        with server.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        return time.monotonic() - begin


def export(data: str, settings: PostgresSettings) -> float:
    """Return the seconds of a whole export."""
    with connected(settings) as server:
        server.rows("DROP VIEW IF EXISTS chroma_data_current")
        server.rows("DROP TABLE IF EXISTS chroma_data, chroma_data_generations")
    # At its first array pyarrow imports pandas where that is installed, as it is for tests, but not in the image.
    pyarrow.array([0])
    importlib.import_module("adbc_driver_sqlite.dbapi")
    begin = time.monotonic()
    export_directory(data, settings, Wanted())
    return time.monotonic() - begin


def compare_stored(settings: PostgresSettings) -> float:
    """Return the seconds in which PostgreSQL compares the current generation with its checksum."""
    with connected(settings) as server:
        generation = require_generation(server, NAME)
        layout = read_layout(server)
        begin = time.monotonic()
        if not intact(server, layout, generation):
            sys.exit("PostgreSQL does not hold what was exported")
        return time.monotonic() - begin


def read_back(settings: PostgresSettings) -> float:
    """Return the seconds of reading the current generation."""
    begin = time.monotonic()
    for _batch in generation_batches(settings, NAME):
        pass
    return time.monotonic() - begin


def measure(what: str, data: Path, server: postgres.Cluster, embedding: str, share: int) -> tuple[float, float]:
    """Run one measurement in a process of its own; returns its seconds and its peak memory in MB."""
    # What was written before shall not be written out meanwhile.
    server.query("CHECKPOINT")
    command = [sys.executable, __file__, "--only", what, "--data", str(data), "--embedding", embedding, "--share", str(share)]
    with subprocess.Popen(command, env={**os.environ, **server.variables()}, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{what} failed with {process.returncode}")
    return float(output.split()[-1]), usage.ru_maxrss / 1024


def report(what: str, records: int, measured: list[tuple[float, float]]) -> float:
    """Print the median rate and the peak memory; returns the median rate."""
    seconds = statistics.median(each for each, _memory in measured)
    print(f"{what:44} {seconds:8.2f} s {records / seconds:10,.0f} vectors/s {max(each for _s, each in measured):6,.0f} MB", flush=True)
    return records / seconds


def main() -> None:
    """Measure, and leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--release", choices=postgres.RELEASES[:-1], default=postgres.VECTOR)
    for name in ("--only", "--data", "--embedding"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, default=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        settings = settings_from_environment()
        ways = {
            "copy": lambda: copy_prepared(options.data, settings, options.embedding),
            "rows": lambda: write_rows(options.data, settings, options.embedding, options.share),
            "export": lambda: export(options.data, settings),
            "compare": lambda: compare_stored(settings),
            "read": lambda: read_back(settings),
        }
        print(ways[options.only]())
        return
    with tempfile.TemporaryDirectory(prefix="bench-postgres-", dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        base = Path(scratch)
        base.chmod(0o711)  # PostgreSQL runs as another user where this is root's
        synthetic = [sys.executable, str(CHECKOUT / "bench" / "synthetic.py"), str(base / "data")]
        subprocess.run([*synthetic, "--records", str(options.records), "--dimension", str(options.dimension)], check=True)
        (base / "postgres").mkdir()
        with postgres.running(options.release, "max_wal_size=4GB", data=base / "postgres") as server:
            embedding = VECTOR if options.release == postgres.VECTOR else "real[]"
            compare(options, base / "data", server, embedding)


def compare(options: argparse.Namespace, data: Path, server: postgres.Cluster, embedding: str) -> None:
    """Measure all, in turn, and print."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _round in range(options.rounds):
        for what in ("copy", "export", "compare", "rows"):
            found.setdefault(what, []).append(measure(what, data, server, embedding, options.share))
    print(f"{options.records:,} × {options.dimension}, PostgreSQL {options.release}, {embedding}")
    limit = report("COPY BINARY of prepared frames", options.records, found["copy"])
    ours = report("export, verified and switched to", options.records, found["export"])
    report("of it, the comparison of what is stored", options.records, found["compare"])
    slow = report("psycopg's write_row", options.records // options.share, found["rows"])
    ratios = [one[0] / two[0] for one, two in zip(found["copy"], found["export"], strict=True)]
    print(f"ratio to COPY BINARY: {ours / limit:.2f} (target >= 0.7; rounds {', '.join(f'{each:.2f}' for each in ratios)})")
    print(f"ratio to write_row: {ours / slow:.1f}")
    report("reading it back, with its checksum", options.records, [measure("read", data, server, embedding, options.share)])


if __name__ == "__main__":
    main()
