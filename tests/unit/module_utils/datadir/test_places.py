# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From ids to places of vectors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import places
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import LabelMap
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.places import NOWHERE, Places, in_log

COUNT = 500


@pytest.fixture(params=["hash", "collisions"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Return places of 500 ids, in an index whose rows are in reverse order; also where hashes collide."""
    if request.param == "collisions":
        real = places.hashes_of
        monkeypatch.setattr(places, "hashes_of", lambda ids: real(ids, lambda text: len(text) % 2))
    ids = pa.array([f"id-{n}" for n in range(COUNT)], pa.large_string())
    labels = LabelMap(ids, np.arange(1, COUNT + 1), None, COUNT, None, None)
    deleted = np.zeros(COUNT, bool)
    deleted[3] = True
    return Places(labels, np.arange(COUNT, 0, -1).astype(np.uint64), deleted)


def test_ids_are_found_also_where_hashes_collide(found):
    asked = ["id-0", "id-499", "id-123", "absent", "id-500", ""]
    assert found.find(pa.array(asked)).tolist() == [499, 0, 376, NOWHERE, NOWHERE, NOWHERE]
    assert [found.contains(each) for each in asked] == [True, True, True, False, False, False]


def test_a_label_of_a_deleted_or_absent_row_is_nowhere(found):
    assert found.find(pa.array(["id-496"])).tolist() == [NOWHERE]
    wanted, rows = np.array([1, 7, -1]), np.array([7, 9], np.uint64)
    assert places.rows_of(wanted, rows, np.zeros(2, bool)).tolist() == [NOWHERE, 0, NOWHERE]
    assert places.rows_of(wanted, np.empty(0, np.uint64), np.empty(0, bool)).tolist() == [NOWHERE] * 3


def test_the_log_replaces_what_the_index_holds(found):
    found.change({"id-1": 77, "new": 78, "id-2": None, "id-496": 79})
    asked = pa.array(["id-0", "id-1", "id-2", "new", "absent", "id-496"])
    assert found.find(asked).tolist() == [499, in_log(77), NOWHERE, in_log(78), NOWHERE, in_log(79)]
    assert in_log(in_log(77)) == 77


def test_without_an_index_the_log_alone_decides():
    found = Places(None)
    found.change({"new": 3})
    assert found.find(pa.array(["new", "other"])).tolist() == [in_log(3), NOWHERE]
    assert not found.contains("new")
