# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that stands in the way of an installation. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that stands in the way of an installation.

    Attributes:
        name: the variable or the object that is wrong.
        expected: what it must be.
        seen: what it is; never a secret.
        hint: what to do.
    """

    name: str
    expected: str
    seen: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, seen {self.seen}.{' ' + self.hint if self.hint else ''}"
