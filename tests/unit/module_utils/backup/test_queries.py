# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the self-queries: what is found, what is only not reached, and that each space can fail."""

from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.queries import SAMPLE, reaches, sample_offsets, unreached
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof, ask
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest

from .conftest import collection

VECTOR = np.array([3.0, 4.0], np.float32)
MANIFEST = BackupManifest("20260831T120000Z-000001", "full", "", "hot")


def near(distance, name="another"):
    return [{"id": name, "distance": distance}]


@pytest.mark.parametrize(
    ("space", "same", "farther"), [("l2", 0.0, 0.1), ("l2", 2e-4, 1e-3), ("cosine", 0.0, 1e-3), ("ip", -24.0, -23.9), ("ip", -40.0, 0.5)]
)
def test_another_record_in_the_same_place_will_do_and_one_that_is_farther_will_not(space, same, farther):
    assert reaches("id-1", VECTOR, space, near(same))
    assert not reaches("id-1", VECTOR, space, near(farther))
    assert reaches("id-1", VECTOR, space, [*near(-50.0), *near(farther, "id-1")])
    assert not reaches("id-1", VECTOR, space, [])


class Index:
    """A server whose index leads to some of its records only.

    Args:
        hidden: those that are not found; ``late`` are found only where many neighbours are asked for.
    """

    def __init__(self, hidden=(), late=()):
        self.hidden, self.late, self.asked = set(hidden), set(late), []

    def query(self, _collection, vectors, most, include):
        self.asked.append((len(vectors), most))
        names = [f"id-{int(vector[0])}" for vector in vectors]
        return [near(9.0) if name in self.hidden or (name in self.late and most < 100) else near(0.0, name) for name in names]


def asked(index, count=1000, sample=SAMPLE):
    vectors = np.array([[number, 0] for number in range(sample)], np.float32)
    return index, None, [f"id-{number}" for number in range(sample)], vectors, collection(count=count)


def test_what_is_not_found_is_asked_for_once_more_among_more_neighbours():
    index, nobody, ids, vectors, about = asked(Index(hidden=["id-3"], late=["id-4"]))
    assert unreached(index, nobody, ids, vectors, about.space, about.count) == ["id-3"]
    assert index.asked == [(20, 10), (2, 500)]


@pytest.mark.parametrize("hidden", [1, 2, 3, 19])
def test_what_the_index_does_not_reach_is_counted_and_no_failure(hidden):
    assert ask(*asked(Index(hidden=[f"id-{number}" for number in range(hidden)])), MANIFEST) == hidden


def test_an_index_that_leads_nowhere_is_a_failure():
    with pytest.raises(ChromaError) as refused:
        ask(*asked(Index(hidden=[f"id-{number}" for number in range(SAMPLE)])), MANIFEST)
    assert refused.value.code == "not_verified"
    assert "none of 20 records" in refused.value.message


def test_it_is_told():
    [warning] = Proof(1, 100, 20, 2).warnings()
    assert "2 of 20 records" in warning
    assert Proof(1, 100, 20, 0).warnings() == []


def test_the_sample_is_spread_evenly():
    assert sample_offsets(0) == []
    assert sample_offsets(3) == [0, 1, 2]
    assert sample_offsets(1000) == list(range(0, 1000, 50))
