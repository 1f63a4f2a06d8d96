# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the instance: it stays what it is, and nobody's backups are mixed up with another's."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import (
    adopt_instance,
    ensure_instance,
    followed,
    read_instance,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

ONE, OTHER = "5d1f0c2ab94e7763", "0123456789abcdef"


def test_the_first_backup_makes_it_and_it_stays(tmp_path):
    assert read_instance(tmp_path) == ""
    assert not (tmp_path / ".thinkube-chroma").exists()
    made = ensure_instance(tmp_path)
    assert len(made) == 16
    assert ensure_instance(tmp_path) == read_instance(tmp_path) == made
    assert adopt_instance(tmp_path, OTHER) == made
    assert [each.name for each in (tmp_path / ".thinkube-chroma").iterdir()] == ["instance"]


def test_a_new_directory_takes_that_of_what_is_restored(tmp_path):
    assert adopt_instance(tmp_path, "") == ""
    assert adopt_instance(tmp_path, ONE) == read_instance(tmp_path) == ONE


def test_what_is_no_instance_is_not_replaced(tmp_path):
    adopt_instance(tmp_path, ONE)
    (tmp_path / ".thinkube-chroma" / "instance").write_text("5d1f")
    with pytest.raises(ChromaError) as refused:
        ensure_instance(tmp_path)
    assert refused.value.code == "conflict"


def test_a_directory_follows_its_own_and_a_new_one_those_of_the_only_one(shelf):
    mine, other = shelf.add(instance=ONE), shelf.add(instance=OTHER)
    assert [each.id for each in followed(shelf.catalogue, ONE).backups] == [mine]
    with pytest.raises(ChromaError) as refused:
        followed(shelf.catalogue, "")
    assert refused.value.code == "invalid_value"
    assert ONE in refused.value.message
    assert "unknown" in refused.value.message
    shelf.without(other)
    assert [each.id for each in followed(shelf.catalogue, "").backups] == [mine]
