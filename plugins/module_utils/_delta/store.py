# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of a delta to the store, and what failed away from it again. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.manifest import BLOCK, MANIFEST, UNVERIFIED, DeltaFile
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress, emit
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import is_id

logger = logging.getLogger("thinkube.chroma.delta")

# Seconds without a sign of life after which an attempt that somebody left is removed, by the store's own clock.
ABANDONED = 24 * 3600.0


def say(text: str, level: int = logging.INFO) -> None:
    """Log a line, and send it as an event of the running operation where there is one."""
    logger.log(level, text)
    emit("warning" if level > logging.INFO else "message", message=text)


def upload_file(work: Store, directory: Path, wanted: DeltaFile, progress: Progress) -> None:
    """Upload one file.

    Raises:
        ChromaError: ``directory_changed`` where it is not what was planned; what the store answers.
    """
    source, size = directory / wanted.path, 0
    hint = "Look which process writes there, stop it, and upload again."
    try:
        file = source.open("rb")
    except OSError as error:
        raise ChromaError("directory_changed", f"Could not read {source}: {error.strerror}.", hint) from error
    with file, work.create(wanted.path) as output:
        while size < wanted.bytes and (block := file.read(min(BLOCK, wanted.bytes - size))):
            output.write(block)
            size += len(block)
            progress.advance(len(block))
        longer = file.read(1)
    if longer or output.sha256 != wanted.sha256:
        raise ChromaError("directory_changed", f"{source} changed while it was uploaded.", hint)


def remove(work: Store) -> list[str]:
    """Remove a failed attempt: what makes it a delta first, what says whose it is last. It is tried twice.

    Returns:
        What is left, or why that is not known; empty where nothing is.
    """
    left: list[str] = []
    for last in (False, True):
        try:
            found = work.files()
            for path in sorted(found, key=lambda each: (each != MANIFEST, each == UNVERIFIED)):
                work.remove(path)
            if not (left := sorted(work.files())):
                say(f"removed what failed: {work.location}")
                return []
        except ChromaError as error:
            left = [error.message]
        if last:
            say(f"could not remove {work.location}: {', '.join(left)}", logging.ERROR)
    return left


def sweep(store: Store, done: Store) -> None:
    """Remove what killed attempts left below the same prefix a day ago or earlier; what fails here fails again next time."""
    with contextlib.suppress(ChromaError):
        now = done.stamp(MANIFEST)[1] or 0
        names = {path.partition("/")[0] for path in store.files() if path.endswith(f"/{UNVERIFIED}")}
        for name in sorted(filter(is_id, names)):
            attempt = store.at(name)
            # Another upload may tidy the same one up at this moment: what is gone is not old.
            touched = max((attempt.stamp(path)[1] or now for path in attempt.files()), default=now)
            if attempt.size(MANIFEST) is None and now - touched > ABANDONED * 1e9:
                say(f"removing an attempt that somebody left: {attempt.location}")
                remove(attempt)
