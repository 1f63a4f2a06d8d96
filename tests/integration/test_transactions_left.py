# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions that can't be finished now, or of which nobody knows whether the server did them: they block nobody, and end later."""

from __future__ import annotations

import shutil

import pytest
import transacting
from interference import proxy

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction import rename
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.rename import rename_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Fixtures.
spot = transacting.spot


@pytest.mark.thorough
def test_a_restore_point_that_is_damaged_keeps_nobody_from_working_on_other_collections(spot):
    spot.fill("half")
    spot.fill("other", 0)
    assert spot.killed(21, "delete", "half")
    packs = spot.root / "repository" / "data"
    packs.rename(spot.root / "aside")
    packs.mkdir()
    done = delete_collection(spot.place(), "other")
    assert (done["changed"], done["finished"], spot.holds("other")) == (True, [], None)
    assert [each for each in done["warnings"] if "half was interrupted, and could not be finished" in each], done["warnings"]
    assert spot.last("delete-collection").status == "done"
    assert [each.status for each in spot.operations() if each.operation == "delete-collection"] == ["open", "done"]
    shutil.rmtree(packs)
    (spot.root / "aside").rename(packs)
    done = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each["status"] for each in done["finished"]] == ["done"]
    assert spot.holds("half") is None


def test_a_renaming_that_the_server_does_after_nobody_waits_any_more_is_finished_by_the_next_run(spot, monkeypatch):
    spot.fill("books")
    before = spot.holds("books")
    monkeypatch.setattr(rename, "_PATIENCE", 0.0)
    held = []

    def late(method, path, _number):
        if method == "PUT":
            held.append(path)
            return 503  # what the client makes of a gateway that gave up; the server behind it is still at it
        return None

    with proxy(spot.url, late) as between, pytest.raises(ChromaError) as failed:
        rename_collection(spot.place(client=ChromaClient(Connection(between.url, retries=0))), "books", "library")
    assert held
    assert (failed.value.code, failed.value.result["rolled_back"]) == ("unavailable", False)
    assert "next transaction" in failed.value.hint
    assert spot.last("rename-collection").status == "open"
    client = spot.client
    client.update_collection(client.require_collection("books"), name="library")
    done = delete_collection(spot.place(), "nothing-of-this-name")
    assert [each["status"] for each in done["finished"]] == ["done"]
    assert (spot.holds("books"), spot.holds("library")) == (None, before)
