# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite's write lock on a live database, held for a bounded time. FOR INTERNAL COLLECTION USE ONLY.

Measured on 0.4.24 to 1.5.9: writers wait for it and then succeed, readers go on (docs/snapshots.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import locker
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Where SQLite locks for writing, https://www.sqlite.org/src/file/src/os.h: PENDING_BYTE + 1.
RESERVED_BYTE = 0x40000001
# Seconds for Python to start on a busy machine, and for a lock to be given back.
_START, _END = 60.0, 10.0
_FORBIDDEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class OutOfTime(Exception):
    """Writers would have waited too long."""


@dataclass
class WriteLock:
    """A lock that is held.

    Args:
        holder: the process that holds it.
        moment: since when: what was acknowledged before is in the database, what began later is not.
        since, until: monotonic times at which it began, and ends by itself.
        seconds: for so long it was held; known afterwards.
    """

    holder: int
    moment: datetime
    since: float
    until: float
    seconds: float = 0.0

    def check_time(self) -> None:
        """Raise :class:`OutOfTime` where it has ended by itself."""
        if time.monotonic() > self.until:
            raise OutOfTime


@contextlib.contextmanager
def write_lock(file: Path, most: float, wait: float = 60.0) -> Iterator[WriteLock]:
    """Keep all others from writing for the length of a ``with`` block; they can read, and their writes wait. Nothing is written.

    Args:
        file: ``chroma.sqlite3``; this process may open and close it as it likes.
        most: seconds after which the lock is given back, whatever happens.
        wait: seconds to wait for whoever has it; writers wait for nothing meanwhile.

    Raises:
        OutOfTime: at the end, where the lock ended by itself before.
        ChromaError: ``lock_lost`` at the end, where it ended otherwise before; ``busy``; ``forbidden`` where the file can't be written to;
            ``unsupported`` in WAL mode, which Chroma never uses.
        Damaged: ``sqlite``.
    """
    # Ansible runs a module from an archive that only sys.path knows.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [sys.executable, "-m", locker.__name__, f"{file.resolve().as_uri()}?mode=rw", str(wait), str(most)]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        lock = None
        try:
            lock = _begun(file, child, _answer(child, wait + _START), most, wait)
            yield lock
            if lock_holder(file) != child.pid:
                lock.check_time()
                raise _lost(file)
        finally:
            # The end of its input is what it waits for; where that is not enough, its end.
            if child.stdin is not None:
                child.stdin.close()
            ended = _answer(child, _END).get("ended", time.monotonic()) if lock else 0.0
            child.kill()
            if lock:
                lock.seconds = ended - lock.since


def lock_holder(database: Path) -> int:
    """Return the process that holds SQLite's write lock, as the kernel tells others than that; 0 where nobody does."""
    try:
        descriptor = os.open(database, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, RESERVED_BYTE, 1, 0)
        kind, _whence, _start, _length, holder = struct.unpack("hhqqi", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return 0 if kind == fcntl.F_UNLCK else int(holder)


def _answer(child: subprocess.Popen[bytes], wait: float) -> dict[str, Any]:
    """Return what the holder says next; nothing where it says nothing for so many seconds, or died."""
    if child.stdout is None:
        raise AssertionError("the holder was started without standard output")
    line = child.stdout.readline() if select.select([child.stdout], [], [], wait)[0] else b""
    answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    return answer


def _begun(file: Path, child: subprocess.Popen[bytes], said: dict[str, Any], most: float, wait: float) -> WriteLock:
    if not said:
        raise _lost(file)
    if "error" in said:
        raise _refused(file, int(said["code"]), str(said["error"]), wait)
    if said["mode"] == "wal":
        message = f"{file} is in WAL mode, where others may write to it in spite of the lock."
        raise ChromaError("unsupported", message, "Stop the server and copy the directory then.")
    return WriteLock(child.pid, datetime.fromtimestamp(said["moment"], UTC), said["since"], said["since"] + most)


def _refused(file: Path, code: int, reason: str, wait: float) -> ChromaError:
    if code in locker.BUSY:
        message = f"Others hold the lock on {file} all the time, for {wait:g} s."
        return ChromaError("busy", message, "Wait until they are done, or stop them.")
    if code in _FORBIDDEN:
        message = f"The write lock of {file} could not be taken: {reason}."
        hint = "Run it as the user that Chroma runs as, with the volume mounted writable: the lock needs that, though nothing is written."
        return ChromaError("forbidden", message, hint)
    return Damaged("sqlite", file, reason)


def _lost(file: Path) -> ChromaError:
    hint = "The file system may not keep locks, as NFS, or the process that held it was killed; try again, or with the server stopped."
    return ChromaError("lock_lost", f"The lock on {file} was lost before all was read.", hint)
