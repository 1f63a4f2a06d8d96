# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of what does not say itself how far it is. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress

# Seconds between two reports; the time is all that they say.
INTERVAL = 5.0


@contextlib.contextmanager
def ticking(phase: str, interval: float = INTERVAL) -> Iterator[None]:
    """Say every few seconds that a phase goes on, and for how long it has, for the length of a ``with`` block.

    Args:
        phase: one or two words.
        interval: seconds.
    """
    over = threading.Event()

    def tick(progress: Progress) -> None:
        while not over.wait(interval):
            progress.advance(round(interval))

    with Progress(phase, unit="seconds") as progress:
        thread = threading.Thread(target=tick, args=(progress,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
