# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a running server beside plain restic, plain copying and the peers' ways: seconds, bytes, memory, the writers' pause.

Usage: ``python bench/backup.py [--records N] [--rounds R] [--peers]``. Needs Go for restic; Chroma 1.5.9 is built where it is absent.
A ratio is the median of those of the rounds: what is compared runs one right after the other, in turns which of them first, because others
may use the machine as well; the seconds of CPU do not depend on them. Verification is not part of what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
COLLECTIONS = CHECKOUT / "playbooks" / "collections"
sys.path[:0] = [str(CHECKOUT / "tests" / "integration"), str(COLLECTIONS)]

import restic  # noqa: E402
import servers  # noqa: E402
from export import DIMENSION, PEERS, run_peer  # noqa: E402

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient  # noqa: E402
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection  # noqa: E402

VERSION = "1.5.9"
# What restic and cp leave out of the directory: what is ours, and what comes and goes beside a writer.
PASSING = (".thinkube-chroma", "chroma.sqlite3-journal")
Figures = dict[str, Any]
NAMES = "ansible_collections.thinkube.chroma.plugins.module_utils"
ENVIRONMENT = {**os.environ, "RESTIC_PASSWORD": "bench", "PYTHONPATH": str(COLLECTIONS)}

# Each is a process of its own, as an operation is, and prints its seconds without the start of Python, and what there is to know.
HEAD = f"""
import json, resource, sys, time
from datetime import datetime
from pathlib import Path
class Absent:
    # The image of the operations has no pandas; where it is, pyarrow loads it for nothing, which takes half a second.
    @staticmethod
    def find_spec(name, *_more):
        if name == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
from {NAMES}._arrow import require_data_libraries
from {NAMES}._backup.kept import read_kept
from {NAMES}._backup.operation import Order, backup
from {NAMES}._backup.trees import Source
from {NAMES}._journal.journal import Journal
from {NAMES}._repository.repository import open_repository
from {NAMES}._repository.settings import RepositorySettings
require_data_libraries()
data, place, scratch, program = map(Path, sys.argv[1:5])
settings = RepositorySettings(str(place), password="bench", restic_path=str(program))
def spent():
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
began, before = time.monotonic(), spent()
"""
TAIL = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"all": time.monotonic() - began, "cpu": spent() - before, "memory": max(peak) / 1024, "own": peak[0] / 1024, **facts}))
"""
# The operation as the module runs it, without reading back. The journal says when the copy or the reading began, and the upload.
BACKUP = (
    HEAD
    + """
begun = time.time()
made = backup(Order(sys.argv[5], source=Source(data, live=True), verify=False), settings, None, lambda _host: False)["backup"]
ended = time.time()
read, upload = (datetime.fromisoformat(each.time).timestamp() for each in list(Journal.of(data).lines())[-3:-1])
facts = {"before": read - begun, "read": upload - read, "restic": ended - upload}
facts |= {"pause": made["pause_seconds"], "stored": made["added_bytes"], "kind": made["kind"]}
kept = read_kept(data)
facts |= {"reflink": json.loads(kept.manifest)["reflink"], "snapshot": kept.snapshots[-1].snapshot}
"""
    + TAIL
)
RESTORE = (
    HEAD
    + """
