# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and time of planning a recovery, and of collecting what it would bring in: the server's work is measured by ``import.py``.

Prints for each kind of damage the seconds of both and the peak memory of the process, and as a scale the seconds of ``cp -r``.
Usage: ``python bench/recovery.py [--records 200000] [--dimension 384] [--scratch DIRECTORY]``.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks" / "collections"))

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.assemble import assembled, item_of, rehearse
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.backups import Backups
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import KINDS
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import collect
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.scan import scan
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.view import open_view


def header_is_torn(data: Path) -> None:
    next(data.glob("*/header.bin")).write_bytes(b"torn")


def label_map_is_cut_off(data: Path) -> None:
    path = next(data.glob("*/index_metadata.pickle"))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3)


def rows_are_lost(data: Path) -> None:
    (data / "chroma.sqlite3").unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    each.__name__.replace("_", " "): each for each in (header_is_torn, label_map_is_cut_off, rows_are_lost)
}


def measure(data: Path, room: Path) -> dict[str, float | int | str]:
    """Plan and collect in this process; return what it took."""
    require_data_libraries()
    rooms = [room / name for name in ("sqlite", "backup", "validation")]
    for each in rooms:
        each.mkdir(parents=True)
    began = time.monotonic()
    with open_view(data, rooms[0]) as view:
        backups = Backups(None, data, rooms[1])
        [found] = scan(view, backups, KINDS, rooms[2])
        with assembled(view, found, backups, None) as one:
            item = item_of(one, rehearse(one), ("default_tenant", "default_database"))
            planned = time.monotonic()
            collect(one, item, room)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"plan": planned - began, "collect": time.monotonic() - planned, "peak": peak, "records": item.recoverable, "lost": item.lost}


def main() -> None:
    """Measure each damage in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="chroma-bench-", dir=given.scratch) as folder:
        whole, data = Path(folder) / "whole", Path(folder) / "data"
        synthetic.create(whole, given.records, given.dimension)
        for name, damage in DAMAGES.items():
            began = time.monotonic()
            shutil.copytree(whole, data)
            copied = time.monotonic() - began
            damage(data)
            command = [sys.executable, __file__, "--measure", str(data), str(Path(folder) / "room")]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{name}: {done['records']} records, {done['lost']} lost; plan {done['plan']:.1f} s, collect {done['collect']:.1f} s"
                f" (cp -r {copied:.1f} s); peak {done['peak']} MB",
                flush=True,
            )
            shutil.rmtree(data)
            shutil.rmtree(Path(folder) / "room")


if __name__ == "__main__":
    main()
