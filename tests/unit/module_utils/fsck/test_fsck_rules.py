# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The validation's rules that need no directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.catalogue import (
    METADATA,
    VECTOR,
    Catalogue,
    Entry,
    Part,
    check_configurations,
    check_ids,
    check_references,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.environment import (
    Mount,
    check_mount,
    check_room,
    largest_rewrite,
    mount_of,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.log import Change, _replayable, membership, owner, usable
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.sqlite import HASHES, check_migrations

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /data rw,relatime shared:1 - xfs /dev/vdb rw
31 30 0:40 / /data/a\\040b rw - nfs4 server:/export rw
32 30 0:41 / /data/hidden rw - ext4 /dev/vdc rw
33 30 0:42 / /data/hidden rw - overlay overlay rw
short line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Mount("/", "ext4", "/dev/vda")),
        ("/database", Mount("/", "ext4", "/dev/vda")),
        ("/data", Mount("/data", "xfs", "/dev/vdb")),
        ("/data/x/y", Mount("/data", "xfs", "/dev/vdb")),
        ("/data/a b/c", Mount("/data/a b", "nfs4", "server:/export")),
        ("/data/hidden", Mount("/data/hidden", "overlay", "overlay")),
    ],
)
def test_the_nearest_and_latest_mount_counts(path, expected):
    assert mount_of(Path(path), MOUNTS) == expected


@pytest.mark.parametrize(
    ("kind", "mounted", "expected"),
    [
        ("ext4", True, []),
        ("xfs", False, []),
        ("overlay", False, []),
        ("tmpfs", False, []),
        ("overlay", True, ["CHR101"]),
        ("tmpfs", True, ["CHR101"]),
        ("nfs4", False, ["CHR100"]),
        ("cifs", True, ["CHR100"]),
        ("fuse.s3fs", False, ["CHR100"]),
    ],
)
def test_file_systems_that_lose_data(kind, mounted, expected):
    assert [each.kind.id for each in check_mount(Mount("/data", kind, "x"), mounted)] == expected


def test_a_system_without_mounts_is_no_finding():
    assert check_mount(None, True) == []


@pytest.mark.parametrize(
    ("free", "total", "rewrite", "expected"),
    [
        (10 << 30, 100 << 30, 600 << 20, []),
        (9 << 30, 100 << 30, 600 << 20, ["CHR102"]),
        (40 << 30, 100 << 30, 41 << 30, ["CHR102"]),
        # More than half full is no reason to worry.
        (40 << 30, 100 << 30, 20 << 30, []),
        # Nor is a twentieth of much.
        (20 << 30, 400 << 30, 600 << 20, []),
        (9 << 30, 400 << 30, 600 << 20, ["CHR102"]),
        (1 << 20, 100 << 30, 0, ["CHR103"]),
    ],
)
def test_a_tenth_of_the_volume_or_10_gib_and_the_largest_rewrite_have_to_fit(free, total, rewrite, expected):
    assert [each.kind.id for each in check_room(free, total, rewrite)] == expected


def test_the_largest_rewrite_is_that_of_one_index_and_of_sqlite():
    sizes = [("/data/chroma.sqlite3", 5, 0), ("/data/chroma.sqlite3-wal", 100, 0), ("/data/a/data_level0.bin", 7, 0)]
    assert largest_rewrite([*sizes, ("/data/b/data_level0.bin", 30, 0), ("/data/b/length.bin", 100, 0)]) == 35
    assert largest_rewrite([]) == 0


def test_the_last_addition_or_deletion_of_an_id_counts():
    entries = [Change(0, "a"), Change(3, "a"), Change(2, "b"), Change(1, "c"), Change(3, "d"), Change(2, "d")]
    assert membership(iter(entries)) == {"a": False, "b": True, "d": True}
    # From any earlier point the end is the same.
    assert membership(iter(entries[1:])) == {"a": False, "b": True, "d": True}


