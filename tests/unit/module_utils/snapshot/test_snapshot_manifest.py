# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of backups: what is written is read, and what cannot be is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    BackupCollection,
    BackupManifest,
    encode_manifest,
    is_id,
    new_id,
    parse_manifest,
    utc,
)

ID, OTHER = "20261121T091500Z-0a1b2c", "20261120T091500Z-ffffff"
COLLECTION = BackupCollection("6f3e", "books", "default_tenant", "db", {"a": 1, "b": True, "ü": 2.5}, None, {"keys": {}}, 384, "ip", 7)
MANIFEST = BackupManifest(
    ID,
    "full",
    "2026-11-21T09:15:00.000001Z",
    "hot",
    pause_seconds=0.5,
    lock_attempts=1,
    migrations={"sysdb": 10, "metadb": 6, "embeddings_queue": 2},
    position=12,
    source="/data",
    bytes=100,
    tenants=("default_tenant",),
    databases=(("default_tenant", "db"),),
    collections=(COLLECTION, replace(COLLECTION, id="7a", dimension=None, count=3)),
)
INCREMENT = replace(MANIFEST, kind="increment", parent=OTHER, base=OTHER)


@pytest.mark.parametrize("manifest", [MANIFEST, INCREMENT, replace(MANIFEST, kind="restore-point", damaged="torn", collections=())])
def test_what_is_written_is_read(manifest: BackupManifest) -> None:
    assert parse_manifest(encode_manifest(manifest), "x") == manifest


def test_what_a_later_release_adds_is_left_out() -> None:
    content = json.loads(encode_manifest(MANIFEST))
    content["later"] = content["collections"][0]["later"] = 1
    assert parse_manifest(json.dumps(content).encode(), "x") == MANIFEST


def test_records_are_those_of_all_collections() -> None:
    assert MANIFEST.records == 10


def test_a_newer_format_is_refused() -> None:
    content = {**json.loads(encode_manifest(MANIFEST)), "version": 2}
    with pytest.raises(ChromaError) as refused:
        parse_manifest(json.dumps(content).encode(), "the one")
    assert refused.value.code == "newer_backup"
    assert "the one" in refused.value.message


def changed(**values: Any) -> bytes:
    return json.dumps({**json.loads(encode_manifest(MANIFEST)), **values}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"[]", "indices"),
        (b"\xff", "utf-8"),
        (b"{}", "'format' is missing"),
        (changed(format="thinkube.chroma/dataset"), "thinkube.chroma/dataset"),
        (changed(version="x"), "invalid literal"),
        (changed(id="../../etc"), "no id"),
        (changed(kind="half"), "unknown"),
        (changed(mode="warm"), "unknown"),
        (changed(kind="increment"), "do not belong"),
        (changed(kind="increment", parent=OTHER), "do not belong"),
        (changed(parent=OTHER), "do not belong"),
        (changed(position=-1), "no number"),
        (changed(bytes="many"), "no number"),
        (changed(migrations={"sysdb": None}), "no number"),
        (changed(collections=[{"id": "1"}]), "missing"),
        (changed(collections=json.loads(changed())["collections"][:1] * 2), "twice"),
        (changed(databases=["default"]), "unpack"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ChromaError) as refused:
        parse_manifest(content, "the one")
    assert refused.value.code == "invalid_manifest"
    assert reason in refused.value.message


def test_ids_are_of_their_second_and_differ() -> None:
    moment = datetime(2026, 11, 21, 10, 15, tzinfo=timezone(timedelta(hours=1)))
    first, second = new_id(moment), new_id(moment)
    assert first != second
    assert is_id(first)
    assert first.startswith("20261121T091500Z-")


@pytest.mark.parametrize("text", ["", "latest", f"{ID}/..", f"{ID}\n", ID.upper(), f"x{ID}"])
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_moments_sort_as_texts() -> None:
    moments = [datetime(2026, 11, 21, 9, tzinfo=UTC) + timedelta(microseconds=each) for each in (0, 1, 999_999, 1_000_000)]
    texts = [utc(each) for each in moments]
    assert texts == sorted(texts)
    assert [datetime.fromisoformat(each) for each in texts] == moments
