# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say of repair, recovery, collections and PostgreSQL on a bare host, run word by word. Needs no cluster."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

from .test_bare_host import ROOT, Host, block_with, host
from .test_pages import blocks_of

sys.path.insert(0, str(ROOT / "tests" / "integration"))

import postgres
import servers

__all__ = ["host"]

NEWEST = servers.VERSIONS[-1]
INSTALLED = {"/usr/share/ansible/collections": str(ROOT / "playbooks" / "collections")}
FILL = """
import sys, chromadb
data, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = chromadb.PersistentClient(data)
settings = {"hnsw": {"space": "l2", "sync_threshold": 20, "batch_size": 10}}
books = client.create_collection(name, configuration=settings, embedding_function=None)
ids = [str(n) for n in range(count)]
metadatas = [{"author": f"author {n}", "lang": "en"} for n in range(count)]
books.add(ids, [[float(n), 1.0] for n in range(count)], metadatas, [f"text {n}" for n in range(count)])
"""


def fill(data: Path, name: str, count: int = 60, then: str = "") -> None:
    """Let Chroma write a collection whose index is saved, in a process of its own."""
    subprocess.run([sys.executable, "-c", FILL + then, str(data), name, str(count)], check=True)


@pytest.fixture
def mended(host: Host) -> Host:
    """A host with a collection ``books`` of 60 records, and the remains of one that was deleted."""
    fill(host.data, "books")
    fill(host.data, "notes", then="client.delete_collection(name)")
    return host


def test_what_is_minor_is_repaired_undone_and_repaired_by_the_check_of_each_hour(mended: Host) -> None:
    said = mended.run(block_with("repair.md", "thinkube.chroma.data.repair "))
    assert "repaired  CHR017" in said
    assert "back  folder" in said
    said = mended.run(block_with("health.md", "thinkube.chroma.data.health "))
    assert "CHR017" in said
    [report] = (mended.data / ".thinkube-chroma" / "reports").iterdir()
    assert [each["finding"] for each in json.loads(report.read_text())["repaired"]] == ["CHR017"]


def test_collections_are_renamed_deleted_and_brought_back(mended: Host) -> None:
    with servers.running(NEWEST, data=mended.data) as server:
        place = {"http://127.0.0.1:8000": server.url}
        client = ChromaClient(Connection(server.url))
        mended.run(block_with("collections.md", "RobustManager("), place | INSTALLED)
        assert client.count(client.require_collection("library")) == 60
        mended.run(block_with("collections.md", "data.delete_collection"), place | {"=books": "=library"})
        assert client.list_collections() == []


def test_a_damaged_collection_is_planned_and_recovered(mended: Host) -> None:
    mended.run(block_with("backup.md", "thinkube.chroma.data.backup "))
    broken = subprocess.run(["find", mended.data, "-name", "header.bin"], capture_output=True, text=True, check=True).stdout.split()
    for file in broken:
        Path(file).write_bytes(b"torn")
    assert "books -> books-recovered: 60 of 60 records" in mended.run(block_with("recover.md", "chroma_recover_plan=true"))
    with servers.running(NEWEST, data=mended.data) as server:
        reader = {"http://127.0.0.1:8000": server.url, '"chromadbdata"': repr(str(mended.data))}
        said = mended.run(block_with("recover.md", "DataRecoveryTool("), reader | INSTALLED)
        assert "recovery done: success 1, failed 0" in said
        client = ChromaClient(Connection(server.url))
        assert client.count(client.require_collection("books-recovered")) == 60
        delete = "ansible-playbook thinkube.chroma.data.delete_collection -e chroma_delete_damaged=true"
        assert f"`{delete}`" in (ROOT / "docs" / "recover.md").read_text()
        mended.run(f"{delete} -e chroma_delete_collection=books -e chroma_url={server.url} -e chroma_data_path=/data")
        assert [each.name for each in client.list_collections()] == ["books-recovered"]
    [rows] = (mended.data / ".thinkube-chroma" / "quarantine").glob("*/rows.sqlite3")
    query = block_with("recover.md", "rows.sqlite3 ").split('"')[1]
    with contextlib.closing(sqlite3.connect(rows)) as kept:
        assert dict(kept.execute(query))["7"] == "text 7"


@pytest.fixture
def home(mended: Host) -> Iterator[tuple[Host, servers.Server, postgres.Cluster]]:
    """A host whose Chroma runs, and a PostgreSQL with pgvector."""
    with postgres.running(postgres.VECTOR) as cluster, servers.running(NEWEST, data=mended.data) as server:
        parts = urlsplit(server.url)
        variables = {"CHROMADB_HOST": str(parts.hostname), "CHROMADB_PORT": str(parts.port), **cluster.variables()}
        yield replace(mended, environment={**mended.environment, **variables}), server, cluster


def test_a_collection_goes_to_postgresql_and_comes_back(home: tuple[Host, servers.Server, postgres.Cluster]) -> None:
    host, server, cluster = home
    client = ChromaClient(Connection(server.url))
    # The environment says where PostgreSQL is.
    own = {"DB_HOST=postgres DB_NAME=vectors DB_USER=chroma DB_PASSWORD=… ": "", "http://127.0.0.1:8000": server.url}
    host.run(block_with("postgres.md", "thinkube.chroma.data.export_postgres "), own)
    assert client.count(client.require_collection("books-again")) == 60

    select, remove = (block.code for block in blocks_of(ROOT / "docs" / "postgres.md") if block.language == "sql")
    with cluster.connect(user="chroma") as connection:
        by_author, nearest = select.replace("[0.1, 0.2, …]", "[3, 1]").split(";")[:2]
        assert ("7", "text 7", "author 7") in connection.execute(by_author.replace("10", "60")).fetchall()
        assert connection.execute(nearest).fetchall()[0] == ("3",)

    assert "healthy" in host.run(block_with("watch.md", "thinkube.chroma.data.check_collection "), own)
    host = replace(host, environment={**host.environment, "CHROMA_COLLECTION_NAME": "books", "NEW_COLLECTION_NAME": "books-again"})
    program = block_with("standalone.md", "check_collection_health,")
    assert "Use collection" not in host.run(program, INSTALLED)
    client.delete_collection("books")
    assert "Use collection books-again-2 from now on." in host.run(program, INSTALLED)
    assert client.count(client.require_collection("books-again-2")) == 60

    with cluster.connect(user="chroma") as connection:
        # The program exported once more, by the API: another source.
        connection.execute(remove.replace("17", "1"))
        assert connection.execute("SELECT DISTINCT generation FROM chroma_data").fetchall() == [(2,)]
