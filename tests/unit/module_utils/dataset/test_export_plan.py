# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an export does: decided from what there is, gone on with after any failure, finished whole or not at all."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import export as exports
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import STATE, state_key
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export, plan_export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import GENERATOR, Manifest, Origin
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import (
    SourceCollection,
    choose,
    chosen,
    stored_function,
    stored_settings,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, check_part, open_store, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import overlapped
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SIZE = 10


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
    store = Store(Bucket(), str(folder), "s3://bucket/prefix", local=False)
    store.filesystem.refused = refused
    return store


def check_whole(folder, count):
    """Fail unless a dataset of collection a is whole, and nothing else is beside it."""
    described = read_manifest(open_store(str(folder)))
    assert ids_of(folder, "a") == [f"a-{number}" for number in range(count)]
    parts = {part.path for each in described.collections for part in each.parts}
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == {*parts, "manifest.json", "VDF_META.json"}


WANTED = Wanted(part_records=2 * SIZE)


def ids_of(directory: Path, name: str):
    described = next(each for each in read_manifest(open_store(str(directory))).collections if each.name == name)
    return [each for part in described.parts for each in pq.read_table(directory / part.path)["id"].to_pylist()]


def code_of(*arguments):
    with pytest.raises(ChromaError) as caught:
        export(*arguments)
    assert caught.value.hint
    return caught.value.code


def test_all_of_it_is_written_and_named(tmp_path):
    result = export(Numbers({"a": 45, "empty": 0}), open_store(str(tmp_path / "set")), WANTED)
    sizes = sum(each.stat().st_size for each in tmp_path.rglob("*.parquet"))
    assert result == {
        "changed": True,
        "dataset": str(tmp_path / "set"),
        "collections": [{"name": "a", "records": 45, "bytes": sizes}, {"name": "empty", "records": 0, "bytes": 0}],
        "resumed_parts": 0,
    }
    assert ids_of(tmp_path / "set", "a") == [f"a-{number}" for number in range(45)]
    assert json.loads((tmp_path / "set" / "VDF_META.json").read_text())["indexes"].keys() == {"a"}


def test_wherever_it_fails_the_next_run_reads_only_what_is_not_finished(tmp_path):
    counts = {"a": 45, "b": 70}
    for batches in range(12):
        destination = tmp_path / f"set-{batches}"
        store = open_store(str(destination))
        failing = Numbers(counts, fails_after=batches)
        assert code_of(failing, store, WANTED) == "unreachable"
        assert not destination.exists()
        finished = json.loads((tmp_path / f"set-{batches}.partial" / STATE).read_text())["parts"]
        done = {name: sum(part["records"] for part in finished.get(f"id-{name}", ())) for name in counts}
        assert sum(done.values()) > (batches - 2) * SIZE - 10
        source = Numbers(counts)
        assert export(source, store, WANTED)["resumed_parts"] == sum(map(len, finished.values()))
        assert source.read == [(name, first) for name, count in counts.items() for first in range(done[name], count, SIZE)]
        for name, count in counts.items():
            assert ids_of(destination, name) == [f"{name}-{number}" for number in range(count)]
        assert sorted(each.name for each in tmp_path.glob(f"set-{batches}*")) == [f"set-{batches}"]
        assert not list(destination.rglob(STATE))


def test_what_another_state_or_selection_left_is_not_gone_on_with(tmp_path):
    store = open_store(str(tmp_path / "set"))
    assert code_of(Numbers({"a": 45, "b": 70}, fails_after=8), store, WANTED) == "unreachable"
    assert export(Numbers({"a": 45, "b": 70}, fingerprint="other"), store, WANTED)["resumed_parts"] == 0
    second = open_store(str(tmp_path / "second"))
    assert code_of(Numbers({"a": 45, "b": 70}, fails_after=8), second, WANTED) == "unreachable"
    assert export(Numbers({"a": 45, "b": 70}), second, replace(WANTED, collections=["b"]))["resumed_parts"] == 0
    assert {each.name for each in (tmp_path / "second" / "collections").iterdir()} == {"id-b"}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"key": "k"}', b'{"key": 1, "suffix": "", "parts": {"a": [{"x": 1}]}}'])
