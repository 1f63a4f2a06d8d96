# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data playbooks of deletion, renaming and undo, and the facade for programs, as a user has them."""

from __future__ import annotations

import json
import sys

import pytest
import restic
from transacting import PASSWORD, serving

from ansible_collections.thinkube.chroma.plugins.module_utils.robust import ChromaError, RobustManager, safe_rename_collection


@pytest.fixture(scope="module")
def spot(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("playbooks")) as found:
        yield found


def test_the_data_playbooks_rename_delete_and_undo(spot, run_playbook):
    spot.fill("books")
    before = spot.holds("books")
    settings = {
        "ansible_python_interpreter": sys.executable,
        "chroma_url": spot.url,
        "chroma_data_path": str(spot.data),
        "chroma_repository": str(spot.root / "repository"),
        "chroma_restic_path": str(restic.quick()),
    }

    def play(name, **variables):
        done = run_playbook(f"../../playbooks/data/{name}.yaml", "-e", json.dumps({**settings, **variables}), RESTIC_PASSWORD=PASSWORD)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    said = play("rename_collection", chroma_rename_collection="books", chroma_rename_to="library")
    assert "Renamed books to library" in said
    assert (spot.holds("books"), spot.holds("library")) == (None, before)
    assert "library has that name already" in play("rename_collection", chroma_rename_collection="books", chroma_rename_to="library")
    assert "Deleted library, 50 records" in play("delete_collection", chroma_delete_collection="library")
    assert spot.holds("library") is None
    assert "There is no collection library" in play("delete_collection", chroma_delete_collection="library")
    assert "library is there" in play("undo_collection")
    assert spot.holds("library") == before
    first = spot.operations()[0]
    assert "books is there" in play("undo_collection", chroma_undo_entry=first.n)
    assert spot.holds("books") == before


def test_a_program_deletes_renames_and_undoes(spot):
    spot.fill("papers")
    before = spot.holds("papers")
    settings = {
        "url": spot.url,
        "path": str(spot.data),
        "repository": str(spot.root / "repository"),
        "password": PASSWORD,
        "restic_path": str(restic.quick()),
    }
    robust = RobustManager(**settings)
    assert PASSWORD not in repr(robust)
    assert safe_rename_collection("papers", "articles", **settings)
    done = robust.safe_delete_collection("articles")
    assert (done["records"], spot.holds("articles")) == (50, None)
    with pytest.raises(ChromaError) as failed:
        robust.safe_delete_collection("articles")
    assert failed.value.code == "not_found"
    assert robust.undo(done["entry"])["records"] == 50
    assert robust.undo()["collection"]["name"] == "papers"
    assert spot.holds("papers") == before
