# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic says of its snapshots, as plain data. FOR INTERNAL COLLECTION USE ONLY.

Format: https://restic.readthedocs.io/en/stable/075_scripting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Each snapshot of ours has it, and one ``id=…``; all others are somebody else's and never touched.
MARK = "thinkube.chroma"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of the repository.

    Args:
        snapshot: restic's id, 64 hexadecimal digits; another one after each :meth:`Repository.retag`.
        time: of the backup, as it was told to restic; UTC.
        tags: as they are stored.
        hostname: where it was made.
        tree: restic's id of what it holds.
        files, bytes: in its tree; None where the restic that made it did not say.
        stored: bytes that it added to the repository, compressed; None likewise.
    """

    snapshot: str
    time: datetime
    tags: tuple[str, ...]
    hostname: str
    files: int | None = None
    bytes: int | None = None
    stored: int | None = None
    tree: str = ""

    def tag(self, key: str) -> str:
        """Return the value of the tag ``key=value``; empty where there is none, the last one where there are several."""
        return next((each.partition("=")[2] for each in reversed(self.tags) if each.startswith(f"{key}=")), "")

    @property
    def backup(self) -> str:
        """Id of the backup."""
        return self.tag("id")

    @property
    def is_ours(self) -> bool:
        """Whether this collection made it."""
        return MARK in self.tags and bool(self.backup)


@dataclass(frozen=True)
class Saved:
    """What one backup brought into the repository.

    Args:
        snapshot: restic's id.
        files, bytes: that were read.
        added: bytes that were new, as they are in the files.
        stored: bytes that the repository grew by, compressed.
        seconds: that restic took.
    """

    snapshot: str
    files: int
    bytes: int
    added: int
    stored: int
    seconds: float


@dataclass(frozen=True)
class Restored:
    """What one restore brought back: ``files`` and ``bytes``, and the ``seconds`` that restic took."""

    files: int
    bytes: int
    seconds: float


def parse_snapshot(document: Mapping[str, Any]) -> Snapshot:
    """Return a snapshot from an element of ``restic snapshots --json``."""
    summary = document.get("summary") or {}
    return Snapshot(
        snapshot=document["id"],
        time=parse_time(document["time"]),
        tags=tuple(document.get("tags") or ()),
        hostname=document.get("hostname", ""),
        files=summary.get("total_files_processed"),
        bytes=summary.get("total_bytes_processed"),
        stored=summary.get("data_added_packed"),
        tree=document.get("tree", ""),
    )


def parse_time(text: str) -> datetime:
    """Return a time of restic's: RFC 3339 with up to nine digits behind the second, where Python takes six."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).astimezone(UTC)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags; restic takes a comma for the end of one.

    Raises:
        ChromaError: ``invalid_value``.
    """
    checked = tuple(tags)
    for each in checked:
        if not each or "," in each or each != each.strip() or not each.isprintable():
            raise ChromaError("invalid_value", f"{each!r} can't be a tag of a snapshot.", "Leave out commas, line breaks and outer spaces.")
    return checked


def select(snapshots: Iterable[Snapshot], tags: Sequence[str]) -> tuple[Snapshot, ...]:
    """Return those of ours that have all of these tags, oldest first; an interrupted retag has left a backup twice."""
    chosen = (each for each in snapshots if each.is_ours and set(tags) <= set(each.tags))
    return tuple(sorted(chosen, key=lambda each: (each.time, each.snapshot)))