def test_a_state_that_cannot_be_read_is_not_used(content, tmp_path):
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / STATE).write_bytes(content)
    assert export(Numbers({"a": 5}), open_store(str(tmp_path / "set")), WANTED)["resumed_parts"] == 0


def test_a_finished_part_that_is_not_whole_any_more_is_not_used(tmp_path):
    store = open_store(str(tmp_path / "set"))
    assert code_of(Numbers({"a": 45}, fails_after=4), store, WANTED) == "unreachable"
    part = next((tmp_path / "set.partial").rglob("part-00000.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    assert export(Numbers({"a": 45}), store, WANTED)["resumed_parts"] == 0
    assert ids_of(tmp_path / "set", "a") == [f"a-{number}" for number in range(45)]


def test_a_source_that_changed_while_it_was_read_gives_no_dataset(tmp_path):
    assert code_of(Numbers({"a": 45}, changed=True), open_store(str(tmp_path / "set")), WANTED) == "directory_changed"
    assert not (tmp_path / "set").exists()


def test_fewer_records_than_were_counted_give_no_dataset(tmp_path):
    source = Numbers({"a": 45})
    source.batches = lambda collection, start: iter(())
    assert code_of(source, open_store(str(tmp_path / "set")), WANTED) == "collection_changed"
    assert not (tmp_path / "set").exists()


def test_lost_vectors_are_counted_to_the_end(tmp_path):
    store = open_store(str(tmp_path / "set"))
    with pytest.raises(ChromaError) as caught:
        export(Numbers({"a": 45}, lost=(3, 25, 44)), store, WANTED)
    assert (caught.value.code, caught.value.result) == ("missing_vectors", {"missing_vectors": 3})
    assert "3 of the 45 records of collection a" in caught.value.message
    assert not (tmp_path / "set").exists()
    allowed = replace(WANTED, allow_missing_vectors=True)
    export(Numbers({"a": 45}, lost=(3, 25, 44)), store, allowed)
    described = read_manifest(store).collections[0]
    assert [part.missing_vectors for part in described.parts] == [1, 1, 1]
    assert export(Numbers({"a": 45}, lost=(3, 25, 44)), store, allowed)["changed"] is False


def test_lost_vectors_of_finished_parts_are_not_forgotten(tmp_path):
    store, allowed = open_store(str(tmp_path / "set")), replace(WANTED, allow_missing_vectors=True)
    assert code_of(Numbers({"a": 45}, lost=(3,), fails_after=3), store, allowed) == "unreachable"
    with pytest.raises(ChromaError) as caught:
        export(Numbers({"a": 45}, lost=(3,)), store, WANTED)
    assert caught.value.result == {"missing_vectors": 1}


@pytest.mark.parametrize("refused", [STATE, "manifest.json", "VDF_META.json"])
def test_an_upload_that_fails_removes_nothing(refused, tmp_path):
    folder = tmp_path / "set"
    export(Numbers({"a": 45}), bucket_at(folder), WANTED)
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file() and each.name != "VDF_META.json"}
    changed, again = Numbers({"a": 60}, fingerprint="other"), replace(WANTED, overwrite=True)
    assert code_of(changed, bucket_at(folder, refused), again) == "unavailable"
    assert before.items() <= {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}.items()
    export(changed, bucket_at(folder), again)
    check_whole(folder, 60)


def test_a_state_that_cannot_be_written_again_keeps_what_it_named(tmp_path):
    assert code_of(Numbers({"a": 45}, fails_after=4), bucket_at(tmp_path), WANTED) == "unreachable"
    assert code_of(Numbers({"a": 45}), bucket_at(tmp_path, STATE), WANTED) == "unavailable"
    assert export(Numbers({"a": 45}), bucket_at(tmp_path), WANTED)["resumed_parts"] > 0
    check_whole(tmp_path, 45)


def test_an_object_that_was_not_finished_is_removed(tmp_path):
    store = bucket_at(tmp_path)

    def fail():
        with store.create("part") as output:
            output.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.files() == {}


class Meanwhile(Numbers):
    """A source during whose reading something happens, once."""

    happens = None

    def batches(self, collection, start):
        for number, batch in enumerate(super().batches(collection, start)):
            if number == 2 and self.happens:
                happens, self.happens = self.happens, None
                happens()
            yield batch


@pytest.fixture
def in_turn(monkeypatch):
    """Let an export read on only when what it has read is written, so that what happens meanwhile happens at one point."""
    monkeypatch.setattr(exports, "overlapped", partial(overlapped, depth=0))


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("fingerprint", ["f", "other"])
@pytest.mark.parametrize("dies", [True, False])
def test_of_two_exports_to_one_prefix_the_one_that_is_done_stays(dies, fingerprint, tmp_path):
    """The second begins while the first has not, reads while the first is done, then dies, or wants to finish too."""
    second = Meanwhile({"a": 95}, fails_after=5 if dies else None, fingerprint=fingerprint)
    done = []
    second.happens = lambda: done.append(export(Numbers({"a": 45}), bucket_at(tmp_path), WANTED))
    assert code_of(second, bucket_at(tmp_path), WANTED) in (("unreachable", "busy") if dies else ("busy",))
    assert done[0]["changed"] is True
    for part in read_manifest(bucket_at(tmp_path)).collections[0].parts:
        check_part(bucket_at(tmp_path), part)
    export(Numbers({"a": 60}, fingerprint="third"), bucket_at(tmp_path), replace(WANTED, overwrite=True))
    check_whole(tmp_path, 60)


@pytest.mark.usefixtures("in_turn")
def test_of_two_exports_to_one_prefix_the_one_that_was_overtaken_stops(tmp_path):
    """The second takes over what the first has finished, and dies: the first must not go on with its state."""
    first = Meanwhile({"a": 95})
    first.happens = lambda: code_of(Numbers({"a": 95}, fails_after=5), bucket_at(tmp_path), WANTED)
    assert code_of(first, bucket_at(tmp_path), WANTED) == "busy"
    assert export(Numbers({"a": 95}), bucket_at(tmp_path), WANTED)["resumed_parts"] > 0
    check_whole(tmp_path, 95)


@pytest.mark.parametrize("way", [open_store, bucket_at])
def test_a_dataset_whose_part_is_gone_is_not_called_unchanged(way, tmp_path):
    folder = tmp_path / "set"
    export(Numbers({"a": 45}), way(str(folder)), WANTED)
    part = next(folder.rglob("part-00001*.parquet"))
    for spoil in (part.unlink, lambda: part.write_bytes(b"short")):
        spoil()
        with pytest.raises(ChromaError) as caught:
            export(Numbers({"a": 45}), way(str(folder)), WANTED)
        assert caught.value.code == "manifest_mismatch"
        assert "overwrite" in caught.value.hint
    assert export(Numbers({"a": 45}), way(str(folder)), replace(WANTED, overwrite=True))["changed"] is True
    check_whole(folder, 45)


@pytest.mark.parametrize("beside", ["set.partial", "set.replaced"])
def test_directories_of_others_beside_the_destination_stay(beside, tmp_path):
    export(Numbers({"a": 5}), open_store(str(tmp_path / "set")), WANTED)
    (tmp_path / beside / "deep").mkdir(parents=True)
    (tmp_path / beside / "deep" / "mine.txt").write_text("mine")
    arguments = (Numbers({"a": 45}, fingerprint="other"), open_store(str(tmp_path / "set")), replace(WANTED, overwrite=True))
    assert code_of(*arguments) == "not_empty"
    assert (tmp_path / beside / "deep" / "mine.txt").read_text() == "mine"
    check_whole(tmp_path / "set", 5)
    shutil.rmtree(tmp_path / beside)
    export(*arguments)
    check_whole(tmp_path / "set", 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("age", [0, 3500, 3700])
def test_parts_of_a_server_are_gone_on_with_for_an_hour_only(age, tmp_path):
    store, lasting = open_store(str(tmp_path / "set")), Numbers({"a": 45}, fails_after=4)
    assert code_of(lasting, store, WANTED) == "unreachable"
    state = tmp_path / "set.partial" / STATE
    state.write_text(json.dumps({**json.loads(state.read_text()), "began": time.time() - age - 1}))
    source = Numbers({"a": 45})
    source.lasts = 3600
    assert ServerSource.lasts == source.lasts
    assert export(source, store, WANTED)["resumed_parts"] == (2 if age <= 3500 else 0)
    check_whole(tmp_path / "set", 45)


@pytest.mark.parametrize("replaces", [True, False])
def test_a_dataset_that_lacks_its_name_only_gets_it(replaces, tmp_path, monkeypatch):
    """Killed after the first of two renames, or before the only one."""
    if replaces:
        export(Numbers({"a": 5}, fingerprint="other"), open_store(str(tmp_path / "set")), WANTED)
    rename = os.rename

    def die(old, new):
        if str(old).endswith(".partial"):
            raise KeyboardInterrupt
        rename(old, new)

    wanted = replace(WANTED, overwrite=replaces)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            export(Numbers({"a": 45}), open_store(str(tmp_path / "set")), wanted)
    assert not (tmp_path / "set").exists()
    again = Numbers({"a": 45})
    assert export(again, open_store(str(tmp_path / "set")), WANTED)["changed"] is False
    assert again.read == []
    check_whole(tmp_path / "set", 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("local", [True, False])
def test_wherever_the_removal_of_the_old_is_cut_short_the_next_run_ends_it(local, tmp_path, monkeypatch):
    way = open_store if local else bucket_at
    for survived in range(6):
        folder = tmp_path / str(survived) / "set"
        assert code_of(Numbers({"a": 95}, fails_after=8), way(str(folder)), WANTED) == "unreachable"
        left = itertools.count(survived, -1)

        def remove(store, path, left=left, remove=Store.remove):
            if next(left) <= 0:
                raise KeyboardInterrupt
            remove(store, path)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Store, "remove", remove)
            export(Numbers({"a": 45}, fingerprint="other"), way(str(folder)), WANTED)
        export(Numbers({"a": 45}, fingerprint="other"), way(str(folder)), WANTED)
        check_whole(folder, 45)
        assert [each.name for each in folder.parent.iterdir()] == ["set"]


def test_what_was_replaced_and_cannot_be_removed_is_said_and_removed_by_the_next_run(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    export(Numbers({"a": 95}), open_store(str(folder)), WANTED)
    remove = shutil.rmtree

    def refusing(path, *rest, **options):
        if str(path).endswith(".replaced/collections"):
            raise PermissionError(13, "Permission denied")
        remove(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refusing)
        with pytest.raises(ChromaError, match="Could not remove what was replaced"):
            export(Numbers({"a": 45}, fingerprint="other"), open_store(str(folder)), replace(WANTED, overwrite=True))
        # The new one is whole, and of the old one it can still be told whose it is.
        assert ids_of(folder, "a") == [f"a-{number}" for number in range(45)]
        assert (tmp_path / "set.replaced" / "manifest.json").is_file()
    export(Numbers({"a": 45}, fingerprint="other"), open_store(str(folder)), replace(WANTED, overwrite=True))
    check_whole(folder, 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


DATASET = Manifest("2026-01-01T00:00:00+00:00", GENERATOR, Origin("directory", None, state_key("f")), True, ())


@pytest.mark.parametrize(
    ("existing", "kind", "fingerprint", "overwrite", "expected"),
    [
        (None, "directory", "f", False, "export"),
        (None, "server", "f", True, "export"),
        (DATASET, "directory", "f", False, "nothing"),
        (DATASET, "directory", "f", True, "nothing"),
        (DATASET, "directory", "g", False, "exists"),
        (DATASET, "directory", "g", True, "replace"),
        # Of a server nobody knows whether it is the same.
        (DATASET, "server", "f", False, "exists"),
        (DATASET, "server", "f", True, "replace"),
        (replace(DATASET, source=Origin("server", "1.0.0", state_key("f"))), "directory", "f", False, "exists"),
    ],
)
def test_the_plan(existing, kind, fingerprint, overwrite, expected):
    source = Numbers({}, fingerprint=fingerprint)
    source.kind = kind
    arguments = (source, existing, (), Wanted(overwrite=overwrite), "there")
    if expected == "exists":
        with pytest.raises(ChromaError) as caught:
            plan_export(*arguments)
        assert caught.value.code == "exists"
    else:
        plan = plan_export(*arguments)
        assert (plan.changed, plan.replaces) == {"export": (True, None), "nothing": (False, None), "replace": (True, existing)}[expected]


def stored(**fields):
    plain = {"id": "i", "name": "n", "tenant": "t", "database": "d", "dimension": 2, "metadata": {}, "configuration": None, "schema": None}
    return StoredCollection(**{**plain, "vector": None, "metadata_segment": None, **fields})


HNSW = {"ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "num_threads": 2, "sync_threshold": 1500, "resize_factor": 1.2}
FUNCTION = {"name": "default", "type": "known", "config": {}}
INDEX = {"space": "ip", "hnsw": HNSW, "embedding_function": FUNCTION}
SETTINGS = {"space": "ip", "ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "sync_threshold": 1500, "resize_factor": 1.2}


@pytest.mark.parametrize(
    ("collection", "settings", "function"),
    [
        (stored(schema={"keys": {"#embedding": {"float_list": {"vector_index": {"config": INDEX}}}}}), SETTINGS, FUNCTION),
        (
            stored(configuration={"vector_index": {"hnsw": {**HNSW, "space": "ip"}}, "embedding_function": FUNCTION}),
            SETTINGS,
            FUNCTION,
        ),
        (
            stored(metadata={"hnsw:space": "ip", "hnsw:sync_threshold": 1500}, index_metadata={"hnsw:space": "ip"}),
            {**SETTINGS, "ef_search": 10},
            None,
        ),
    ],
    ids=["1.5", "1.0", "0.4"],
)
def test_settings_have_one_set_of_names_whatever_the_release(collection, settings, function):
    assert stored_settings(collection) == settings
    assert stored_function(collection) == function


@pytest.mark.parametrize(
    ("names", "ids"),
    [(None, "123"), ([], ""), (["docs"], "12"), (["t/e/docs"], "2"), (["1"], "1"), (["3", "t/d/docs", "docs"], "123"), (["other"], "3")],
)
def test_a_collection_is_chosen_by_name_id_or_place(names, ids):
    found = [stored(id="1", name="docs"), stored(id="2", name="docs", database="e"), stored(id="3", name="other")]
    assert "".join(each.id for each in chosen(found, names, "here")) == ids


def test_a_place_that_is_not_there_is_named():
    with pytest.raises(ChromaError) as caught:
        chosen([stored(name="docs")], ["t/x/docs"], "here")
    assert (caught.value.code, caught.value.hint) == ("not_found", "Did you mean docs?")


def test_an_unknown_name_is_refused_with_what_is_like_it():
    assert choose(None, ["a", "a"], "here") == {"a"}
    for names, hint in ((["boks"], "Did you mean books?"), (["zzz"], "It has books, letters.")):
        with pytest.raises(ChromaError) as caught:
            choose(names, ["letters", "books", "books"], "here")
        assert (caught.value.code, caught.value.hint) == ("not_found", hint)
