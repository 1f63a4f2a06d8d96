# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""chroma_export where it must not or cannot: a clear error with the next step, and nothing changed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import disks
import exporting
import pyarrow.parquet as pq
import pytest
import servers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return a data directory with two tenants, and what its server said of its collections."""
    data = tmp_path_factory.mktemp("made") / "data"
    with servers.running(servers.VERSIONS[-1], data=data) as server:
        client = exporting.connect(server.url)
        exporting.fill(client, "books", 40)
        exporting.fill(client, "boots", 300)
        other = client.within(tenant="second", database="other")
        other.create_tenant()
        other.create_database()
        exporting.fill(other, "books", 60, seed=2)
        said = {
            "books": exporting.served(client, "books"),
            "boots": exporting.served(client, "boots"),
            "other": exporting.served(other, "books"),
        }
    yield data, said
    shutil.rmtree(data)


@pytest.fixture
def data(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """Return a copy that may be broken."""
    shutil.copytree(made[0], tmp_path / "data")
    return tmp_path / "data"


def state(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {str(each): (each.stat().st_mtime_ns, each.read_bytes()) for each in directory.rglob("*") if each.is_file()}


def refuse(code: str, arguments: dict[str, Any], said: str = "") -> dict[str, Any]:
    result = exporting.run(arguments)
    assert result.get("code") == code, result
    assert result["hint"]
    assert said in result["msg"]
    return result


def test_an_unknown_collection_is_named_with_those_that_are_like_it(data, tmp_path):
    before = state(data)
    arguments = {"path": str(data), "destination": str(tmp_path / "set"), "collections": ["boks", "books"]}
    refuse("not_found", arguments, "Did you mean books or boots?")
    assert state(data) == before
    assert not list(tmp_path.glob("set*"))


def test_by_url_too(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "data")
    with servers.running(servers.VERSIONS[-1], data=tmp_path / "data") as server:
        arguments = {"url": server.url, "destination": str(tmp_path / "set")}
        refuse("not_found", {**arguments, "collections": ["boots", "bookz"]}, "Did you mean books")
        refuse("not_found", {**arguments, "database": "nowhere", "collections": ["books"]})
        exporting.run(arguments)
        # Nobody can tell whether a server has the same vectors still.
        refuse("exists", arguments, "overwrite")
        assert exporting.run({**arguments, "overwrite": True, "tenant": "second", "database": "other"})["changed"] is True
        exporting.same(exporting.exported(tmp_path / "set", "books"), made[1]["other"])
    refuse("unreachable", {**arguments, "destination": str(tmp_path / "other"), "retries": 0})


def test_all_tenants_and_databases_of_a_directory_are_exported(made, tmp_path):
    result = exporting.run({"path": str(made[0]), "destination": str(tmp_path / "set")})
    assert [each["name"] for each in result["collections"]] == ["books", "boots", "books"]
    described = exporting.manifest(tmp_path / "set")["collections"]
    assert {(each["tenant"], each["database"], each["name"], each["records"]) for each in described} == {
        ("default_tenant", "default_database", "books", len(made[1]["books"])),
        ("default_tenant", "default_database", "boots", len(made[1]["boots"])),
        ("second", "other", "books", len(made[1]["other"])),
    }


def test_what_is_no_data_directory_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "chroma.sqlite3").write_text("no database, but long enough to look like something" * 40)
    for name, codes in (("empty", {"not_chroma_directory"}), ("absent", {"not_chroma_directory"}), ("text", {"damaged"})):
        result = exporting.run({"path": str(tmp_path / name), "destination": str(tmp_path / "set")})
        assert result["code"] in codes, result
        assert result["hint"]
    assert not list(tmp_path.glob("set*"))


def test_a_directory_of_a_newer_chroma_is_refused(data, tmp_path):
    with sqlite3.connect(data / "chroma.sqlite3") as database:
        database.execute("INSERT INTO migrations VALUES ('sysdb', 99, '00099-new.sqlite.sql', '', '')")
    database.close()
    refuse("newer_chroma", {"path": str(data), "destination": str(tmp_path / "set")})
    assert not list(tmp_path.glob("set*"))


def test_lost_vectors_are_counted_and_exported_only_where_that_is_wanted(data, made, tmp_path):
    said = made[1]["boots"]
    with sqlite3.connect(f"file:{data}/chroma.sqlite3?mode=ro", uri=True) as database:
        segment = database.execute(
            "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = 'boots' AND s.scope = 'VECTOR'"
        ).fetchone()[0]
    database.close()
    shutil.rmtree(data / segment)
    arguments = {"path": str(data), "collections": ["boots"], "destination": str(tmp_path / "set")}
    failed = refuse("missing_vectors", arguments, "validate")
    missing = failed["missing_vectors"]
    assert 0 < missing < len(said)
    assert f"{missing} of the {len(said)} records" in failed["msg"]
    assert not (tmp_path / "set").exists()
    assert exporting.run({**arguments, "allow_missing_vectors": True})["changed"] is True
    found = exporting.exported(tmp_path / "set", "boots")
    assert found.keys() == said.keys()
    assert sum(1 for record in found.values() if record["embedding"] is None) == missing
    exporting.same({key: {**record, "embedding": record["embedding"] or said[key]["embedding"]} for key, record in found.items()}, said)
    parts = [part for each in exporting.manifest(tmp_path / "set")["collections"] for part in each["parts"]]
    assert sum(part["missing_vectors"] for part in parts) == missing
    # It is there, but not what is asked for now.
    refuse("exists", arguments)


def test_a_destination_that_is_not_its_own_stays_untouched(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    source = {"path": str(made[0])}
    refuse("not_empty", {**source, "destination": str(tmp_path / "mine"), "overwrite": True}, "letter.txt")
    (tmp_path / "mine" / "manifest.json").write_text('{"format": "of another program"}')
    refuse("invalid_manifest", {**source, "destination": str(tmp_path / "mine"), "overwrite": True})
    assert (tmp_path / "mine" / "letter.txt").read_text() == "mine"
    refuse("invalid_value", {**source, "destination": str(made[0] / "inside")}, "data directory")
    refuse("invalid_value", {**source, "destination": str(tmp_path / "mine" / "letter.txt" / "set")})
    refuse("invalid_value", {**source, "destination": "ftp://bucket/prefix"})


def test_an_empty_directory_is_taken(made, tmp_path):
    (tmp_path / "set").mkdir()
    assert exporting.run({"path": str(made[0]), "destination": str(tmp_path / "set")})["changed"] is True
    assert (tmp_path / "set" / "manifest.json").exists()


def test_a_destination_that_cannot_be_written_is_named(made, tmp_path):
    with disks.mounted(tmp_path / "mount", "ro") as mount:
        refuse("forbidden", {"path": str(made[0]), "destination": str(mount / "set")}, str(mount / "set"))


def test_an_existing_dataset_is_replaced_only_where_that_is_wanted(made, tmp_path):
    arguments = {"path": str(made[0]), "destination": str(tmp_path / "set")}
    exporting.run({**arguments, "collections": ["boots"]})
    before = state(tmp_path / "set")
    refuse("exists", arguments, "overwrite")
    assert state(tmp_path / "set") == before
    assert exporting.run({**arguments, "overwrite": True}, check_mode=True)["changed"] is True
    assert state(tmp_path / "set") == before
    assert exporting.run({**arguments, "overwrite": True})["changed"] is True
    assert exporting.run({**arguments, "overwrite": True})["changed"] is False
    assert len(exporting.manifest(tmp_path / "set")["collections"]) == 3


def test_check_mode_tells_the_plan_and_writes_nothing(made, tmp_path):
    before = state(made[0])
    plan = exporting.run({"path": str(made[0]), "destination": str(tmp_path / "set")}, check_mode=True)
    assert plan["changed"] is True
    assert [(each["name"], each["bytes"]) for each in plan["collections"]] == [("books", None), ("boots", None), ("books", None)]
    assert not list(tmp_path.glob("set*"))
    done = exporting.run({"path": str(made[0]), "destination": str(tmp_path / "set")})
    assert [each["records"] for each in done["collections"]] == [each["records"] for each in plan["collections"]]
    assert state(made[0]) == before


def test_path_and_url_exclude_each_other(made, tmp_path):
    both = exporting.run({"path": str(made[0]), "url": "http://127.0.0.1:1", "destination": str(tmp_path / "set")})
    assert "mutually exclusive" in both["msg"]
    assert "path, url" in exporting.run({"destination": str(tmp_path / "set")}, CHROMA_API_URL="http://127.0.0.1:1")["msg"]


def test_only_the_named_records_are_in_the_files(made, tmp_path):
    exporting.run({"path": str(made[0]), "destination": str(tmp_path / "set"), "collections": ["boots"]})
    files = list((tmp_path / "set").rglob("*.parquet"))
    assert sum(pq.read_metadata(each).num_rows for each in files) == len(made[1]["boots"])
    exporting.same(exporting.exported(tmp_path / "set", "boots"), made[1]["boots"])
