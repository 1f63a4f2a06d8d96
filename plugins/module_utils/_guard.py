# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server may be started on a data directory; the program of its init container. FOR INTERNAL COLLECTION USE ONLY.

It refuses what was measured to end a server, to make it go on with an empty index, to fill the disk, or to make it run foreign code
(docs/health.md has the table), and nothing else: what a server answers with an error, it may say itself. Nothing is written. Ansible is not
needed::

    PYTHONPATH=COLLECTIONS python -m ansible_collections.thinkube.chroma.plugins.module_utils._guard DATA --release 1.5.9
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DATA_FILE,
    DATABASE,
    HEADER_FILE,
    LABELS_FILE,
    is_uuid,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.collection import check_labels, unread
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import check_files
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.log import LACKS
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import SEVERE_FOUND
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import LONGEST_TERMINATION_MESSAGE

_DIES = "A server that loads this index or searches it ends with a segmentation fault."
_EMPTIES = "A server goes on with an empty index in its place, without a word, and saves that one."
_RUNS = "A server of 0.x executes what it says."
# The file that a finding is about if its subject names none, empty for the folder, and what it does to a server of 0.x and of 1.x; empty
# where that serves, or says by itself that it can't. Measured on 0.6.3 and 1.5.9: tests/integration/test_guard.py, docs/health.md.
HARMFUL: dict[str, tuple[str, str, str]] = {
    "CHR018": ("", _EMPTIES, _EMPTIES),
    "CHR030": (HEADER_FILE, _DIES, _DIES),
    "CHR031": (HEADER_FILE, _DIES, _DIES),
    "CHR032": (HEADER_FILE, "", _DIES),
    "CHR033": (DATA_FILE, _DIES, ""),
    "CHR039": (DATA_FILE, _DIES, _DIES),
    "CHR050": (LABELS_FILE, _EMPTIES, _EMPTIES),
    "CHR052": (LABELS_FILE, _RUNS, ""),
}
_INDEXES = """
    SELECT s.id, c.id, c.dimension, coalesce(d.tenant_id, '?') || '/' || coalesce(d.name, '?') || '/' || c.name,
           EXISTS (SELECT 1 FROM max_seq_id m WHERE m.segment_id = s.id)
    FROM segments s JOIN collections c ON c.id = s.collection LEFT JOIN databases d ON d.id = c.database_id
    WHERE s.scope = 'VECTOR' ORDER BY 4, 1
"""
_WHAT_TO_DO = """\
The server was not started, so that nothing more is lost. Look closer: 40_validate.
Put it right: 30_restore brings back a backup; 42_recover what can still be read, once the server runs, with its clients kept away.
Start the server all the same: 10_deploy -e chroma_start_check=false
"""


@dataclass(frozen=True)
class Index:
    """An index that SQLite names.

    Args:
        segment: its id, and the name of its folder.
        owner: the id of the collection.
        dimension: of the collection, as SQLite has it.
        collection: ``tenant/database/name``.
        saved: whether SQLite has a position of it: it was saved before, and the log no longer holds all of it.
    """

    segment: str
    owner: str
    dimension: object
    collection: str
    saved: bool


@dataclass(frozen=True)
class Verdict:
    """What was seen.

    Args:
        refused: what a server must not be started on.
        indexes: how many were looked at.
        notes: what could not be looked at, and why: no reason to refuse, for a server that can't read it says so itself.
    """

    refused: Sequence[Finding]
    indexes: int
    notes: Sequence[str]


def effect(identifier: str, release: str = "") -> str:
    """Return what a finding does to a server, in a sentence; empty where it does no harm.

    Args:
        identifier: of the finding.
        release: of the server, for example ``1.5.9``; empty for any.
    """
    _file, old, new = HARMFUL.get(identifier, ("", "", ""))
    if not release:
        return new or old
    return old if release.startswith("0.") else new


def judge(directory: Path, release: str = "") -> Verdict:
    """Look at each index that SQLite names; nothing is written, and no lock is taken.

    Reads headers, sizes, label maps, and the links in ``data_level0.bin`` and ``link_lists.bin``, in pieces of at most 8 MB: files that a
    server reads as well.

    Args:
        directory: the data directory; it may be empty. Nobody writes to it.
        release: of the server that is to be started; empty for any.
    """
    refused: list[Finding] = []
    notes: list[str] = []
    count = 0
    if not (directory / DATABASE).is_file():
        return Verdict((), 0, (f"{directory / DATABASE} does not exist: a server begins with an empty one.",))
    try:
        for index in read_indexes(directory / DATABASE):
            count += 1
            try:
                refused += [each for each in check_index(directory, index) if effect(each.kind.id, release)]
            except OSError as error:
                notes.append(f"{index.collection}: {error.filename} could not be read: {error.strerror}.")
    except sqlite3.Error as error:
        notes.append(f"{directory / DATABASE} could not be read: {error}.")
    return Verdict(refused, count, notes)


