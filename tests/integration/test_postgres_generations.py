# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations in PostgreSQL: never a worse one in the place of a good one, never half of one, and which are kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

import exporting
import generations_in
import pytest
import servers
import writing
from generations_in import Made, export_made, in_directory, plain, refused, rows

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import export as exports
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import making
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import Chosen, import_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import connected
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import find_generation, generations
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import current_generation, generation_batches

NEWEST = servers.VERSIONS[-1]
# Fixtures.
clusters, directory, table, target = generations_in.clusters, generations_in.directory, generations_in.table, generations_in.target


def test_an_empty_or_shrunken_source_never_replaces_a_good_generation(table):
    export_made(plain(100), table)
    for count, code in ((49, "source_shrunken"), (0, "source_empty")):
        with refused(code) as seen:
            export_made(plain(count), table)
        assert seen[0].result["collections"][0]["generation"] == 1
        assert seen[0].result["collections"][0]["status"] == "refused"
        assert len(rows(generation_batches(table, "books"))) == 100
    assert export_made(plain(50), table)["collections"][0]["generation"] == 2
    assert export_made(plain(0), table, Wanted(allow_shrink=True))["collections"][0]["generation"] == 3
    assert rows(generation_batches(table, "books")) == {}


def test_a_collection_that_goes_bit_by_bit_keeps_its_good_generation(table):
    export_made(plain(160), table)
    for _hour in range(6):
        export_made(plain(82), table)
        with refused("source_shrunken"):
            export_made(plain(79), table)
    with connected(table) as reader:
        assert [each.records for each in generations(reader)] == [82, 82, 82, 82, 160]
    export_made(plain(79), table, Wanted(allow_shrink=True))
    export_made(plain(60), table)
    with connected(table) as reader:
        assert [each.records for each in generations(reader)] == [60, 79, 82, 82]


@pytest.mark.parametrize("by", ["path", "url"])
def test_lost_vectors_never_replace_a_good_generation_and_others_are_exported(by, directory, table, tmp_path):
    export_directory(str(directory), table, Wanted())
    shutil.copytree(directory, tmp_path / "data")
    with open_directory(directory) as opened:
        lost = next(each.vector.id for each in opened.collections() if each.name == "books")
    shutil.rmtree(tmp_path / "data" / lost)
    if by == "path":
        with refused("missing_vectors") as seen:
            export_directory(str(tmp_path / "data"), table, Wanted())
    else:
        with servers.running(NEWEST, data=tmp_path / "data") as server, refused("server_error") as seen:
            export_server(exporting.connect(server.url, retries=0), table, Wanted())
    about = {each["collection"]: (each["status"], each["generation"]) for each in seen[0].result["collections"]}
    assert about == {"books": ("refused", 1), "notes": ("exported", about["notes"][1])}
    assert about["notes"][1] > 2
    assert rows(generation_batches(table, "books")) == in_directory(directory, "books")


def test_generations_beyond_the_retention_are_removed_unless_somebody_reads_them(clusters, table):
    for _time in range(4):
        result = export_made(plain(10), table, Wanted(keep_generations=2))
    assert result["removed"] == [1]
    with connected(table) as reader:
        old = find_generation(reader, "books", 2)
        assert old is not None
        with making.reading(reader, old):
            assert export_made(plain(10), table, Wanted(keep_generations=2))["removed"] == []
    assert export_made(plain(10), table, Wanted(keep_generations=0))["removed"] == [2, 3, 4, 5]
    with connected(table) as reader:
        assert [each.number for each in generations(reader)] == [6]
    names = clusters["vector"].query("SELECT relname FROM pg_class WHERE relkind = 'r' AND starts_with(relname, %s)", f"{table.table}_g")
    assert sorted(name for (name,) in names) == [f"{table.table}_g6", f"{table.table}_generations"]


def test_of_two_exports_at_once_the_second_is_refused(table):
    export_made(plain(10), table)
    with connected(table) as other, making.exporting(other), refused("lock_held"):
        export_made(plain(10), table)
    assert export_made(plain(10), table)["collections"][0]["generation"] == 2


