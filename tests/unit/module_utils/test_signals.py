# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is told to end does on the way out what it has to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

COLLECTIONS = Path(__file__).resolve().parents[3] / "playbooks" / "collections"
PAUSES = """
import time
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order
end_in_order()
try:
    print("stopped", flush=True)
    time.sleep(100)
finally:
    time.sleep(0.3)
    print("started", flush=True)
"""


def test_it_starts_again_what_it_has_stopped_and_a_second_signal_does_not_interrupt_that():
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    with subprocess.Popen([sys.executable, "-c", PAUSES], env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "started\n"
    assert process.returncode == 128 + signal.SIGTERM
