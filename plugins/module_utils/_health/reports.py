# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports of the hourly check, on the data volume. FOR INTERNAL COLLECTION USE ONLY.

Each is a JSON document ``.thinkube-chroma/reports/<time>.json``, there whole or not at all. Names sort as they were written, also where
the clock was set back meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import fault
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder, sync

REPORTS = "reports"
VERSION = 1
# A week of hourly checks.
COUNT = 168
DAYS = 30.0
_NAME = "%Y%m%dT%H%M%S.%fZ"
_STEP = timedelta(microseconds=1)


def list_reports(directory: Path) -> list[Path]:
    """Return the reports of a data directory, oldest first."""
    folder = directory / PRIVATE / REPORTS
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if moment_of(each) is not None)


def read_newest(directory: Path) -> dict[str, Any] | None:
    """Return the newest report that can be read; None where there is none. One that somebody damaged is passed over."""
    for path in reversed(list_reports(directory)):
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("version") == VERSION:
            return content
    return None


def new_path(directory: Path, now: datetime) -> Path:
    """Return where the report of a check that ends now belongs: after all that are there."""
    moments = [moment for each in list_reports(directory)[-1:] if (moment := moment_of(each))]
    moment = max([now.astimezone(UTC), *(each + _STEP for each in moments)])
    return directory / PRIVATE / REPORTS / f"{moment.strftime(_NAME)}.json"


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report, or replace it: it is on the disk whole when this returns, and until then as it was before.

    Args:
        path: from :func:`new_path`.
        content: JSON values.

    Raises:
        ChromaError: ``no_space``, ``forbidden``, ``conflict``.
    """
    folder = private_folder(path.parents[2]) / REPORTS
    beside = path.with_name(f"{path.name}.new")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # What a killed run left.
        for each in folder.glob("*.json.new"):
            each.unlink()
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            json.dump({"version": VERSION, **content}, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync(folder)
    except OSError as error:
        raise fault(f"The report {path} could not be written: {error.strerror}.", error) from error


def outdated(paths: Sequence[Path], now: datetime, count: int = COUNT, days: float = DAYS) -> list[Path]:
    """Return which reports no longer count: all but the newest so many, and those that are older; never the newest.

    Args:
        paths: oldest first.
        now: with a time zone.
    """
    oldest = now - timedelta(days=days)
    return [
        path
        for place, path in enumerate(paths[:-1])
        if place < len(paths) - count or ((moment := moment_of(path)) is not None and moment < oldest)
    ]


def moment_of(path: Path) -> datetime | None:
    """Return the moment in the name of a report; None where it is none."""
    try:
        return datetime.strptime(path.name, f"{_NAME}.json").replace(tzinfo=UTC)
    except ValueError:
        return None
