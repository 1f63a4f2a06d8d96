# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chroma itself, in a process of its own, for a directory that nobody else has open. FOR INTERNAL COLLECTION USE ONLY.

A process and not a library: Chroma keeps files open for as long as its process lives, and an index that is damaged can end it with a
segmentation fault.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Seconds until the heartbeat answers, and from SIGINT to SIGKILL. At its start a server may migrate, and read the log.
START, STOP = 120.0, 20.0
# Another process may take the port between our look and Chroma's.
_PORTS = 3
# As 0.x and 1.x say it.
_TAKEN = re.compile(rb"in use|is not available")
_ENDING = 0.5
# Lines of the log that an error cites.
_LAST_LINES = 8

# What the script `chroma` does, by an interpreter that is known. The kernel ends it with the process that started it: a SIGKILL there
# would otherwise leave a server on a directory that nobody removes (prctl(2), PR_SET_PDEATHSIG is 1).
_SERVE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit("its parent is gone")
# What `chroma run` calls, without its import of all of chromadb, which takes a second or two.
import chromadb_rust_bindings
chromadb_rust_bindings.cli(sys.argv)
"""


def release() -> str:
    """Return the release of this environment's ``chromadb``.

    Raises:
        ChromaError: ``missing_library``.
    """
    try:
        return importlib.metadata.version("chromadb")
    except importlib.metadata.PackageNotFoundError as error:
        hint = "Install what requirements-data.txt names for the Python that Ansible uses, or run it as a Job (docs/operations.md)."
        raise ChromaError("missing_library", "This opens data with Chroma itself and needs the chromadb package.", hint) from error


@contextlib.contextmanager
def running(path: Path, log: Path, env: Mapping[str, str] | None = None, wait: float = START) -> Iterator[str]:
    """Serve a directory with this environment's Chroma on 127.0.0.1 for the length of a ``with`` block.

    Chroma writes into a directory at its start, and migrates one of an older release: give a copy.

    Args:
        path: data directory; it is created where it is absent.
        log: file that takes what Chroma prints; it is overwritten.
        env: environment variables beside this process's own. Those that begin with ``CHROMA`` are not passed on: they may be meant for
            another server.
        wait: seconds until the heartbeat has to answer.

    Yields:
        The base URL.

    Raises:
        ChromaError: ``missing_library``; ``chroma_failed`` where it ended or did not answer, also where it had died by the end of
            the block, whatever the block made of that.
    """
    release()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHROMA")}
    environ |= {"ANONYMIZED_TELEMETRY": "FALSE", **(env or {})}
    process, port = _start(path, log, environ, wait)
    try:
        yield f"http://127.0.0.1:{port}"
    except Exception as error:
        # Its connections break a moment before it has ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING)
        if process.returncode is not None:
            raise _failed(path, log, process, "ended while it was asked") from error
        raise
    else:
        if process.poll() is not None:
            raise _failed(path, log, process, "ended while it was asked")
    finally:
        _stop(process)


def _start(path: Path, log: Path, environ: Mapping[str, str], wait: float) -> tuple[subprocess.Popen[bytes], int]:
    for attempt in range(1, _PORTS + 1):
        port = _free_port()
        arguments = [str(os.getpid()), "run", "--path", str(path), "--host", "127.0.0.1", "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, *arguments],
                env=dict(environ),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            if _until_answers(port, process, wait):
                return process, port
        except BaseException:
            _stop(process)
            raise
        ended = process.poll() is not None
        if ended and attempt < _PORTS and _TAKEN.search(log.read_bytes()):
            continue
        _stop(process)
        raise _failed(path, log, process, "ended at its start" if ended else f"did not answer within {wait:g} s")
    raise AssertionError("the loop returns or raises")


def _until_answers(port: int, process: subprocess.Popen[bytes], wait: float) -> bool:
    deadline, pause = time.monotonic() + wait, 0.05
    while process.poll() is None and time.monotonic() < deadline:
        # Another Chroma may have got the port since we looked: what it answers for is another directory.
        if _answers(port) and process.poll() is None and _listens(process.pid, port):
            return True
        time.sleep(pause)
        pause = min(0.5, pause * 1.5)
    return False


def _answers(port: int) -> bool:
    # Not by _transport: a proxy of the environment has nothing to do with this.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/v2/heartbeat")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(pid: int, port: int, proc: Path = Path("/proc")) -> bool:
    """Return whether a process itself listens on a port of 127.0.0.1.

    Source: proc(5), ``net/tcp``: local address in hexadecimal, state 0A is LISTEN, the tenth field the socket's inode.
    """
    # It may end, and descriptors are closed, while this looks.
    with contextlib.suppress(OSError):
        rows = [line.split() for line in (proc / "self" / "net" / "tcp").read_text().splitlines()[1:]]
        listening = {f"socket:[{row[9]}]" for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] == "0A"}
        for descriptor in (proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in listening:
                    return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _failed(path: Path, log: Path, process: subprocess.Popen[bytes], what: str) -> ChromaError:
    code = process.returncode
    how = f" (signal {-code})" if code is not None and code < 0 else f" (exit code {code})" if code is not None else ""
    # It prints colours also to a file.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    said = " | ".join(lines[-_LAST_LINES:])[-2000:] or "it printed nothing"
    hint = "Validate the data that were copied (40_validate, data.validate): an index that is torn can end the server."
    if code == -signal.SIGKILL:
        hint = "It was killed, most likely for want of memory: give it more (chroma_operations_resources, docs/operations.md)."
    return ChromaError(
        "chroma_failed",
        f"Chroma {release()} {what} on {path}{how}. Its log ends with: {said}",
        hint,
    )
