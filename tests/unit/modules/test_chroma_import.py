# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_import: arguments in, JSON out; what it does is tested against real servers."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _arrow
from ansible_collections.thinkube.chroma.plugins.modules import chroma_import

EMPTY = {
    "format": "thinkube.chroma/dataset",
    "version": 1,
    "created": "2026-01-01T00:00:00Z",
    "generator": {"name": "thinkube.chroma", "version": "1.1.0"},
    "source": {"kind": "directory"},
    "consistent": True,
    "collections": [],
}


def test_a_dataset_without_collections_changes_nothing(run_module, recorded, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(EMPTY))
    server = recorded("1.5.9", "database_get")
    result = run_module(chroma_import, {"dataset": str(tmp_path), "tenant": "acme", "database": "docs"}, server)
    assert (result["changed"], result["collections"], server.changes()) == (False, [], [])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"dataset": "/nowhere"}, "no_dataset"),
        ({"dataset": "s3://bucket"}, "invalid_value"),
        ({"dataset": "s3://bucket/prefix"}, "invalid_value"),
        ({"dataset": "/nowhere", "url": "ftp://x"}, "invalid_url"),
    ],
)
def test_what_cannot_be_is_told_with_the_next_step(run_module, monkeypatch, options, code):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    result = run_module(chroma_import, options)
    assert (result["code"], bool(result["hint"])) == (code, True)


def test_without_the_libraries_of_the_data_plane_it_says_so(run_module, monkeypatch):
    monkeypatch.setattr(_arrow, "MISSING", "No module named 'pyarrow'")
    assert run_module(chroma_import, {"dataset": "/nowhere"})["code"] == "missing_library"
