# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before something is tried again. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import random


def delay(failures: int, first: float = 2.0, longest: float = 60.0) -> float:
    """Return the seconds to wait after so many failures: doubling, half of them random, so that those who failed together don't return so.

    Args:
        failures: 1 after the first one.
        first, longest: seconds, at most.
    """
    return min(first * 2.0 ** min(failures - 1, 64), longest) * random.uniform(0.5, 1.0)
