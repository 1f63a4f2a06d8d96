# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the engine. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any


class ChromaError(Exception):
    """An operation that was not done, or not proven.

    Args:
        code: stable identifier for programs, for example ``not_found``.
        message: what was attempted on what, and what came back.
        hint: what to do next; empty where nothing sensible can be said.
        result: what was done or seen until then; returned to the caller beside the message.
    """

    def __init__(self, code: str, message: str, hint: str = "", result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.result = result or {}

    def as_result(self) -> dict[str, Any]:
        """Return the arguments of ``fail_json``: the partial result, ``msg``, ``code`` and ``hint``."""
        msg = f"{self.message} {self.hint}".strip()
        return {**self.result, "msg": msg, "code": self.code, "hint": self.hint}
