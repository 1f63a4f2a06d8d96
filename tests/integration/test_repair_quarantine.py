# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quarantine of repairs: what is done to it is noticed and told, and when it is emptied."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import backing_up
import pytest
import repositories
import servers
from repairing import QUARANTINE, breaks, found, mend, refused, unmend
from restoring import files

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._health.check import HealthRequest, check_health
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.manifest import place_of, read, write
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.work import locked
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]


def test_a_quarantine_that_was_tampered_with_is_refused_and_nothing_changed(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    shutil.copytree(scene.folder(), path / scene.id())
    os.truncate(scene.folder() / "data_level0.bin", (scene.folder() / "data_level0.bin").stat().st_size + 5)
    place = path / QUARANTINE / mend(path)["quarantine"]
    kept = sorted(each.relative_to(place) for each in place.rglob("*") if each.is_file())
    assert {str(each.parts[0]) for each in kept} == {"manifest.json", "rows.sqlite3", "blocks.bin", "pieces.bin", "folders"}
    before = files(path)
    for name in kept:
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        refused(lambda: unmend(path), "damaged_quarantine")
        refused(lambda: unmend(path, check=True), "damaged_quarantine")
        (place / name).unlink()
        refused(lambda: unmend(path), "damaged_quarantine")
        assert any("quarantine" in each for each in mend(path, findings=("CHR102",))["warnings"]) is (str(name) == "manifest.json")
        (place / name).write_bytes(content)
        assert files(path) == before, name
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, "folders": ["../../outside"]}))
    refused(lambda: unmend(path), "damaged_quarantine")
    # Nor is it purged: somebody has to look at it. And what else there is to do goes on.
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    assert mend(path, grace_days=0)["purged"] == []
    assert found(path) == []


def test_what_was_in_quarantine_for_long_enough_is_removed(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    first = mend(path)["quarantine"]
    place = place_of(path, first)
    assert mend(path)["purged"] == []
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    second = mend(path)["quarantine"]
    week = (datetime.now(UTC) - timedelta(days=7, minutes=1)).isoformat()
    write(place, read(place).__class__(**{**read(place).__dict__, "created": week}))
    assert (mend(path, check=True)["purged"], place.exists()) == ([first], True)
    result = mend(path)
    assert (result["changed"], result["purged"], place.exists()) == (True, [first], False)
    refused(lambda: unmend(path, repair=first), "not_found")
    assert [(line.name, line.facts) for line in Journal.of(path).lines() if line.operation == "purge-quarantine"] == [
        ("", {"removes": [first]}),
        ("done", {}),
    ]
    assert not mend(path)["changed"]
    assert unmend(path)["quarantine"] == second


def test_a_quarantine_whose_manifest_is_gone_is_kept_and_named(bases, tmp_path):
    path = tmp_path / "data"
    breaks("a_folder_belongs_to_nobody", NEWEST, bases, path)
    place = path / QUARANTINE / mend(path)["quarantine"]
    (place / "manifest.json").unlink()
    kept = files(path / QUARANTINE)
    result = mend(path, grace_days=0)
    assert place.name in result["warnings"][0]
    assert files(path / QUARANTINE) == kept
    with pytest.raises(ChromaError) as error:
        unmend(path)
    assert error.value.code == "damaged_quarantine"


@pytest.mark.parametrize(
    "operation",
    ["backup", "health", "transaction", *(pytest.param(each, marks=pytest.mark.thorough) for each in ("prune", "restore", "repair"))],
)
def test_each_operation_says_what_can_not_be_brought_to_its_end(operation, bases, tmp_path):
    path, settings = tmp_path / "data", repositories.settings(tmp_path / "repository")
    breaks("a_folder_belongs_to_nobody", NEWEST, bases, path)
    place = path / QUARANTINE / mend(path)["quarantine"]
    if operation in ("prune", "restore"):
        backing_up.make(path, settings)
    (place / "manifest.json").unlink()
    if operation == "transaction":
        with locked(Place(ChromaClient(Connection("http://127.0.0.1:9")), path=path), "test") as work:
            warnings = work.warnings
    else:
        around = Surroundings(lambda: open_repository(settings), None)
        result = {
            "backup": lambda: backing_up.make(path, settings),
            "prune": lambda: prune(settings, backing_up.nobody, Retention(), path=path),
            "restore": lambda: restore(around, RestoreRequest(path=path, operation="20261121T090000Z-0a1b2c")),
            "repair": lambda: mend(path),
            "health": lambda: check_health(HealthRequest(path), None, []),
        }
        warnings = result[operation]()["warnings"]
    assert any(place.name in each for each in warnings)


def test_beside_something_severe_quarantine_is_not_emptied(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    place = path / QUARANTINE / mend(path)["quarantine"]
    file = scene.folder() / "index_metadata.pickle"
    file.rename(tmp_path / "labels")
    assert (mend(path, check=True, grace_days=0)["purged"], mend(path, grace_days=0)["purged"]) == ([], [])
    (tmp_path / "labels").rename(file)
    assert mend(path, grace_days=0)["purged"] == [place.name]
