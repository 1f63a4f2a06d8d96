# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a delta: what it says comes back, and what leads elsewhere is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.close import open_files
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.delta import Delta
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.manifest import (
    DeltaCollection,
    DeltaFile,
    DeltaManifest,
    encode,
    parse,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.store import sweep
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import is_id, new_id

SUM = hashlib.sha256(b"").hexdigest()
MANIFEST = DeltaManifest(
    "20261121T090000Z-0a1b2c",
    "2026-11-21T09:00:00+00:00",
    "1.5.9",
    (DeltaCollection("6f2d", "Bücher", "default_tenant", "default_database", None, 0),),
    (DeltaFile("chroma.sqlite3", 4096, SUM), DeltaFile("6f2d/data_level0.bin", 0, SUM)),
)


def test_what_is_written_is_read():
    assert parse(encode(MANIFEST), "x") == MANIFEST


def test_what_a_later_release_added_is_left_out():
    loaded = json.loads(encode(MANIFEST))
    loaded["files"][0]["later"] = loaded["later"] = 1
    assert parse(json.dumps(loaded).encode(), "x") == MANIFEST


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format",), "other"),
        (("version",), 2),
        (("files",), None),
        (("files", 0, "path"), "../chroma.sqlite3"),
        (("files", 0, "path"), "/etc/passwd"),
        (("files", 0, "path"), "a//b"),
        (("files", 0, "path"), ""),
        (("files", 0, "path"), "a\\b"),
        (("files", 0, "path"), "6f2d/data_level0.bin"),
        (("files", 0, "bytes"), -1),
        (("files", 0, "bytes"), "4096"),
        (("files", 0, "sha256"), "00"),
        (("collections", 0), 7),
    ],
)
def test_what_cannot_be_right_is_refused(place, value):
    loaded = json.loads(encode(MANIFEST))
    parent = loaded
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    with pytest.raises(ChromaError) as caught:
        parse(json.dumps(loaded).encode(), "s3://bucket/x")
    assert (caught.value.code, "s3://bucket/x" in caught.value.message) == ("invalid_delta", True)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{}", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(ChromaError) as caught:
        parse(content, "x")
    assert caught.value.code == "invalid_delta"


def test_ids_differ_and_sort_by_time():
    first, second = (new_id(datetime(2026, 11, 21, 9, minute, tzinfo=UTC)) for minute in (0, 1))
    assert first < second
    assert new_id(datetime(2026, 11, 21, tzinfo=UTC)) != new_id(datetime(2026, 11, 21, tzinfo=UTC))
    assert is_id(first)
    assert not is_id(f"{first}0")


def test_open_files_are_seen_and_closed_ones_are_not(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"x")
    with (tmp_path / "inner" / "file").open():
        assert open_files(tmp_path.resolve()) == ["inner/file"]
    assert open_files(tmp_path.resolve()) == []


def test_a_directory_that_only_begins_with_the_same_name_is_another_one(tmp_path):
    (tmp_path / "db").mkdir()
    with (tmp_path / "db-other").open("wb"):
        assert open_files((tmp_path / "db").resolve()) == []


@pytest.mark.parametrize("client", [None, object()])
def test_what_has_no_directory_is_refused(client):
    with pytest.raises(ChromaError) as caught:
        Delta(client)
    assert caught.value.code == "invalid_value"


class Disturbed(Store):
    """A store in which another upload is quicker: what one of them left is gone when it is looked at."""

    quicker = MANIFEST.id

    def at(self, path: str) -> Store:
        if path == self.quicker:
            shutil.rmtree(Path(self.root) / path)
        return super().at(path)


def test_what_two_uploads_tidy_up_at_once_is_no_failure_of_either(tmp_path):
    abandoned = ("20261101T000000Z-aaaaaa", MANIFEST.id, "20261121T093000Z-bbbbbb")
    for name in (*abandoned, "done"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "delta.json.unverified").write_bytes(b"x")
        os.utime(tmp_path / name / "delta.json.unverified", (1000, 1000))
    (tmp_path / "done" / "delta.json").write_bytes(b"x")
    store = open_store(str(tmp_path))
    sweep(Disturbed(store.filesystem, store.root, store.location, store.local), store.at("done"))
    assert [path for path in store.files() if not path.startswith("done/")] == []
