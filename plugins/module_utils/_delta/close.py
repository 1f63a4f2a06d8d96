# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing embedded clients of Chroma for good, and proving it. FOR INTERNAL COLLECTION USE ONLY.

A client is a handle on a *system*, which is kept in a cache of ``SharedSystemClient`` and shared by all clients of one path. ``close()``
exists from 1.5.2 on and stops the system with its last client. Before that nothing but the system itself can be stopped, and 0.4.24 does
not close the files of its indexes even then. Releases of 1.x close SQLite's connections a moment later, in threads of their own.
Measured on 0.4.24, 0.5.23, 0.6.3, 1.0.20 and 1.5.9.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Seconds until all handles have to be gone; 1.x needs hundredths.
WAIT = 5.0
_PROC = Path("/proc")


def close_clients(directory: Path, client: Any, say: Callable[[str], None], wait: float = WAIT) -> None:
    """Close every client of this process on a directory, and prove that nobody has anything in it open.

    Args:
        directory: that the clients were opened on.
        client: one of them; None where it is only to be proven.
        say: takes a line for each step.
        wait: seconds until the handles have to be gone.

    Raises:
        ChromaError: ``still_open`` where this process still has files of it open: the message names them and what holds them;
            ``busy`` where another process has.
    """
    directory = directory.resolve()
    if client is not None and callable(getattr(client, "close", None)):
        say("closing the client: client.close()")
        client.close()
    for system in _systems(directory, client):
        say("stopping Chroma's system of this directory: other clients share it, or this chromadb has no close()")
        _stop(system)
    del client
    deadline = time.monotonic() + wait
    while True:
        gc.collect()
        held = open_files(directory)
        if not held or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if held:
        message = f"{directory} is still open in this process: {', '.join(held)}, held by {_holders()}."
        raise ChromaError("still_open", message, "Close or drop what is named, then try again; nothing was uploaded.")
    if others := _other_processes(directory):
        message = f"{directory} is open in another process: {', '.join(others)}."
        raise ChromaError("busy", message, "Stop it, or wait until it is done; nothing was uploaded.")
    if _PROC.joinpath("self", "fd").is_dir():
        say("closed: no process that can be seen has a file of the directory open")
    else:
        say("closed; there is no /proc here that could prove it")


def open_files(directory: Path, process: str = "self") -> list[str]:
    """Return the files below a directory that a process has open or mapped, relative to it; none where nothing can be seen.

    The source is ``/proc/<pid>/fd`` and ``/proc/<pid>/maps``, see proc(5).
    """
    prefix = f"{directory}{os.sep}"
    found = set()
    # A process may end meanwhile, or be another user's.
    with contextlib.suppress(OSError):
        for name in os.listdir(_PROC / process / "fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(_PROC / process / "fd" / name))
    with contextlib.suppress(OSError):
        for line in (_PROC / process / "maps").read_text(errors="replace").splitlines():
            found.add(line.partition("/")[1] + line.partition("/")[2])
    return sorted(each.removeprefix(prefix) for each in found if each.startswith(prefix))


def _other_processes(directory: Path) -> list[str]:
    """Return pid and name of the other processes that have a file of a directory open, as far as they may be looked at."""
    found = []
    for entry in _PROC.glob("[0-9]*"):
        if entry.name != str(os.getpid()) and open_files(directory, entry.name):
            name = ""
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text().strip()
            found.append(f"{name or 'a process'} (pid {entry.name})")
    return sorted(found)


def _systems(directory: Path, client: Any) -> Iterator[Any]:
    """Take Chroma's systems of a directory out of the cache, and yield them; those of other directories stay."""
    for owner in _caches():
        # 0.4 spells it otherwise.
        for attribute in ("_identifier_to_system", "_identifer_to_system"):
            cache = getattr(owner, attribute, None) or {}
            for name, system in list(cache.items()):
                if _path_of(system) == directory:
                    del cache[name]
                    (getattr(owner, "_identifier_to_refcount", None) or {}).pop(name, None)
                    yield system
    # Where somebody has emptied the cache, only the client still knows it.
    system = getattr(getattr(client, "_server", None), "_system", None)
    if system is not None and getattr(system, "_running", False) and _path_of(system) == directory:
        yield system


def _caches() -> list[Any]:
    """Return the classes that keep systems, of what is imported already."""
    names = ("chromadb.api.shared_system_client", "chromadb.api.client")
    found = [getattr(sys.modules.get(name), "SharedSystemClient", None) for name in names]
    return list({id(each): each for each in found if each is not None}.values())


def _path_of(system: Any) -> Path | None:
    settings: Any = getattr(system, "settings", None)
    if not getattr(settings, "is_persistent", False):
        return None
    return Path(str(settings.persist_directory)).resolve()


def _stop(system: Any) -> None:
    # 0.4 keeps the files of its indexes open after stop().
    for component in list(getattr(system, "_instances", {}).values()):
        segments = getattr(component, "_instances", None)
        for segment in list(segments.values()) if isinstance(segments, dict) else ():
            if callable(getattr(segment, "close_persistent_index", None)):
                segment.close_persistent_index()
    system.stop()


def _holders() -> str:
    """Say what in this process may hold files open: what of Chroma is still referenced, and open files and connections."""
    found: dict[str, int] = {}
    for each in gc.get_objects():
        kind = type(each)
        label = ""
        if str(kind.__module__).startswith("chromadb.") and kind.__name__ in ("Collection", "Client", "AdminClient", "System"):
            name = getattr(each, "name", "") if kind.__name__ == "Collection" else ""
            label = f"chromadb {kind.__name__}{f' {name!r}' if name else ''}"
        elif isinstance(each, sqlite3.Connection):
            label = "sqlite3.Connection"
        elif isinstance(each, (io.BufferedIOBase, io.RawIOBase)) and not each.closed and isinstance(getattr(each, "name", None), str):
            label = f"open file {getattr(each, 'name', '')}"
        if label:
            found[label] = found.get(label, 0) + 1
    return (
        ", ".join(f"{count} × {label}" if count > 1 else label for label, count in sorted(found.items()))
        or "something that Python does not see"
    )
