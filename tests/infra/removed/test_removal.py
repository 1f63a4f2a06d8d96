# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After 19_rollback with remove_data: nothing is left, the volume included."""

from __future__ import annotations

from ..conftest import Release


def test_the_namespace_is_gone(release: Release) -> None:
    assert release.get("namespace", release.names["chroma_namespace"]) == {}


def test_its_volume_is_gone(release: Release) -> None:
    claims = [each["spec"].get("claimRef", {}).get("namespace") for each in release.get("persistentvolumes").get("items", [])]
    assert release.names["chroma_namespace"] not in claims
