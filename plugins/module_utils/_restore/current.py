# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory holds now, as far as a restore has to know it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE, StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import entries
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import reading_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import read_moment
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.watch import list_files

# A server may be writing: what is read then is of two moments, and read again.
_TRIES = 5
_PAUSE = 0.5
# Written after a position: 0.5 and 0.6 keep the number as eight bytes, the largest first (docs/data-directory.md).
_NEWER = """
SELECT count(*) FROM (
    SELECT embedding_id FROM embeddings
        WHERE segment_id = ?1 AND ((typeof(seq_id) = 'integer' AND seq_id > ?2) OR (typeof(seq_id) = 'blob' AND seq_id > ?3))
    UNION SELECT id FROM embeddings_queue WHERE topic = ?4 AND seq_id > ?2
)
"""


@dataclass(frozen=True)
class CurrentCollection:
    """A collection as it is now.

    Args:
        count: records.
        newer: of them, and of those that were deleted, how many were written after the backup; None where nobody can tell.
    """

    id: str
    label: str
    count: int
    newer: int | None


@dataclass(frozen=True)
class Current:
    """A data directory as it is now.

    Args:
        entries: whether it holds anything of Chroma's.
        damaged: why it can't be read; empty where it can.
        migrations: version of each schema; empty where nobody knows.
        collections: by tenant, database and name.
        bytes: of its files.
        unread: why it was not counted although nothing says that it is damaged; empty where it was.
    """

    entries: bool
    damaged: str = ""
    migrations: Mapping[str, int] = field(default_factory=dict)
    collections: tuple[CurrentCollection, ...] = ()
    bytes: int = 0
    unread: str = ""


def read_current(directory: Path, position: int, write: bool = False) -> Current:
    """Read a data directory, also beside a running server; what can't be read is said, and no error: it is a reason to restore.

    Args:
        directory: the data directory.
        position: of the backup in the write-ahead log.
        write: whether something may be written to it meanwhile, see :func:`reading_room`.

    Raises:
        ChromaError: ``not_found``; ``not_chroma_directory`` where there are other things and nothing of Chroma's; ``unsupported`` where
            an entry is a link.
    """
    check_place(directory)
    size = sum(each.size for each in list_files(directory, journals=True).files.values())
    if not entries(directory):
        return Current(False)
    migrations: Mapping[str, int] = {}
    unread = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        try:
            with reading_room(directory, write) as room, open_directory(directory, room) as opened:
                # A server changes them at its start only.
                migrations = opened.migrations
                return _read(opened, position, size)
        except OSError as error:
            return Current(True, f"{error.filename or directory}: {error.strerror}.", bytes=size)
        except ChromaError as error:
            if error.code in ("damaged", "not_chroma_directory", "newer_chroma"):
                return Current(True, error.message, bytes=size)
            unread = error.message
            if error.code not in ("directory_changed", "busy"):
                break
    return Current(True, migrations=migrations, bytes=size, unread=unread)


def check_place(directory: Path) -> None:
    """Refuse a place that is no data directory, or whose entries lead elsewhere; see :func:`read_current`."""
    if not directory.is_dir():
        hint = "Check the path; for a new volume, create the directory, owned by the user that Chroma runs as."
        raise ChromaError("not_found", f"There is no directory {directory}.", hint)
    there = entries(directory)
    if not there and PRIVATE not in os.listdir(directory) and set(os.listdir(directory)) - {"lost+found"}:
        hint = "Give the directory that holds chroma.sqlite3, or an empty one."
        raise ChromaError("not_chroma_directory", f"{directory} is neither empty nor a data directory of Chroma.", hint)
    links = [name for name in there if (directory / name).is_symlink()] or list_files(directory, journals=True).strange
    if links:
        hint = "Put the files themselves there, with the server stopped."
        raise ChromaError("unsupported", f"{directory / links[0]} is a link or a special file, of which no copy would be kept.", hint)


def _read(directory: DataDirectory, position: int, size: int) -> Current:
    moment = read_moment(directory)
    # Of a directory that is behind the backup, the numbers are those of another history.
    known = moment["position"] >= position
    found = tuple(
        CurrentCollection(each.id, f"{each.tenant}/{each.database}/{each.name}", about.count, _newer(directory, each, position, known))
        for each, about in zip(directory.collections(), moment["collections"], strict=True)
    )
    directory.check_unchanged()
    return Current(True, "", moment["migrations"], found, size)


def _newer(directory: DataDirectory, collection: StoredCollection, position: int, known: bool) -> int | None:
    if not known:
        return None
    segment = collection.metadata_segment.id if collection.metadata_segment else ""
    raw = position.to_bytes(8, "big")
    return int(directory.database.rows(_NEWER, (segment, position, raw, collection.topic))[0][0])
