# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery that is killed, or whose server goes away, at any step: the next run completes it, and nothing is half."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading

import pytest
import recovering
import servers
from recovering import NEWEST, assert_none_is_half, details, names, same, same_vectors, served
from restoring import Place

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.run import MARK
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Fixtures.
whole, torn, damaged = recovering.whole, recovering.torn, recovering.damaged
# Before the first of them nothing was done; after the last all of it.
STEPS = (
    ("_recovery.operation.recorded", 1),
    ("_recovery.run.collect", 1),
    ("_recovery.run.bring_in", 1),
    ("_dataset.importing.bring", 1),
    ("_recovery.run.ChromaClient.write", 1),
    ("_dataset.importing.prove", 1),
    ("_recovery.run.note", 1),
    ("_recovery.run.unmark", 1),
    ("_recovery.run.plan_rename", 1),
    ("_recovery.run.note", 2),
    ("_recovery.run.rename", 1),
    ("_recovery.run.ChromaClient.update_collection", 2),
    ("_recovery.run.rename_held", 2),
    ("_recovery.run.ChromaClient.update_collection", 3),
)
TELLING = {("_recovery.run.ChromaClient.update_collection", 3)}


@pytest.fixture(scope="module")
def running_torn(torn, whole, tmp_path_factory):
    """A server of the directory with two damaged collections; each test brings its names back to what they were."""
    root = tmp_path_factory.mktemp("running") / "place"
    shutil.copytree(torn.root, root)
    with servers.running(NEWEST, data=root / "data") as server:
        client = ChromaClient(Connection(server.url))
        yield Place(root), server, client, {each.id: each.name for each in client.list_collections()}


@pytest.mark.parametrize(
    "step",
    [each if each in TELLING else pytest.param(each, marks=pytest.mark.thorough) for each in STEPS],
    ids=lambda each: f"{each[0]}-{each[1]}",
)
def test_killed_between_any_two_steps_the_next_run_completes_it(running_torn, whole, step):
    place, server, client, original = running_torn
    options = {"path": str(place.data), "url": server.url, "collections": ["angles"], "in_place": True, "repository": None}
    try:
        assert place.killed("chroma_recover", *step, **options), "it never came to that step"
        done = place.module("chroma_recover", **{**options, "collections": None, "kinds": ["damaged"]})
        found = {each.id: each.name for each in client.list_collections()}
        assert not done.get("failed"), details(done)
        assert_none_is_half(client)
        # The other one was recovered by the second run, in place as well.
        assert sorted(found.values()) == sorted([*original.values(), "angles-damaged", "books-damaged"])
        same(served(client, "angles"), whole.records["angles"], "cosine")
        assert len(served(client, "angles")) == 80
    finally:
        for each in client.list_collections():
            if each.id not in original:
                client.delete_collection(each.name)
        for each in client.list_collections():
            if each.name != original[each.id]:
                client.update_collection(each, name=original[each.id])


def test_what_killed_operations_left_is_removed_or_finished(running_torn):
    place, server, client, original = running_torn
    options = {"path": str(place.data), "url": server.url, "repository": None}
    client.create_collection("half", {MARK: "0123456789abcdef"})
    assert place.killed("chroma_collection", "_transaction.rename.give_name", 1, name="few", new_name="lots", force=True, **options)
    done = place.module("chroma_recover", collections=["angles"], **options)
    try:
        assert done.get("success") == 1, details(done)
        assert "half" not in names(client)
        assert "half" in str(done.get("warnings"))
        assert "lots" in names(client)
        assert "rename-collection of default_tenant/default_database/few, interrupted: done." in str(done.get("warnings"))
    finally:
        client.update_collection(client.require_collection("lots"), name="few")
        for name in names(client) - set(original.values()):
            client.delete_collection(name)


@pytest.mark.thorough
def test_what_was_read_back_before_a_kill_is_kept_with_what_was_written_into_it_since(damaged, whole):
    place, _scene = damaged
    with servers.running(NEWEST, data=place.data) as server:
        options = {"path": str(place.data), "url": server.url, "collections": ["books"], "repository": None}
        client = ChromaClient(Connection(server.url))
        assert place.killed("chroma_recover", "_recovery.run.unmark", 1, **options)
        made = client.require_collection("books-recovered")
        count = client.count(made)
        record = json.dumps({"ids": ["new"], "embeddings": [whole.records["books"]["id-0"]["embedding"]]}, default=list).encode()
        for name in ("books-recovered", "books"):  # another state of books, so another item
            client.write(client.require_collection(name), "upsert", record)
        done = place.module("chroma_recover", **options)
        assert done.get("success") == 1, details(done)
        kept = client.require_collection("books-recovered")
        assert (kept.id, client.count(kept)) == (made.id, count + 1)
        assert_none_is_half(client)


@pytest.mark.thorough
def test_a_server_that_goes_away_in_the_middle_is_an_error_that_may_be_repeated_and_the_next_run_completes_it(damaged, whole, tmp_path):
    place, _scene = damaged
    options = {"path": str(place.data), "collections": ["books"], "wait": 0.2, "timeout": 5, "retries": 0}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.running(NEWEST, data=place.data))
        client = ChromaClient(Connection(server.url))
        running = place.start("chroma_recover", url=server.url, **options)

        def stop_in_the_middle():
            with contextlib.suppress(ChromaError):
                while client.get_collection("books-recovered") is None:
                    pass
            os.kill(server.pid, signal.SIGKILL)

        stopper = threading.Thread(target=stop_in_the_middle)
        stopper.start()
        output, _errors = running.communicate(timeout=600)
        stopper.join()
    gone = json.loads(output)
    assert gone["code"] in ("unreachable", "timeout"), gone
    assert gone["details"][-1]["success"] is False
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        done = place.module("chroma_recover", url=server.url, **{**options, "wait": 60})
        assert done.get("success") == 1, details(done)
        assert_none_is_half(client)
        assert "books-recovered-2" not in names(client)
        books = served(client, "books-recovered")
        same_vectors({name: each for name, each in books.items() if name != "id-22"}, whole.records["books"])
