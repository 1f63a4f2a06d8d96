# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A damaged collection is deleted once it was recovered: no server loads its index, what it had is kept, and the start check is content."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import sys

import broken
import pytest
import recovering
import servers
from recovering import served
from restoring import Place

from ansible_collections.thinkube.chroma.plugins.module_utils import _guard
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction import place as places
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.delete import delete_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.undo import undo_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = "1.5.9"
CASES = {each.name: each for each in broken.CASES}
# Options of modules that know no repository.
ALONE = {"repository": None, "repository_password": None, "restic_path": None}
# What a server dies of, or goes on with an empty index: docs/health.md.
HARMFUL = {
    "CHR018": "a_folder_is_gone_and_the_log_was_purged",
    "CHR030": "the_header_is_torn",
    "CHR032": "the_dimension_was_changed",
    "CHR039": "a_link_points_nowhere",
    "CHR050": "the_label_map_is_gone",
}
ORDINARY = ("CHR018", "CHR030")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return recovering.once(NEWEST, tmp_path_factory)


def damaged(whole, root, name):
    """Return a copy in which ``books`` is damaged."""
    place, scene = whole.copy(root / "place")
    CASES[name].act(scene)
    return place, scene


def deletes(place, server, name="books", **changes):
    """Return what deletes a damaged collection beside a server."""
    force = changes.pop("force", False)
    return delete_collection(
        places.Place(ChromaClient(Connection(server.url)), path=place.data, force=force), name, damaged=True, **changes
    )


def recovers(place, server, **options):
    done = place.module("chroma_recover", path=str(place.data), url=server.url, collections=["books"], **options)
    assert (done.get("success"), done.get("failed")) == (1, 0), recovering.details(done)
    return done


def kept(place, identifier):
    """Return the documents that are in quarantine, by id, as docs/recover.md reads them."""
    file = place.data / PRIVATE / "quarantine" / identifier / "rows.sqlite3"
    sql = "SELECT embedding_id, string_value FROM embeddings e LEFT JOIN embedding_metadata m ON m.id = e.id AND m.key = 'chroma:document'"
    with contextlib.closing(sqlite3.connect(file)) as store:
        return dict(store.execute(sql).fetchall())


@pytest.mark.parametrize("finding", [each if each in ORDINARY else pytest.param(each, marks=pytest.mark.thorough) for each in HARMFUL])
def test_recovered_deleted_repaired_and_served_again(finding, whole, tmp_path):
    place, scene = damaged(whole, tmp_path, HARMFUL[finding])
    segment = scene.segment()
    assert finding in {each.kind.id for each in _guard.judge(place.data, NEWEST).refused}
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        others = {name: served(client, name) for name in ("few", "angles")}
        with pytest.raises(ChromaError) as refused:
            deletes(place, server)
        assert refused.value.code == "no_restore_point"
        assert client.get_collection("books") is not None
        recovers(place, server)
        books = served(client, "books-recovered")
        planned = deletes(place, server, check=True)
        assert (planned["changed"], planned["records"]) == (True, len(whole.records["books"]))
        assert client.get_collection("books") is not None
        done = deletes(place, server)
        assert (done["changed"], done["records"], done["restore_point"]) == (True, len(whole.records["books"]), "")
        assert client.get_collection("books") is None
        assert kept(place, done["quarantine"]) == {name: each["document"] for name, each in whole.records["books"].items()}
        assert _guard.judge(place.data, NEWEST).refused == []
        assert deletes(place, server)["changed"] is False
        with pytest.raises(ChromaError) as irreversible:
            undo_collection(places.Place(client, path=place.data))
        assert irreversible.value.code == "no_restore_point"
        assert done["quarantine"] not in json.dumps(place.module("chroma_repair_undo", check=True, **ALONE, path=str(place.data)))
        repaired = place.module("chroma_repair", **ALONE, path=str(place.data))
        assert repaired.get("changed") is True, repaired
        # The rows are not the repair's to put back, and it leaves them until their time has come.
        assert kept(place, done["quarantine"])
        assert (place.data / segment).exists() is False
    assert [each.message for each in validate(place.data).findings] == []
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        recovering.same(served(client, "books-recovered"), books)
        for name, records in others.items():
            recovering.same(served(client, name), records, "cosine" if name == "angles" else "l2")


