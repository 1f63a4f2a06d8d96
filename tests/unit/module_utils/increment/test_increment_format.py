# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an increment is made of: ranges, anchors, changes, and what leads from one point of a chain to the next."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import Part
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import ranges
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.catalogue import plan_steps, target_of
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import (
    CONTENT,
    ChangedCollection,
    Changes,
    encode_changes,
    open_increment,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import (
    ANCHORS,
    Anchor,
    Newest,
    Parent,
    ParentCollection,
    encode_parent,
    parse_parent,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    MANIFEST,
    BackupCollection,
    BackupManifest,
    encode_manifest,
)

BASE, ID = "20261121T091500Z-0a1b2c", "20261121T101500Z-ffffff"


@given(some.sets(some.integers(-5, 300) | some.integers(-(1 << 61), 1 << 61)))
def test_ranges_hold_just_what_they_were_made_of(rowids):
    ordered = np.array(sorted(rowids), np.int64)
    made = ranges.ranges_of(ordered)
    again = ranges.decode(json.loads(json.dumps(ranges.encode(made))))
    assert np.array_equal(again, made)
    assert ranges.size(again) == len(rowids)
    probes = np.array(sorted(rowids | {each + 1 for each in rowids} | {each - 1 for each in rowids} | {0}), np.int64)
    assert ranges.within(again, probes).tolist() == [each in rowids for each in probes.tolist()]


@pytest.mark.parametrize("numbers", [[1], [1, 0], [1, 2, 1, 1], [1, 2, 0, 1], [1, 2, -5, 1], [1, -1]])
def test_numbers_that_are_no_ranges_are_refused(numbers):
    with pytest.raises(ValueError, match=r"ranges|reshape"):
        ranges.decode(numbers)


@given(some.sets(some.integers(-5, 200)), some.sets(some.integers(-5, 200)), some.integers(1, 60))
def test_ranges_are_sets(one, other, count):
    first, second = (ranges.ranges_of(np.array(sorted(each), np.int64)) for each in (one, other))
    taken = np.array(list(one & other), np.int64)
    assert np.array_equal(ranges.without(first, taken), ranges.ranges_of(np.array(sorted(one - other), np.int64)))
    assert ranges.missing(second, first) != (one <= other)
    picked = ranges.pick(first, count)
    assert set(picked) <= one
    assert len(picked) <= count
    if one and count > 1:
        assert (picked[0], picked[-1]) == (min(one), max(one))
    pieces = [ranges.ranges_of(each) for each in np.array_split(np.array(sorted(one), np.int64), 5)]
    assert np.array_equal(ranges.joined(pieces), first)


def parent(**changes: Any) -> Parent:
    """Return one with a collection, a log and an anchor."""
    collection = ParentCollection("segment", 9, 3, ranges.ranges_of(np.array([1, 2, 7], np.int64)))
    anchors = (Anchor(7, "ü\x00", 9, "2026-11-21 09:15:00"),)
    made = Parent(ID, BASE, 9, Newest(9, "topic", "ü\x00", "now"), {"one": collection}, anchors)
    return replace(made, **changes)


def test_anchors_are_read_as_they_were_written():
    written = parent()
    read = parse_parent(encode_parent(written), "it")
    assert (read.id, read.base, read.position, read.newest, read.anchors) == (ID, BASE, 9, written.newest, written.anchors)
    [[name, collection]] = read.collections.items()
    assert (name, collection.segment, collection.position, collection.count) == ("one", "segment", 9, 3)
    assert np.array_equal(collection.alive, written.collections["one"].alive)
    assert parse_parent(encode_parent(parent(newest=None, anchors=(), collections={})), "it").newest is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "broken_chain"),
        (b"[]", "broken_chain"),
        (b'{"format": "other"}', "broken_chain"),
        (encode_parent(parent(id="../x")), "broken_chain"),
        (encode_parent(parent()).replace(b'"anchors":[[', b'"anchors":[[1,'), "broken_chain"),
        (encode_parent(parent()).replace(b'"version":1', b'"version":2'), "newer_backup"),
        (encode_parent(parent()).replace(b'"alive":[1,2,5,1]', b'"alive":[1,2,0,1]'), "broken_chain"),
    ],
)
def test_anchors_that_are_none_are_refused(content, code):
    with pytest.raises(ChromaError) as caught:
        parse_parent(content, "it")
    assert caught.value.code == code


