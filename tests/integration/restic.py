# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restic that ``local/restic`` pins, for tests, benchmarks and the image of the operations.

It is built once and kept in ``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma/restic-<key>``. Needs Go and Python's standard library.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import building

SOURCE = Path(__file__).resolve().parents[2] / "local" / "restic"


def program() -> Path:
    """Return the program, and build it first where it is absent; it appears whole or not at all."""
    key = hashlib.sha1((SOURCE / "go.sum").read_bytes()).hexdigest()[:12]
    target = building.cache() / f"restic-{key}" / "restic"
    with building.missing(target) as missing:
        if missing:
            print(f"building {target}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix=".restic-", dir=building.cache()) as scratch:
                built = Path(scratch) / "restic"
                arguments = ["go", "build", "-C", str(SOURCE), "-trimpath", "-ldflags", "-s -w", "-o", str(built)]
                environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
                subprocess.run([*arguments, "github.com/restic/restic/cmd/restic"], check=True, env=environment)
                built.rename(target)
    return target


if __name__ == "__main__":
    print(program())
