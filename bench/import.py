# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An import beside hand-tuned upsert loops: ``python bench/import.py [RECORDS [ROUNDS [VERSION [SIDE…]]]]`` (20000 2 1.5.9).

Every side fills a fresh server of its own with the same records × 384 dimensions, with documents and metadata. The loops have all of it in
memory and look at nothing afterwards; the import reads a dataset, proves it whole, and is measured without and with reading back.
Prints seconds, processor time of the side and its server together (which says what the time would be on a quiet machine), peak memory,
and the ratios of the fastest loop's to the import's (target without reading back: at least 0.95).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import resource
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks" / "collections"))

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import (
    DatasetCollection,
    Manifest,
    Origin,
    Part,
    encode_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.integration import servers

DIMENSION = 384
WORDS = ("the", "vector", "database", "keeps", "what", "a", "model", "said", "about", "its", "text", "and", "finds", "neighbours", "again")
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
BATCH = 5461


def vectors(start: int, count: int) -> Any:
    """Return ``(count, 384) float32``, the same for the same rows."""
    return np.random.default_rng(start).standard_normal((count, DIMENSION), dtype=np.float32)


def document(row: int) -> str:
    """Return about 200 characters."""
    return " ".join(WORDS[(row * step) % len(WORDS)] for step in range(1, 36))


def metadata(row: int) -> dict[str, Any]:
    """Return four keys of four types."""
    return {"source": f"file-{row % 97}.txt", "page": row, "score": row / 1024, "open": row % 2 == 0}


def records(start: int, count: int) -> dict[str, Any]:
    """Return the columns of a request, with vectors as an array."""
    rows = range(start, start + count)
    return {
        "ids": [f"record-{row:09d}" for row in rows],
        "embeddings": vectors(start, count),
        "documents": [document(row) for row in rows],
        "metadatas": [metadata(row) for row in rows],
    }


def make_dataset(where: Path, total: int) -> None:
    """Write the records as a dataset, as an export would."""
    columns = plan_columns({"source": {"str"}, "page": {"int"}, "score": {"float"}, "open": {"bool"}})
    schema = table_schema(columns, DIMENSION, "bench", "l2")
    path = "collections/0/part-00000.parquet"
    (where / path).parent.mkdir(parents=True)
    with pq.ParquetWriter(where / path, schema, compression="zstd", compression_level=1) as writer:
        for start in range(0, total, BATCH):
            some = records(start, min(BATCH, total - start))
            keys = {name: [each[name] for each in some["metadatas"]] for name in ("source", "page", "score", "open")}
            flat = pa.FixedSizeListArray.from_arrays(pa.array(some["embeddings"].ravel()), DIMENSION)
            fields = {"id": some["ids"], "vector": flat, "document": some["documents"], "uri": [None] * len(some["ids"]), **keys}
            writer.write_batch(pa.record_batch([pa.array(fields[each.name], each.type) for each in schema], schema=schema))
    content = (where / path).read_bytes()
    part = Part(path, total, len(content), hashlib.sha256(content).hexdigest())
    collection = DatasetCollection(
        "0", "bench", "default_tenant", "default_database", DIMENSION, "l2", {}, None, None, total, columns, "columns", (part,)
    )
    manifest = Manifest("2026-01-01T00:00:00Z", {"name": "bench", "version": "1"}, Origin("directory"), True, (collection,))
    (where / "manifest.json").write_bytes(encode_manifest(manifest))


def ours(url: str, dataset: str, total: int, verify: bool) -> float:
    """Import the dataset; returns seconds."""
    client = ChromaClient(Connection(url, timeout=300))
    begin = time.monotonic()
    result = import_dataset(open_store(dataset), client, ImportRequest(verify=verify))
    seconds = time.monotonic() - begin
    assert result["collections"][0]["written"] == total
    return seconds


def official(url: str, dataset: str, total: int) -> float:
    """Upsert with Chroma's own client, as many at a time as it takes; returns seconds."""
    import chromadb  # starts threads of its own: only in the process of this side

    parts = urllib.parse.urlsplit(url)
    client = chromadb.HttpClient(host=parts.hostname or "", port=parts.port or 0)
    collection = client.create_collection("bench", embedding_function=None)
    batches = [records(start, min(BATCH, total - start)) for start in range(0, total, BATCH)]
    begin = time.monotonic()
    for each in batches:
        collection.upsert(**each)
    return time.monotonic() - begin


def raw(url: str, dataset: str, total: int, batch: int, threads: int) -> float:
    """Upsert over kept connections, with base64 and orjson; returns seconds."""
    parts = urllib.parse.urlsplit(url)
    client = ChromaClient(Connection(url, timeout=300))
    path = f"{COLLECTIONS}/{client.create_collection('bench').id}/upsert"
    batches = [records(start, min(batch, total - start)) for start in range(0, total, batch)]

    def send(mine: list[dict[str, Any]]) -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
        for each in mine:
            packed = [base64.b64encode(vector).decode() for vector in each["embeddings"]]
            connection.request("POST", path, orjson.dumps({**each, "embeddings": packed}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status < 300, body

    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, [batches[number::threads] for number in range(threads)]))
    return time.monotonic() - begin


SIDES: dict[str, tuple[Callable[..., float], tuple[Any, ...]]] = {
    "import": (ours, (False,)),
    "import, read back": (ours, (True,)),
    "client loop": (official, ()),
    "raw loop 1000 x 1": (raw, (1000, 1)),
    "raw loop 5461 x 1": (raw, (BATCH, 1)),
    "raw loop 5461 x 4": (raw, (BATCH, 4)),
    "raw loop 2000 x 4": (raw, (2000, 4)),
}


@dataclass(frozen=True)
class Seen:
    """One measurement: seconds, seconds of processor time of the side and of its server, and peak memory of the side, MB."""

    seconds: float
    processor: float
    memory: float


def measure(name: str, version: str, dataset: str, total: int) -> Seen:
    """Run one side in a process and against a server of its own."""
    side, arguments = SIDES[name]
    with servers.running(version) as server, get_context("spawn").Pool(1) as pool:
        before = processor_of(server.pid)
        seconds, mine, memory = pool.apply(_timed, (side, (server.url, dataset, total, *arguments)))
        return Seen(seconds, mine + processor_of(server.pid) - before, memory)


def processor_of(pid: int) -> float:
    """Return the processor time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _timed(side: Callable[..., float], arguments: tuple[Any, ...]) -> tuple[float, float, float]:
    begin = time.process_time()
    seconds = side(*arguments)
    return seconds, time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure all sides, each round in the opposite order."""
    given = dict(enumerate(sys.argv))
    total, rounds, version = int(given.get(1, 20_000)), int(given.get(2, 2)), given.get(3, "1.5.9")
    sides = {name: side for name, side in SIDES.items() if not sys.argv[4:] or name in sys.argv[4:]}
    seen: dict[str, list[Seen]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Path(scratch) / "dataset"
        make_dataset(dataset, total)
        for number in range(rounds):
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                seen[name].append(measure(name, version, str(dataset), total))
                print(f"round {number + 1}: {name}: {seen[name][-1].seconds:.2f} s", flush=True)
    load = f"load {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors"
    print(f"Chroma {version}, {total} x {DIMENSION}, {load}; the best of {rounds} rounds")
    best = {name: (min(each.seconds for each in rows), min(each.processor for each in rows)) for name, rows in seen.items()}
    fastest = [min((name for name in sides if "loop" in name), key=lambda name: best[name][which]) for which in (0, 1)]
    for name, (seconds, processor) in best.items():
        memory = max(each.memory for each in seen[name])
        ratios = f"{best[fastest[0]][0] / seconds:.2f} {best[fastest[1]][1] / processor:.2f}"
        print(f"{name:20} {seconds:7.2f} s {total / seconds:6.0f} /s  processor {processor:7.2f} s  {memory:5.0f} MB  ratios {ratios}")
    for which, what in enumerate(("time", "processor time")):
        ratio = best[fastest[which]][which] / best["import"][which]
        print(f"{what} of the fastest loop ({fastest[which]}) to that of the import: {ratio:.2f} (target >= 0.95)")


if __name__ == "__main__":
    main()
