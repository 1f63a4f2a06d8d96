# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees on their way into a repository and out of it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Message
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Restored, Saved, Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.working import Workplace

# Some source files could not be read; the snapshot is there all the same.
_INCOMPLETE = 3
OTHER_KIND = "Look at what the backup holds: its kind differs."


def save(work: Workplace, tree: Path, tags: Sequence[str], time: datetime, progress: Progress | None) -> Saved:
    """Bring a directory's content into the repository; see :meth:`Repository.backup`."""
    if not tree.is_dir():
        raise ChromaError("not_found", f"There is no directory {tree} to bring into the repository.", "Correct the path.")
    arguments = [argument for each in tags for argument in ("--tag", each)]
    moment = time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    report = _reporter(progress, "bytes_done", "total_bytes_processed")
    command = ("backup", ".", "--force", "--time", moment, *arguments)
    outcome = work.locked(lambda: work.restic.run(*command, cwd=tree, on_message=report))
    summary = outcome.summary
    if outcome.code == _INCOMPLETE:
        if summary.get("snapshot_id"):
            removed = work.locked(lambda: work.restic.run("forget", summary["snapshot_id"]))
            if removed.code:
                raise work.fault(f"Could not remove the backup that lacks a part of {tree} from", removed)
        message = f"Could not read all of {tree}: {'; '.join(outcome.complaints[:3])}."
        raise ChromaError("incomplete_backup", message, "Look at the file and the file system, and try again; this backup was removed.")
    if outcome.code:
        raise work.fault("Could not write into the repository", outcome)
    return Saved(
        snapshot=summary["snapshot_id"],
        files=summary["total_files_processed"],
        bytes=summary["total_bytes_processed"],
        added=summary["data_added"],
        stored=summary["data_added_packed"],
        seconds=round(outcome.seconds, 3),
    )


def bring_back(work: Workplace, backup: Snapshot, target: Path, include: Sequence[str], progress: Progress | None) -> Restored:
    """Bring a backup's tree back, or parts of it; see :meth:`Repository.restore`."""
    if target.exists() and any(target.iterdir()):
        raise ChromaError("not_empty", f"{target} is not empty.", "Choose a directory that is empty or absent.")
    patterns = [argument for each in include for argument in ("--include", "/" + _literal(each.strip("/")))]
    arguments = ("restore", backup.snapshot, "--target", str(target), *patterns)
    report = _reporter(progress, "bytes_restored", "bytes_restored")
    try:
        outcome = work.reading(lambda *lock: work.restic.run(*arguments, *lock, on_message=report))
        if outcome.code:
            fault = work.fault(f"Could not restore backup {backup.backup} from", outcome)
            fault.result |= {"backups": [backup.backup], "complaints": outcome.complaints[:10]}
            raise fault
        if include and not outcome.summary.get("files_restored"):
            raise ChromaError("not_found", f"Backup {backup.backup} has no {' or '.join(include)}.", OTHER_KIND)
    except BaseException:
        _empty(target)
        raise
    return Restored(outcome.summary["files_restored"], outcome.summary["bytes_restored"], round(outcome.seconds, 3))


def _reporter(progress: Progress | None, done: str, all_of_it: str) -> Callable[[Message], None] | None:
    """Return what passes restic's messages on as progress; ``done`` and ``all_of_it`` are the fields of its status and its summary."""
    if progress is None:
        return None

    def report(message: Message) -> None:
        kind = message.get("message_type")
        if kind == "summary":
            progress.total = message.get(all_of_it)
        elif kind == "status":
            progress.total = message.get("total_bytes", progress.total)
        now = message.get(done if kind == "status" else all_of_it, 0)
        progress.advance(max(0, now - progress.done))

    return report


def _literal(path: str) -> str:
    """Return a path as restic's patterns take it, without special meaning."""
    return "".join(f"\\{each}" if each in "*?[\\" else each for each in path)


def _empty(directory: Path) -> None:
    if directory.is_dir():
        for each in directory.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
