# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that copies files while writers wait. FOR INTERNAL COLLECTION USE ONLY.

A process of its own, because one that hangs in a read can be ended in time. Started before the lock is taken, told by JSON lines what to
copy. It ends with its parent, and needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
from pathlib import Path

# ioctl_ficlone(2): the target shares the source's blocks.
FICLONE = 0x40049409
# What FICLONE answers where the file system can't, or the two lie on different ones.
CANNOT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
# Bytes between two looks whether the parent still lives.
CHUNK = 32 << 20
_PROBE = ".probe"


def main() -> None:
    """Copy from the directory that the command line names to the other one, whatever comes by standard input."""
    source, target, database, parent = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    tell(reflink=_probe(source / database, target / _PROBE))
    for line in sys.stdin:
        for name in json.loads(line):
            try:
                reflink, size = copy_file(source, target, name, parent)
            except FileNotFoundError:
                tell(gone=name)
            except OSError as error:
                tell(file=name, errno=error.errno or errno.EIO)
            else:
                tell(copied=name, reflink=reflink, bytes=size)
        tell(done=True)


def tell(**facts: object) -> None:
    """Send one line to the parent."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def copy_file(source: Path, target: Path, name: str, parent: int) -> tuple[bool, int]:
    """Copy one regular file with its mode and times, by reflink where possible, holes as holes.

    Args:
        source, target: directories.
        name: of the file, below both; links are not followed.
        parent: process id; the copying ends with it.

    Returns:
        Whether blocks are shared, and the size, bytes.

    Raises:
        OSError: ENOENT where it is gone, ELOOP for a link, EINVAL where it is no regular file; ENOSPC and others of the target.
    """
    folder = os.open((source / name).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, folder)
        # Nobody waits for the other end of a FIFO.
        original = os.open(Path(name).name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        stack.callback(os.close, original)
        about = os.fstat(original)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "no regular file", name)
        (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = os.open(target / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        stack.callback(os.close, copy)
        reflink = clone(original, copy)
        if not reflink:
            _copy_bytes(original, copy, about.st_size, parent)
        if os.geteuid() == 0:
            os.fchown(copy, about.st_uid, about.st_gid)
        os.fchmod(copy, stat.S_IMODE(about.st_mode))
        os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))
        return reflink, about.st_size


def clone(original: int, copy: int) -> bool:
    """Let a file share the blocks of another one; return whether that is possible here."""
    try:
        fcntl.ioctl(copy, FICLONE, original)
    except OSError as error:
        if error.errno not in CANNOT_CLONE:
            raise
        return False
    return True


def _copy_bytes(original: int, copy: int, size: int, parent: int) -> None:
    end = 0
    while end < size:
        try:
            start = os.lseek(original, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        end = os.lseek(original, start, os.SEEK_HOLE)
        os.lseek(copy, start, os.SEEK_SET)
        while start < end:
            if os.getppid() != parent:
                raise SystemExit(1)
            sent = os.sendfile(copy, original, start, min(CHUNK, end - start))
            if not sent:
                break  # somebody made it shorter; the parent sees that it changed
            start += sent
    os.ftruncate(copy, size)


def _probe(original: Path, copy: Path) -> bool:
    """Return whether files of the source's file system can be cloned to the target's."""
    try:
        with original.open("rb") as source, copy.open("wb") as target:
            return clone(source.fileno(), target.fileno())
    except OSError:
        return False  # the copying itself will say why
    finally:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
