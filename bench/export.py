# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An export beside what others do with the same records: ``python bench/export.py [--records N] [--rounds N] [--peers]``.

On a synthetic directory (384 dimensions, documents, four metadata keys), each in a process of its own, in turn:

- chroma_export's engine from the directory, to Parquet on the same disk, checksums and fsync included,
- pyarrow writing the same table from memory, with zstd 1 and byte-stream split (target: ours reaches at least 0.5 of its rate), and with
  our options, which also leave out statistics that nobody needs,
- the official client paging everything out of a real server 1.5.9 on the same directory (target: ours is at least 10 times as fast),
- chroma_export's engine from that server's url.

Prints vectors a second, peak memory and ratios. ``--peers`` adds chromadb-ops' snapshot, chromadb-data-pipes' export and vector-io's, each
in a virtual environment of its own in the cache; one that cannot be installed or fails is reported as such.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
COLLECTIONS = CHECKOUT / "playbooks" / "collections"
sys.path.insert(0, str(CHECKOUT / "tests" / "integration"))

import servers  # noqa: E402

DIMENSION = 384
NAMES = "ansible_collections.thinkube.chroma.plugins.module_utils"

# Each prints its seconds; libraries and the data that it needs in memory are loaded before. At its first array pyarrow
# imports pandas where that is installed, as it is for tests, but not in the image.
OURS = f"""
import sys, time
import adbc_driver_sqlite.dbapi
import pyarrow
from {NAMES}._datadir.directory import open_directory
from {NAMES}._dataset.export import Wanted, export
from {NAMES}._dataset.sources import DirectorySource
from {NAMES}._dataset.store import open_store
pyarrow.array([0])
begin = time.monotonic()
with open_directory(sys.argv[1]) as directory:
    export(DirectorySource(directory), open_store(sys.argv[2]), Wanted())
print(time.monotonic() - begin)
"""
BY_URL = f"""
import sys, time
from {NAMES}._client import ChromaClient
from {NAMES}._dataset.export import Wanted, export
from {NAMES}._dataset.serving import ServerSource
from {NAMES}._dataset.store import open_store
from {NAMES}._transport import Connection
begin = time.monotonic()
export(ServerSource(ChromaClient(Connection(sys.argv[1]))), open_store(sys.argv[2]), Wanted())
print(time.monotonic() - begin)
"""
PYARROW = f"""
import json, pathlib, sys, time
import pyarrow as pa, pyarrow.parquet as pq
from {NAMES}._dataset.writer import parquet_options
parts = sorted(pathlib.Path(sys.argv[1]).glob("collections/*/*.parquet"))
table = pa.concat_tables([pq.read_table(each) for each in parts])
plain = {{"compression": "zstd", "compression_level": 1, "use_byte_stream_split": ["vector.list.element"], "use_dictionary": False}}
begin = time.monotonic()
pq.write_table(table, sys.argv[2], **(plain if sys.argv[3] == "plain" else parquet_options(table.schema)))
print(time.monotonic() - begin)
"""
CLIENT = """
import sys, time, urllib.parse
import chromadb
url = urllib.parse.urlsplit(sys.argv[1])
client = chromadb.HttpClient(host=url.hostname, port=url.port)
begin, total = time.monotonic(), 0
for collection in client.list_collections():
    count, page = collection.count(), int(sys.argv[2])
    for offset in range(0, count, page):
        records = collection.get(limit=page, offset=offset, include=["embeddings", "documents", "metadatas", "uris"])
        total += len(records["ids"])
print(time.monotonic() - begin)
"""


@dataclass(frozen=True)
class Peer:
    """Another tool: how it is installed and run. ``{data}``, ``{url}``, ``{host}``, ``{port}``, ``{out}`` and ``{bin}`` are filled in."""

    name: str
    requirements: tuple[str, ...]
    command: str


PEERS = (
    Peer(
        "chops collection snapshot",
        ("chromadb-ops==0.1.5", "chromadb==1.0.16", "click<8.2"),
        "{bin}/chops collection snapshot {data} -c synthetic-0 -o {out}/s.sqlite3 -y",
    ),
    Peer(
        "cdp export",
        ("chromadb-data-pipes==0.0.12", "chromadb==0.5.23", "numpy<2", "pyarrow<18", "langchain-community<0.3", "jinja2", "click<8.2"),
        "{bin}/cdp export file://{data}/synthetic-0 > {out}/records.jsonl",
    ),
    Peer(
        "vector-io",
        ("vdf-io[chromadb]==0.1.247", "chromadb==1.5.9", "setuptools<80"),
        "cd {out} && DISABLE_TELEMETRY_VECTORIO=1 {bin}/export_vdf -m none chroma --host_port {host}:{port} -c synthetic-0 < /dev/null",
    ),
)


