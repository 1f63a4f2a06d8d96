# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of what operations did to a data directory: append-only lines of JSON in a chain. FOR INTERNAL COLLECTION USE ONLY.

Each line holds the SHA-256 of the line before it. Beside it, ``journal.head`` holds number and SHA-256 of the last line that is on disk:
only so a line that is gone from the end can be missed. The order of writing is line, fsync, head, fsync; so the head is at most one line
behind, and a line without its end that the head does not know is what a killed writer left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.lines import (
    LONGEST_FACTS,
    LONGEST_LINE,
    Head,
    Line,
    now,
    parse,
    raw_lines,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import termination_message
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

NAME = "journal.jsonl"
HEAD, TORN = "journal.head", "journal.torn"
# Seconds to wait for another writer; one line takes milliseconds.
PATIENCE = 30.0


@dataclass(frozen=True)
class Entry:
    """One operation in the journal.

    Attributes:
        n: number of its first line.
        operation: ``backup``, ``restore``, …
        time: of its beginning, UTC.
        facts: what it began with.
        monotonic: seconds of this process's clock at the beginning, which nobody sets back; None where another process began it.
    """

    n: int
    operation: str
    time: str
    facts: dict[str, Any]
    monotonic: float | None = field(default=None, compare=False)


class Recording:
    """An operation that is being journalled by :meth:`Journal.recorded`.

    Attributes:
        entry: in the journal.
        facts: what its end is to say; add to it at any time.
        status: how it ends where nothing is raised.
    """

    def __init__(self, journal: Journal, entry: Entry) -> None:
        self._journal = journal
        self.entry = entry
        self.facts: dict[str, Any] = {}
        self.status = "done"

    def step(self, name: str, /, **facts: Any) -> None:
        """Say what the operation does now."""
        self._journal.step(self.entry, name, **facts)


class Journal:
    """A journal; nothing is open between two calls, so any number of processes and threads may have one.

    Facts are JSON values and must hold no secret. They are shortened beyond :data:`LONGEST_FACTS`.

    Args:
        path: of its file; :meth:`of` knows it for a data directory. File and folder appear with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def of(cls, directory: Path) -> Journal:
        """Return the journal of a data directory."""
        return cls(Path(directory) / PRIVATE / NAME)

    def begin(self, operation: str, /, **facts: Any) -> Entry:
        """Say that an operation begins; to be called before it changes anything.

        Raises:
            ChromaError: ``no_space``, ``forbidden``, ``busy``, ``journal_failed``; nothing was written then.
        """
        line = self._append(0, operation, "begin", "", facts)
        return Entry(line.n, operation, line.time, line.facts, time.monotonic())

    def step(self, entry: Entry, name: str, /, **facts: Any) -> None:
        """Say that an operation is about to do something.

        Raises:
            ChromaError: as :meth:`begin`.
        """
        self._append(entry.n, entry.operation, "step", name, facts)

    def end(self, entry: Entry, status: str, /, **facts: Any) -> None:
        """Say how an operation ended: ``done``, ``failed``; ``interrupted`` for one of :meth:`open_entries` that somebody else ends.

        Raises:
            ChromaError: as :meth:`begin`.
        """
        seconds = None if entry.monotonic is None else round(time.monotonic() - entry.monotonic, 3)
        self._append(entry.n, entry.operation, "end", status, facts, seconds)

    @contextlib.contextmanager
    def recorded(self, operation: str, /, **facts: Any) -> Iterator[Recording]:
        """Journal the block: its beginning, its steps, and its end, also where it raises. One that is killed stays open."""
        recording = Recording(self, self.begin(operation, **facts))
        try:
            yield recording
        except BaseException as error:
            reason = {"code": error.code, "message": error.message} if isinstance(error, ChromaError) else {"error": type(error).__name__}
            # What broke the operation is what its caller has to know; the entry that stays open says as much.
            with contextlib.suppress(ChromaError):
                self.end(recording.entry, "failed", **{**recording.facts, **reason})
            raise
        self.end(recording.entry, recording.status, **recording.facts)

    def lines(self) -> Iterator[Line]:
        """Yield all lines, read one by one; what is no line is left out here and named by the verification."""
        with self.snapshot() as (file, size, _head):
            for raw in raw_lines(file, size):
                line = parse(raw)
                if line is not None:
                    yield line

    def open_entries(self) -> list[Entry]:
        """Return the operations that have no end: they run, or were killed."""
        found: dict[int, Entry] = {}
        for line in self.lines():
            if line.event == "begin":
                found[line.n] = Entry(line.n, line.operation, line.time, line.facts)
            elif line.event == "end":
                found.pop(line.entry, None)
        return list(found.values())

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[tuple[Any, int, Head | None]]:
        """Yield the file, its size and the head of one moment between two lines; no file and 0 where there is none."""
        with contextlib.ExitStack() as stack:
            with self._reported("read"):
                try:
                    handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
                except FileNotFoundError:
                    file, size, head = None, 0, self._head()
                else:
                    file = stack.enter_context(os.fdopen(handle, "rb"))
                    self._lock(handle, fcntl.LOCK_SH)
                    size, head = os.fstat(handle).st_size, self._head()
                    fcntl.flock(handle, fcntl.LOCK_UN)
            yield file, size, head

    def _append(self, entry: int, operation: str, event: str, name: str, facts: dict[str, Any], seconds: float | None = None) -> Line:
        facts = json.loads(termination_message(facts, LONGEST_FACTS))
        with self._reported("write to"):
            self._make_folder()
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                self._lock(handle, fcntl.LOCK_EX)
                head = self._settle(handle)
                return self._write(handle, head, Line(head.n + 1, now(), entry, operation, event, name, facts, head.sha256, seconds))[0]
            finally:
                os.close(handle)

    def _write(self, handle: int, head: Head, line: Line) -> tuple[Line, Head]:
        if line.event == "begin":
            line = Line(**{**line.__dict__, "entry": line.n})
        content = json.dumps({key: value for key, value in line.__dict__.items() if value is not None}, separators=(",", ":")).encode()
        size = os.fstat(handle).st_size
        try:
            if os.write(handle, content + b"\n") <= len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
        if not head.n:
            sync(self.path.parent)
        head = Head(line.n, hashlib.sha256(content).hexdigest())
        self._set_head(head)
        return line, head

    def _settle(self, handle: int) -> Head:
        """Bring a journal in order whose writer was killed, and return its head.

        The head is believed rather than the file: where complete lines are gone or were changed, the chain goes on from what had been
        written, and the verification finds the gap for ever.
        """
        size = os.fstat(handle).st_size
        tail = os.pread(handle, LONGEST_LINE + 2, max(0, size - LONGEST_LINE - 2))
        whole, _feed, torn = tail.rpartition(b"\n")
        if torn and len(torn) == len(tail) < size:
            # Longer than any line: not ours. It is left as it is, and the verification names it.
            os.write(handle, b"\n")
            torn = b""
        elif torn:
            self._keep_aside(torn)
            os.ftruncate(handle, size - len(torn))
            os.fsync(handle)
        raw = whole.rpartition(b"\n")[2]
        last, digest = parse(raw), hashlib.sha256(raw).hexdigest()
        head = self._head()
        repaired: dict[str, Any] = {"torn_bytes": len(torn), "kept": TORN} if torn else {}
        if head is None:
            if last and last.n > 1:
                repaired["missing"] = HEAD
            head = Head(last.n, digest) if last else Head()
            self._set_head(head)
        elif last and (next_head := head.follows(last, digest)):
            head = next_head
            self._set_head(head)
        if repaired:
            head = self._write(handle, head, Line(head.n + 1, now(), 0, "journal", "repaired", "", repaired, head.sha256))[1]
        return head

    def _keep_aside(self, torn: bytes) -> None:
        handle = os.open(self.path.with_name(TORN), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(torn + b"\n")
            file.flush()
            os.fsync(handle)

    def _head(self) -> Head | None:
        """Return the head; None where there is none that can be read."""
        try:
            n, digest = self.path.with_name(HEAD).read_text(encoding="ascii").split()
            return Head(int(n), digest)
        except (FileNotFoundError, ValueError):
            return None

    def _set_head(self, head: Head) -> None:
        # In place and always as long: less than a sector, so that it is not torn, and no new space is needed.
        handle = os.open(self.path.with_name(HEAD), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(handle, f"{head.n:020d} {head.sha256}\n".encode(), 0)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.path.parent.mkdir(mode=0o700)
            sync(self.path.parent.parent)

    def _lock(self, handle: int, kind: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    hint = "Look for the process that holds it (fuser), or try again."
                    raise ChromaError("busy", f"Another process has held {self.path} for {PATIENCE:.0f} s.", hint) from None
                time.sleep(0.005)
            else:
                return

    @contextlib.contextmanager
    def _reported(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise fault(f"Could not {action} the journal {self.path}: {error.strerror}.", error) from error


def fault(message: str, error: OSError) -> ChromaError:
    """Return the error of a file that could not be read or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ChromaError("no_space", message, "Make room on the data volume, and run it again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
        return ChromaError("forbidden", message, "Run it as the user who owns the data directory, with the volume mounted for writing.")
    return ChromaError("journal_failed", message, "Look at the data volume, and run it again.")
