# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The validation's own test: a directory of Chroma's own, broken in known ways. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, DATABASE, HEADER_FILE, LABELS_FILE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate

# Fills a directory. In a process of its own, because Chroma keeps files open for as long as its process lives.
_FILL = """
import sys
import chromadb
client = chromadb.PersistentClient(sys.argv[1], chromadb.Settings(anonymized_telemetry=False))
books = client.create_collection("books", configuration={"hnsw": {"sync_threshold": 40}}, embedding_function=None)
for first in range(0, 150, 30):
    numbers = range(first, first + 30)
    books.upsert(
        ids=[f"id-{number}" for number in numbers],
        embeddings=[[(number * 7 + place * 3) % 11 / 11 for place in range(8)] for number in numbers],
        documents=[f"document number {number}" for number in numbers],
        metadatas=[{"number": number, "tags": ["a", f"b{number}"]} for number in numbers],
    )
books.delete(ids=["id-3", "id-140"])
client.create_collection("empty", embedding_function=None)
print(chromadb.__version__)
"""


@dataclass(frozen=True)
class Patient:
    """A copy that is about to be broken: its path, the folder of its index, and the row of one record."""

    path: Path
    folder: Path
    row: int

    def sql(self, statement: str, *parameters: Any) -> None:
        """Execute one statement, and commit."""
        connection = sqlite3.connect(self.path / DATABASE)
        try:
            with connection:
                connection.execute(statement, parameters)
        finally:
            connection.close()

    def patch(self, name: str, offset: int, content: bytes) -> None:
        """Overwrite bytes of a file of the index."""
        with (self.folder / name).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def cut(self, name: str) -> None:
        """Cut a file of the index to its half."""
        os.truncate(self.folder / name, (self.folder / name).stat().st_size // 2)


def _nan(patient: Patient) -> None:
    header = read_header(patient.folder)
    patient.patch(DATA_FILE, 50 * header.element_bytes + header.vector_offset, struct.pack("<f", float("nan")))


def _vectors_lost(patient: Patient) -> None:
    header = read_header(patient.folder)
    os.truncate(patient.folder / DATA_FILE, 20 * header.element_bytes)


def _stray(patient: Patient) -> None:
    shutil.copytree(patient.folder, patient.folder.with_name("0" * 8 + patient.folder.name[8:]))


def _command(patient: Patient) -> None:
    (patient.folder / LABELS_FILE).write_bytes(b"cposix\nsystem\n(X\x05\x00\x00\x00false" + b"tR.")


DRILLS: tuple[tuple[str, tuple[str, ...], Callable[[Patient], object]], ...] = (
    ("The database is overwritten", ("CHR002",), lambda it: (it.path / DATABASE).write_bytes(b"?" * 8192)),
    ("A newer Chroma was here", ("CHR003",), lambda it: it.sql("INSERT INTO migrations VALUES ('metadb', 99, 'x', 'x', 'x')")),
    ("A folder belongs to nobody", ("CHR017",), _stray),
    ("The index's folder is gone", ("CHR018",), lambda it: shutil.rmtree(it.folder)),
    ("The header is torn", ("CHR030",), lambda it: it.cut(HEADER_FILE)),
    ("Vectors are cut off", ("CHR033", "CHR054"), _vectors_lost),
    ("A vector holds NaN", ("CHR038",), _nan),
    ("The label map is torn", ("CHR051",), lambda it: it.cut(LABELS_FILE)),
    ("The label map would run a command", ("CHR052",), _command),
    ("A position is poisoned", ("CHR060",), lambda it: it.sql("UPDATE max_seq_id SET seq_id = 1229782938247303441 WHERE rowid = 1")),
    ("The log is gone", ("CHR070",), lambda it: it.sql("DELETE FROM embeddings_queue WHERE operation = 2")),
    ("A record is gone", ("CHR071", "CHR081", "CHR082"), lambda it: it.sql("DELETE FROM embeddings WHERE id = ?", it.row)),
    ("A document cannot be searched", ("CHR084",), lambda it: it.sql("DELETE FROM embedding_fulltext_search WHERE rowid = ?", it.row)),
)  # fmt: skip


def drill(scratch: Path) -> dict[str, Any]:
    """Make a directory, validate it, and break copies of it.

    Args:
        scratch: directory for temporary files; a few MB.

    Returns:
        ``drills`` with name, expected and found of each, and ``chroma_version``.

    Raises:
        ChromaError: ``missing_library`` without chromadb; ``drill_failed`` where one was not found, or more than was broken.
    """
    whole, copy = scratch / "whole", scratch / "copy"
    done = subprocess.run([sys.executable, "-c", _FILL, str(whole)], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        hint = "Run it in the operations image (playbook 48_test_validate), or install chromadb beside Ansible."
        raise ChromaError("missing_library", f"chromadb could not make a directory to validate: {reason[0]}", hint)
    drills: list[dict[str, Any]] = [{"name": "Nothing is broken", "expected": [], "found": _found(whole)}]
    for name, expected, act in DRILLS:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        act(_patient(copy))
        drills.append({"name": name, "expected": list(expected), "found": _found(copy)})
    result = {"drills": drills, "chroma_version": done.stdout.strip()}
    if wrong := [each["name"] for each in drills if each["expected"] != each["found"]]:
        raise ChromaError(
            "drill_failed", f"The validation did not find what it has to: {', '.join(wrong)}.", "Report it with the list of drills.", result
        )
    return result


def _found(path: Path) -> list[str]:
    """Return what is wrong with the data; where scratch lies, and how full it is there, is nobody's damage."""
    return sorted({each.kind.id for each in validate(path, live=False).of_data})


def _patient(path: Path) -> Patient:
    connection = sqlite3.connect(path / DATABASE)
    try:
        [segment] = connection.execute(
            "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE s.scope = 'VECTOR' AND c.name = 'books'"
        ).fetchone()
        [row] = connection.execute("SELECT id FROM embeddings WHERE embedding_id = 'id-60'").fetchone()
    finally:
        connection.close()
    return Patient(path, path / segment, row)