def measure(code: str, *arguments: str) -> tuple[float, float]:
    """Run a program in a process of its own; returns the seconds that it printed and its peak memory in MB."""
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "ANONYMIZED_TELEMETRY": "FALSE"}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], env=environ, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"a measurement failed with {process.returncode}")
    return float(output.split()[-1]), usage.ru_maxrss / 1024


def report(what: str, records: int, measured: list[tuple[float, float]]) -> float:
    """Print the median rate and the peak memory; returns the median seconds."""
    seconds = statistics.median(each for each, _memory in measured)
    print(f"{what:44} {seconds:8.2f} s {records / seconds:10,.0f} vectors/s {max(each for _s, each in measured):6,.0f} MB", flush=True)
    return seconds


def run_peer(peer: Peer, cache: Path, values: dict[str, str], records: int) -> None:
    """Install and run another tool once, and say what came of it."""
    key = peer.name.split()[0]
    target = cache / f"peer-{key}"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    try:
        if not target.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", ">=3.10,<3.12", str(target)], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"), *peer.requirements]
            subprocess.run(install, check=True, timeout=600)
        begin = time.monotonic()
        command = peer.command.format(bin=target / "bin", **values)
        subprocess.run(["bash", "-c", command], check=True, timeout=600, capture_output=True, text=True)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        print(f"{peer.name}: did not run: {said.strip().splitlines()[-1][:200]}")
        if not (target / "bin").exists() or not isinstance(error, subprocess.CalledProcessError) or "pip" in str(error.cmd):
            shutil.rmtree(target, ignore_errors=True)
        return
    report(peer.name, records, [(time.monotonic() - begin, 0.0)])


def main() -> None:
    """Measure, and leave nothing behind but the peers' environments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=int, default=5000, help="of the official client")
    parser.add_argument("--no-server", action="store_true", help="only the directory and pyarrow")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-export-", dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        base = Path(scratch)
        synthetic = [sys.executable, str(CHECKOUT / "bench" / "synthetic.py"), str(base / "data")]
        subprocess.run([*synthetic, "--records", str(options.records), "--dimension", str(DIMENSION)], check=True)

        def fresh(code: str, source: str) -> tuple[float, float]:
            shutil.rmtree(base / "set", ignore_errors=True)
            return measure(code, source, str(base / "set"))

        rounds = []
        for _round in range(options.rounds):
            one = fresh(OURS, str(base / "data"))
            rounds.append((one, *(measure(PYARROW, str(base / "set"), str(base / "table.parquet"), way) for way in ("plain", "ours"))))
        ours, plain, same = (
            report(what, options.records, [each[place] for each in rounds])
            for place, what in enumerate(("export from the directory", "pyarrow from memory", "pyarrow from memory, our options"))
        )
        print(f"ratio to pyarrow: {plain / ours:.2f} (target >= 0.5), with our options {same / ours:.2f}", flush=True)
        if options.no_server:
            return
        compare_servers(options, base, ours, fresh)


def compare_servers(options: argparse.Namespace, base: Path, ours: float, fresh: Callable[[str, str], tuple[float, float]]) -> None:
    """Measure what goes through a real server on the same directory."""
    with servers.running("1.5.9", data=base / "data") as server:
        client = report(f"official client, pages of {options.page}", options.records, [measure(CLIENT, server.url, str(options.page))])
        by_url = report("export from the url", options.records, [fresh(BY_URL, server.url)])
        print(f"ratio to the official client: {client / ours:.1f} from the directory (target >= 10), {client / by_url:.1f} from the url")
        if options.peers:
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma"
            host, port = server.url.removeprefix("http://").split(":")
            for peer in PEERS:
                out = Path(tempfile.mkdtemp(dir=base))
                values = {"data": str(base / "data"), "url": server.url, "host": host, "port": port, "out": str(out)}
                run_peer(peer, cache, values, options.records)


if __name__ == "__main__":
    main()
