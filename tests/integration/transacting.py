# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions on real servers, in this process or in one that is killed at a step of its own choice."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import restic
import servers
from interference import Proxy

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.check import verify
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.report import Operation, Wanted, select
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction import point, removal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Transport

PASSWORD = "a password of the tests"
ACTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "delete": delete_collection,
    "rename": rename_collection,
    "undo": undo_collection,
}
# Records that are deleted by one request, so that few records take several.
PAGE = 20
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Spot:
    """A server, its data directory, and a repository.

    Args:
        url: of the server, or of a proxy in front of it.
        root: has ``repository``.
        data: data directory; None where nobody reaches it.
        journal: another directory for the journal then.
    """

    url: str
    root: Path
    data: Path | None
    journal: Path | None = None

    @property
    def client(self) -> ChromaClient:
        """A client of the server."""
        return ChromaClient(Connection(self.url))

    @property
    def repository(self) -> RepositorySettings:
        """The repository."""
        return RepositorySettings(str(self.root / "repository"), PASSWORD, restic_path=str(restic.quick()))

    def open(self) -> Repository:
        """Open the repository."""
        return open_repository(self.repository, create=True)

    def place(self, *, kept: bool = True, **changes: Any) -> Place:
        """Return where a transaction takes place; without ``kept`` there is no repository."""
        settings = self.repository
        opened = {"repository": partial(open_repository, settings, create=True), "location": settings.location} if kept else {}
        return Place(**{"client": self.client, **opened, "path": self.data, "journal_path": self.journal, "times": 1, **changes})

    def fill(self, name: str, records: int = 50, **columns: Any) -> None:
        """Make a collection of records with all that a record has."""
        client = self.client
        made = client.create_collection(name, {"number": 7, "text": "Ü"}, {"sync_threshold": 20})
        numbers = range(records)
        body = {
            "ids": [f"id-{each}" for each in numbers],
            "embeddings": [[each, 1.0, 0.5] for each in numbers],
            "documents": [None if each % 7 == 0 else f"document {each}" for each in numbers],
            "metadatas": [None if each % 5 == 0 else {"number": each, "half": each / 2, "odd": each % 2 == 1} for each in numbers],
            "uris": [f"file:///{each}" if each % 3 else None for each in numbers],
            **columns,
        }
        if records:
            client.write(made, "upsert", json.dumps(body).encode())

    def holds(self, name: str) -> dict[str, Any] | None:
        """Return all that a server says of a collection, but for its id; None where there is none."""
        client = self.client
        found = client.get_collection(name)
        if found is None:
            return None
        rows = {row["id"]: row for row in client.get(found)}
        assert len(rows) == client.count(found)
        return {"metadata": dict(found.metadata), "configuration": dict(found.configuration), "rows": rows}

    def operations(self) -> list[Operation]:
        """Return the entries of the journal, which has to be whole."""
        directory = self.data or self.journal
        assert directory is not None
        journal = Journal.of(directory)
        assert verify(journal).intact
        return select(journal, Wanted())

    def last(self, operation: str) -> Operation:
        """Return the newest entry of an operation."""
        return [each for each in self.operations() if each.operation == operation][-1]

    def killed(self, kill_at: int, action: str, *arguments: Any) -> bool:
        """Do something in a process that is killed before its n-th step; return False where it took fewer."""
        process = _PROCESSES.Process(target=_killed, args=(self, kill_at, action, arguments))
        process.start()
        process.join(300)
        assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
        return process.exitcode != 0


@contextlib.contextmanager
def serving(root: Path, version: str = servers.VERSIONS[-1]) -> Iterator[Spot]:
    """Run a server on an empty directory below a folder."""
    with servers.running(version, data=root / "data") as server:
        yield Spot(server.url, root, root / "data")


@pytest.fixture(scope="module")
def spot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spot]:
    """Run a server, with a repository."""
    with serving(tmp_path_factory.mktemp("spot")) as found:
        found.open()
        yield found


@pytest.fixture
def name(spot: Spot) -> str:
    """Make a collection."""
    made = f"books-{next(NUMBERS)}"
    spot.fill(made)
    return made


def failure(function: Callable[..., Any], *arguments: Any, **options: Any) -> ChromaError:
    """Return the error of a call that has to fail."""
    with pytest.raises(ChromaError) as failed:
        function(*arguments, **options)
    return failed.value


def through(spot: Spot, between: Proxy) -> Spot:
    """Return the same, with a proxy in front of its server."""
    return Spot(between.url, spot.root, spot.data)


def _killed(spot: Spot, kill_at: int, action: str, arguments: tuple[Any, ...]) -> None:
    """Count whatever reaches server, repository or journal, and die before one of these."""
    counter = itertools.count(1)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            if next(counter) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*values, **options)

        return call

    for owner, name in ((Transport, "request"), (Restic, "run"), (Journal, "_append")):
        setattr(owner, name, counted(getattr(owner, name)))
    point.PAGE = removal.PAGE = PAGE
    ACTIONS[action](spot.place(), *arguments)


# Its processes are forks of one that has loaded everything once and has no threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["transacting", "pyarrow", "pyarrow.parquet"])
