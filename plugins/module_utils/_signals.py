# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Being told to end. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import signal
from types import FrameType


def end_in_order() -> None:
    """Let SIGTERM end this process as an exit does, so that a stopped server is started on the way out.

    Python ends at once by default. Kubernetes sends it when a Job is deleted, and kills later (job.yaml.j2: two minutes):
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
    """

    def end(number: int, _frame: FrameType | None) -> None:
        # A second one shall not interrupt what the first one began.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
