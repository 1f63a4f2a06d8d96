# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An export goes on after any failure with what is finished, and gives no dataset that is not what its source holds."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import STATE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import open_store, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.dataset.numbered import (
    SIZE,
    WANTED,
    Numbers,
    bucket_at,
    check_whole,
    code_of,
    ids_of,
)


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
