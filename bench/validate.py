# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a full validation costs: against SQLite's quick_check and reading all files once, in turn; and its memory.

Prints ``ratio`` lines; both figures of a line come from the same run. Makes a synthetic directory where it is given none.
Usage: ``python bench/validate.py [DIRECTORY] [--records N] [--dimension D] [--rounds R]``.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks" / "collections"))

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate

READ = 1 << 20


def baseline(directory: Path) -> None:
    """Let SQLite check its file, and read all files once."""
    with contextlib.closing(sqlite3.connect(f"{(directory / 'chroma.sqlite3').as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA quick_check").fetchall()
    buffer = bytearray(READ)
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def timed(act, directory: Path) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    act(directory)
    return time.perf_counter() - began


def main() -> None:
    """Compare, in turn, and print the ratio; the memory is that of a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="only validate once and print the memory")
    arguments = parser.parse_args()
    if arguments.memory:
        validate(arguments.directory, live=False)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
        return
    with tempfile.TemporaryDirectory(prefix="chroma-bench-") as scratch:
        directory = arguments.directory
        if directory is None:
            from synthetic import create

            directory = Path(scratch) / "data"
            create(directory, arguments.records, arguments.dimension, fulltext=True)
        baseline(directory)
        taken: tuple[list[float], list[float]] = ([], [])
        for _round in range(arguments.rounds):
            taken[0].append(timed(baseline, directory))
            taken[1].append(timed(lambda path: validate(path, live=False), directory))
        # The shortest of each: what else runs on the machine only ever makes one longer.
        plain, full = (min(each) for each in taken)
        command = [sys.executable, __file__, str(directory), "--memory"]
        memory = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) >> 20
        print(f"ratio validate / (quick_check + read) = {full / plain:.2f} (at most 3 wanted; {full:.2f} / {plain:.2f} s, {size} MiB)")
        print(f"memory of a validation: {memory} MiB (at most 500 wanted)")


if __name__ == "__main__":
    main()
