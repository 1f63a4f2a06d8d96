# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of directories that real servers made and that were broken: nothing is found afterwards, nothing else is lost, all comes back."""

from __future__ import annotations

import pickle
import shutil

import broken
import filling
import pytest
import servers
from repairing import QUARANTINE, SEVERE, breaks, cases, found, kinds, left, mend, records, refused, unmend
from restoring import files
from writing import stored

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import rows as quarantined
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]
SERVED = ["books", "few"]
# Rows of several tables, folders, files, records, full text: the others are like one of them.
TELLING = {
    "a_collection_is_gone_but_not_its_segments_and_metadata",
    "a_folder_belongs_to_nobody",
    "the_vectors_are_longer",
    "records_of_a_segment_that_is_gone",
    "the_full_text_index_is_empty",
}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        pytest.param(NEWEST, TELLING, id="some"),
        *(pytest.param(each, None, id=each, marks=pytest.mark.thorough) for each in servers.VERSIONS),
    ],
)
def test_each_case_is_mended_served_and_undone_byte_by_byte(version, names, bases, tmp_path):
    base = bases(version)[0]
    wanted, healthy = stored(base), records(version, base, SERVED)
    wrong = {}
    for number, case in enumerate(each for each in cases(version) if names is None or each.name in names or kinds(each) & SEVERE):
        path = tmp_path / f"data-{number}"
        breaks(case.name, version, bases, path)
        before = files(path)
        result = mend(path)
        if kinds(case) & SEVERE:
            # What belongs to nobody may be what is missing: it is left where it is.
            assert (result["changed"], result["repaired"]) == (False, []), case.name
            assert all(each["do"] for each in left(result))
            assert files(path) == before
            continue
        gone = {"books"} if "collection_is_gone" in case.name else set()
        names = [name for name in SERVED if name not in gone]
        problems = {
            "findings": found(path) or not result["changed"],
            "records": stored(path) != {name: each for name, each in wanted.items() if name not in gone},
            "served": records(version, path, names) != {name: healthy[name] for name in names},
            "second": mend(path)["changed"],
        }
        undone = unmend(path)
        problems |= {"undo": not (result["exact"] and undone["exact"] and undone["changed"]), "bytes": files(path) != before}
        problems |= {"undone twice": unmend(path)["changed"]}
        if any(problems.values()):
            wrong[case.name] = {name: each for name, each in problems.items() if each}
        shutil.rmtree(path)
    assert wrong == {}


@pytest.mark.parametrize(
    "version",
    [version if version == NEWEST else pytest.param(version, marks=pytest.mark.thorough) for version in servers.VERSIONS],
)
def test_what_a_deleted_collection_leaves_is_put_away_and_comes_back(version, bases, tmp_path):
    path = tmp_path / "data"
    shutil.copytree(bases(version)[0], path)
    with servers.running(version, data=path) as server:
        ChromaClient(Connection(server.url)).delete_collection("books")
    leavings, before, kept = found(path), files(path), stored(path)
    result = mend(path)
    assert {each["finding"] for each in result["repaired"]} == set(leavings) != set()
    assert (found(path), stored(path)) == ([], kept)
    assert len(result["folders"]) == 1
    assert records(version, path, ["few"])["few"] == kept["few"]
    assert unmend(path)["exact"]
    assert (found(path), files(path)) == (leavings, before)


def test_a_plan_changes_nothing_and_says_what_would(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("the_vectors_are_longer", NEWEST, bases, path)
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    before = files(path)
    plan = mend(path, check=True)
    assert plan["changed"]
    assert [(each["finding"], each["needs_stop"]) for each in plan["plan"]] == [("CHR034", True), ("CHR081", False)]
    before_it, after_it = (plan["diff"][key]["findings"] for key in ("before", "after"))
    assert before_it == {"CHR034": 1, "CHR081": 1, **after_it}
    assert {"CHR034", "CHR081"}.isdisjoint(after_it)
    assert (plan["repaired"], plan["quarantine"], files(path)) == ([], "", before)
    assert not (path / ".thinkube-chroma").exists()
    assert any("CHR034" in line for line in plan["table"])
    only = mend(path, findings=("CHR081",))
    assert [each["finding"] for each in only["repaired"]] == ["CHR081"]
    assert [(each["finding"], each["reason"]) for each in left(only)] == [("CHR034", "It was not asked for.")]
    assert found(path) == ["CHR034"]
    planned = unmend(path, check=True)
    assert (planned["changed"], planned["exact"], planned["rows"]) == (True, True, {"embedding_metadata": 1})
    assert found(path) == ["CHR034"]
    assert mend(tmp_path / "data", check=True, stop=False)["plan"], "nobody runs that would have to be stopped"


def test_what_is_not_right_afterwards_is_taken_back(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    shutil.copytree(scene.folder(), path / scene.id())
    before = files(path)
    remove = quarantined.remove

    def badly(writer, *arguments):
        remove(writer, *arguments)
        writer.execute("DELETE FROM c.segments WHERE scope = 'METADATA'")

    monkeypatch.setattr(quarantined, "remove", badly)
    error = refused(lambda: mend(path), "not_verified")
    assert {each["id"] for each in error.result["found"]} >= {"CHR013"}
    assert files(path) == before
    assert [(each.event, each.name) for each in Journal.of(path).lines()][-1] == ("end", "failed")
    refused(lambda: unmend(path, repair="20261121T090000Z-0a1b2c"), "not_found")
    assert not unmend(path)["changed"]


def test_log_entries_stay_whose_numbers_would_be_given_again(bases, tmp_path):
    """Chroma counts on from the log's last entry; a collection that is further already would ignore what is written then."""
    path = tmp_path / "data"
    scene = breaks("a_log_entry_belongs_to_nobody", NEWEST, bases, path)
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue")
    scene.sql("INSERT OR REPLACE INTO max_seq_id VALUES (?, ?)", scene.segment("METADATA", "empty"), last)
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    assert found(path) == ["CHR064", "CHR081"]
    result = mend(path)
    assert [each["finding"] for each in result["repaired"]] == ["CHR081"]
    assert [each["finding"] for each in left(result)] == ["CHR064"]
    assert found(path) == ["CHR064"]
    assert scene.one("SELECT max(seq_id) FROM embeddings_queue") == last


def test_a_database_in_wal_mode_is_refused(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("metadata_of_no_record", NEWEST, bases, path)
    scene.sql("PRAGMA journal_mode=WAL")
    refused(lambda: mend(path), "unsupported")
    assert list((path / QUARANTINE).iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"findings": ("CHR017", "CHR999")}, "invalid_value"),
        ({"grace_days": -1.0}, "invalid_value"),
        ({"stops": 0.0}, "invalid_value"),
    ],
)
def test_what_can_not_be_meant_is_refused(options, code, bases):
    refused(lambda: mend(bases(NEWEST)[0], **options), code)


