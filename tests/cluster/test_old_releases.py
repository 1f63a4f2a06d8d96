# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same playbooks with an older Chroma: deployed, tested, removed with its data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from .conftest import PREFIX, Done, Playbooks, Release, kubectl

VERSIONS = ("0.6.3", "0.5.23")


@dataclass(frozen=True)
class Life:
    """What the playbooks said, and the image that ran between deployment and removal."""

    release: Release
    tested: Done
    image: str


def live(playbooks: Playbooks, version: str) -> Life:
    release = Release(f"{PREFIX}-{version.replace('.', '-')}", {"chroma_version": version})
    try:
        playbooks.succeed("10_deploy", release)
        tested = playbooks.succeed("18_test", release)
        image = release.get("pod", "chroma-0")["spec"]["containers"][0]["image"]
        playbooks.succeed("19_rollback", release, remove_data=True)
    except AssertionError:  # the node has no room for what nobody uses
        kubectl("delete", "namespace", release.name, "--wait=false", "--ignore-not-found")
        raise
    return Life(release, tested, image)


@pytest.fixture(scope="module")
def lives(playbooks: Playbooks) -> Iterator[dict[str, Future[Life]]]:
    """Both at once: most of a life is spent waiting for probes."""
    with ThreadPoolExecutor() as pool:
        yield {version: pool.submit(live, playbooks, version) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_release_is_deployed_tested_and_removed(lives: dict[str, Future[Life]], version: str) -> None:
    life = lives[version].result()
    assert life.image.endswith(f"/chroma:{version}")
    assert " passed, 0 failed" in life.tested.words
    assert not life.release.exists()
