# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""File systems of their own: small ones that fill up, and one with room where the machine's disk is nearly full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs in a folder that is made for it, with mount's options (``size=20m``); a test is skipped that has no right to."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield path
    finally:
        # What a killed server still has open ends with it.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def resize(path: Path, size: str) -> None:
    """Give a mounted one another size (``100m``)."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(path)], check=True)
