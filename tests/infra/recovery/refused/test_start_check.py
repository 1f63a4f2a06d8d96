# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After two indexes were destroyed on disk: the server is not started on them, and its pod says what to run."""

from __future__ import annotations

from ...conftest import Release


def test_the_init_container_refuses_the_start_and_names_collections_and_playbook(release: Release) -> None:
    pod = release.get("pod", f"{release.names['chroma_statefulset']}-0")
    [check] = pod["status"]["initContainerStatuses"]
    ended = check["state"].get("terminated") or check["lastState"]["terminated"]
    assert ended["exitCode"] == 4
    for word in ("default_database/fruit", "default_database/colours", "42_recover", "chroma_start_check=false"):
        assert word in ended["message"]
    assert not any(each["ready"] or each.get("started") for each in pod["status"]["containerStatuses"])
