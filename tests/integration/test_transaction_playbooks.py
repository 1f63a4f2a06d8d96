# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data playbooks of deletion, renaming and undo, and the facade for programs, as a user has them."""

from __future__ import annotations

import json
import sys

import backing_up
import pytest
import repositories
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


def test_where_the_repository_of_the_backups_is_not_mounted_nothing_is_deleted_or_renamed_and_none_is_made(spot, run_playbook):
    spot.fill("maps")
    before = spot.holds("maps")
    place = spot.root / "volume" / "repository"
    place.parent.mkdir()
    settings = repositories.settings(place, password=PASSWORD)
    backing_up.make(spot.data, settings, verify=False)
    away = place.with_name("not-mounted")
    place.rename(away)
    # Where it was mounted.
    place.mkdir()
    variables = {
        "ansible_python_interpreter": sys.executable,
        "chroma_url": spot.url,
        "chroma_data_path": str(spot.data),
        "chroma_repository": str(place),
        "chroma_restic_path": settings.restic_path,
        "chroma_delete_collection": "maps",
    }
    done = run_playbook("../../playbooks/data/delete_collection.yaml", "-e", json.dumps(variables), RESTIC_PASSWORD=PASSWORD)
    assert done.returncode != 0
    assert "backups of" in done.stdout
    assert "Mount its volume" in done.stdout
    robust = RobustManager(spot.url, str(place), PASSWORD, path=spot.data, restic_path=settings.restic_path)
    with pytest.raises(ChromaError) as refused:
        robust.safe_rename_collection("maps", "charts")
    assert refused.value.code == "no_repository"
    assert (list(place.iterdir()), spot.holds("maps"), spot.holds("charts")) == ([], before, None)
    assert spot.operations()[-1].status == "failed"
    place.rmdir()
    away.rename(place)
    assert robust.undo(robust.safe_delete_collection("maps")["entry"])["records"] == 50
    # It is lost, and somebody does what the hint says.
    place.rename(away)
    (spot.data / ".thinkube-chroma" / "instance").unlink()
    assert robust.safe_delete_collection("maps")["restore_point"]
    assert (place / "config").exists()
