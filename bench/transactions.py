# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting a collection with a restore point beside exporting it: ``python bench/transactions.py [--records N] [--rounds N]``.

In each round a copy of one synthetic directory (384 dimensions, documents, four metadata keys) is served by a real Chroma 1.5.9, and the
modules run one right after the other, each a process of its own as a task of a playbook is:

- chroma_export of the collection by the server's url, to a directory,
- chroma_collection with state absent and a repository that exists (target: at most 3 times as long), then its undo.

Prints seconds, seconds of CPU of module, restic and server, and the median of the ratios: others may use the machine as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests" / "integration"), str(CHECKOUT / "playbooks" / "collections")]

import servers  # noqa: E402
import synthetic  # noqa: E402
from restoring import Place  # noqa: E402

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection  # noqa: E402

DIMENSION = 384
NAME = "synthetic-0"


def spent(pid: int) -> float:
    """Return seconds of CPU of a server, and of all processes that have been waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + ours.ru_utime + ours.ru_stime


def timed(server: servers.Server, place: Place, module: str, **options: Any) -> tuple[float, float]:
    """Run a module; return its seconds, and those of CPU."""
    began, before = time.monotonic(), spent(server.pid)
    result = place.module(module, url=server.url, **options)
    if result.get("failed"):
        raise RuntimeError(result["msg"])
    return time.monotonic() - began, spent(server.pid) - before


def steps(place: Place) -> str:
    """Return how long each step of the last deletion took, from the journal."""
    lines = [json.loads(line) for line in (place.data / ".thinkube-chroma" / "journal.jsonl").read_text().splitlines()]
    number = max(line["n"] for line in lines if line["event"] == "begin" and line["operation"] == "delete-collection")
    mine = [line for line in lines if line["entry"] == number]
    clock = [time.strptime(line["time"][:19], "%Y-%m-%dT%H:%M:%S") for line in mine]
    exact = [time.mktime(each) + float(line["time"][19:-1]) for each, line in zip(clock, mine, strict=True)]
    return ", ".join(f"{line['name'] or 'begin'} {after - at:.1f}" for line, at, after in zip(mine, exact, exact[1:], strict=False))


def measure(directory: Path, root: Path, rounds: int) -> None:
    """Compare, and print."""
    ratios, processor = [], []
    place = Place(root)
    for number in range(rounds):
        shutil.rmtree(root / "data", ignore_errors=True)
        shutil.copytree(directory, root / "data")
        with servers.running("1.5.9", data=place.data) as server:
            client = ChromaClient(Connection(server.url, timeout=300))
            # Both find the index loaded and the repository there.
            next(iter(client.get(client.require_collection(NAME), include=("embeddings",), page=1)))
            if not place.repository.exists():
                place.module("chroma_backup", path=str(place.data), kind="full", verify=False)
            source = {"destination": str(root / f"dataset-{number}"), "collections": [NAME]}
            plain = {"repository": None, "repository_password": None, "restic_path": None}
            export = timed(server, place, "chroma_export", **plain, **source)
            deletion = timed(server, place, "chroma_collection", path=str(place.data), name=NAME, state="absent")
            told = steps(place)
            undo = timed(server, place, "chroma_collection_undo", path=str(place.data))
        ratios.append(deletion[0] / export[0])
        processor.append(deletion[1] / export[1])
        for what, (seconds, cpu) in {"export": export, "delete": deletion, "undo": undo}.items():
            print(f"round {number + 1}: {what:8} {seconds:6.2f} s, {cpu:6.2f} s of CPU")
        print(f"         {told}")
    print(f"delete / export: {statistics.median(ratios):.2f} in time, {statistics.median(processor):.2f} in CPU (target: at most 3)")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chroma-bench-") as folder:
        directory, root = Path(folder) / "synthetic", Path(folder) / "place"
        root.mkdir()
        synthetic.create(directory, options.records, DIMENSION, fulltext=True)
        measure(directory, root, options.rounds)


if __name__ == "__main__":
    main()
