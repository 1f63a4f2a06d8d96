# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collection in a real Chroma and its export in a real PostgreSQL, for the tests of the check; with fixtures for them."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filling
import importing
import postgres
import pytest
import servers
import writing

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings, settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Webhook
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.run import CheckOrder, check_collection
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch.hooks import Hook, serve

NAME, NEW = "docs", "imported"
# More than the index's threshold, so that most vectors are in its files alone.
RECORDS = 180
NUMBERS = itertools.count(1)
end = importing.end


def fill(client: ChromaClient, name: str = NAME, records: int = RECORDS, space: str = "l2") -> None:
    """Make a collection with records; its index is saved after :data:`filling.THRESHOLD` of them."""
    settings = {"hnsw:space": space} if client.legacy else {}
    found = client.get_collection(name) or filling.create(client, name, title="Docs", **settings)
    size = min(records, 3000)
    for first in range(0, records, size):
        filling.write(client, found, range(first, min(first + size, records)))


def folders(data: Path) -> list[Path]:
    """Return the folders of the saved indexes."""
    return [each.parent for each in data.glob("*/header.bin")]


def lose_vectors(data: Path) -> None:
    """Remove the indexes of a stopped server."""
    for each in folders(data):
        shutil.rmtree(each)


def lose_one_vector(data: Path) -> None:
    """Let a stopped server's last record be one that no index has a vector of."""
    with sqlite3.connect(data / "chroma.sqlite3") as connection:
        connection.execute(
            "INSERT INTO embeddings (segment_id, embedding_id, seq_id) SELECT segment_id, 'without-vector', max(seq_id) FROM embeddings"
        )
    connection.close()


def lose_rows(data: Path) -> None:
    """Let a stopped server's SQLite file have no documents and metadata any more, as one that was restored by halves."""
    with sqlite3.connect(data / "chroma.sqlite3") as connection:
        connection.execute("ALTER TABLE embedding_metadata RENAME TO elsewhere")
    connection.close()


@dataclass(frozen=True)
class Scene:
    """One collection, its server, and its table in PostgreSQL.

    Args:
        url: of Chroma.
        cluster: PostgreSQL.
        table: of the exports; each test has its own.
        hook: that is told.
        database: of Chroma.
    """

    url: str
    cluster: postgres.Cluster
    table: str
    hook: Hook
    database: str = "default_database"

    @property
    def client(self) -> ChromaClient:
        """A client of the server."""
        return ChromaClient(Connection(self.url, database=self.database, retries=0))

    @property
    def settings(self) -> PostgresSettings:
        """How PostgreSQL is reached."""
        return settings_from_environment(self.cluster.variables(BACKUP_TABLE=self.table))

    def at(self, url: str) -> Scene:
        """Return the same with another server."""
        return replace(self, url=url)

    def export(self, name: str = NAME, **wanted: Any) -> dict[str, Any]:
        """Export a collection."""
        return export_server(self.client, self.settings, Wanted([name], **wanted))

    def check(self, name: str = NAME, *, check: bool = False, **fields: Any) -> dict[str, Any]:
        """Check a collection."""
        order = CheckOrder(name, NEW, **{"confirm": 0.02, "wait": 1.0, **fields})
        return check_collection(self.client, self.settings, order, [Webhook(self.hook.url, sleep=lambda seconds: None)], check)

    def records(self, name: str) -> writing.Records:
        """Return what a collection holds."""
        return writing.served(self.client.connection, [name])[name]

    def names(self) -> list[str]:
        """Return the names of the collections."""
        return [each.name for each in self.client.list_collections()]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Read from the table; ``{}`` is its name."""
        return self.cluster.query(statement.format(self.table))

    def told(self) -> list[str]:
        """Return the reasons of the alerts that came, and forget them."""
        reasons = [each["reason"] for each in self.hook.bodies]
        self.hook.bodies.clear()
        return reasons

    def start(self, scratch: Path, **options: Any) -> subprocess.Popen[str]:
        """Start the module as a process of its own; None leaves an option out."""
        arguments = {
            "url": self.url, "database": self.database, "collection": NAME, "new_name": NEW, "confirm": 0.02, "wait": 1.0, "retries": 0,
            "backup_table": self.table, "webhook_url": self.hook.url, **self.cluster.options(), **options,
        }  # fmt: skip
        given = {name: value for name, value in arguments.items() if value is not None}
        return importing.start(given, scratch, "chroma_check_collection")


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.running("15") as running:
        yield running


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serve() as served:
        yield served


@pytest.fixture
def scene(newest: servers.Server, cluster: postgres.Cluster, hook: Hook) -> Scene:
    """A collection that was just exported, in a database of its own."""
    number = next(NUMBERS)
    made = Scene(newest.url, cluster, f"table_{number}", hook, f"watched_{number}")
    made.client.create_database()
    fill(made.client)
    made.export()
    return made


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, cluster: postgres.Cluster) -> tuple[Path, Scene, writing.Records]:
    """The directory of a stopped server whose collection was exported, the table, and what the collection held."""
    data = tmp_path_factory.mktemp("saved") / "data"
    with servers.running("1.5.9", data=data) as server, serve() as unused:
        made = Scene(server.url, cluster, "saved", unused)
        fill(made.client)
        made.export()
        held = made.records(NAME)
    assert folders(data)
    return data, made, held


def harmed(saved: tuple[Path, Scene, writing.Records], folder: Path, harm: Callable[[Path], None]) -> Path:
    """Return a copy of the directory to which a harm was done."""
    shutil.copytree(saved[0], folder / "data")
    harm(folder / "data")
    return folder / "data"


def own_table(scene: Scene, hook: Hook) -> Scene:
    """Return the same exports in a table whose faults nobody knows yet."""
    scene.cluster.query(f"DROP TABLE IF EXISTS {scene.table}_faults")
    return Scene(scene.url, scene.cluster, scene.table, hook)
