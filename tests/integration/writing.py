# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that add, update and delete by API all the while, and know what was acknowledged at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

DIMENSION = 16
# Low, so that indexes are saved several times a second.
SETTINGS = {"sync_threshold": 40, "batch_size": 10}

# id → vector as float32 bytes, document, metadata.
Records = dict[str, tuple[bytes, str | None, Mapping[str, Any]]]


@dataclass
class Write:
    """One request: when it was sent and acknowledged, seconds of the clock, and what it makes of the records it names; None deletes."""

    began: float
    effect: Mapping[str, tuple[bytes, str | None, Mapping[str, Any]] | None]
    ended: float | None = None


class Writer(threading.Thread):
    """Writes to one collection of its own, one request after the other, so that at most one is under way.

    Args:
        url: of the server, or a whole connection to it.
        name, space: of the collection.
        seed: of what is written.
        pause: seconds between two requests.
        rows: that a request names.

    Attributes:
        writes: all requests.
        failures: what went wrong; a server that a test kills is none.
        longest: the longest time that a request took, seconds.
    """

    def __init__(self, url: str | Connection, name: str, space: str = "l2", seed: int = 1, pause: float = 0.0, rows: int = 6) -> None:
        super().__init__(daemon=True)
        # Nothing is repeated: a write that fails has failed.
        self._client = ChromaClient(dataclasses.replace(_connection(url), retries=0))
        self.name = name
        self.space = space
        self.writes: list[Write] = []
        self.failures: list[ChromaError] = []
        self.longest = 0.0
        self.pause = pause
        self._rows = rows
        self._numbers = random.Random(seed)
        self._records: Records = {}
        self._serial = 0
        self._over = threading.Event()
        self._collection = self._create()

    def stop(self) -> None:
        """End after the request that is under way."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Write until told to stop, or until a request fails."""
        while not self._over.is_set():
            try:
                self.step()
            except ChromaError as error:
                if not self._over.is_set():
                    self.failures.append(error)
                return
            if self.pause:
                self._over.wait(self.pause)

    def step(self) -> None:
        """Send one request."""
        action, body, effect = self._next()
        write = Write(time.time(), effect)
        self.writes.append(write)
        began = time.monotonic()
        if action == "delete":
            self._client.delete(self._collection, body["ids"])
        else:
            self._client.write(self._collection, action, json.dumps(body).encode())
        self.longest = max(self.longest, time.monotonic() - began)
        write.ended = time.time()
        _apply(self._records, effect)

    def states(self, moment: float) -> list[Records]:
        """Return what the collection may hold at a moment: all that was acknowledged, without and with the request that was under way."""
        records: Records = {}
        for write in list(self.writes):
            if write.ended is None or write.ended > moment:
                # Not acknowledged then; one that began later is not in it.
                return [records] if write.began > moment else [records, _apply(dict(records), write.effect)]
            _apply(records, write.effect)
        return [records]

    def _create(self) -> Collection:
        if self._client.legacy:
            metadata = {"hnsw:batch_size": SETTINGS["batch_size"], "hnsw:sync_threshold": SETTINGS["sync_threshold"]}
            return self._client.create_collection(self.name, metadata, {"space": self.space})
        return self._client.create_collection(self.name, None, {"space": self.space, **SETTINGS})

    def _metadata(self, name: str) -> dict[str, Any]:
        # Of other fractions a server of 1.x keeps no more than all bits but the last.
        real = self._numbers.randrange(1 << 20) / 64
        return {"n": self._numbers.randrange(1 << 40), "real": real, "text": name, "flag": self._numbers.random() < 0.5}

    def _next(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        numbers = self._numbers
        known = list(self._records)
        action = numbers.choice(["add", "add", "add", "upsert", "update", "delete"]) if len(known) > 60 else "add"
        if action == "delete":
            ids = numbers.sample(known, self._rows)
            return action, {"ids": ids}, dict.fromkeys(ids)
        ids = [] if action == "add" else numbers.sample(known, self._rows // 2 if action == "upsert" else self._rows)
        while len(ids) < self._rows:
            self._serial += 1
            ids.append(f"{self.name}-{self._serial}")
        vectors = np.array([[numbers.gauss(0, 1) for _n in range(DIMENSION)] for _each in ids], np.float32)
        documents = [f"{action} {self._serial} {numbers.random()}" for _each in ids]
        metadatas = [self._metadata(each) for each in ids]
        body = {"ids": ids, "embeddings": vectors.tolist(), "documents": documents, "metadatas": metadatas}
        if action == "update" and numbers.random() < 0.5:
            del body["embeddings"]
            kept = [self._records[each][0] for each in ids]
        else:
            kept = [each.tobytes() for each in vectors]
        return action, body, dict(zip(ids, zip(kept, documents, metadatas, strict=True), strict=True))


@contextlib.contextmanager
def writing(url: str | Connection, names: Mapping[str, str] | None = None, **options: Any) -> Iterator[list[Writer]]:
    """Let writers work for the length of a ``with`` block; ``names`` gives each collection's space."""
    names = names or {"first": "l2", "second": "ip", "third": "cosine"}
    writers = [Writer(url, name, space, seed, **options) for seed, (name, space) in enumerate(names.items())]
    for each in writers:
        each.start()
    try:
        yield writers
    finally:
        for each in writers:
            each.stop()


def seconds(moment: str) -> float:
    """Return a moment of a manifest as seconds of the clock."""
    return datetime.fromisoformat(moment).timestamp()


def stored(path: Path) -> dict[str, Records]:
    """Return the records of all collections of a data directory, by the reader."""
    found: dict[str, Records] = {}
    with open_directory(path) as directory:
        for collection in directory.collections():
            rows = found.setdefault(collection.name, {})
            for batch in directory.batches(collection):
                names = [field.name for field in batch.schema if b"chroma:key" in (field.metadata or {})]
                for record in batch.to_pylist():
                    vector = b"" if record["vector"] is None else np.array(record["vector"], np.float32).tobytes()
                    metadata = {name: record[name] for name in names if record[name] is not None}
                    assert record["id"] not in rows
                    rows[record["id"]] = (vector, record["document"], metadata)
    return found


def served(url: str | Connection, names: list[str]) -> dict[str, Records]:
    """Return the records of collections, by a server."""
    client = ChromaClient(_connection(url))
    found: dict[str, Records] = {}
    for name in names:
        rows = client.get(client.require_collection(name))
        found[name] = {
            row["id"]: (np.array(row["embedding"], np.float32).tobytes(), row.get("document"), row.get("metadata") or {}) for row in rows
        }
    return found


def differences(found: Records, states: list[Records], space: str) -> str:
    """Say how records differ from the nearest of the allowed states; empty where they are equal to one in everything.

    Vectors of space cosine are stored divided by their length: there the last bits may differ.
    """
    told = []
    for state in states:
        missing, more = sorted(state.keys() - found.keys()), sorted(found.keys() - state.keys())
        other = [name for name in state.keys() & found.keys() if not _equal(state[name], found[name], space)]
        if not (missing or more or other):
            return ""
        examples = [(name, state[name][1:], found[name][1:]) for name in sorted(other)[:2]]
        told.append(f"{len(missing)} missing {missing[:3]}, {len(more)} more {more[:3]}, {len(other)} differ {examples}")
    return min(told, key=len)


def _connection(url: str | Connection) -> Connection:
    return dataclasses.replace(Connection(url) if isinstance(url, str) else url, timeout=120)


def _equal(here: tuple[Any, ...], there: tuple[Any, ...], space: str) -> bool:
    if here[1:] != there[1:] or len(here[0]) != len(there[0]):
        return False
    if space != "cosine":
        return bool(here[0] == there[0])
    return bool(np.allclose(np.frombuffer(here[0], np.float32), np.frombuffer(there[0], np.float32), rtol=1e-6, atol=1e-6))


def _apply(records: Records, effect: Mapping[str, Any]) -> Records:
    for name, record in effect.items():
        if record is None:
            records.pop(name, None)
        else:
            records[name] = record
    return records
