# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""chroma_export on data of all supported releases: by the directory and by the server, exactly what the server says."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exporting
import numpy as np
import pytest
import servers

RECORDS = 900


@dataclass(frozen=True)
class Release:
    """Data that a release made: its directory, a dataset exported by url, and what the server said."""

    version: str
    data: Path
    by_url: Path
    said: dict[str, dict[str, Any]]
    spaces: dict[str, str]


@pytest.fixture(scope="module", params=servers.VERSIONS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    version, base = request.param, tmp_path_factory.mktemp(request.param)
    spaces = {"euclid": "l2", "dot": "ip", "angle": "cosine"}
    with servers.running(version, data=base / "data") as server:
        client = exporting.connect(server.url)
        for name, space in spaces.items():
            exporting.fill(client, name, RECORDS, space=space, lists=version == "1.5.9")
        client.create_collection("empty")
        said = {name: exporting.served(client, name) for name in spaces}
        result = exporting.run({"url": server.url, "destination": str(base / "by-url")})
        assert {each["name"]: each["records"] for each in result["collections"]} == {
            **{name: len(said[name]) for name in spaces},
            "empty": 0,
        }
    yield Release(version, base / "data", base / "by-url", said, spaces)
    shutil.rmtree(base)


def without_vectors(records: dict[str, Any]) -> dict[str, Any]:
    return {key: {**each, "embedding": None} for key, each in records.items()}


@pytest.mark.parametrize("name", ["euclid", "dot", "angle"])
def test_by_url_it_is_exactly_what_the_server_says(release, name):
    exporting.same(exporting.exported(release.by_url, name), release.said[name])


def test_by_path_it_is_exactly_what_the_server_said(release, tmp_path):
    result = exporting.run({"path": str(release.data), "destination": str(tmp_path / "set")})
    assert result["changed"] is True
    for name in ("euclid", "dot"):
        exporting.same(exporting.exported(tmp_path / "set", name), release.said[name])
    # The index holds vectors of length 1, and what a server makes of them again differs in the last bits.
    found, said = exporting.exported(tmp_path / "set", "angle"), release.said["angle"]
    exporting.same(without_vectors(found), without_vectors(said))
    for name, record in found.items():
        one, other = (np.frombuffer(base64.b64decode(each["embedding"]), np.float32) for each in (record, said[name]))
        assert np.allclose(one, other, rtol=0, atol=1e-6), name


def test_both_ways_describe_a_collection_alike(release, tmp_path):
    exporting.run({"path": str(release.data), "destination": str(tmp_path / "set")})
    by_path, by_url = exporting.manifest(tmp_path / "set"), exporting.manifest(release.by_url)
    assert (by_path["consistent"], by_url["consistent"]) == (True, False)
    volatile = ("parts", "schema", "dimension") if release.version == "0.4.24" else ("parts", "schema")
    first, second = ({each["name"]: each for each in one["collections"]} for one in (by_path, by_url))
    for name, space in {**release.spaces, "empty": "l2"}.items():
        assert first[name]["space"] == space
        assert {key: first[name][key] for key in first[name] if key not in volatile} == {
            key: second[name][key] for key in second[name] if key not in volatile
        }


def test_a_second_run_changes_nothing_and_says_so(release, tmp_path):
    arguments = {"path": str(release.data), "destination": str(tmp_path / "set")}
    first = exporting.run(arguments)
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "set").rglob("*")}
    second = exporting.run(arguments)
    assert second["changed"] is False
    assert second["collections"] == first["collections"]
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "set").rglob("*")} == before
    assert exporting.run({**arguments, "collections": ["dot"]})["code"] == "exists"
