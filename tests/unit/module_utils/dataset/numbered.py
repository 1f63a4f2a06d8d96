# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source of numbered records, an object store in a folder, and what an export from the one to the other made."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection, choose
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, open_store, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SIZE = 10
WANTED = Wanted(part_records=2 * SIZE)


class Numbers:
    """A source of numbered records, which fails where it is told to.

    Args:
        counts: name → records.
        fails_after: batches until it fails.
        lost: records, by number, whose vector is null.
    """

    kind = "directory"
    version = None
    consistent = True
    path = None
    lasts = float("inf")

    def __init__(self, counts, fails_after=None, lost=(), fingerprint="f", changed=False):
        self.counts, self.fails_after, self.lost, self.print, self.changed = counts, fails_after, lost, fingerprint, changed
        self.read = []

    def select(self, names):
        chosen = choose(names, list(self.counts), "here")
        plain = {"tenant": "t", "database": "d", "dimension": 2, "space": "l2", "metadata": {}, "configuration": {}, "schema": None}
        return tuple(
            SourceCollection(id=f"id-{name}", name=name, records=count, embedding_function=None, handle=None, **plain)
            for name, count in self.counts.items()
            if name in chosen
        )

    def fingerprint(self, collections):
        return self.print

    def schema(self, collection):
        return table_schema((), 2, collection.name, "l2")

    def batches(self, collection, start):
        for first in range(start, collection.records, SIZE):
            if self.fails_after is not None and len(self.read) >= self.fails_after:
                raise ChromaError("unreachable", "gone", "Try again.")
            numbers = range(first, min(first + SIZE, collection.records))
            self.read.append((collection.name, first))
            mask = pa.array([number in self.lost for number in numbers])
            values = pa.array([float(each) for number in numbers for each in (number, -number)], pa.float32())
            vectors = pa.FixedSizeListArray.from_arrays(values, 2, mask=mask)
            none = pa.nulls(len(numbers), pa.string())
            ids = pa.array([f"{collection.name}-{number}" for number in numbers])
            yield pa.record_batch([ids, vectors, none, none], schema=self.schema(collection))

    def confirm(self, collections):
        if self.changed:
            raise ChromaError("directory_changed", "changed", "Stop it.")


class Bucket:
    """An object store in a folder, as :class:`Store` takes pyarrow's: an object appears when it is closed.

    Attributes:
        refused: end of the keys whose upload is refused.
    """

    refused = None

    def __init__(self):
        self._files = pafs.LocalFileSystem()

    def __getattr__(self, name):
        return getattr(self._files, name)

    def open_output_stream(self, key):
        upload = io.BytesIO()

        def close():
            if self.refused and key.endswith(self.refused):
                raise OSError("AWS Error INTERNAL_FAILURE during PutObject operation: ")
            Path(key).parent.mkdir(parents=True, exist_ok=True)
            Path(key).write_bytes(upload.getvalue())

        return SimpleNamespace(write=upload.write, close=close)


def bucket_at(folder, refused=None):
    """Return an object store in a folder."""
    store = Store(Bucket(), str(folder), "s3://bucket/prefix", local=False)
    store.filesystem.refused = refused
    return store


def ids_of(directory: Path, name: str):
    """Return the ids of a collection in a dataset, in the order of its parts."""
    described = next(each for each in read_manifest(open_store(str(directory))).collections if each.name == name)
    return [each for part in described.parts for each in pq.read_table(directory / part.path)["id"].to_pylist()]


def check_whole(folder, count):
    """Fail unless a dataset of collection a is whole, and nothing else is beside it."""
    described = read_manifest(open_store(str(folder)))
    assert ids_of(folder, "a") == [f"a-{number}" for number in range(count)]
    parts = {part.path for each in described.collections for part in each.parts}
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == {*parts, "manifest.json", "VDF_META.json"}


def code_of(*arguments):
    """Return the code of the error that an export must end with."""
    with pytest.raises(ChromaError) as caught:
        export(*arguments)
    assert caught.value.hint
    return caught.value.code
