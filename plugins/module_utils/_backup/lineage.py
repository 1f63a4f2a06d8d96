# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which history of a data directory a backup belongs to. FOR INTERNAL COLLECTION USE ONLY.

After a restore a directory goes on from an older state, and may come to the same ids at the same places of the log, with other vectors:
neither positions nor rows tell it from what was there before. ``.thinkube-chroma/lineage`` holds a random name that a backup makes where
there is none, and that goes before the content of the directory is exchanged. Backups have it as the tag ``lineage=``; an increment
follows only on one of the same.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.marks import is_mark, new_mark, read_mark, write_mark
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

NAME = "lineage"


def read_lineage(directory: Path) -> str:
    """Return the lineage of a data directory; empty where it has none, or something else is in its place.

    Raises:
        ChromaError: ``forbidden``.
    """
    found = read_mark(directory, NAME) or ""
    return found if is_mark(found) else ""


def ensure_lineage(directory: Path) -> str:
    """Return the lineage of a data directory, whose lock is held; a new one begins where it has none.

    Raises:
        ChromaError: ``no_space``, ``forbidden``.
    """
    found = read_lineage(directory)
    if not found:
        found = new_mark()
        write_mark(directory, NAME, found)
    return found


def end_lineage(directory: Path) -> None:
    """End the lineage of a data directory; when this returns, that is on disk.

    Raises:
        OSError: then nothing must be exchanged.
    """
    (directory / PRIVATE / NAME).unlink(missing_ok=True)
    sync(directory / PRIVATE)
