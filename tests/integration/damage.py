# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real server makes of a directory of :mod:`broken`: whether it dies of it, empties an index silently, or says that it can't."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broken
import filling
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# The process ended; an index answers with fewer vectors, or is saved with fewer, and nobody is told; requests are answered with an error
# and what is on the disk stays; as if nothing were.
DIES, EMPTIES, REFUSES, SERVES = "dies", "empties", "refuses", "serves"
# More than the threshold of :func:`filling.build`: the index is saved.
_NEW = range(1000, 1000 + filling.THRESHOLD + 10)
# An index that was read wrongly can be saved with hundreds of GB.
_LARGEST_FILE = 1 << 30
# Seconds; where one query takes longer, and fails, the others would as well.
_LONG = 5


@dataclass(frozen=True)
class Healthy:
    """What the directory said before it was broken.

    Args:
        vectors: of ``books``, by id.
        saved: the ids whose vectors are in the index, and not in the log any more.
    """

    vectors: dict[str, list[float]]
    saved: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What a server did.

    Args:
        kind: one of :data:`DIES`, :data:`EMPTIES`, :data:`REFUSES`, :data:`SERVES`.
        when: ``start``, ``read`` or ``write``, the first step at which it was seen; empty where it serves.
        detail: signal or error, or figures.
    """

    kind: str
    when: str = ""
    detail: str = ""


def look(version: str, path: Path) -> Healthy:
    """Ask a server of a healthy directory for the vectors of ``books``."""
    scene = broken.Scene(path, version, path)
    logged = {str(row[0]) for row in scene.sql("SELECT id FROM embeddings_queue WHERE topic = ?", scene.topic())}
    saved = _saved(path)
    with servers.running(version, data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = client.require_collection("books")
        vectors = {each["id"]: each["embedding"] for each in client.get(books, include=["embeddings"])}
    return Healthy(vectors, frozenset(saved & set(vectors) - logged))


def observe(version: str, path: Path, healthy: Healthy) -> Outcome:
    """Serve a broken directory, read and query ``books``, write to it until its index is saved; the directory is changed."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(servers.running(version, data=path))
        except RuntimeError as error:
            return Outcome(DIES, "start", str(error)[-300:])
        with contextlib.suppress(ProcessLookupError):
            _soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (_LARGEST_FILE, hard))
        client = ChromaClient(Connection(server.url, retries=0, timeout=120))
        failures: list[tuple[str, str]] = []
        found: set[str] = set()
        answered = 0

        def attempt(when: str, act: Callable[[], Any]) -> Any:
            try:
                return act()
            except ChromaError as error:
                failures.append((when, error.message[-200:]))
                return None
            except IndexError:
                return set()  # 1.x answers with ids and no list of vectors where a collection has no dimension

        books = attempt("read", lambda: client.require_collection("books"))
        if books is None:
            return ended(server, "read") or Outcome(REFUSES, *failures[0])
        silent = ""
        for when in ("read", "write"):
            if when == "write":
                attempt(when, lambda: filling.write(client, books, _NEW))
            attempt(when, lambda: list(client.get(books, ids=list(healthy.vectors), include=["embeddings"])))
            for name in sorted(healthy.saved)[::8]:
                vector, began = healthy.vectors[name], time.monotonic()
                hits = attempt(when, lambda vector=vector: _hits(client, books, vector, len(healthy.vectors)))
                if hits is not None:
                    answered += 1
                    found |= hits & healthy.saved
                elif time.monotonic() - began > _LONG:
                    break
            if stopped := ended(server, when):
                return stopped
            if answered and not found:
                silent = silent or when
    if silent:
        return Outcome(EMPTIES, silent, f"queries find none of {len(healthy.saved)} vectors")
    if (left := _saved(path)) and not left & healthy.saved:
        return Outcome(EMPTIES, "write", f"saved without any of {len(healthy.saved)} vectors")
    return Outcome(REFUSES, *failures[0]) if failures else Outcome(SERVES)


def _hits(client: ChromaClient, collection: Collection, vector: Sequence[float], wanted: int) -> set[str]:
    """Return the ids that a query finds."""
    return {each["id"] for each in client.query(collection, [vector], wanted, include=["distances"])[0]}


def _saved(path: Path) -> set[str]:
    """Return the ids in the label map of ``books``; none where it can't be read."""
    try:
        return set(read_labels(broken.Scene(path, "", path).folder()).ids.to_pylist())
    except (Damaged, IndexError):
        return set()


def ended(server: servers.Server, when: str) -> Outcome | None:
    """Return how a server's process ended, where it did; it is not reaped."""
    about = os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if about is None:
        return None
    how = signal.Signals(about.si_status).name if about.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else f"exit code {about.si_status}"
    return Outcome(DIES, when, how)
