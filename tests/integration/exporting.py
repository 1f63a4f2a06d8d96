# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections that are hard to export, and datasets read by nothing of ours, for the tests of export."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
sys.path.insert(0, str(COLLECTIONS))

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection  # noqa: E402

Record = dict[str, Any]

TEXTS = ("", " ", "plain", "ünï ço∂é 漢字 🦜", "line\nbreak\ttab", "'quoted' \"twice\" \\", "\u0000nul"[1:], "x" * 3000)
INTEGERS = (0, -1, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, 1.0, -1.5, 1e308, 5e-324, 0.1, 1 / 3)


def start(arguments: dict[str, Any], *, check_mode: bool = False, **environ: str) -> subprocess.Popen[str]:
    """Start chroma_export as a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check_mode}}, file)
    command = [sys.executable, "-m", "ansible_collections.thinkube.chroma.plugins.modules.chroma_export", file.name]
    settings = {**os.environ, "PYTHONPATH": str(COLLECTIONS), **environ}
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str], timeout: float = 120) -> dict[str, Any]:
    """Wait for chroma_export and return its JSON; a traceback fails the test."""
    output, errors = process.communicate(timeout=timeout)
    assert output.strip(), errors
    result: dict[str, Any] = json.loads(output)
    assert bool(result.get("failed")) == bool(process.returncode)
    assert "exception" not in result, result
    return result


def run(arguments: dict[str, Any], *, timeout: float = 120, **options: Any) -> dict[str, Any]:
    """Run chroma_export and return its JSON."""
    return end(start(arguments, **options), timeout)


def synthetic(path: Path, records: int, dimension: int) -> None:
    """Write a data directory with one collection, ``synthetic-0``, without a server: a large one in seconds."""
    program = Path(__file__).resolve().parents[2] / "bench" / "synthetic.py"
    subprocess.run([sys.executable, program, path, "--records", str(records), "--dimension", str(dimension)], check=True)


def connect(url: str, **settings: Any) -> ChromaClient:
    """Return a client of the server."""
    return ChromaClient(Connection(url, **settings))


def fill(client: ChromaClient, name: str, count: int, *, space: str = "l2", dimension: int = 8, lists: bool = False, seed: int = 1) -> None:
    """Create a collection whose index was written to disk, with records added, updated and removed after that."""
    collection = client.create_collection(name, {"purpose": "export", "hnsw:space": space} if client.legacy else {"purpose": "export"},
                                          {"space": space, "sync_threshold": 200})  # fmt: skip
    chance = random.Random(seed)
    for start in range(0, count, 250):
        upsert(client, collection, [_record(chance, n, dimension, lists) for n in range(start, min(start + 250, count))])
    client.delete(collection, [f"id-{n}" for n in range(3, count, 17)])
    changed = [_record(chance, n, dimension, lists) for n in range(5, count, 13) if n % 17 != 3]
    upsert(client, collection, changed)


def upsert(client: ChromaClient, collection: Any, records: Iterable[Record]) -> None:
    """Write records through the API."""
    rows = list(records)
    columns = {"ids": "id", "embeddings": "embedding", "documents": "document", "metadatas": "metadata", "uris": "uri"}
    client.write(collection, "upsert", json.dumps({key: [each[field] for each in rows] for key, field in columns.items()}).encode())


def _record(chance: random.Random, number: int, dimension: int, lists: bool) -> Record:
    metadata: dict[str, Any] = {
        "text": chance.choice(TEXTS), "integer": chance.choice(INTEGERS), "float": chance.choice(FLOATS), "truth": chance.random() < 0.5,
        # Keys with several types, and keys that are columns of the table themselves.
        "mixed": chance.choice(("a", 1, 1.0, True)), "id": "not the id", "_private": number, "schlüssel mit leer": "v",
    }  # fmt: skip
    if lists:
        metadata |= {"texts": [chance.choice(TEXTS), "b"], "integers": [*INTEGERS], "floats": [1.0, 0.1], "truths": [True, False]}
    kept = {key: value for key, value in metadata.items() if chance.random() < 0.7}
    return {
        "id": f"id-{number}" if number % 50 else f"ïd/{number} 🦜",
        "embedding": [as_float32(chance.uniform(-1, 1)) for _value in range(dimension)],
        "document": None if number % 7 == 0 else chance.choice(TEXTS),
        "metadata": kept or None,
        "uri": f"file:///{number}" if number % 5 == 0 else None,
    }


def as_float32(value: float) -> float:
    """Return the float32 that is nearest."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def bits(vector: Iterable[float] | None) -> str | None:
    """Return a vector as text that shows each bit of its float32 values."""
    return None if vector is None else base64.b64encode(b"".join(struct.pack("<f", value) for value in vector)).decode()


def served(client: ChromaClient, name: str) -> dict[str, Record]:
    """Return what a server says of a collection: id → record, vectors as :func:`bits`."""
    collection = client.require_collection(name)
    return {
        each["id"]: {**each, "embedding": bits(each["embedding"]), "metadata": each["metadata"] or {}} for each in client.get(collection)
    }


def exported(dataset: Path, name: str) -> dict[str, Record]:
    """Return what a dataset holds of a collection, as :func:`served` does; each id once, or the test fails."""
    rows = [row for described in manifest(dataset)["collections"] if described["name"] == name for row in _rows(dataset, described)]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows), "a record is there twice"
    return found


def exported_ids(dataset: Path) -> list[str]:
    """Return the ids of all records of a dataset, in its order."""
    parts = [part["path"] for each in manifest(dataset)["collections"] for part in each["parts"]]
    return [name for part in parts for name in pq.read_table(dataset / part, columns=["id"])["id"].to_pylist()]


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest(dataset: Path) -> dict[str, Any]:
    """Return the manifest of a dataset."""
    loaded: dict[str, Any] = json.loads((dataset / "manifest.json").read_text())
    return loaded


def _rows(dataset: Path, described: dict[str, Any]) -> Iterator[Record]:
    for part in described["parts"]:
        table = pq.read_table(dataset / part["path"])
        assert table.num_rows == part["records"]
        for row in table.to_pylist():
            if described["layout"] == "json":
                metadata = json.loads(row["_metadata"])
            else:
                columns = [each for each in described["columns"] if each["key"]]
                metadata = {each["key"]: row[each["name"]] for each in columns if row[each["name"]] is not None}
                metadata |= dict.fromkeys(row.get("_nulls") or ())
            yield {**{key: row[key] for key in ("id", "document", "uri")}, "embedding": bits(row["vector"]), "metadata": metadata}


def typed(record: Record) -> Record:
    """Return a record whose metadata says the type of each value: 1, 1.0 and true are equal to Python."""
    return {**record, "metadata": {key: _typed(value) for key, value in record["metadata"].items()}}


def _typed(value: Any) -> Any:
    return [_typed(each) for each in value] if isinstance(value, list) else (type(value).__name__, value)


def same(first: dict[str, Record], second: dict[str, Record]) -> None:
    """Fail with the first record that differs."""
    assert first.keys() == second.keys()
    for name, record in first.items():
        assert typed(record) == typed(second[name]), name
