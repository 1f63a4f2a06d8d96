# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as rows of COPY's binary format."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.pages import page_batch, page_types
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import plan_columns, table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.frames import checksum_text, digests, frames

VECTOR = (struct.pack("!hh", 3, 0) + struct.pack("!3f", 1.0, -2.5, 0.0)) * 1
REAL = struct.pack("!iiIii", 1, 0, 700, 3, 1) + b"".join(struct.pack("!if", 4, each) for each in (1.0, -2.5, 0.0))


def made(metadata=None, **columns):
    page = {"ids": ["i"], "embeddings": [[1.0, -2.5, 0.0]], "metadatas": [metadata], **columns}
    types: dict[str, set[str]] = {}
    page_types(page["metadatas"], types)
    planned = plan_columns(types)
    return page_batch(page, table_schema(planned, 3, "c", "l2")), planned


def field(value: bytes | None) -> bytes:
    return struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value


@pytest.mark.parametrize(("embedding", "numbers"), [("vector", VECTOR), ("real[]", REAL)])
def test_a_row_is_as_postgresqls_documentation_says(embedding, numbers):
    batch, columns = made({"n": 1}, documents=["d\u00e4"], uris=[None])
    rows = frames(batch, columns, embedding, "c")
    expected = [field(b"i"), field("d\u00e4".encode()), field(None), field(b'\x01{"n": 1}'), field(None), field(numbers)]
    assert bytes(rows.data) == struct.pack("!h", 6) + b"".join(expected)
    assert rows.records == 1
    assert rows.checksum == struct.unpack(">Q", hashlib.sha256(rows.data).digest()[:8])[0]


def test_what_has_nul_is_shown_without_and_kept_with_it():
    batch, columns = made({"k\0": "v\0", "n": 1.5}, documents=["a\0b"])
    data = bytes(frames(batch, columns, "vector", "c").data)
    assert field("a\ufffdb".encode()) in data
    assert field('\x01{"n": 1.5, "k\ufffd": "v\ufffd"}'.encode()) in data
    assert field(b'{"id": "i", "document": "a\\u0000b", "uri": null, "metadata": {"k\\u0000": "v\\u0000", "n": 1.5}}') in data


def test_a_backslash_that_only_looks_like_nul_is_no_harm():
    batch, columns = made({"k": "\\u0000"})
    assert field(b'\x01{"k": "\\\\u0000"}') in bytes(frames(batch, columns, "vector", "c").data)


def test_the_checksum_does_not_depend_on_the_order_but_on_every_row():
    rows = [bytes([each]) * each for each in range(1, 50)]
    assert checksum_text(digests(rows)) == checksum_text(digests(rows[25:]) + digests(rows[:25])) == checksum_text(digests(rows[::-1]))
    assert digests(rows) != digests(rows[1:])
    assert digests([*rows, rows[0], rows[0]]) != digests(rows)


def test_no_record_is_no_row():
    batch, columns = made()
    rows = frames(batch.slice(0, 0), columns, "vector", "c")
    assert (bytes(rows.data), rows.records, rows.checksum) == (b"", 0, 0)


def test_a_slice_of_a_batch_is_only_that_slice():
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    page = {"ids": list("abcd"), "embeddings": list(vectors)}
    batch = page_batch(page, table_schema((), 3, "c", "l2"))
    whole = [frames(batch.slice(row, 1), (), "real[]", "c") for row in range(4)]
    assert bytes(frames(batch.slice(1, 2), (), "real[]", "c").data) == bytes(whole[1].data) + bytes(whole[2].data)


def test_a_vector_that_is_lost_or_no_number_is_never_exported():
    batch, columns = made(embeddings=[None])
    with pytest.raises(ChromaError) as refused:
        frames(batch, columns, "vector", "books")
    assert (refused.value.code, "books" in refused.value.message) == ("missing_vectors", True)
    numbers = batch.set_column(1, batch.schema.field("vector"), made()[0].column("vector"))
    broken = np.array([[1.0, np.nan, 2.0]], np.float32)
    column = type(numbers.column("vector")).from_arrays(broken.ravel(), 3)
    with pytest.raises(ChromaError) as refused:
        frames(numbers.set_column(1, batch.schema.field("vector"), column), columns, "vector", "books")
    assert (refused.value.code, "'i'" in refused.value.message) == ("invalid_embedding", True)
