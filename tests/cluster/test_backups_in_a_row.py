# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot backups in a row, while others write through the ingress: no write fails, and each backup is what was acknowledged at its moment."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from pathlib import Path

import pytest
import restic
from writing import Writer, differences, seconds, stored, writing

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

from .conftest import CLUSTER, PREFIX, TOKEN, Playbooks, Release, get, until
from .jobs import begun, ended, results, start_in_a_row

RELEASE = Release(f"{PREFIX}-row")


@pytest.fixture(scope="module")
def ingress(playbooks: Playbooks) -> Connection:
    """The way to a new release that its users take."""
    playbooks.succeed("10_deploy", RELEASE)
    return Connection(f"https://{RELEASE.hostname}", token=TOKEN, ca_path=str(CLUSTER / "pki" / "ca.crt"))


def repository() -> Path:
    """Return the repository: the volumes of the local cluster are folders of this machine."""
    claim = RELEASE.get("persistentvolumeclaim", "chroma-backups-pvc")
    return Path(get("persistentvolume", claim["spec"]["volumeName"])["spec"]["hostPath"]["path"]) / "chroma"


def bring_back(backup: str, target: Path) -> BackupManifest:
    """Get a full backup with restic alone, and return its manifest."""
    password = base64.b64decode(RELEASE.get("secret", "chroma-backup")["data"]["repository-password"]).decode()
    command = [str(restic.program()), "--repo", str(repository()), "--no-lock", "--no-cache"]
    command += ["restore", "latest", f"--tag=id={backup}", f"--target={target}"]
    subprocess.run(command, env={**os.environ, "RESTIC_PASSWORD": password}, check=True, capture_output=True, timeout=600)
    return parse_manifest((target / "manifest.json").read_bytes(), backup)


def assert_equal(tree: Path, manifest: BackupManifest, writers: list[Writer]) -> None:
    """Ids, vectors, documents and metadata are those that were acknowledged at the moment of the lock."""
    found, moment = stored(tree / "data"), seconds(manifest.created)
    for writer in writers:
        states = writer.states(moment)
        assert len(states[0]) > 50
        assert differences(found[writer.name], states, writer.space) == "", (manifest.id, writer.name)
    assert {each.name: each.count for each in manifest.collections} == {name: len(records) for name, records in found.items()}


@pytest.mark.parametrize("number", [4, 20])
def test_each_is_what_was_acknowledged_at_its_moment_and_no_write_failed(
    ingress: Connection, playbooks: Playbooks, tmp_path: Path, number: int
) -> None:
    with writing(ingress, pause=0.1) as writers:
        until(lambda: min(len(each.writes) for each in writers) > 40, "some records")
        process, output = playbooks.start("20_backup", RELEASE)
        job = begun(process, output)
        assert ended(process, output, playbooks).code == 0
        began = time.monotonic()
        row = start_in_a_row(RELEASE, job, number - 1)
        status = until(
            lambda: (found := RELEASE.get("job", row)["status"]) and (found.get("succeeded") or found.get("failed")) and found,
            "the end of the backups",
            240 * number,
            pause=2,
        )
        took = time.monotonic() - began
        assert "failed" not in status, results(RELEASE, row)
        made = [*results(RELEASE, job), *results(RELEASE, row)]
        assert [each.failures for each in writers] == [[], [], []]
        assert all(each.is_alive() for each in writers)
    assert len({each["backup"]["id"] for each in made}) == number
    pauses = []
    for each in made:
        backup = each["backup"]
        assert (backup["kind"], backup["mode"]) == ("full", "hot")
        assert backup["verified"]
        tree = tmp_path / backup["id"]
        manifest = bring_back(backup["id"], tree)
        assert_equal(tree, manifest, writers)
        pauses.append(manifest.pause_seconds)
    # By the same way: what was written is also what is served.
    client = ChromaClient(ingress)
    assert {each.name: client.count(each) for each in client.list_collections()} == {
        each.name: len(each.states(time.time())[0]) for each in writers
    }
    for each in client.list_collections():
        client.delete_collection(each.name)
    writes, longest = sum(len(each.writes) for each in writers), max(each.longest for each in writers)
    figures = f"the longest pause {max(pauses):.2f} s; {writes} writes through the ingress, none failed, the longest took {longest:.2f} s"
    print(f"\n{number} hot backups, all but the first in {took:.0f} s; {figures}")
