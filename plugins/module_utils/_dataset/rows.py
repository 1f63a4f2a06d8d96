# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records between Arrow and Chroma's requests. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, orjson, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import PAYLOAD_LIMIT

# A request is one of the smallest that keep a server busy: 5461 × 384 are 11 MB. Larger ones only cost memory on both sides.
REQUEST_BYTES = 16 * 1024 * 1024
# Of a request, beside its columns.
_FRAME = 128


@dataclass(frozen=True)
class Rows:
    """Records by column, as a request holds them.

    Args:
        ids: n of them.
        vectors: ``(n, dim) float32``.
        documents, uris: n texts; None where there is none.
        metadatas: n objects without nulls; None where there is none.
    """

    ids: list[str]
    vectors: Any
    documents: list[str | None]
    metadatas: list[dict[str, Any] | None]
    uris: list[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int]) -> Rows:
        """Return some of the records, in the order of ``indices``."""
        return Rows(
            [self.ids[each] for each in indices],
            self.vectors[list(indices)],
            [self.documents[each] for each in indices],
            [self.metadatas[each] for each in indices],
            [self.uris[each] for each in indices],
        )


@dataclass(frozen=True)
class Columns:
    """Where the parts of a record are in a table.

    Args:
        id, vector: names of columns.
        document, uri: names of columns; empty where there is none.
        metadata: name of a column → key. Columns that are named nowhere are left out.
        json: name of the column that holds the whole metadata as JSON; empty where there is none.
    """

    id: str = "id"
    vector: str = "vector"
    document: str = "document"
    uri: str = "uri"
    metadata: Mapping[str, str] | None = None
    json: str = ""


def rows_of(batch: Any, columns: Columns) -> Rows:
    """Return the records of a batch.

    Args:
        batch: ``pa.RecordBatch`` with n rows and no null among its ids and vectors.

    Raises:
        ChromaError: ``damaged_dataset`` where the vectors differ in length.
    """
    count = batch.num_rows
    metadatas: list[dict[str, Any]] = [{} for _row in range(count)]
    if columns.json:
        for row, text in enumerate(_values(batch, columns.json)):
            if text:
                metadatas[row] = {key: value for key, value in json.loads(text).items() if value is not None}
    for name, key in (columns.metadata or {}).items():
        for row, value in enumerate(_values(batch, name)):
            if value is not None:
                metadatas[row][key] = value
    return Rows(
        batch.column(columns.id).cast(pa.string()).to_pylist(),
        vectors_of(batch.column(columns.vector)),
        _values(batch, columns.document),
        [each or None for each in metadatas],
        _values(batch, columns.uri),
    )


def vectors_of(column: Any) -> Any:
    """Return a column of lists of numbers as ``(n, dim) float32``.

    Args:
        column: Arrow lists or fixed-size lists of floats of any width, without null.

    Raises:
        ChromaError: ``damaged_dataset`` where they differ in length.
    """
    if not len(column):
        return np.empty((0, 0), np.float32)
    if pa.types.is_fixed_size_list(column.type):
        dimension = column.type.list_size
    else:
        lengths = pc.min_max(pc.list_value_length(column)).as_py()
        dimension = lengths["max"]
        if lengths["min"] != dimension:
            message = f"The vectors of the dataset have {lengths['min']} to {dimension} dimensions."
            raise ChromaError("damaged_dataset", message, "A collection has one dimension: export it again.")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(len(column), dimension)


def plain(column: Any) -> Any:
    """Return a column of a foreign dataset with values that Chroma takes: others become text, NaN and empty lists become null.

    Args:
        column: Arrow array of any type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_plain(column.type):
        return column
    return pa.array([_plain(each) for each in column.to_pylist()])


def encode(rows: Rows, packed: bool, nulls: bool = False) -> bytes:
    """Return the body of an upsert.

    Args:
        packed: embeddings as base64 of little-endian float32: half the bytes, and taken by 1.0.20 and 1.5.9. Never for 0.x: on
            0.4.24 such a request fixes the dimension of an empty collection to the length of the text.
        nulls: columns of nulls alone are sent, too: 0.x removes by them what a record has, and keeps it where the column is absent.
    """
    if packed:
        embeddings: Any = [base64.b64encode(each).decode("ascii") for each in np.ascontiguousarray(rows.vectors, "<f4")]
    else:
        # As float64: the shortest text of a float32, read as float64 and rounded again, is now and then its neighbour.
        embeddings = np.ascontiguousarray(rows.vectors, np.float64)
    body = {"ids": rows.ids, "embeddings": embeddings, "documents": rows.documents, "metadatas": rows.metadatas, "uris": rows.uris}
    for key in ("documents", "metadatas", "uris"):
        if not nulls and not any(each is not None for each in body[key]):
            del body[key]
    payload: bytes = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return payload


def requests(rows: Rows, packed: bool, most: int, limit: int = REQUEST_BYTES, nulls: bool = False) -> list[tuple[Rows, bytes]]:
    """Return records as upserts of at most ``most`` records and, unless one record alone is larger, ``limit`` bytes; for ``nulls`` see
    :func:`encode`.

    Raises:
        ChromaError: ``too_large`` where one record alone is more than Chroma takes.
    """
    if len(rows) <= most:
        payload = encode(rows, packed, nulls)
        if len(payload) <= limit or (len(rows) == 1 and len(payload) <= PAYLOAD_LIMIT):
            return [(rows, payload)]
        if len(rows) == 1:
            message = f"Record {rows.ids[0]} alone needs {len(payload)} bytes, {PAYLOAD_LIMIT} are possible."
            raise ChromaError("too_large", message, "Shorten its document.")
    middle = len(rows) // 2
    halves = (range(middle), range(middle, len(rows)))
    return [each for half in halves for each in requests(rows.take(half), packed, most, limit, nulls)]


def rows_per_request(dimension: int, packed: bool, most: int, limit: int = REQUEST_BYTES) -> int:
    """Return how many records with vectors of a dimension and a kilobyte beside make a request.

    Args:
        most: what the server takes.
    """
    weight = dimension * (6 if packed else 21) + 1024
    return max(1, min(most, (limit - _FRAME) // weight))


def _values(batch: Any, name: str) -> list[Any]:
    if not name or name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[Any] = batch.column(name).to_pylist()
    return values


def _is_plain(kind: Any) -> bool:
    """Whether all values of an Arrow type are what Chroma takes; floats are not, for a NaN among them."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind) or types.is_signed_integer(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list) and not any(isinstance(each, (list, dict)) for each in value):
        values = [_plain(each) for each in value]
        return [each for each in values if each is not None] or None
    if isinstance(value, (list, dict)):
        return orjson.dumps(value, default=str).decode()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
