# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories that real servers fill: to be broken, and healthy ones of every kind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

DIMENSION = 8
THRESHOLD = 50
TEXTS = ("document number {}", "Große Straße {} ☃ 漢字", 'it\'s "quoted" {}')
# Releases that know lists in metadata.
LISTS = ("1.5.9",)


def create(client: ChromaClient, name: str, threshold: int = THRESHOLD, **metadata: Any) -> Collection:
    """Create a collection whose index is saved after ``threshold`` entries."""
    if client.legacy:
        return client.create_collection(name, {"hnsw:sync_threshold": threshold, "hnsw:batch_size": min(10, threshold), **metadata})
    return client.create_collection(name, metadata, {"sync_threshold": threshold})


def write(
    client: ChromaClient,
    collection: Collection,
    numbers: Sequence[int],
    dimension: int = DIMENSION,
    lists: bool = False,
    nulls: bool = True,
) -> None:
    """Upsert records ``id-<number>`` with documents, some of them null, and metadata of every type."""
    generator = random.Random(numbers[0])
    client.write(
        collection,
        "upsert",
        json.dumps(
            {
                "ids": [f"id-{number}" for number in numbers],
                "embeddings": [[generator.uniform(-1, 1) for _each in range(dimension)] for _number in numbers],
                "documents": [
                    None if nulls and number % 11 == 7 and number < 50 else TEXTS[number % 3].format(number) for number in numbers
                ],
                "metadatas": [
                    {"number": number, "text": f"s{number}", "real": number / 3, "even": number % 2 == 0}
                    | ({"list": ["a", f"b{number}"], "ints": [number, 1]} if lists else {})
                    for number in numbers
                ],
            }
        ).encode(),
    )


def change(client: ChromaClient, collection: Collection, name: str, **fields: Any) -> None:
    """Update one record; fields are ``documents``, ``metadatas`` or ``embeddings``."""
    client.write(collection, "update", json.dumps({"ids": [name], **{key: [value] for key, value in fields.items()}}).encode())


def build(version: str, path: Path, early: Path | None = None) -> None:
    """Fill a new directory: saved and unsaved vectors, updates, deletions, an unsaved index, an empty one, another tenant.

    Args:
        early: where a copy is put of the state before the last third was written.
    """
    # 1.x stumbles over null documents in the log that 0.4 keeps for ever: CHR066.
    rows = {"lists": version in LISTS, "nulls": version != "0.4.24"}
    with servers.running(version, data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = create(client, "books", title="Books")
        for first in range(0, 90, 30):
            write(client, books, range(first, first + 30), **rows)
        client.delete(books, [f"id-{number}" for number in range(3, 9)])
        few = create(client, "few")
        write(client, few, range(5), **rows)
        create(client, "empty")
        if early:
            # Nothing is written meanwhile; SQLite's file is whole.
            shutil.copytree(path, early)
        for first in range(90, 180, 30):
            write(client, books, range(first, first + 30), **rows)
        change(client, books, "id-20", documents="")
        change(client, books, "id-21", metadatas={"number": 4711, "new": "key"})
        change(client, books, "id-22", embeddings=[0.5] * DIMENSION)
        client.delete(books, ["id-30", "id-170", "id-171"])
        write(client, books, range(5, 7), **rows)
        write(client, few, range(5, 7))
        other = client.within(tenant="other", database="elsewhere")
        other.create_tenant()
        other.create_database()
        write(other, create(other, "far"), range(60), **rows)


def healthy(version: str, folder: Path) -> None:
    """Make three directories of one release: ``fresh``, ``worn`` and ``many``; the server of ``worn`` is killed."""
    with servers.running(version, data=folder / "worn") as server:
        shutil.copytree(server.data, folder / "fresh")
        client = ChromaClient(Connection(server.url))
        # Deleted and written again, in both orders; all deleted; a long id, and one that looks like a field of the label map.
        for name, space in (("again", "cosine"), ("inner", "ip")):
            collection = create(client, name, **({"hnsw:space": space} if client.legacy else {}))
            for first in (0, 40, 20, 60):
                write(client, collection, range(first, first + 40))
                client.delete(collection, [f"id-{number}" for number in range(first + 10, first + 30)])
        gone = create(client, "all-gone")
        write(client, gone, range(80))
        client.delete(gone, [f"id-{number}" for number in range(80)])
        odd = create(client, "odd-ids", 3)
        ids = ["x" * 5000, "label_to_id", "é\u0000漢", " ", "id_to_label"]
        client.write(odd, "upsert", json.dumps({"ids": ids, "embeddings": [[1.0, 2.0]] * len(ids)}).encode())
        updated = create(client, "updated")
        write(client, updated, range(30))
        for number in range(60):
            change(client, updated, f"id-{number % 30}", metadatas={"number": number})
        os.kill(server.pid, signal.SIGKILL)
    with servers.running(version, data=folder / "many") as server:
        client = ChromaClient(Connection(server.url))
        for number in range(100 if version in ("0.6.3", "1.5.9") else 10):
            collection = create(client, f"collection-{number}", 5)
            if number % 3:
                write(client, collection, range(number % 10 + 1), dimension=4)


def upgrade(source: Path, path: Path) -> None:
    """Let 1.5.9 serve a copy of another release's directory, and write to it."""
    shutil.copytree(source, path)
    # The process that migrates 0.4's schema may panic at its first use afterwards: column bool_value is not found.
    with servers.running("1.5.9", data=path):
        pass
    with servers.running("1.5.9", data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = client.require_collection("books")
        write(client, books, range(150, 260), lists=True)
        client.delete(books, ["id-50", "id-155"])
        change(client, books, "id-60", metadatas={"list": [1, 2]})
        write(client, create(client, "new"), range(70), lists=True)


def torn(version: str, path: Path) -> bool:
    """Kill a server with SIGKILL while it saves an index.

    Returns:
        Whether it was in the middle: the vectors are newer than the label map, which is written last.
    """
    dimension = 512
    with servers.running(version, data=path) as server:
        client = ChromaClient(Connection(server.url, retries=0))
        collection = create(client, "big", 500)
        for first in range(0, 1250, 250):
            write(client, collection, range(first, first + 250), dimension)
        [labels] = path.glob("*/index_metadata.pickle")

        def keep_writing() -> None:
            with contextlib.suppress(ChromaError):  # the server is gone
                for first in range(1250, 6000, 250):
                    write(client, collection, range(first, first + 250), dimension)

        def state(name: str) -> tuple[int, int]:
            about = (labels.parent / name).stat()
            return about.st_mtime_ns, about.st_size

        vectors, saved = state("data_level0.bin"), state(labels.name)
        writer = threading.Thread(target=keep_writing)
        writer.start()
        while writer.is_alive():
            if (now := state("data_level0.bin")) != vectors:
                if state(labels.name) == saved:
                    os.kill(server.pid, signal.SIGKILL)
                    break
                vectors, saved = now, state(labels.name)
        writer.join()
    return state(labels.name) == saved and state("data_level0.bin") != vectors
