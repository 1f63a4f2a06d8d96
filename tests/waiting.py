# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting in tests: so long that no slow machine fails one, and that what hangs ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

# Seconds for what takes a few on a machine of its own.
PATIENCE = 600.0


def until(
    true: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.02, process: subprocess.Popen[Any] | None = None
) -> Any:
    """Wait for a true value and return it; fail, naming ``what``, where it does not come. Between two questions are ``pause`` seconds.

    With a process, also where that has ended before: what is waited for will not come any more.
    """
    end = time.monotonic() + seconds
    while not (value := true()):
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{what}: the process ended with {process.returncode} before")
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(pause)
    return value
