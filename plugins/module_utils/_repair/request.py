# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a repair and of its undo. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import STARTS, STOPS

REPAIR, UNDO, PURGE = "repair", "undo-repair", "purge-quarantine"
LATEST = "latest"
# Days for which a repair can be undone.
GRACE_DAYS = 7.0


@dataclass(frozen=True)
class RepairRequest:
    """What a user asks for.

    Args:
        path: the data directory.
        findings: identifiers; only these are repaired. Empty for all that can be.
        live: whether a server may be writing; None finds out. Of no account where the server is stopped for the repair.
        stop: whether steps are done that need a stopped server: it is stopped where it runs on the cluster, and nobody may have
            the directory open elsewhere. Otherwise these steps are left.
        grace_days: quarantines older than that are removed for good.
        stops, starts: seconds that the server may take to stop, and to become ready.
    """

    path: Path
    findings: tuple[str, ...] = ()
    live: bool | None = None
    stop: bool = True
    grace_days: float = GRACE_DAYS
    stops: float = STOPS
    starts: float = STARTS

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``, ``not_found``.
        """
        check_place(self.path, self.stops, self.starts)
        unknown = sorted(set(self.findings) - set(KINDS))
        if unknown:
            message = f"There are no findings {', '.join(unknown)}."
            raise ChromaError("invalid_value", message, "docs/findings.md has all of them; write them as CHR017.")
        check_grace(self.grace_days)


@dataclass(frozen=True)
class UndoRequest:
    """What an undo is asked for.

    Args:
        path: the data directory.
        repair: id of the repair, or ``latest``.
        live, stop, stops, starts: as in :class:`RepairRequest`; with a stopped server the very bytes come back.
    """

    path: Path
    repair: str = LATEST
    live: bool | None = None
    stop: bool = True
    stops: float = STOPS
    starts: float = STARTS

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``, ``not_found``.
        """
        check_place(self.path, self.stops, self.starts)


def check_grace(days: float) -> None:
    """Refuse a grace time that is none.

    Raises:
        ChromaError: ``invalid_value``.
    """
    if not 0 <= days < 36500:
        raise ChromaError("invalid_value", f"grace_days is {days:g}.", "Give days from 0 on.")


def check_place(path: Path, stops: float, starts: float) -> None:
    """Refuse what is no directory, and times that are none.

    Raises:
        ChromaError: ``invalid_value``, ``not_found``.
    """
    if not path.is_dir():
        raise ChromaError("not_found", f"There is no directory {path}.", "Give the directory that holds chroma.sqlite3.")
    if stops <= 0 or starts <= 0:
        message = f"stop_timeout is {stops:g} and start_timeout {starts:g}."
        raise ChromaError("invalid_value", message, "Give seconds above 0.")
