# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server has a data directory open, as far as that is to be seen from here. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Where SQLite locks: PENDING_BYTE, RESERVED_BYTE and the 510 bytes of readers, https://www.sqlite.org/src/file/src/os.h
_LOCK_BYTE, _LOCK_BYTES = 0x40000000, 512
# Seconds until whoever reads or writes has to be done; each of Chroma's transactions takes less than one.
_WAIT = 10.0
# PROC_PID_INIT_INO in Linux' include/uapi/linux/nsfs.h: what the namespace of all processes of a machine is called.
_ALL_PROCESSES = "pid:[4026531836]"

# As people start it: `chroma run`, or uvicorn with chromadb.app. Not this collection's own programs.
_SERVER = re.compile(r"\bchroma run\b|\bchromadb\.")


def refuse_running(directory: Path) -> None:
    """Refuse a data directory that a process of this machine has open, or may have open.

    Raises:
        ChromaError: ``server_running``, naming the first one.
    """
    for number, program in processes(directory):
        raise ChromaError(
            "server_running",
            f"{directory} is in use by process {number} ({program}).",
            f"Stop that server, run this again, and start it afterwards: `systemctl stop …`, `docker stop …` or `kill {number}`.",
        )
    for number, command in _hidden():
        if _SERVER.search(command):
            raise ChromaError(
                "server_running",
                f"Process {number} ({command[:100]}) belongs to somebody else, so {directory} may be what it has open.",
                "Run this as root, who can see that, or as the user that Chroma runs as, or stop that server.",
            )


def unseen() -> str:
    """Say which processes could not be looked at; empty where all of this machine could."""
    if (there := _namespace()) and there != _ALL_PROCESSES:
        return "Only the processes of this container could be looked at: that no server of another one has the directory open is up to you."
    if hidden := sum(1 for _each in _hidden()):
        return f"{hidden} processes of other users could not be looked at: that none of them has the directory open is up to you."
    return ""


def processes(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield process id and name of each other process that has a file of a directory open, as far as this user may see that."""
    wanted = set(_files(directory))
    root = os.path.join(os.path.realpath(directory), "")
    private = os.path.join(root, PRIVATE, "")
    for process in _others():
        if _holds(process, wanted, root, private):
            yield int(process.name), _name(process)


@contextlib.contextmanager
def kept_out(directory: Path, wait: float = _WAIT) -> Iterator[int | None]:
    """Hold SQLite's exclusive lock on a data directory's database for the length of a ``with`` block, whatever state it is in.

    It is the kernel's, so it also meets whoever can't be seen in ``/proc``. SQLite itself would roll a left journal back, and the files
    would no longer be those of the restore point; so only its locks are taken, as it takes them. Nobody in this process may close the
    file meanwhile: that would give them back.

    Yields:
        A descriptor of the database, by which its bytes can be read; None where it is not there, or may not be written to.

    Raises:
        ChromaError: ``server_running`` where somebody reads or writes all the time.
    """
    try:
        handle = os.open(directory / DATABASE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # None is there, or nobody may write to it.
        yield None
        return
    try:
        _lock(handle, directory, time.monotonic() + wait)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_BYTE)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
            if time.monotonic() > deadline:
                raise ChromaError(
                    "server_running",
                    f"{directory / DATABASE} is being read or written by a process that can't be seen from here.",
                    "Stop the server, in whichever container or on whichever machine it runs, and run this again.",
                ) from error
            time.sleep(0.05)
        else:
            return


def _others() -> Iterator[Path]:
    for process in sorted(Path("/proc").glob("[0-9]*")):
        if process.name != str(os.getpid()):
            yield process


def _hidden() -> Iterator[tuple[int, str]]:
    """Yield process id and command line of each process whose open files this user may not see; the kernel's own have no command line."""
    for process in _others():
        try:
            os.listdir(process / "fd")
        except PermissionError:
            with contextlib.suppress(OSError):
                if command := (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip():
                    yield int(process.name), command
        except OSError:
            continue  # it ended


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _files(directory: Path) -> Iterator[tuple[int, int]]:
    """Yield what the kernel knows the files by: another container calls them by another path."""
    for folder, folders, names in os.walk(directory):
        if folder == str(directory) and PRIVATE in folders:
            folders.remove(PRIVATE)
        for name in names:
            try:
                about = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            yield about.st_dev, about.st_ino


def _holds(process: Path, wanted: set[tuple[int, int]], root: str, private: str) -> bool:
    try:
        for descriptor in (process / "fd").iterdir():
            try:
                about = descriptor.stat()
                # A file that was removed under a server is known by its path only.
                path = os.readlink(descriptor)
            except OSError:
                continue
            if (about.st_dev, about.st_ino) in wanted or (path.startswith(root) and not path.startswith(private)):
                return True
    except OSError:
        return False  # it ended, or belongs to somebody else: see _hidden
    return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "unknown"
