# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same playbooks with an older Chroma: deployed, tested, removed with its data."""

from __future__ import annotations

import pytest

from .conftest import PREFIX, Playbooks, Release, kubectl


@pytest.mark.parametrize("version", ["0.6.3", "0.5.23"])
def test_an_older_release_is_deployed_tested_and_removed(playbooks: Playbooks, version: str) -> None:
    release = Release(f"{PREFIX}-{version.replace('.', '-')}", {"chroma_version": version})
    try:
        playbooks.succeed("10_deploy", release)
        tested = playbooks.succeed("18_test", release)
        image = release.get("pod", "chroma-0")["spec"]["containers"][0]["image"]
        playbooks.succeed("19_rollback", release, remove_data=True)
    except AssertionError:  # the node has no room for what nobody uses
        kubectl("delete", "namespace", release.name, "--wait=false", "--ignore-not-found")
        raise
    assert image.endswith(f"/chroma:{version}")
    assert " passed, 0 failed" in tested.words
    assert not release.exists()