def test_a_place_without_a_directory_or_a_repair_is_refused(bases, tmp_path):
    refused(lambda: mend(tmp_path / "absent"), "not_found")
    refused(lambda: unmend(tmp_path / "absent"), "not_found")
    shutil.copytree(bases(NEWEST)[0], tmp_path / "data")
    refused(lambda: unmend(tmp_path / "data"), "not_found")


def test_what_stops_an_upgraded_server_is_mended_for_whoever_asks(bases, tmp_path):
    """0.6.3 left a null for a record without document; each write to 1.5.9 fails, until it is taken out."""
    path = tmp_path / "data"
    shutil.copytree(bases("0.6.3")[0], path)
    with servers.running("0.6.3", data=path) as server:
        client = ChromaClient(Connection(server.url))
        filling.write(client, client.require_collection("few"), [18])
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url, retries=0))
        with pytest.raises(ChromaError, match="500"):
            filling.write(client, client.require_collection("few"), [30])
    before, kept = files(path), stored(path)
    assert "CHR066" in found(path)
    unasked = mend(path)
    assert (unasked["changed"], [each["finding"] for each in left(unasked)]) == (False, ["CHR066"] * len(left(unasked)))
    assert "chroma_repair_findings" in left(unasked)[0]["do"]
    result = mend(path, findings=("CHR066",))
    assert result["repaired"]
    assert result["plan"][0]["needs_stop"]
    assert (found(path), stored(path)) == ([], kept)
    assert unmend(path)["exact"]
    assert files(path) == before
    mend(path, findings=("CHR066",))
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url, retries=0))
        filling.write(client, client.require_collection("few"), [30])
    assert {**stored(path)["few"], "id-30": None}.keys() == stored(path)["few"].keys()
    # Applied since: it is not put into the log once more.
    assert (unmend(path)["rows"], found(path)) == ({}, [])


def test_vectors_whose_ids_nobody_knows_are_in_nobody_s_way_afterwards(tmp_path):
    """1.5.9 answers a query that meets one with 500; once it is marked as deleted, with all records that there are."""
    path = tmp_path / "data"
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url))
        books = filling.create(client, "books")
        for first in (0, 50):
            filling.write(client, books, range(first, first + 50), lists=True)
    scene = broken.Scene(path, NEWEST, path)
    labels = scene.folder() / "index_metadata.pickle"
    known = pickle.loads(labels.read_bytes())
    known["label_to_id"].pop(known["id_to_label"].pop("id-40"))
    labels.write_bytes(pickle.dumps(known))
    act = next(each.act for each in broken.CASES if each.name == "records_are_gone")
    act(scene)
    assert found(path) == ["CHR055"]
    before = files(path)

    def ask():
        with servers.running(NEWEST, data=path) as server:
            client = ChromaClient(Connection(server.url, retries=0))
            return client.query(client.require_collection("books"), [[0.1] * filling.DIMENSION], 99)[0]

    result = mend(path)
    assert ([each["finding"] for each in result["repaired"]], len(result["files"])) == (["CHR055"], 1)
    assert (found(path), result["exact"]) == ([], True)
    assert unmend(path)["exact"]
    assert files(path) == before
    with pytest.raises(ChromaError, match="500"):
        ask()
    assert mend(path)["changed"]
    assert {each["id"] for each in ask()} == {f"id-{number}" for number in range(100) if number != 40}