def read_indexes(database: Path) -> Iterator[Index]:
    """Yield the indexes that SQLite names.

    The file is read as it is (``immutable``), also where a server was killed in a transaction: its journal could be rolled back in a copy
    only, and what it holds are records, hardly ever these few rows.
    """
    with closing(_opened(database)) as connection:
        for segment, owner, dimension, collection, saved in connection.execute(_INDEXES):
            # Anything else leads to a folder elsewhere; the server refuses it.
            if is_uuid(str(segment)):
                yield Index(str(segment), str(owner), dimension, str(collection), bool(saved))


def _opened(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def check_index(directory: Path, index: Index) -> list[Finding]:
    """Return the findings of one index, harmful or not."""
    folder = directory / index.segment
    if not folder.is_dir():
        # Before it was saved first, an index has none, and is built from the log.
        found = [finding("CHR018", "The folder does not exist, but the index was saved before.")] if index.saved else []
    else:
        files = check_files(folder, index.dimension)
        found = [*files.findings, *check_labels(folder, files)[1]]
        if found and not index.saved and not (folder / LABELS_FILE).exists() and _is_logged(directory / DATABASE, index):
            # Its first save was interrupted: a server begins it anew, and takes all of it from the log. Measured, as what harms.
            found = unread(found)
    return [Finding(each.kind, each.message, index.collection, index.segment, each.subject) for each in found]


def _is_logged(database: Path, index: Index) -> bool:
    """Whether the log holds the vectors of all records of a collection; not where it can't be read."""
    try:
        with closing(_opened(database)) as connection:
            return not connection.execute(LACKS, (index.owner,)).fetchone()[0]
    except sqlite3.Error:
        return False


def render(verdict: Verdict, release: str, seconds: float) -> list[str]:
    """Return lines to read: one for each harmful finding, then what to do."""
    lines = [f"not checked: {note}" for note in verdict.notes]
    for each in verdict.refused:
        where = f"{each.segment}/{each.subject or HARMFUL[each.kind.id][0]}".rstrip("/")
        lines.append(f"refused: {each.collection}: {each.kind.id} {where}: {each.message} {effect(each.kind.id, release)}")
    harmful = len({each.segment for each in verdict.refused})
    lines.append(f"start check: {verdict.indexes} indexes, {harmful} that harm a server, {seconds:.2f} s")
    return [*lines, *(_WHAT_TO_DO.splitlines() if harmful else ())]


def main(arguments: Sequence[str]) -> int:
    """Judge the directory that the command line names, and say so; what is refused also in the file for Kubernetes.

    Returns:
        The exit code: 4 where a server must not be started; 1 is Python's own, of a program that broke.
    """
    parser = argparse.ArgumentParser(prog="_guard", description="Say whether a server may be started on a data directory.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--release", default="", help="of the server; any where it is not given")
    parser.add_argument("--message", type=Path, help="file for what is refused, such as /dev/termination-log")
    wanted = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        require_data_libraries()
        verdict = judge(wanted.directory, wanted.release)
    except ChromaError as error:
        verdict = Verdict((), 0, (error.message,))
    except Exception as error:  # a fault of this program must not keep a server from its data
        verdict = Verdict((), 0, (f"{type(error).__name__}: {error}",))
    lines = render(verdict, wanted.release, time.monotonic() - began)
    sys.stdout.write("\n".join(lines) + "\n")
    if verdict.refused and wanted.message:
        with suppress(OSError):
            wanted.message.write_bytes(_shortened(lines))
    return SEVERE_FOUND if verdict.refused else 0


def _shortened(lines: Sequence[str]) -> bytes:
    """Return what is refused, and what to do, as far as Kubernetes keeps it; what to do comes last and is never cut."""
    tail = "\n".join(lines[-len(_WHAT_TO_DO.splitlines()) :]).encode()
    told = "\n".join(line for line in lines if line.startswith("refused: ")).encode()
    room = LONGEST_TERMINATION_MESSAGE - len(tail) - 2
    return told[:room].decode(errors="ignore").encode() + b"\n" + tail + b"\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
