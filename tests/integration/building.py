# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built once and kept in ``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma``. Needs nothing but Python's standard library."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache() -> Path:
    """Return the directory of what is kept, which need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma"


@contextlib.contextmanager
def missing(target: Path) -> Iterator[bool]:
    """Yield whether something is still to be built; no other process builds it in the meantime."""
    if target.exists():
        yield False
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not target.exists()
