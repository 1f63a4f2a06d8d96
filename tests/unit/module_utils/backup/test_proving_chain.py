# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what an increment is held against: its parent in the repository."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.proving import check_parent, prove
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import CONTENT, Changes, encode_changes
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.parent import ANCHORS, Parent, ParentCollection, encode_parent
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.ranges import ranges_of
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    MANIFEST,
    BackupCollection,
    BackupManifest,
    encode_manifest,
)

from .conftest import MIGRATIONS


@pytest.fixture
def pair(shelf):
    """Return a backup with position 7, and the manifest of an increment that follows on it."""
    name = shelf.add()
    parent = shelf.catalogue.require(name)
    manifest = BackupManifest(
        "20260831T130000Z-000002", "increment", "", "hot", parent=parent.id, base=parent.id, migrations=MIGRATIONS, position=9
    )
    return parent, manifest


def test_an_increment_follows_on_its_parent(pair):
    parent, manifest = pair
    check_parent(manifest, parent)
    check_parent(replace(manifest, position=7), parent)


@pytest.mark.parametrize(
    "changed",
    [
        {"parent": "20260831T120000Z-00000f"},
        {"base": "20260831T120000Z-00000f"},
        {"position": 6},
        {"migrations": {**MIGRATIONS, "sysdb": 9}},
    ],
)
def test_one_that_does_not_is_refused(pair, changed):
    parent, manifest = pair
    with pytest.raises(ChromaError) as refused:
        check_parent(replace(manifest, **changed), parent)
    assert refused.value.code == "broken_chain"


def test_one_whose_parent_is_gone_is_refused(pair):
    with pytest.raises(ChromaError, match="not in the repository any more") as refused:
        check_parent(pair[1], None)
    assert refused.value.code == "broken_chain"


def tree_of(manifest, count, rowids, folder):
    """Write the tree of an increment in which no record changed, and ``count`` records of one collection live on."""
    alive = ParentCollection("segment", 9, count, ranges_of(np.array(rowids, np.int64)))
    anchors = encode_parent(Parent(manifest.id, manifest.base, manifest.position, None, {"one": alive}, ()))
    (folder / "increment").mkdir()
    (folder / ANCHORS).write_bytes(anchors)
    (folder / CONTENT).write_bytes(encode_changes(Changes(hashlib.sha256(anchors).hexdigest(), ())))
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))
    return folder


@pytest.mark.parametrize(
    ("count", "rowids", "right"),
    [(3, [1, 2, 7], True), (3, [1, 2], True), (2, [1, 2], False), (4, [1, 2, 7], False), (3, [1, 2, 7, 8], False)],
)
def test_what_lives_on_by_the_anchors_is_what_was_kept(pair, tmp_path, count, rowids, right):
    """Each file is as it was written, yet the increment would bring back other records; one that was only in the log has no row."""
    parent, manifest = pair
    books = BackupCollection("one", "books", "t", "d", {}, {}, None, 3, "l2", 3)
    manifest = replace(manifest, tenants=("t",), databases=(("t", "d"),), collections=(books,))
    tree = tree_of(manifest, count, rowids, tmp_path)
    if right:
        assert prove(tree, manifest, tmp_path, parent=parent).collections == 1
        return
    with pytest.raises(ChromaError, match=r"collection t/d/books.* live on in") as refused:
        prove(tree, manifest, tmp_path, parent=parent)
    assert refused.value.code == "not_verified"
