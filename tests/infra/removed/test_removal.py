# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After 19_rollback with remove_data: nothing is left, the volume included."""

from __future__ import annotations

import time

from ..conftest import Release


def test_the_namespace_is_gone(release: Release) -> None:
    assert release.get("namespace", release.names["chroma_namespace"]) == {}


def claims(release: Release) -> list[str | None]:
    return [each["spec"].get("claimRef", {}).get("namespace") for each in release.get("persistentvolumes").get("items", [])]


def test_its_volume_is_gone(release: Release) -> None:
    end = time.monotonic() + 120
    while release.names["chroma_namespace"] in claims(release):
        # The provisioner empties it with a pod of its own, after the claim is gone.
        assert time.monotonic() < end, "the volume is still there"
        time.sleep(1)
