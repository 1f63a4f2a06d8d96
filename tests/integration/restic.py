# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restic that ``local/restic`` pins, for tests, benchmarks and the image of the operations.

It is built once and kept in ``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma/restic-<key>``. Needs Go and Python's standard library.
"""

from __future__ import annotations

import hashlib
import os
import shlex
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


# Programs of a process that is killed are named by their arguments: the real one takes this one's place.
QUICK = """#!/bin/sh
case " $* " in *" init "*) ;; *) exec {program} "$@" ;; esac
{program} "$@" || exit
case $RESTIC_REPOSITORY in /*) exec {python} {key} "$RESTIC_REPOSITORY" ;; esac
"""


def quick() -> Path:
    """Return a program that does the same, but for the keys of the repositories in directories that it makes (:mod:`restic_key`)."""
    words = {"program": program(), "python": sys.executable, "key": Path(__file__).with_name("restic_key.py")}
    text = QUICK.format(**{name: shlex.quote(str(word)) for name, word in words.items()})
    target = program().parent / f"quick-{hashlib.sha1(text.encode()).hexdigest()[:12]}" / "restic"
    with building.missing(target) as missing:
        if missing:
            with tempfile.TemporaryDirectory(prefix=".restic-", dir=building.cache()) as scratch:
                made = Path(scratch) / "restic"
                made.write_text(text)
                made.chmod(0o755)
                made.rename(target)
    return target


if __name__ == "__main__":
    print(program())
