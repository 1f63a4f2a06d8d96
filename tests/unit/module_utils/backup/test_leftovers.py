# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what an operation left: it is removed by those only whose it is."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import NAME, adopt_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.leftovers import left_over, read_history, whose
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload

ONE, OTHER = "5d1f0c2ab94e7763", "0123456789abcdef"
SERVER = Workload(None, "chroma", "chroma")


@pytest.fixture
def data(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    adopt_instance(data, ONE)
    return data


def begin(data, name, workload=None):
    """Begin a backup as its operation does; return its entry."""
    return Journal.of(data).begin("backup", id=name, repository="/backups", **whose(data, ONE, workload))


def test_of_a_copy_the_original_may_be_at_work(data, shelf, tmp_path):
    begin(data, shelf.add(pending=True))
    assert left_over(data, shelf.catalogue, None)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    assert not left_over(copy, shelf.catalogue, None)
    # Nor is it another one's that has this place by now.
    (data / PRIVATE / NAME).unlink()
    adopt_instance(data, OTHER)
    assert not left_over(data, shelf.catalogue, None)


def test_on_a_cluster_it_is_the_server_that_counts_and_not_the_pod(data, shelf):
    begin(data, shelf.add(pending=True), SERVER)
    assert left_over(data, shelf.catalogue, SERVER)
    assert not left_over(data, shelf.catalogue, Workload(None, "chroma-test", "chroma"))
    assert not left_over(data, shelf.catalogue, None)


@pytest.mark.parametrize("status", ["failed", "interrupted", "done"])
def test_one_that_came_to_its_end_left_nothing(data, shelf, status):
    journal, name = Journal.of(data), shelf.add(pending=True)
    journal.end(begin(data, name), status)
    assert left_over(data, shelf.catalogue, None) == (status != "done")


def test_the_journal_says_what_was_begun_and_where_what_was_done_went(data):
    journal = Journal.of(data)
    journal.end(begin(data, "first"), "done")
    journal.end(begin(data, "second"), "failed")
    begin(data, "third")
    history = read_history(data)
    assert set(history.begun) == {"first", "second", "third"}
    assert (history.done, history.repositories, history.untidy) == ({"first"}, {(ONE, "/backups")}, True)