repository = open_repository(settings)
repository.restore(repository.snapshots()[0].snapshot, scratch / "restored")
facts = {}
"""
    + TAIL
)


class Bench:
    """Directories and programs of one run."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data = base / "data"
        self.program = restic.program()

    def ours(self, code: str, place: Path, *arguments: str) -> dict[str, Any]:
        """Run one of ours, with a scratch directory on the data's file system as an operation has it."""
        with tempfile.TemporaryDirectory(dir=self.base) as scratch:
            command = [sys.executable, "-c", code, str(self.data), str(place), scratch, str(self.program), *arguments]
            done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
            found: dict[str, Any] = json.loads(done.stdout)
            return found

    def restic(self, place: Path, *arguments: str) -> Figures:
        """Run restic as it is; returns its seconds, and those of the CPU."""
        command = [str(self.program), "--quiet", "--no-cache", "--repo", str(place), *arguments]
        began, before = time.monotonic(), os.times()
        subprocess.run(command, env=ENVIRONMENT, cwd=self.data, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return {"all": time.monotonic() - began, "cpu": spent}

    def fresh(self, name: str) -> Path:
        """Return an empty repository."""
        place = self.base / name
        shutil.rmtree(place, ignore_errors=True)
        self.restic(place, "init")
        return place

    def copied(self, *options: str) -> float:
        """Copy the data directory as the shell does; returns the seconds."""
        target = self.base / "copy"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        entries = [str(each) for each in self.data.iterdir() if each.name not in PASSING]
        began = time.monotonic()
        subprocess.run(["cp", "-r", *options, *entries, str(target)], check=True)
        return time.monotonic() - began


@contextlib.contextmanager
def writing(client: ChromaClient, collection: Collection) -> Iterator[list[float]]:
    """Write one record after the other all the while; yields the seconds that each write took, the failed ones as infinite."""
    over, took = threading.Event(), list[float]()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            began = time.monotonic()
            upsert(client, collection, [f"written-{number}"], number)
            took.append(time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield took
    finally:
        over.set()
        writer.join()


def upsert(client: ChromaClient, collection: Collection, ids: list[str], seed: int) -> int:
    """Upsert records with new vectors; returns how many bytes that is: vectors, documents and metadata."""
    numbers = random.Random(f"{seed} {ids[0]}")
    vectors = [[numbers.uniform(-1, 1) for _place in range(DIMENSION)] for _each in ids]
    documents = [f"changed {each} in round {seed}" for each in ids]
    metadata = [{"round": seed, "text": "changed"} for _each in ids]
    body = {"ids": ids, "embeddings": vectors, "documents": documents, "metadatas": metadata}
    client.write(collection, "upsert", json.dumps(body).encode())
    return len(ids) * 4 * DIMENSION + sum(map(len, (*ids, *documents))) + sum(len(json.dumps(each)) for each in metadata)


def in_turns(number: int, ours: Callable[[], Figures], plain: Callable[[], Figures]) -> tuple[Figures, Figures]:
    """Run both, one after the other; which one is first depends on the number of the round."""
    if number % 2:
        theirs = plain()
        return ours(), theirs
    return ours(), plain()


def median(rounds: list[dict[str, Any]], key: str) -> float:
    """Return the median of a figure."""
    return statistics.median(each[key] for each in rounds)


def say(what: str, seconds: float, more: str = "") -> None:
    """Print a line."""
    print(f"{what:46} {seconds:8.2f} s  {more}", flush=True)


def measure(bench: Bench, options: argparse.Namespace, server: servers.Server) -> None:
    """Measure what needs the server, and print it."""
    client = ChromaClient(Connection(server.url))
    collection = client.require_collection("synthetic-0")
    # The first ones of those that bench/synthetic.py has made: 1 % of what is there changes, and nothing is added.
    changed = [f"record-0-{each:08d}" for each in range(max(1, options.records // 100))]
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        place, plain = bench.fresh("repository"), bench.fresh("plain")
        with writing(client, collection) as took:
            full, by_restic = in_turns(
                number,
                partial(bench.ours, BACKUP, place, "full"),
                partial(bench.restic, plain, "backup", ".", *(f"--exclude={each}" for each in PASSING)),
            )
            copied = bench.copied()
            slowest = max(took)
        before = client.count(collection)
        raw = sum(upsert(client, collection, changed[first : first + 1000], number) for first in range(0, len(changed), 1000))
        if client.count(collection) != before:
            raise RuntimeError("records were added: those that were to change are not there")
        increment = bench.ours(BACKUP, place, "increment")
        target = bench.base / "restored"
        restored, plain_restored = in_turns(
            number,
            partial(bench.ours, RESTORE, place),
            partial(bench.restic, place, "restore", full["snapshot"], "--target", str(target)),
        )
        shutil.rmtree(target)
        rounds.append(
            {f"full {key}": value for key, value in full.items()}
            | {f"increment {key}": value for key, value in increment.items()}
            | {f"restore {key}": value for key, value in restored.items()}
            | {f"restic backup {key}": value for key, value in by_restic.items()}
            | {f"restic restore {key}": value for key, value in plain_restored.items()}
            | {"copied": copied, "raw": raw, "slowest": slowest, "writes": len(took)}
        )
    report(rounds)


def report(rounds: list[dict[str, Any]]) -> None:
    """Print the medians, and the ratios with what they are to be."""

    def of(key: str) -> float:
        return median(rounds, key)

    def ratio(one: str, other: str) -> float:
        return statistics.median(each[one] / each[other] for each in rounds)

    parts = ", ".join(f"{key} {of(f'full {key}'):.2f}" for key in ("before", "read", "restic"))
    say(
        "full backup beside a writer",
        of("full all"),
        f"{parts}; {of('full stored') / 1e6:.1f} MB stored, {of('full memory'):.0f} MB memory",
    )
    say("restic backup of the directory, beside it too", of("restic backup all"))
    say("cp -r of the directory, beside it too", of("copied"))
    reflink = ", by reflink" if rounds[0]["full reflink"] else ""
    say("writers' pause", of("full pause"), f"the slowest of {of('writes'):.0f} writes took {of('slowest'):.2f} s{reflink}")
    parts = ", ".join(f"{key} {of(f'increment {key}'):.2f}" for key in ("before", "read", "restic"))
    say("increment after 1 % changed", of("increment all"), f"{parts}; {of('increment memory'):.0f} MB memory")
    say("its lock", of("increment pause"))
    say("restore", of("restore all"), f"{of('restore memory'):.0f} MB memory")
    say("restic restore", of("restic restore all"))
    print(f"increment stored / raw changed   {ratio('increment stored', 'raw'):6.2f}  (target <= 3; {of('raw') / 1e6:.2f} MB raw)")
    print(f"increment's lock                 {of('increment pause'):6.2f}  s (target <= 1)")
    print(f"writers' pause / cp -r           {ratio('full pause', 'copied'):6.2f}  (target <= 1.2)")
    for one, other, target in (("full", "restic backup", 1.3), ("increment", "full", 0.25), ("restore", "restic restore", 1.3)):
        seconds, cpu = (ratio(f"{one} {key}", f"{other} {key}") for key in ("all", "cpu"))
        print(f"{f'{one} / {other}':32} {seconds:6.2f}  (target <= {target}; of the CPU's seconds {cpu:.2f})")
    peak = max(each[f"{what} memory"] for each in rounds for what in ("full", "increment", "restore"))
    print(f"memory of any process            {peak:6.0f}  MB (target <= 300)", flush=True)


def main() -> None:
    """Measure, and leave nothing behind but the programs in the cache."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-backup-", dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        bench = Bench(Path(scratch))
        synthetic = [sys.executable, str(CHECKOUT / "bench" / "synthetic.py"), str(bench.data)]
        subprocess.run([*synthetic, "--records", str(options.records), "--dimension", str(DIMENSION)], check=True)
        with servers.running(VERSION, data=bench.data) as server:
            measure(bench, options, server)
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            bench.copied()
            stack.enter_context(servers.running(VERSION, data=bench.data))
            say("stop, cp -r, start: nobody is served for", time.monotonic() - began, "and the time that stopping takes")
        if options.peers:
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma"
            run_peer(PEERS[0], cache, {"data": str(bench.data), "out": scratch, "url": "", "host": "", "port": ""}, options.records)


if __name__ == "__main__":
    main()
