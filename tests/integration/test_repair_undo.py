# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undoing a repair: what was written since stays, and nothing comes back where it would be in the way."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime, timedelta

import broken
import filling
import servers
from repairing import breaks, everything, found, mend, refused, unmend
from writing import stored

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._repair import run
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]


def test_a_server_that_wrote_in_between_keeps_what_it_wrote(bases, tmp_path):
    """The rows come back one by one then; their bytes lie elsewhere."""
    path = tmp_path / "data"
    breaks("lists_of_no_record", NEWEST, bases, path)
    sqlite3.connect(path / "chroma.sqlite3").execute("PRAGMA user_version").close()
    mend(path)
    with servers.running(NEWEST, data=path) as server:
        client = ChromaClient(Connection(server.url))
        filling.write(client, client.require_collection("few"), range(10, 20))
    now = stored(path)
    undone = unmend(path)
    assert (undone["exact"], undone["rows"]) == (False, {"embedding_metadata_array": 1})
    assert undone["note"]
    assert (found(path), stored(path)) == (["CHR082"], now)


def test_nothing_newer_is_overwritten(bases, tmp_path):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    shutil.copytree(scene.folder(), path / scene.id())
    result = mend(path)
    assert len(result["folders"]) == 1
    scene.sql("INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (1000000, ?, 'new', 1)", scene.segment("METADATA"))
    before = everything(path)
    assert "embedding_metadata_array" in refused(lambda: unmend(path), "conflict").message
    assert everything(path) == before
    scene.sql("DELETE FROM embeddings WHERE id = 1000000")
    (path / scene.id()).mkdir()
    before = everything(path)
    assert scene.id() in refused(lambda: unmend(path), "conflict").message
    refused(lambda: unmend(path, check=True), "conflict")
    assert everything(path) == before
    (path / scene.id()).rmdir()
    assert unmend(path)["folders"] == [scene.id()]


def test_nothing_becomes_part_of_what_a_restoration_brought_back(bases, tmp_path):
    path, segment = tmp_path / "data", "0b9a2c74-0000-4000-8000-000000000000"
    shutil.copytree(bases(NEWEST)[0], path)
    scene = broken.Scene(path, NEWEST, path)
    scene.sql("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, 'x', 1)", segment)
    assert mend(path)["rows"] == {"embeddings": 1}
    columns = "type, scope, collection"
    scene.sql(f"INSERT INTO segments (id, {columns}) SELECT ?, {columns} FROM segments WHERE scope = 'METADATA' LIMIT 1", segment)
    before = everything(path)
    assert "embeddings" in refused(lambda: unmend(path), "conflict").message
    assert everything(path) == before
    scene.sql("DELETE FROM segments WHERE id = ?", segment)
    assert unmend(path)["rows"] == {"embeddings": 1}


class SetBack(datetime):
    """A clock that was set back by a day."""

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - timedelta(days=1)


def test_the_latest_repair_is_undone_whatever_the_clock_says(bases, tmp_path, monkeypatch):
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    first = mend(path)["quarantine"]
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")
    monkeypatch.setattr(run, "datetime", SetBack)
    second = mend(path)["quarantine"]
    assert unmend(path)["quarantine"] == second > first
