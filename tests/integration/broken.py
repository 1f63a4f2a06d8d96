# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of broken data directories, for the tests of the validation and of what repairs.

:data:`CASES` break a copy of a directory of :func:`filling.build` in one way each and say what must be found. They stand beside this,
by what they break; each module registers its own when it is imported.
"""

from __future__ import annotations

import broken_database
import broken_index
import broken_log
import broken_rows
from scene import CASES, Case, Scene, case

__all__ = ["CASES", "Case", "Scene", "broken_database", "broken_index", "broken_log", "broken_rows", "case"]