def test_without_anything_recovered_only_force_deletes_and_keeps_the_rows_all_the_same(whole, tmp_path):
    place, _scene = damaged(whole, tmp_path, HARMFUL["CHR030"])
    with servers.running(NEWEST, data=place.data) as server:
        client = ChromaClient(Connection(server.url))
        recovers(place, server)
        client.delete_collection("books-recovered")
        with pytest.raises(ChromaError) as refused:
            deletes(place, server)
        assert refused.value.code == "no_restore_point"
        assert "books-recovered, is gone" in refused.value.message
        assert client.get_collection("books") is not None
        assert not (place.data / PRIVATE / "quarantine").exists()
        done = deletes(place, server, force=True)
        assert len(kept(place, done["quarantine"])) == len(whole.records["books"])
        assert client.get_collection("books") is None


@pytest.fixture(scope="module")
def ready(whole, tmp_path_factory):
    """A directory whose damaged ``books`` was recovered."""
    place, _scene = damaged(whole, tmp_path_factory.mktemp("ready"), HARMFUL["CHR039"])
    with servers.running(NEWEST, data=place.data) as server:
        recovers(place, server)
    return place


# Before the journal's first word; before the rows are kept; once they are; once the journal says that it goes; once it is gone; before
# the journal says so.
KILLED = {
    "_journal.journal.Journal._append-1": "",
    "_repair.keeping.publish-1": "rolled_back",
    "_journal.journal.Journal._append-2": "rolled_back",
    "_transaction.removal.segments_of-1": "done",
    "_transaction.removal._is_there-1": "done",
    "_journal.journal.Journal._append-3": "done",
}


@pytest.mark.parametrize(
    "point", [each if each.endswith("segments_of-1") else pytest.param(each, marks=pytest.mark.thorough) for each in KILLED]
)
def test_one_that_was_killed_is_finished_by_the_next_run(point, ready, whole, tmp_path):
    shutil.copytree(ready.root, tmp_path / "place")
    place, (function, number) = Place(tmp_path / "place"), point.rsplit("-", 1)
    with servers.running(NEWEST, data=place.data) as server:
        options = {**ALONE, "state": "absent", "damaged": True, "path": str(place.data), "url": server.url}
        options["name"] = "books"
        assert place.killed("chroma_collection", function, int(number), **options)
        done = place.module("chroma_collection", **options)
        assert done.get("changed") is True, done
        assert [each["status"] for each in done["finished"]] == [each for each in [KILLED[point]] if each]
        client = ChromaClient(Connection(server.url))
        assert client.get_collection("books") is None
        assert client.count(client.require_collection("books-recovered")) > 0
        assert _guard.judge(place.data, NEWEST).refused == []
        found = [each.name for each in (place.data / PRIVATE / "quarantine").iterdir()]
        assert found
        for each in found:
            assert len(kept(place, each)) == len(whole.records["books"]) or each.startswith(".new-")
        assert not Journal.of(place.data).open_entries()


def test_the_data_playbook_deletes_it_and_says_where_its_rows_are(ready, tmp_path, run_playbook):
    shutil.copytree(ready.root, tmp_path / "place")
    place = Place(tmp_path / "place")
    with servers.running(NEWEST, data=place.data) as server:
        variables = {
            "ansible_python_interpreter": sys.executable,
            "chroma_url": server.url,
            "chroma_data_path": str(place.data),
            "chroma_delete_collection": "books",
            "chroma_delete_damaged": "true",
        }
        done = run_playbook("../../playbooks/data/delete_collection.yaml", "-e", json.dumps(variables))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        [found] = (place.data / PRIVATE / "quarantine").iterdir()
        assert f"records is in quarantine {found.name}." in " ".join(done.stdout.split())
        assert ChromaClient(Connection(server.url)).get_collection("books") is None
