# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the checks on a directory: at once where it stands still, carefully where it lives. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.database import changed, needs_copy, open_database
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, Damaged, is_uuid
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import (
    VECTOR,
    Catalogue,
    check_configurations,
    check_ids,
    check_references,
    check_tables,
    read_catalogue,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.collection import CollectionCheck
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import (
    check_environment,
    check_folders,
    check_readable,
    folders,
    largest_rewrite,
    snapshot,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.live import Check, attempt
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.log import check_log, check_positions
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.records import check_search, check_strangers, scans
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report, order
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.sqlite import check_migrations, newer_migrations, quick_check
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress

# quick_check is one step that nothing can interrupt: 0.28 s for 192 MB on two quiet cores. A larger file that lives is not given to it.
QUICK_CHECK_BYTES = 200 << 20
WORKERS = 2
# How often a directory is validated that changes meanwhile.
ATTEMPTS = 3
# Where SQLite's own check fails, what the tables say about each other means nothing.
_NEEDS_SQLITE = ("CHR07", "CHR08")


@dataclass
class Outcome:
    """What the checks found so far; shared by the workers."""

    findings: list[Finding] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    longest: float = 0.0


def validate(
    path: Path, collections: Sequence[str] | None = None, live: bool | None = None, mounted: bool = False, scratch: Path | None = None
) -> Report:
    """Look for everything that is known to go wrong in a data directory; nothing in it is changed.

    Args:
        path: holds ``chroma.sqlite3``.
        collections: names, or ``tenant/database/name``; only these. What concerns no collection is always checked.
        live: whether a server may be writing: short locks, and findings are confirmed. None finds out: another process has the database
            open. A directory that changes while it is validated is validated again as a live one.
        mounted: demand that the directory survives the container.
        scratch: for a copy of SQLite's file where an interrupted transaction has to be rolled back; nothing is copied of a live one.

    Raises:
        ChromaError: ``not_chroma_directory``, ``not_found`` for a collection, ``busy``; ``directory_changed`` while it had to be copied.
    """
    if not path.is_dir() or not ((path / DATABASE).exists() or folders(path)):
        hint = "Give the directory that holds chroma.sqlite3: /data in images of 1.x, /chroma/chroma in those of 0.x."
        raise ChromaError("not_chroma_directory", f"{path} is no data directory of Chroma.", hint)
    careful = in_use(path / DATABASE) if live is None else live
    for _each in range(ATTEMPTS):
        before = snapshot(path)
        try:
            report = _validate(path, collections, careful, mounted, scratch)
        except ChromaError as error:
            if error.code != "directory_changed":
                raise
        else:
            if report.live or snapshot(path) == before:
                return report
        # What was seen while somebody wrote counts for nothing.
        careful = True
    raise changed(path)


def in_use(file: Path) -> bool:
    """Return whether another process that can be seen from here has a file open."""
    try:
        wanted = file.stat()
    except OSError:
        return False
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        # It may end while it is looked at, or belong to somebody else.
        with contextlib.suppress(OSError):
            for entry in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    about = os.stat(process / "fd" / entry)
                    if (about.st_dev, about.st_ino) == (wanted.st_dev, wanted.st_ino):
                        return True
    return False


def _validate(path: Path, collections: Sequence[str] | None, live: bool, mounted: bool, scratch: Path | None) -> Report:
    began = time.monotonic()
    sizes = snapshot(path)
    used = sum(size for _name, size, _time in sizes)
    outcome = Outcome([*check_readable(path), *check_environment(path, mounted, largest_rewrite(sizes))])
    catalogue = Catalogue()
    if outcome.findings and any(each.kind.id == "CHR006" and each.subject == DATABASE for each in outcome.findings):
        outcome.skipped.append("everything else: chroma.sqlite3 cannot be opened")
    elif not (path / DATABASE).is_file():
        outcome.findings.append(finding("CHR002", f"{DATABASE} does not exist, but there are {len(folders(path))} folders of indexes."))
        outcome.skipped.append("everything else: it needs chroma.sqlite3")
    else:
        try:
            if live and needs_copy(path / DATABASE):
                outcome.limits.append("the live database: it is in WAL mode, where reading it would write; a copy was judged")
            with _opened(path, live, scratch) as (file, live):
                catalogue = _check(path, file, live, collections, outcome)
        except (Damaged, sqlite3.DatabaseError) as error:
            text = str(getattr(error, "detail", error)).rstrip(".")
            kind = "CHR001" if "malformed" in text else "CHR002"
            outcome.findings.append(finding(kind, f"{DATABASE}: {text}."))
            outcome.skipped.append("everything else: it needs chroma.sqlite3")
    findings = order(outcome.findings)
    if any(each.kind.id in ("CHR001", "CHR002") for each in findings):
        kept = [each for each in findings if not each.kind.id.startswith(_NEEDS_SQLITE)]
        if len(kept) < len(findings):
            outcome.skipped.append("records, full text and their agreement with the indexes: SQLite's file is damaged")
        findings = kept
    summary = {
        "collections": len(catalogue.collections),
        "segments": len(catalogue.segments),
        "bytes": used,
        "seconds": round(time.monotonic() - began, 3),
        "longest_lock": round(outcome.longest, 6),
    }
    return Report(
        str(path),
        live,
        findings,
        limits=sorted(set(outcome.limits)),
        skipped=sorted(set(outcome.skipped)),
        unconfirmed=sorted(set(outcome.unconfirmed)),
        summary=summary,
    )


@contextlib.contextmanager
def _opened(path: Path, live: bool, scratch: Path | None) -> Iterator[tuple[Path, bool]]:
    """Yield the file to read and whether it lives: the original, or a copy in which an interrupted transaction was rolled back."""
    if live and _readable(path / DATABASE):
        yield path / DATABASE, True
        return
    with open_database(path, scratch) as reader:
        yield reader.file, False


def _readable(file: Path) -> bool:
    """Return whether SQLite can read a file without writing beside it."""
    if needs_copy(file):
        return False  # In WAL mode even a reader writes: the index of the log.
    try:
        with Database(file, live=True) as database:
            database.rows("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        # A journal that nobody owns: the server was killed, and nobody writes.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        return False
    return True


def _check(path: Path, file: Path, live: bool, wanted: Sequence[str] | None, outcome: Outcome) -> Catalogue:
    """Run all checks that the schema allows."""
    with Database(file, live) as database:
        catalogue = read_catalogue(database)
        outcome.longest = max(outcome.longest, database.longest)
    if not catalogue.migrations:
        raise Damaged("schema", path / DATABASE, "it has no migrations, so it is no database of Chroma")
    outcome.findings += check_migrations(catalogue.migrations)
    checks: list[Check] = []
    if live and file.stat().st_size > QUICK_CHECK_BYTES:
        outcome.limits.append("SQLite's own check: on a live file of this size it would hold a lock for more than a second")
    else:
        checks.append(Check("SQLite's own check", quick_check))
    if newer_migrations(catalogue.migrations):
        outcome.skipped.append("everything else: the schema is newer than this collection knows")
    else:
        chosen = _chosen(catalogue, wanted)
        outcome.findings += check_tables(catalogue)
        checks += _plan(path, catalogue, chosen)
        if wanted:
            labels = {entry.label for entry in catalogue.collections if entry.id in chosen}
            checks = [_only(check, labels) for check in checks]
    _run(checks, file, live, outcome)
    return catalogue


def _chosen(catalogue: Catalogue, wanted: Sequence[str] | None) -> set[str]:
    """Return the ids of the collections that are meant."""
    if not wanted:
        return {entry.id for entry in catalogue.collections}
    unknown = [name for name in wanted if not any(name in (entry.name, entry.label) for entry in catalogue.collections)]
    if unknown:
        known = ", ".join(sorted(entry.label for entry in catalogue.collections)) or "none"
        raise ChromaError("not_found", f"No collection is called {', '.join(unknown)}.", f"The directory has {known}.")
    return {entry.id for entry in catalogue.collections if entry.name in wanted or entry.label in wanted}


def _only(check: Check, labels: set[str]) -> Check:
    """Return a check without what it finds in other collections."""

    def run(database: Database) -> list[Finding]:
        return [each for each in check.run(database) if not each.collection or each.collection in labels]

    return replace(check, run=run)


def _plan(path: Path, catalogue: Catalogue, chosen: set[str]) -> list[Check]:
    """Return the checks for a schema; the longest first."""

    def references(database: Database) -> list[Finding]:
        now = read_catalogue(database)
        return [*check_references(now), *check_ids(now), *check_configurations(now)]

    checks = []
    modern = catalogue.has("metadb", 5)
    for entry in catalogue.collections:
        parts = catalogue.parts(entry.id, VECTOR)
        # Otherwise CHR013, CHR015 or CHR021 says so; what is no UUID may be a path to anywhere.
        if entry.id in chosen and len(parts) == 1 and is_uuid(parts[0].id):
            one = CollectionCheck(entry, parts[0], path, modern)
            checks.append(Check(f"collection {entry.label}", one, path / parts[0].id, one.again, one.prepare))
    checks += [Check(name, run, again=again) for name, run, again in scans(catalogue)]
    return [
        *checks,
        Check("references", references),
        Check("folders", lambda database: check_folders(path, database), path),
        Check("positions", check_positions),
        Check("the log", check_log),
        Check("records of no segment", check_strangers),
        Check("the full-text index", check_search),
    ]


def _run(checks: Sequence[Check], file: Path, live: bool, outcome: Outcome) -> None:
    """Run checks, two at once where nobody waits for the locks; SQLite and numpy let go of the interpreter."""
    waiting: queue.SimpleQueue[Check] = queue.SimpleQueue()
    for check in checks:
        waiting.put(check)
    guard = threading.Lock()
    failures: list[BaseException] = []

    def work(progress: Progress) -> None:
        with Database(file, live) as database:
            while not failures:
                try:
                    check = waiting.get_nowait()
                except queue.Empty:
                    break
                try:
                    found, skipped, unconfirmed = attempt(check, database)
                except BaseException as error:
                    failures.append(error)
                    break
                with guard:
                    outcome.findings += found
                    outcome.skipped += skipped
                    outcome.unconfirmed += unconfirmed
                    progress.advance(1)
            with guard:
                outcome.longest = max(outcome.longest, database.longest)

    with Progress("validate", total=len(checks), unit="checks") as progress:
        workers = [threading.Thread(target=work, args=(progress,)) for _each in range(0 if live else WORKERS - 1)]
        for worker in workers:
            worker.start()
        work(progress)
        for worker in workers:
            worker.join()
    if failures:
        raise failures[0]
