# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks a directory in one way: the directory with its means, and the list of the ways with what must be found.

The ways themselves stand in the modules that :mod:`broken` brings together.
"""

from __future__ import annotations

import pickletools
import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers

ALL = servers.VERSIONS
OLD = tuple(version for version in ALL if version.startswith("0."))
NEW = tuple(version for version in ALL if version.startswith("1."))
# Releases that empty their log of what the index has saved.
PURGING = tuple(version for version in ALL if version != "0.4.24")


@dataclass(frozen=True)
class Scene:
    """A directory that is about to be broken, and an earlier state of it."""

    path: Path
    version: str
    early: Path

    @property
    def database(self) -> Path:
        """SQLite's file."""
        return self.path / "chroma.sqlite3"

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute one statement, and commit."""
        connection = sqlite3.connect(self.database)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def one(self, statement: str, *parameters: Any) -> Any:
        """Return the first value of a query."""
        return self.sql(statement, *parameters)[0][0]

    def id(self, name: str = "books") -> str:
        """Return a collection's id."""
        return str(self.one("SELECT id FROM collections WHERE name = ?", name))

    def segment(self, scope: str = "VECTOR", name: str = "books") -> str:
        """Return the id of one of a collection's segments."""
        return str(self.one("SELECT id FROM segments WHERE scope = ? AND collection = ?", scope, self.id(name)))

    def folder(self, name: str = "books") -> Path:
        """Return the folder of a collection's index."""
        return self.path / self.segment(name=name)

    def row(self, record: str = "id-100") -> int:
        """Return the row of a record of ``books``."""
        sql = "SELECT id FROM embeddings WHERE embedding_id = ? AND segment_id = ?"
        return int(self.one(sql, record, self.segment("METADATA")))

    def topic(self, name: str = "books") -> str:
        """Return the topic of a collection's log entries."""
        return str(self.one("SELECT topic FROM embeddings_queue WHERE topic LIKE ?", f"%{self.id(name)}"))

    def patch(self, file: Path, offset: int, content: bytes) -> None:
        """Overwrite bytes of a file."""
        with file.open("r+b") as opened:
            opened.seek(offset)
            opened.write(content)

    def element(self, row: int) -> int:
        """Return where an element of the index of ``books`` begins, in bytes."""
        return row * int(self.header()[4])

    def header(self) -> tuple[Any, ...]:
        """Return the fields of ``header.bin``."""
        return struct.unpack("<i6QiI3QdQ", (self.folder() / "header.bin").read_bytes())

    def higher_links(self) -> list[tuple[int, int]]:
        """Return where the links above the first level begin in ``link_lists.bin``, in bytes, and how many levels there are, by element."""
        header, content, start, found = self.header(), (self.folder() / "link_lists.bin").read_bytes(), 0, []
        for _row in range(header[3]):
            (size,) = struct.unpack_from("<I", content, start)
            found.append((start, size // (4 + 4 * header[9])))
            start += 4 + size
        assert start == len(content)
        assert found[header[8]][1] == header[7] > 0
        return found

    def position(self, scope: str, value: Any) -> None:
        """Set a position; a number is written as this release writes it."""
        if isinstance(value, int) and self.version in OLD:
            value = value.to_bytes(8, "big")
        self.sql("UPDATE max_seq_id SET seq_id = ? WHERE segment_id = ?", value, self.segment(scope))

    def relabel(self, table: str, nth: int, like: int) -> None:
        """Make the nth label of ``id_to_label`` or ``label_to_id`` the same as another one.

        Ids of which the log has a newer vector are passed over: their labels matter to nobody. A log that is never emptied has all ids.
        """
        file = self.folder() / "index_metadata.pickle"
        content = file.read_bytes()
        logged = {each for (each,) in self.sql("SELECT id FROM embeddings_queue")} if self.version in PURGING else set()
        inside, named, places = False, "", []
        for code, argument, place in pickletools.genops(content):
            if isinstance(argument, str) and argument in ("id_to_label", "label_to_id", "id_to_seq_id"):
                inside, named = argument == table, ""
            elif isinstance(argument, str):
                named = argument
            elif inside and code.name in ("BININT1", "BININT") and named not in logged:
                places.append((place + 1, 1 if code.name == "BININT1" else 4))
        (here, size), (there, same) = places[nth], places[like]
        assert size == same
        self.patch(file, here, content[there : there + size])


@dataclass(frozen=True)
class Case:
    """One way to break a directory.

    Args:
        name: of the way.
        versions: of the directories that it applies to.
        expected: identifiers of findings, and the collection's name where one is concerned.
        act: does it.
    """

    name: str
    versions: Sequence[str]
    expected: frozenset[tuple[str, str]]
    act: Callable[[Scene], None]


CASES: list[Case] = []


def case(*expected: str, versions: Sequence[str] = ALL) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a case; ``CHR050 books`` expects the finding in that collection, ``CHR001`` in none."""

    def register(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        found = frozenset((text.partition(" ")[0], text.partition(" ")[2]) for text in expected)
        CASES.append(Case(act.__name__, versions, found, act))
        return act

    return register