def collection(name: str, number: int = 0, **changes: Any) -> BackupCollection:
    """Return a collection as 1.5 stores it; its id is made of a number."""
    hnsw = {"ef_search": 100, "sync_threshold": 1000}
    vectors = {"float_list": {"vector_index": {"enabled": True, "config": {"space": "l2", "hnsw": hnsw}}}}
    made = BackupCollection(f"id-{number}", name, "t", "d", {"a": 1}, {}, {"keys": {"#embedding": vectors}}, 3, "l2", 5)
    return replace(made, **changes)


def manifest(*collections: BackupCollection, databases: tuple[tuple[str, str], ...] = (("t", "d"),)) -> BackupManifest:
    """Return a manifest of an increment."""
    return BackupManifest(ID, "increment", "", "hot", BASE, BASE, tenants=("t",), databases=databases, collections=collections)


def test_what_is_the_same_takes_no_steps():
    before, after = manifest(collection("a")), manifest(collection("a", count=9, dimension=3))
    assert set(vars(plan_steps(before, after)).values()) == {()}


def test_collections_are_known_by_id_and_database():
    """A new one under an old name is another one; a new key of records changes the schema, and nothing has to be done for it."""
    one, gone, other = collection("one", 1), collection("name", 2), collection("other", 3)
    keys = {"keys": {**(other.schema or {})["keys"], "page": {"int": {}}}}
    later = (collection("two", 1, metadata={"a": True}), collection("name", 4), replace(other, schema=keys))
    steps = plan_steps(manifest(one, gone, other), manifest(*later, databases=(("t", "d"), ("t", "e"))))
    assert (steps.removed, steps.created, steps.renamed) == ((gone,), (later[1],), ((one, "two"),))
    assert steps.changed == ((one, later[0]),)
    assert (steps.databases, steps.dropped) == ((("t", "e"),), ())
    assert target_of(later[0], "1.0.0").configuration["ef_search"] == 100


def written(tree: Path, changes: Changes | None = None, anchors: Parent | None = None, content: bytes = b"") -> Path:
    """Write an increment's small files."""
    (tree / "increment").mkdir(parents=True)
    encoded = encode_parent(anchors or parent(collections={}))
    (tree / ANCHORS).write_bytes(encoded)
    checksum = hashlib.sha256(encoded).hexdigest()
    (tree / CONTENT).write_bytes(content or encode_changes(replace(changes or Changes("", ()), anchors=checksum)))
    (tree / MANIFEST).write_bytes(encode_manifest(manifest()))
    return tree


def test_a_tree_is_opened(tmp_path):
    opened = open_increment(written(tmp_path / "tree"))
    assert (opened.manifest.id, opened.changes.collections, opened.alive.position) == (ID, (), 9)
    opened.check_parts()


@pytest.mark.parametrize("name", [MANIFEST, CONTENT, ANCHORS])
def test_a_tree_without_one_of_its_files_is_refused(tmp_path, name):
    tree = written(tmp_path / "tree")
    (tree / name).unlink()
    with pytest.raises(ChromaError, match=name) as caught:
        open_increment(tree)
    assert caught.value.code == "damaged_backup"


PART = Part("increment/one/part-00000.parquet", 2, 10, "0" * 64)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (ChangedCollection("one", 3, (PART,)), "do not add up"),
        (ChangedCollection("one", 2, (replace(PART, path="increment/../../x"),)), "leads elsewhere"),
        (ChangedCollection("one", 2, (replace(PART, path="/etc/passwd"),)), "leads elsewhere"),
    ],
)
def test_changes_that_lead_elsewhere_or_do_not_add_up_are_refused(tmp_path, changes, why):
    with pytest.raises(ChromaError, match=why) as caught:
        open_increment(written(tmp_path / "tree", Changes("", (changes,))))
    assert caught.value.code == "damaged_backup"


def test_files_of_other_backups_and_of_later_releases_are_refused(tmp_path):
    newer = encode_changes(Changes("", ())).replace(b'"version": 1', b'"version": 2')
    for number, (options, code) in enumerate(
        (
            ({"anchors": parent(id=BASE, collections={})}, "damaged_backup"),
            ({"anchors": parent()}, "damaged_backup"),
            ({"content": b"{}"}, "damaged_backup"),
            ({"content": newer}, "newer_backup"),
        )
    ):
        with pytest.raises(ChromaError) as caught:
            open_increment(written(tmp_path / str(number), **options))
        assert caught.value.code == code


def test_a_full_backup_is_no_increment(tmp_path):
    (tmp_path / MANIFEST).write_bytes(encode_manifest(replace(manifest(), kind="full", parent="", base="")))
    with pytest.raises(ChromaError) as caught:
        open_increment(tmp_path)
    assert caught.value.code == "invalid_value"
