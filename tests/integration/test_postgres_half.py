# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation deletes or fills at this moment, or has left half, never becomes a generation in PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import disks
import postgres
import pytest
import transacting
from generations_in import of, refused
from transacting import Spot

from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held, is_held
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import making
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import current_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import MARK as RECOVERY
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import MARK as FAULT

# Fixtures.
spot, name = transacting.spot, transacting.name


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    """Run PostgreSQL."""
    with postgres.running("15") as running:
        yield running


@pytest.fixture
def table(request: pytest.FixtureRequest, cluster: postgres.Cluster) -> PostgresSettings:
    """Return a table of its own."""
    return of(cluster, request.node.name)


def current(table: PostgresSettings, name: str) -> tuple[int, int]:
    """Return number and records of a collection's current generation."""
    found = current_generation(table, name)
    assert found is not None
    return found.number, found.records


def test_a_collection_whose_deletion_was_killed_keeps_its_good_generation(spot, name, table):
    spot.fill(f"{name}-other", 3)
    both = Wanted([name, f"{name}-other"])
    export_directory(str(spot.data), table, both)
    assert current(table, name) == (1, 50)
    assert spot.killed(21, "delete", name)
    # Enough of them to be no shrunken source.
    assert 25 <= spot.client.count(spot.client.require_collection(name)) < 50
    for check in (True, False):
        with refused("source_incomplete") as seen:
            export_directory(str(spot.data), table, both, check=check)
        half, other = seen[0].result["collections"]
        assert (half["status"], half["generation"], other["status"]) == ("refused", 1, "planned" if check else "exported")
        assert "The next deletion, renaming or undo of a collection finishes it." in half["message"]
    assert current(table, name) == (1, 50)
    delete_collection(spot.place(), "nothing-of-this-name")
    assert export_directory(str(spot.data), table, Wanted([f"{name}-other"]))["collections"][0]["code"] is None


def test_a_collection_that_an_undo_which_was_killed_fills_is_not_exported(spot, name, table):
    entry = delete_collection(spot.place(), name)["entry"]
    assert spot.killed(19, "undo", entry)
    [interim] = [each.name for each in spot.client.list_collections() if each.name.startswith("restoring-")]
    with refused("source_incomplete"):
        export_directory(str(spot.data), table, Wanted([interim]))
    delete_collection(spot.place(), "nothing-of-this-name")
    assert export_directory(str(spot.data), table, Wanted([name]))["collections"][0]["status"] == "exported"


@pytest.mark.parametrize("mark", [RECOVERY, FAULT])
def test_a_collection_that_is_being_filled_is_not_exported(spot, name, table, mark):
    client = spot.client
    client.update_collection(client.require_collection(name), metadata={"number": 7, mark: "0f"})
    exports = (
        lambda check: export_server(client, table, Wanted([name]), check),
        lambda check: export_directory(str(spot.data), table, Wanted([name]), check),
    )
    for export in exports:
        for check in (True, False):
            with refused("source_incomplete") as seen:
                export(check)
            assert seen[0].result["collections"][0]["generation"] is None
    client.update_collection(client.require_collection(name), metadata={"number": 7})
    assert [export(False)["collections"][0]["status"] for export in exports] == ["exported"] * 2


def test_an_export_and_an_operation_that_writes_exclude_each_other(spot, name, table, monkeypatch):
    with held(spot.data, "delete-collection"):
        with refused("lock_held") as seen:
            export_directory(str(spot.data), table, Wanted([name]))
        assert "delete-collection" in seen[0].message
        assert export_directory(str(spot.data), table, Wanted([name]), check=True)["changed"]
    begin, seen_held = making.begin, []

    def begun(*arguments: Any) -> int:
        seen_held.append(is_held(spot.data))
        return begin(*arguments)

    monkeypatch.setattr(making, "begin", begun)
    assert export_directory(str(spot.data), table, Wanted([name]))["changed"]
    assert (seen_held, is_held(spot.data)) == ([True], False)


def test_nothing_is_made_where_there_is_no_chroma(table, tmp_path):
    with refused("not_chroma_directory"):
        export_directory(str(tmp_path), table, Wanted())
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_only_be_read_is_exported_unless_an_operation_works_on_it(spot: Spot, name, table, tmp_path: Path) -> None:
    with disks.mounted(tmp_path / "volume", "size=200m") as volume:
        shutil.copytree(spot.data, volume / "data")
        with held(volume / "data", "delete-collection"):
            pass
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        other = os.open(volume / "data" / ".thinkube-chroma" / "lock", os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX)
            with refused("lock_held") as seen:
                export_directory(str(volume / "data"), table, Wanted([name]))
            assert "delete-collection" in seen[0].message
        finally:
            os.close(other)
        assert export_directory(str(volume / "data"), table, Wanted([name]))["collections"][0]["status"] == "exported"
