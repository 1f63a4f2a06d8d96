# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an increment costs after some records of a large directory changed: bytes, seconds, seconds of the lock, memory.

A real server of the newest release changes a share of the records: half of them upserted, a quarter updated in vector and metadata, the
rest updated in their metadata alone, and a tenth as many deleted and added. The increment is read beside it, in a process of its own.
Usage: ``python bench/increment.py [--records N] [--dimension D] [--share 0.01] [--replay]``.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "integration"), str(HERE.parent / "playbooks" / "collections")]

import servers  # noqa: E402
import synthetic  # noqa: E402

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS, parse_parent  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.reading import read_increment  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.replay import apply_increment, prove_ids  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.rowids import open_rowids  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.standing import mark  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import DATA, new_id  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection  # noqa: E402

BATCH = 500


def write(client: ChromaClient, collection: Collection, action: str, ids: list[str], dimension: int, **columns: Any) -> None:
    """Send one request; embeddings by chance, unless ``embeddings`` is None."""
    if columns.setdefault("embeddings", ...) is ...:
        vectors = np.random.default_rng(len(ids)).random((len(ids), dimension), np.float32)
        columns["embeddings"] = [base64.b64encode(each.tobytes()).decode() for each in vectors]
    client.write(collection, action, json.dumps({"ids": ids, **{key: each for key, each in columns.items() if each}}).encode())


def change(client: ChromaClient, records: int, dimension: int, share: float) -> int:
    """Change a share of the records; return how many were written."""
    collection = client.require_collection("synthetic-0")
    count = int(records * share)
    picked = [f"record-0-{each:08d}" for each in random.Random(1).sample(range(records), count + count // 10)]
    upserted, updated, described, gone = (
        picked[: count // 2],
        picked[count // 2 : 3 * count // 4],
        picked[3 * count // 4 : count],
        picked[count:],
    )
    for start in range(0, len(upserted), BATCH):
        some = upserted[start : start + BATCH]
        write(client, collection, "upsert", some, dimension, documents=["changed " * 30] * len(some), metadatas=[{"page": 1}] * len(some))
    for start in range(0, len(updated), BATCH):
        some = updated[start : start + BATCH]
        write(client, collection, "update", some, dimension, metadatas=[{"page": 2}] * len(some))
    write(client, collection, "update", described, dimension, embeddings=None, metadatas=[{"source": "other"}] * len(described))
    client.delete(collection, gone)
    write(client, collection, "add", [f"new-{each}" for each in range(len(gone))], dimension)
    return count + len(gone)


def measured(data: Path, parent: Path, tree: Path) -> dict[str, Any]:
    """Read an increment in a process of its own; return its seconds, those of the lock, and the memory of the process."""
    done = subprocess.run(
        [sys.executable, __file__, "--read", str(data), str(parent), str(tree)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def read(data: Path, parent: Path, tree: Path) -> None:
    """Read an increment, and print what it took."""
    tree.mkdir(parents=True)
    began = time.perf_counter()
    manifest = read_increment(data, tree, parse_parent((parent / ANCHORS).read_bytes(), str(parent)), new_id())
    took = time.perf_counter() - began
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    peak = int(status["VmHWM"].split()[0]) // 1024
    print(json.dumps({"seconds": round(took, 3), "lock_seconds": manifest.pause_seconds, "peak_mb": peak, "bytes": manifest.bytes}))


def main() -> None:
    """Make a directory, change it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--replay", action="store_true", help="replay it, too")
    parser.add_argument("--read", nargs=3, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(*arguments.read)
        return
    with tempfile.TemporaryDirectory(prefix="chroma-increment-") as scratch:
        root = Path(scratch)
        data, base, staging = root / "data", root / "base", root / "staging"
        synthetic.create(data, arguments.records, arguments.dimension, fulltext=True)
        with servers.running(servers.VERSIONS[-1], data=data) as server:
            client = ChromaClient(Connection(server.url, timeout=300))
            began = time.perf_counter()
            manifest = take(data, base, About(new_id()), live=True)
            copied = time.perf_counter()
            mark(base / DATA, base, manifest)
            marked = time.perf_counter()
            written = change(client, arguments.records, arguments.dimension, arguments.share)
            changed = time.perf_counter()
            figures = {"copy_seconds": copied - began, "mark_seconds": marked - copied, "change_seconds": changed - marked}
            runs = [measured(data, base, root / f"increment-{each}") for each in range(3)]
        raw = written * arguments.dimension * 4
        figures |= {
            "anchors_bytes": (base / ANCHORS).stat().st_size,
            "changed": written,
            "raw_bytes": raw,
            "times_raw": runs[0]["bytes"] / raw,
        }
        print(json.dumps(figures | {"increments": runs}, indent=2))
        if arguments.replay:
            shutil.copytree(base / DATA, staging)
            began = time.perf_counter()
            with open_rowids(staging, manifest, root / "ids") as ids, servers.running(servers.VERSIONS[-1], data=staging) as server:
                client, ready = ChromaClient(Connection(server.url, timeout=300)), time.perf_counter()
                print(apply_increment(client, root / "increment-0", ids))
                replayed = time.perf_counter()
                print(prove_ids(client, ids))
                print({"ready": ready - began, "replay": replayed - ready, "ids": time.perf_counter() - replayed})


if __name__ == "__main__":
    main()
