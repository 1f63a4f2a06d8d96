# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copier as its parent sees it: asked, waited for no longer than allowed, and ended. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import OutOfTime
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot import copier

# Seconds for Python to start on a busy machine.
_START = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Copier:
    """A running copier; a context manager.

    Args:
        source, target: directories; the target exists.
        progress: counts the bytes.

    Attributes:
        reflink: whether blocks can be shared between the two.
        shared: whether all that was copied shares its blocks.

    Raises:
        ChromaError: ``copy_failed`` where it can't start.
    """

    def __init__(self, source: Path, target: Path, progress: Progress) -> None:
        self._target = target
        self._progress = progress
        self.shared = True
        self._buffer = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        # Ansible runs a module from an archive that only sys.path knows.
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
        command = [sys.executable, "-m", copier.__name__, str(source), str(target), DATABASE, str(os.getpid())]
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        try:
            self.reflink = bool(self._answer(time.monotonic() + _START)["reflink"])
        except OutOfTime as error:
            self._end()
            raise ChromaError("copy_failed", f"The copying of {source} did not start within {_START:.0f} s.", "Try again.") from error
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def copy(self, names: Sequence[str], deadline: float | None = None) -> list[str]:
        """Copy files; those of the same names are replaced.

        Args:
            names: below the source.
            deadline: monotonic time; without one it takes as long as it takes.

        Returns:
            Those that were copied; the others vanished meanwhile.

        Raises:
            OutOfTime: the deadline passed; the copier is of no more use.
            ChromaError: ``no_space``, ``copy_failed``.
        """
        orders = self._process.stdin
        if orders is None:
            raise AssertionError("the copier was started without standard input")
        try:
            orders.write(json.dumps(list(names)).encode() + b"\n")
            orders.flush()
        except BrokenPipeError:
            raise self._died() from None
        copied: list[str] = []
        while True:
            answer = self._answer(deadline)
            if "done" in answer:
                return copied
            if "errno" in answer:
                raise self._failed(str(answer["file"]), int(answer["errno"]))
            if "copied" in answer:
                copied.append(str(answer["copied"]))
                self.shared = self.shared and bool(answer["reflink"])
                self._progress.advance(int(answer["bytes"]))

    def _answer(self, deadline: float | None) -> dict[str, Any]:
        output = self._process.stdout
        if output is None:
            raise AssertionError("the copier was started without standard output")
        while b"\n" not in self._buffer:
            left = None if deadline is None else deadline - time.monotonic()
            if (left is not None and left <= 0) or not select.select([output], [], [], left)[0]:
                raise OutOfTime
            more = os.read(output.fileno(), 1 << 16)
            if not more:
                raise self._died()
            self._buffer += more
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, name: str, number: int) -> ChromaError:
        if number in _FULL:
            return no_space(self._target, f"{name} did not fit")
        message = f"{name} could not be copied to {self._target}: {os.strerror(number)}."
        return ChromaError("copy_failed", message, "Look at the volume's state and rights, and try again.")

    def _died(self) -> ChromaError:
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        message = f"The process that copies ended with {code}: {last[0]}."
        return ChromaError("copy_failed", message, "Try again; code -9 means that it was killed, perhaps for want of memory.")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for each in (self._process.stdin, self._process.stdout, self._errors):
            if each is not None:
                with contextlib.suppress(BrokenPipeError):
                    each.close()


def no_space(target: Path, reason: str, what: str = "a copy", hint: str = "") -> ChromaError:
    """Return the error for a target that has no room."""
    usual = "Make room there, or give another place for the copy; nothing of it was left behind."
    return ChromaError("no_space", f"There is no room for {what} in {target}: {reason}.", hint or usual)
