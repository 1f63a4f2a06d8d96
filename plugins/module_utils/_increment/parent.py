# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an increment has to know of the backup that it follows on. FOR INTERNAL COLLECTION USE ONLY.

``anchors.json`` at the root of a full backup's or increment's tree is all of the parent that the next increment needs: positions in the
log, which rows of table ``embeddings`` each collection had, and some of those rows, by which a directory is known as the later state of
the same one. Positions and rowids mean nothing after a directory was restored or replayed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, load, reason
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import ranges
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import is_id

ANCHORS = "anchors.json"
FORMAT = "thinkube.chroma/anchors"
VERSION = 1

FULL_INSTEAD = "Make a full backup: a new chain begins with it."


@dataclass(frozen=True)
class Anchor:
    """A row of table ``embeddings``.

    Args:
        rowid: SQLite's; Chroma gives that of a deleted record to a new one.
        seq_id: of the write that touched the record last.
        created: ``created_at``.
    """

    rowid: int
    id: str
    seq_id: int
    created: str


@dataclass(frozen=True)
class Newest:
    """The newest entry of the write-ahead log."""

    seq_id: int
    topic: str
    id: str
    created: str


@dataclass(frozen=True, eq=False)
class ParentCollection:
    """A collection at the moment of the parent.

    Args:
        segment: id of its METADATA segment; empty where it has none.
        position: that segment's in the log. What lies beyond it had no row yet.
        count: records, those included that were only in the log.
        alive: ``(k, 2)`` int64 ranges of the rowids that its records had, see :mod:`ranges`.
    """

    segment: str
    position: int
    count: int
    alive: Any


@dataclass(frozen=True, eq=False)
class Parent:
    """A backup, as far as the next increment needs it.

    Args:
        id: of the backup.
        base: of the full backup that its chain begins with; its own id where it is one.
        position: the last ``seq_id`` that the log had given.
        newest: entry of the log; None where it was empty.
        collections: by id.
        anchors: some rows.
    """

    id: str
    base: str
    position: int
    newest: Newest | None
    collections: Mapping[str, ParentCollection]
    anchors: tuple[Anchor, ...]


def encode_parent(parent: Parent) -> bytes:
    """Return the content of ``anchors.json``."""
    collections = {name: {**vars(each), "alive": ranges.encode(each.alive)} for name, each in parent.collections.items()}
    newest = list(vars(parent.newest).values()) if parent.newest else None
    anchors = [list(vars(each).values()) for each in parent.anchors]
    content = {**vars(parent), "newest": newest, "collections": collections, "anchors": anchors}
    return json.dumps({"format": FORMAT, "version": VERSION, **content}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def parse_parent(content: bytes, where: str) -> Parent:
    """Read and check the content of ``anchors.json``.

    Args:
        where: the backup, for messages.

    Raises:
        ChromaError: ``broken_chain`` where no increment can follow on it, ``newer_backup`` where a later release wrote it.
    """
    try:
        loaded = load(content, FORMAT, VERSION, "newer_backup", f"{ANCHORS} of the backup {where}")
        found = {
            str(name): ParentCollection(str(each["segment"]), int(each["position"]), int(each["count"]), ranges.decode(each["alive"]))
            for name, each in loaded["collections"].items()
        }
        newest = Newest(*loaded["newest"]) if loaded["newest"] else None
        anchors = tuple(Anchor(*each) for each in loaded["anchors"])
        parent = Parent(str(loaded["id"]), str(loaded["base"]), int(loaded["position"]), newest, found, anchors)
        if not is_id(parent.id) or not is_id(parent.base):
            raise ValueError("its id or its base's is none")
    except INVALID as error:
        raise broken(f"{ANCHORS} of the backup {where} can't be used: {reason(error)}") from error
    return parent


def broken(why: str, result: dict[str, Any] | None = None) -> ChromaError:
    """Return the error for an increment that cannot follow on what is named as its parent."""
    return ChromaError("broken_chain", f"{why}.", FULL_INSTEAD, result)
