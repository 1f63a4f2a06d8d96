# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: write what differs, and read it back. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import BATCH, ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.floats import holds
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import encode
from ansible_collections.thinkube.chroma.plugins.module_utils._values import check_embedding, check_metadata, same_embedding

# Below Chroma's 41,943,040, for the few bytes around the columns and for gateways that count headers.
BATCH_BYTES = 40_000_000

# Column of a request → field of a record.
_COLUMNS = {"ids": "id", "embeddings": "embedding", "documents": "document", "metadatas": "metadata", "uris": "uri"}

# A diff is for people: so many records of it, and so many numbers of an embedding.
_DIFF_RECORDS = 100
_DIFF_NUMBERS = 8


@dataclass(frozen=True)
class Record:
    """A record as it should be; None leaves a part of an existing record as it is.

    Args:
        embedding: ``(dim,)``; needed by a record that does not exist yet.
        metadata: is merged into the existing one, as Chroma does; a key whose value is None is removed.
    """

    id: str
    embedding: Sequence[float] | None = None
    document: str | None = None
    metadata: Mapping[str, Any] | None = None
    uri: str | None = None


@dataclass(frozen=True)
class RecordPlan:
    """What has to be sent, by the kind of request.

    Args:
        created: ids that do not exist yet, in the order given.
        changed: ids that exist and differ.
        upserts: whole records whose embedding is new or another.
        updates: records whose embedding stays, so that it is not sent and does not pass through float32 and back.
        before, after: id → the record as a user is shown it, for those that change.
    """

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    upserts: tuple[Record, ...] = ()
    updates: tuple[Record, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


def ensure_records(client: ChromaClient, name: str, wanted: Sequence[Record], check: bool = False) -> dict[str, Any]:
    """Upsert the records that differ from what the collection holds, and read them back.

    Args:
        name: of the collection; in check mode it may be absent, as an earlier task would have created it.

    Returns:
        ``changed``, ``created`` and ``updated`` (ids), ``unchanged`` (how many) and ``diff``.

    Raises:
        ChromaError: ``not_found`` (the collection), ``invalid_record``, ``invalid_embedding``, ``invalid_metadata``,
            ``dimension_mismatch``, ``too_large`` (one record), ``not_applied``, or what the server answers.
    """
    collection = client.get_collection(name) if check else client.require_collection(name)
    check_records(wanted, collection.dimension if collection else None, lists=not client.legacy)
    plan = plan_records(_stored(client, collection, wanted), wanted, collection.space if collection else "l2")
    if collection and not check:
        apply_records(client, collection, plan)
        _prove(client, collection, [each for each in wanted if each.id in plan.after])
    return {
        "changed": bool(plan.after),
        "created": list(plan.created),
        "updated": list(plan.changed),
        "unchanged": len(wanted) - len(plan.after),
        "diff": {"before": _cut(plan.before), "after": _cut(plan.after)},
    }


def ensure_no_records(
    client: ChromaClient,
    name: str,
    ids: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    where_document: Mapping[str, Any] | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Delete the records that all given conditions hold for, and see that they are gone.

    Returns:
        ``changed``, ``deleted`` (ids) and ``diff``. Where the collection is absent, so are its records.

    Raises:
        ChromaError: ``invalid_value`` where no condition is given: an empty filter would match everything.
            An empty list of ids is a condition, which nothing meets.
    """
    if ids is None and not where and not where_document:
        hint = "Give ids, where or where_document; to delete everything, delete the collection."
        raise ChromaError("invalid_value", f"Nothing says which records of collection {name} to delete.", hint)
    collection = client.get_collection(name)
    if collection is None:
        return {"changed": False, "deleted": [], "diff": {"before": {}, "after": {}}}
    rows = client.get(collection, _unique(ids), where, where_document, include=("documents", "metadatas", "uris"))
    found = {row["id"]: _shown(row) for row in rows}
    if found and not check:
        client.delete(collection, list(found))
        left = [row["id"] for row in client.get(collection, list(found), include=())]
        if left:
            message = f"{len(left)} of {len(found)} records of collection {name} are still there after their deletion."
            raise ChromaError("not_applied", message, "Look for a client that writes them.", {"left": left[:_DIFF_RECORDS]})
    return {"changed": bool(found), "deleted": list(found), "diff": {"before": _cut(found), "after": {}}}


def find_nearest(
    client: ChromaClient, name: str, query_embeddings: Sequence[Sequence[float]], n_results: int, **options: Any
) -> list[list[dict[str, Any]]]:
    """Query a collection by name; see :meth:`ChromaClient.query`.

    Raises:
        ChromaError: ``invalid_value``, ``invalid_embedding``, ``dimension_mismatch``, ``not_found``, or what the server answers.
    """
    if not query_embeddings or n_results < 1:
        raise ChromaError("invalid_value", "query_embeddings must not be empty and n_results must be at least 1.", "Correct the value.")
    collection = client.require_collection(name)
    for number, embedding in enumerate(query_embeddings, 1):
        check_embedding(f"query {number}", embedding, collection.dimension)
    return client.query(collection, query_embeddings, n_results, **options)


def check_records(records: Sequence[Record], dimension: int | None, lists: bool) -> None:
    """Refuse records that Chroma would refuse, or worse, take and change.

    Args:
        dimension: of the collection; None takes that of the first record.
        lists: whether metadata may hold lists (Chroma 1.5; 1.0 refuses them, 0.x drops them silently).

    Raises:
        ChromaError: ``invalid_record``, ``invalid_embedding``, ``invalid_metadata`` or ``dimension_mismatch``.
    """
    seen: set[str] = set()
    for record in records:
        if not record.id:
            raise ChromaError("invalid_record", "A record has an empty id.", "Give each record an id.")
        if record.id in seen:
            raise ChromaError("invalid_record", f"Record {record.id} is given twice.", "Chroma would keep one of them; keep the right one.")
        seen.add(record.id)
        check_metadata(f"record {record.id}", record.metadata or {}, lists=lists, nulls=True)
        if record.embedding is not None:
            check_embedding(f"record {record.id}", record.embedding, dimension)
            dimension = len(record.embedding)


def plan_records(stored: Mapping[str, Mapping[str, Any]], wanted: Sequence[Record], space: str) -> RecordPlan:
    """Decide what to send so that the stored records become the wanted ones.

    Args:
        stored: id → the record as :meth:`ChromaClient.get` yields it; absent ids do not exist.
        space: of the collection, which decides how embeddings are compared.

    Raises:
        ChromaError: ``invalid_record`` where a new record has no embedding: servers never make one from text.
    """
    created: list[str] = []
    changed: list[str] = []
    upserts: list[Record] = []
    updates: list[Record] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for record in wanted:
        row = stored.get(record.id, {"id": record.id})
        # Null removes a key from a stored record; a key that is not there needs no removal.
        present = row.get("metadata") or {}
        metadata = {key: value for key, value in (record.metadata or {}).items() if value is not None or key in present}
        moved = record.embedding is not None and not (row.get("embedding") and same_embedding(row["embedding"], record.embedding, space))
        # 0.x removes a document or uri that is not sent again, 1.x keeps it: send what shall be there.
        whole = Record(
            record.id,
            record.embedding if moved else None,
            row.get("document") if record.document is None else record.document,
            metadata or None,
            row.get("uri") if record.uri is None else record.uri,
        )
        if record.id not in stored:
            if record.embedding is None:
                hint = "Give it one: the server never makes an embedding from a document."
                raise ChromaError("invalid_record", f"Record {record.id} does not exist yet and has no embedding.", hint)
            created.append(record.id)
        elif moved or _differs(row, whole):
            changed.append(record.id)
            before[record.id] = _shown(row)
        else:
            continue
        (upserts if moved else updates).append(whole)
        merged = {key: value for key, value in {**present, **metadata}.items() if value is not None}
        embedding = record.embedding if moved else row.get("embedding")
        after[record.id] = _shown({"embedding": embedding, "document": whole.document, "metadata": merged, "uri": whole.uri})
    return RecordPlan(tuple(created), tuple(changed), tuple(upserts), tuple(updates), before, after)


def apply_records(client: ChromaClient, collection: Collection, plan: RecordPlan) -> None:
    """Send a plan in batches that the server takes, by count and by bytes.

    Raises:
        ChromaError: with ``written`` in its result: how many records the server had taken before.
    """
    written = 0
    try:
        for action, records in (("upsert", plan.upserts), ("update", plan.updates)):
            if records:
                for count, payload in encode_batches(records, min(client.max_batch_size, BATCH), BATCH_BYTES):
                    client.write(collection, action, payload)
                    written += count
    except ChromaError as error:
        error.result = {**error.result, "written": written}
        raise


def encode_batches(records: Sequence[Record], most: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number of records and the request body of batches of at most ``most`` records and ``limit`` bytes.

    Every record is encoded once, and its size is measured rather than guessed.

    Args:
        records: either all with an embedding, or all without; then that column is left out.

    Raises:
        ChromaError: ``too_large`` where one record alone exceeds the limit.
    """
    columns = {key: name for key, name in _COLUMNS.items() if key != "embeddings" or records[0].embedding is not None}
    # Braces and "key":[] with its comma. A row counts one comma for each of its values; the first needs none,
    # nor does the last column: together the sum is exact.
    frame = sum(len(key) + 6 for key in columns) + 1 - len(columns)
    rows: list[list[bytes]] = []
    size = frame
    for record in records:
        row = [encode(getattr(record, name)) for name in columns.values()]
        weight = sum(map(len, row)) + len(row)
        if frame + weight > limit:
            raise ChromaError("too_large", f"Record {record.id} alone needs {weight} bytes, {limit} are possible.", "Shorten its document.")
        if rows and (len(rows) == most or size + weight > limit):
            yield len(rows), _body(columns, rows)
            rows, size = [], frame
        rows.append(row)
        size += weight
    if rows:
        yield len(rows), _body(columns, rows)


def _body(keys: Iterable[str], rows: Sequence[Sequence[bytes]]) -> bytes:
    columns = zip(keys, zip(*rows, strict=True), strict=True)
    return b"{%s}" % b",".join(b'"%s":[%s]' % (key.encode(), b",".join(values)) for key, values in columns)


def _stored(client: ChromaClient, collection: Collection | None, wanted: Sequence[Record]) -> dict[str, dict[str, Any]]:
    if collection is None or not wanted:
        return {}
    return {row["id"]: row for row in client.get(collection, [each.id for each in wanted])}


def _prove(client: ChromaClient, collection: Collection, written: Sequence[Record]) -> None:
    stored = _stored(client, collection, written)
    lost = [each.id for each in written if each.id not in stored]
    differing = lost or list(plan_records(stored, written, collection.space).after)
    if differing:
        message = f"{len(differing)} of {len(written)} records written to collection {collection.name} do not read back as written."
        raise ChromaError(
            "not_applied", message, "Look for another client that writes them, and at the server's log.", {"differing": differing}
        )


def _differs(row: Mapping[str, Any], whole: Record) -> bool:
    stored = row.get("metadata") or {}
    metadata = whole.metadata or {}
    return (
        row.get("document") != whole.document
        or row.get("uri") != whole.uri
        or not all(key in stored and holds(stored[key], value) for key, value in metadata.items())
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: row[key] for key in ("document", "metadata", "uri") if row.get(key)}
    embedding = row.get("embedding")
    if embedding is not None:
        start = list(embedding[:_DIFF_NUMBERS])
        shown["embedding"] = start if len(embedding) <= _DIFF_NUMBERS else [*start, f"... {len(embedding)} in all"]
    return shown


def _cut(records: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(list(records.items())[:_DIFF_RECORDS])
    return {**shown, "...": f"{len(records)} records in all"} if len(records) > len(shown) else shown


def _unique(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else list(dict.fromkeys(ids))