@pytest.mark.parametrize(
    ("raw", "last", "expected"),
    [
        (5, 9, 5),
        ((5).to_bytes(8, "big"), 9, 5),
        (9, 9, 9),
        (10, 9, None),
        (10, None, 10),
        (1_229_782_938_247_303_441, None, None),
        (b"12345", 9, None),
        ("5", 9, None),
        (None, 9, None),
        (-1, 9, None),
    ],
)
def test_a_position_is_one_that_the_log_can_have(raw, last, expected):
    assert usable(raw, last) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ((2, "FLOAT32", "blob", 32, 8), True),
        ((0, "FLOAT32", "blob", 32, None), True),
        ((1, None, "null", None, 8), True),
        ((3, None, "null", None, 8), True),
        ((2, None, "null", None, 8), False),
        ((2, "FLOAT32", "blob", 28, 8), False),
        ((2, "FLOAT32", "blob", 0, None), False),
        ((2, "FLOAT64", "blob", 32, 8), False),
        ((2, "FLOAT32", "text", 32, 8), False),
        ((4, "FLOAT32", "blob", 32, 8), False),
        ((None, "FLOAT32", "blob", 32, 8), False),
    ],
)
def test_entries_that_a_server_can_apply(entry, expected):
    assert _replayable(*entry) is expected


def test_a_topic_ends_with_its_collection():
    assert owner("persistent://default/default/0000-1") == "0000-1"


def catalogue(**changes):
    """Return a catalogue of one healthy collection, changed."""
    healthy = {
        "tenants": ["t"],
        "databases": [("d", "main", "t")],
        "collections": [Entry("c", "books", "t/main/books", "d", 8)],
        "segments": [Part("v", "x", VECTOR, "c"), Part("m", "x", METADATA, "c")],
    }
    return Catalogue(**{**healthy, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"tenants": []}, ["CHR010"]),
        ({"databases": []}, ["CHR011"]),
        ({"databases": [("d", "main", "t"), ("e", "main", "t")]}, ["CHR014"]),
        ({"collections": [Entry("c", "books", "l", "d", 8), Entry("c", "books", "l", "d", 8)]}, ["CHR014"]),
        ({"collections": []}, ["CHR012", "CHR012"]),
        ({"segments": []}, ["CHR013", "CHR013"]),
        ({"segments": [Part("v", "x", VECTOR, "c"), Part("w", "x", VECTOR, "c"), Part("m", "x", METADATA, "c")]}, ["CHR015"]),
        ({"metadata_of": frozenset({"gone"})}, []),
        ({"metadata_of": frozenset({"gone"}), "migrations": [("metadb", 5, "", "", "")]}, ["CHR016"]),
    ],
)
def test_references(changes, expected):
    assert [each.kind.id for each in check_references(catalogue(**changes))] == expected


@pytest.mark.parametrize(("text", "expected"), [(None, 0), ("{}", 0), ('{"a": 1}', 0), ("[]", 1), ('{"a"', 1), ("", 1), (5, 1)])
def test_configurations_are_objects(text, expected):
    found = check_configurations(catalogue(collections=[Entry("c", "books", "l", "d", 8, text)]))
    assert [each.kind.id for each in found] == ["CHR020"] * expected


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("9be3f2ac-a9fe-41b0-8bc0-cc9a2f0b5b1e", False), ("9BE3F2AC-A9FE-41B0-8BC0-CC9A2F0B5B1E", False), ("../../etc", True), ("", True),
     ("9be3f2ac-a9fe-41b0-8bc0-cc9a2f0b5b1e/..", True), ("9be3f2ac-a9fe-41b0-8bc0-cc9a2f0b5b1e\n", True)],
)  # fmt: skip
def test_ids_are_uuids(name, wrong):
    collections, segments = [Entry(name, "books", "t/main/books", "d", 8)], [Part(name, "x", VECTOR, name)]
    found = check_ids(catalogue(collections=collections, segments=segments))
    assert [(each.kind.id, each.collection) for each in found] == [("CHR021", "t/main/books")] * 2 * wrong


def test_a_schema_without_or_with_unknown_migrations():
    assert {each.kind.id for each in check_migrations([])} == {"CHR004"}
    assert [each.kind.id for each in check_migrations([("metadb", 99, "00099-x", "", "")])] == ["CHR003"]
    assert all(len(value) == 32 for value in HASHES.values())
