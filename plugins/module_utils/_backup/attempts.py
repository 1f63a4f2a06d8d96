# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a backup is tried, when again, and what the last failure says. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.thinkube.chroma.plugins.module_utils._backoff import delay
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import RETRYABLE, exit_code
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit

Result = TypeVar("Result")

# What the next attempt may do better, beside what :mod:`_operation` calls so.
_PASSING = frozenset({"copy_failed", "damaged_repository", "incomplete_backup", "interrupted", "repository_error", "repository_locked"})
# What no repetition changes, also where it was met while a backup was proven; and writers do not wait in vain any more often.
_FINAL = frozenset(
    {"forbidden", "missing_library", "missing_restic", "no_bucket", "no_space", "old_restic", "pause_exceeded", "wrong_password"}
)

SNAPSHOT, UPLOAD, VERIFICATION, TAG = "snapshot", "upload", "verification", "tag"


@dataclass
class Attempt:
    """One attempt, as far as it got.

    Attributes:
        number: from 1.
        phase: what is done at the moment.
    """

    number: int
    phase: str = SNAPSHOT


def attempts(
    times: int,
    work: Callable[[Attempt], Result],
    failed: Callable[[Attempt, ChromaError], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Do something until it is right.

    Args:
        times: attempts at most.
        work: one attempt; sets its phase.
        failed: told of each failure before anything else; takes away what it left.
        sleep: replaces waiting in unit tests, seconds.

    Raises:
        ChromaError: of the last attempt; its message says which that was, and its result has ``attempt``, ``attempts``, ``phase``,
            ``object`` and ``reason``.
    """
    for number in range(1, times + 1):
        attempt = Attempt(number)
        try:
            return work(attempt)
        except ChromaError as error:
            failed(attempt, error)
            if number == times or not worth_another(attempt.phase, error):
                raise _told(attempt, times, error) from error
            pause = delay(number)
            emit(
                "warning", message=f"Attempt {number} of {times} failed in the {attempt.phase}: {error.message} The next in {pause:.0f} s."
            )
            sleep(pause)
    raise AssertionError("the loop returns or raises")


def worth_another(phase: str, error: ChromaError) -> bool:
    """Return whether another attempt may succeed where one failed with this error."""
    if error.code in _FINAL:
        return False
    # What an increment followed on went meanwhile: the next attempt makes a full backup, if that may be.
    if error.code == "broken_chain":
        return phase in (VERIFICATION, TAG)
    # What was kept and did not come back may come back the next time, whatever it is called.
    return phase == VERIFICATION or error.code in _PASSING or exit_code(error.code) == RETRYABLE


def _failed(attempt: Attempt, times: int) -> str:
    return f"Attempt {attempt.number} of {times} failed in the {attempt.phase}"


def _told(attempt: Attempt, times: int, error: ChromaError) -> ChromaError:
    message = error.message if attempt.number == 1 else f"{_failed(attempt, times)}: {error.message}"
    named = {"object": attempt.phase, "reason": error.message, **error.result}
    return ChromaError(error.code, message, error.hint, {**named, "attempt": attempt.number, "attempts": times, "phase": attempt.phase})
