# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in comes out: data, after a restart, and as a user's own program does it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session, wait_until
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Check, Release, compare, describe_pod
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_access import delete_test_pod
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import encode

COUNT = 24
DIMENSION = 8
DELETED = 4
NEAREST = 5
DATA_KEPT = "delete some records"

Row = dict[str, Any]


def sample_records() -> list[Row]:
    """Return the records of the test, the same in every run: {id, embedding ``(DIMENSION,)`` float32, document, metadata}."""
    numbers = random.Random(20260821)
    return [
        {
            "id": f"record-{index:02}",
            "embedding": [_float32(numbers.gauss(0, 1)) for _row in range(DIMENSION)],
            "document": f'Document {index} — naïve, 数据, "quoted"',
            "metadata": {"index": index, "even": index % 2 == 0, "ratio": index / 4, "kind": "test"},
        }
        for index in range(COUNT)
    ]


def nearest(records: Sequence[Row], query: Sequence[float], count: int) -> list[str]:
    """Return the ids of the nearest records by Euclidean distance, nearest first, by comparing with every one."""
    return [row["id"] for row in sorted(records, key=lambda row: math.dist(row["embedding"], query))[:count]]


def check_data(session: Session, release: Release) -> Iterator[Check]:
    """Write, query, read and delete records in a collection of our own, which stays for :func:`check_persistence`."""
    client, records = release.client(), sample_records()
    collection = client.create_collection(release.collection, {"purpose": "test of the installation, may be removed"})
    yield compare("create a collection", release.collection, collection.name)
    client.write(collection, "upsert", encode(_columns(records)))
    yield compare(f"upsert {COUNT} records", COUNT, client.count(collection))
    queries = [[0.5] * DIMENSION, records[3]["embedding"], [-value for value in records[7]["embedding"]]]
    for number, (query, rows) in enumerate(zip(queries, client.query(collection, queries, NEAREST), strict=True), start=1):
        yield compare(f"nearest {NEAREST} to query {number}", nearest(records, query, NEAREST), [row["id"] for row in rows])
    yield _compare_records("get all records", records, client, collection)
    client.delete(collection, [row["id"] for row in records[:DELETED]])
    yield compare(DATA_KEPT, f"{COUNT - DELETED} left", f"{client.count(collection)} left")


def check_persistence(session: Session, release: Release) -> Iterator[Check]:
    """Delete the server's pod, wait for the next one, and read the records of :func:`check_data` back."""
    before = session.get("Pod", release.pod, release.namespace)
    if before is None:
        raise ChromaError("not_found", f"There is no Pod {release.pod}.")
    uid, started = before["metadata"]["uid"], time.monotonic()
    session.delete("Pod", release.pod, release.namespace, uid)

    def replaced(pod: Object | None) -> bool:
        return pod is not None and pod["metadata"]["uid"] != uid and describe_pod(pod) == "Running, all containers ready"

    def state(pod: Object | None) -> str:
        former = " (still the former one)" if pod and pod["metadata"]["uid"] == uid else ""
        return f"Pod {release.pod} was deleted and did not come back: {describe_pod(pod)}{former}"

    wait_until(lambda: session.get("Pod", release.pod, release.namespace), replaced, release.timeout, state)
    yield Check("replace the pod", "another one, ready", f"another one, ready after {time.monotonic() - started:.0f} s", True)

    def answer() -> str:
        try:
            release.client().heartbeat()
        except ChromaError as error:
            return error.message
        return ""

    # The way in learns of the new pod a moment after Kubernetes does.
    wait_until(answer, lambda error: not error, release.timeout, lambda error: f"After the restart: {error}")
    client = release.client()
    yield _compare_records(
        "read all records after the restart", sample_records()[DELETED:], client, client.require_collection(release.collection)
    )


