# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_collection_info: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_collection_info


@pytest.mark.parametrize("check_mode", [False, True])
def test_one_collection(run_module, recorded, version, check_mode):
    first_record = ["records_page"] if version == "0.4.24" else []  # which describes no dimension
    server = recorded(version, "collection_filled", "count", *first_record)
    result = run_module(chroma_collection_info, {"names": ["books"]}, server, check_mode=check_mode)
    [seen] = result["collections"]
    assert (result["changed"], seen["name"], seen["count"], seen["dimension"]) == (False, "books", 2, 3)


def test_an_absent_collection_is_left_out(run_module, recorded, version):
    assert run_module(chroma_collection_info, {"name": "books"}, recorded(version, "collection_missing"))["collections"] == []


def test_all_collections(run_module, recorded):
    server = recorded("1.5.9", "collections", "count", "count_taken")
    result = run_module(chroma_collection_info, {}, server)
    assert [each["name"] for each in result["collections"]] == ["books", "taken"]
    assert [each["count"] for each in result["collections"]] == [2, 0]