def test_a_reader_sees_the_current_records_by_the_view_and_by_no_half_generation(clusters, table):
    name = f"{table.table}_current".replace('"', '""').replace("%", "%%")
    seen = f'SELECT count(*), count(DISTINCT generation) FROM "{name}" WHERE collection = %s'
    export_made(plain(100), table)
    assert clusters["vector"].query(seen, "books") == [(100, 1)]

    class Slow(Made):
        def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
            for batch in super().batches(collection, start):
                assert clusters["vector"].query(seen, "books") == [(100, 1)]
                yield batch
            assert clusters["vector"].query(seen, "books") == [(100, 1)]

    pages = [{"ids": [f"{page}-{row}" for row in range(50)], "embeddings": [[0.0, 1.0]] * 50} for page in range(4)]
    export_made(Slow("books", pages), table)
    assert clusters["vector"].query(seen, "books") == [(200, 1)]


def test_a_server_that_writes_all_the_while_is_exported_as_of_one_moment(table, tmp_path):
    names = {"first": "l2", "second": "ip"}
    with servers.running(NEWEST, data=tmp_path / "data") as server, writing.writing(server.url, names) as writers:
        time.sleep(1)
        began = time.time()
        result = export_directory(str(tmp_path / "data"), table, Wanted(), scratch=str(tmp_path))
        ended = time.time()
    assert [each["status"] for each in result["collections"]] == ["exported"] * 2
    for writer in writers:
        assert not writer.failures
        moments = [each.began for each in writer.writes if began - 1 < each.began < ended] + [began, ended]
        states = [state for moment in moments for state in writer.states(moment)]
        found = {
            record["id"]: (
                writing.np.array(record["vector"], writing.np.float32).tobytes(),
                record["document"],
                {key: record[key] for key in ("n", "real", "text", "flag") if record[key] is not None},
            )
            for batch in generation_batches(table, writer.name)
            for record in batch.to_pylist()
        }
        assert not writing.differences(found, states, writer.space)
    assert not list(tmp_path.glob(".thinkube-chroma-*"))


def test_a_collection_that_changes_under_an_export_by_api_is_not_exported(newest, table):
    client = exporting.connect(newest.url)
    exporting.fill(client, "changing", 400)
    export_server(client, table, Wanted(["changing"]))

    class Changing(exports.ServerSource):
        def confirm(self, collections: Sequence[SourceCollection]) -> None:
            client.delete(client.require_collection("changing"), ["id-1"])
            super().confirm(collections)

    with refused("collection_changed"):
        exports._export(Changing(client), table, Wanted(["changing"]), False, exports.Done())
    with connected(table) as reader:
        assert [(each.number, each.current) for each in generations(reader)] == [(1, True)]
        assert making.drop_leftovers(reader) == []


def test_check_mode_says_what_would_be_done_and_does_nothing(clusters, table, directory, newest):
    result = export_directory(str(directory), table, Wanted(), check=True)
    assert [(each["status"], each["generation"]) for each in result["collections"]] == [("planned", None)] * 2
    assert not clusters["vector"].query("SELECT 1 FROM pg_class WHERE starts_with(relname, %s)", table.table)
    export_directory(str(directory), table, Wanted())
    client = exporting.connect(newest.url)
    planned = import_generation(table, client, Chosen("notes", name="planned"), check=True)
    assert (planned["changed"], planned["collections"][0]["created"]) == (True, True)
    assert client.get_collection("planned") is None


def test_a_generation_is_found_by_name_id_number_and_place(table):
    export_made(plain(3), table)
    export_made(plain(4), table)
    assert current_generation(table, "books").records == 4  # type: ignore[union-attr]
    assert current_generation(table, "id of books", "t", "d").number == 2  # type: ignore[union-attr]
    assert current_generation(table, "books", "other") is None
    with connected(table) as reader:
        assert find_generation(reader, "books", 1).records == 3  # type: ignore[union-attr]
    with refused("not_found") as seen:
        rows(generation_batches(table, "boks"))
    assert "books" in seen[0].hint