def check_client(session: Session, release: Release) -> Iterator[Check]:
    """Do what a user's program does, with the official Python client over HTTPS."""
    try:
        import chromadb
        from chromadb.config import Settings
    except Exception as error:  # The package fails in many ways where Python, SQLite or NumPy do not suit it.
        yield Check("chromadb.HttpClient", "", f"the chromadb package can't be imported here: {type(error).__name__}: {error}", None)
        return
    name = "chromadb.HttpClient"
    if chromadb.__version__.startswith("0.") and not release.client().legacy:
        yield Check(name, "", f"chromadb {chromadb.__version__} can't speak to a 1.x server", None)
        return
    try:
        yield from _as_program(chromadb, Settings, release)
    except Exception as error:  # Whatever a user's program would meet is a finding; the client raises dozens of types.
        yield Check(name, "no error", f"{type(error).__name__}: {error}".replace(release.token, "********"), False)


def clean_up(session: Session, release: Release) -> Iterator[Check]:
    """Remove the collections and the pod of this run, and look whether they are gone."""
    delete_test_pod(session, release)
    yield Check(f"Pod {release.test_pod}", "absent", "absent", True)
    client = release.client()
    for collection in _own_collections(client, release):
        client.delete_collection(collection.name)
    left = [collection.name for collection in _own_collections(client, release)]
    yield compare("test collections", "none", ", ".join(left) or "none")


def _as_program(chromadb: Any, settings: Any, release: Release) -> Iterator[Check]:
    parts = urlsplit(release.url)
    secure = parts.scheme == "https"
    client = chromadb.HttpClient(
        host=parts.hostname,
        port=parts.port or (443 if secure else 80),
        ssl=secure,
        headers={"X-Chroma-Token": release.token},
        settings=settings(anonymized_telemetry=False, chroma_server_ssl_verify=release.ca_path or True),
    )
    title, records = f"chromadb.HttpClient {chromadb.__version__}", sample_records()
    columns = _columns(records)
    # Without an embedding function, or the client would download a model.
    collection = client.create_collection(f"{release.collection}-client", embedding_function=None)
    collection.add(**columns)
    yield compare(f"{title}, create and add", COUNT, collection.count())
    query = records[5]["embedding"]
    found = collection.query(query_embeddings=[query], n_results=NEAREST)["ids"][0]
    yield compare(f"{title}, query", nearest(records, query, NEAREST), found)
    one = collection.get(ids=["record-05"], include=["documents", "metadatas", "embeddings"])
    seen = (one["documents"][0], one["metadatas"][0], [_float32(value) for value in one["embeddings"][0]])
    wanted = (records[5]["document"], records[5]["metadata"], records[5]["embedding"])
    yield Check(f"{title}, get", "the record that was added", "the same" if seen == wanted else repr(seen), seen == wanted)
    collection.delete(ids=["record-05"])
    yield compare(f"{title}, delete a record", COUNT - 1, collection.count())
    client.delete_collection(collection.name)
    names = [getattr(each, "name", each) for each in client.list_collections()]
    yield compare(f"{title}, delete the collection", "absent", "present" if collection.name in names else "absent")


def _compare_records(name: str, wanted: Sequence[Row], client: ChromaClient, collection: Collection) -> Check:
    found = {row["id"]: row for row in client.get(collection)}
    differing = [row["id"] for row in wanted if not _is_equal(row, found.get(row["id"]))]
    foreign = sorted(found.keys() - {row["id"] for row in wanted})
    seen = f"{len(found)} records, {len(wanted) - len(differing)} equal"
    if differing or foreign:
        seen += f"; not as written: {', '.join(differing + foreign)}"
    return Check(name, f"{len(wanted)} records, {len(wanted)} equal", seen, not differing and not foreign)


def _is_equal(wanted: Row, found: Row | None) -> bool:
    if found is None or any(found[part] != wanted[part] for part in ("document", "metadata")):
        return False
    return bool([_float32(value) for value in found["embedding"]] == wanted["embedding"])


def _columns(records: Sequence[Row]) -> dict[str, list[Any]]:
    parts = {"ids": "id", "embeddings": "embedding", "documents": "document", "metadatas": "metadata"}
    return {column: [row[part] for row in records] for column, part in parts.items()}


def _own_collections(client: ChromaClient, release: Release) -> list[Collection]:
    return [collection for collection in client.list_collections() if collection.name.startswith(release.collection)]


def _float32(value: float) -> float:
    # The server stores 32 bits and prints them with as few digits as tell them apart.
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
