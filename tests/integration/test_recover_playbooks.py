# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data playbooks of a recovery and of its drill, as a user has them."""

from __future__ import annotations

import json
import os
import re
import sys

import disks
import pytest
import recovering
import restic
import servers
from recovering import same, served
from restoring import PASSWORD

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


@pytest.fixture
def play(run_playbook):
    def run(name, **variables):
        settings = {"ansible_python_interpreter": sys.executable, "chroma_restic_path": str(restic.quick())}
        done = run_playbook(f"../../playbooks/data/{name}.yaml", "-e", json.dumps({**settings, **variables}), RESTIC_PASSWORD=PASSWORD)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.thorough
def test_a_plan_that_the_playbook_wrote_is_done_by_it(play, tmp_path, tmp_path_factory):
    whole = recovering.once("1.5.9", tmp_path_factory)
    place, scene = whole.copy(tmp_path / "broken")
    (scene.folder("angles") / "header.bin").write_bytes(b"torn")
    settings = {"chroma_data_path": str(place.data), "chroma_repository": str(place.repository)}
    plan = tmp_path / "plan.json"
    said = play("recover", chroma_recover_plan=True, chroma_report=str(plan), **settings)
    assert "angles -> angles-recovered: 80 of 80 records" in said
    with servers.running("1.5.9", data=place.data) as server:
        said = play("recover", chroma_recover_plan_file=str(plan), chroma_url=server.url, chroma_recover_in_place=True, **settings)
        assert "80 records, read back equal" in said
        client = ChromaClient(Connection(server.url))
        same(served(client, "angles"), whole.records["angles"], "cosine")
        assert client.get_collection("angles-damaged") is not None


@pytest.mark.thorough
def test_the_drill_brings_everything_back(play, tmp_path):
    """On a volume that is nearly full, too: that is a finding, and none of the drill's."""
    with disks.mounted(tmp_path / "disk", "size=1g") as disk:
        with (disk / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, 930 << 20)
        said = play("test_recover", chroma_scratch_path=str(disk))
        assert len(re.findall(r"(\d+) of \1, equal", said)) == 6
        assert not list(disk.glob(".thinkube-chroma-*"))
