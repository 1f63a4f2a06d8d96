# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the directory of a running server, against what was acknowledged at their moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from writing import Writer, differences, seconds, served, stored, writing

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest, new_id, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take


def check(tree: Path, manifest: BackupManifest, writers: list[Writer]) -> None:
    """Check that a copy validates clean, and is exactly what was acknowledged at its moment."""
    report = validate(tree / "data", live=False)
    assert report.of_data == []
    assert report.decided
    assert parse_manifest((tree / "manifest.json").read_bytes(), str(tree)) == manifest
    found = stored(tree / "data")
    moment = seconds(manifest.created)
    for writer in writers:
        assert differences(found[writer.name], writer.states(moment), writer.space) == "", writer.name
    assert {each.name: each.count for each in manifest.collections} == {name: len(records) for name, records in found.items()}


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_each_hot_copy_is_what_was_acknowledged_at_its_moment(version, tmp_path):
    """Twenty in a row of the newest release; and its server returns the same of the last one."""
    data, pauses, attempts = tmp_path / "data", [], 0
    data.mkdir()
    with servers.running(version, data=data) as server, writing(server.url) as writers:
        while min(len(each.writes) for each in writers) < 40:
            pass_the_time(writers)
        for _each in range(20 if version == servers.VERSIONS[-1] else 4):
            name = new_id()
            with scratch(data, name) as room:
                manifest = take(data, room / "tree", About(name), live=True)
                pauses.append(manifest.pause_seconds)
                attempts += manifest.lock_attempts
                check(room / "tree", manifest, writers)
        last = tmp_path / "last"
        manifest = take(data, last, About(new_id()), live=True)
        assert validate(data, live=True).of_data == []
    assert [each.failures for each in writers] == [[], [], []]
    states = {each.name: each.states(seconds(manifest.created)) for each in writers}
    with servers.running(version, data=last / "data") as server:
        found = served(server.url, list(states))
    for each in writers:
        assert differences(found[each.name], states[each.name], each.space) == "", each.name
    longest = max(each.longest for each in writers)
    writes = sum(len(each.writes) for each in writers)
    figures = f"pause {min(pauses):.2f} to {max(pauses):.2f} s, {attempts} locks; longest of {writes} writes {longest:.2f} s"
    print(f"\n{version}: {len(pauses)} copies, {figures}")


@pytest.fixture(params=["xfs", "btrfs"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that knows reflinks."""
    image, place = tmp_path / "image", tmp_path / "volume"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(600 << 20)
    tool, mount = f"mkfs.{request.param}", ["mount", "-o", "loop", str(image), str(place)]
    made = shutil.which(tool) and not subprocess.run([tool, "-q", str(image)], check=False).returncode
    if not made or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip(f"{request.param} can't be made or mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_where_the_file_system_knows_reflinks_the_copy_shares_its_blocks(volume):
    data = volume / "data"
    data.mkdir()
    with servers.running(servers.VERSIONS[-1], data=data) as server, writing(server.url) as writers:
        while min(len(each.writes) for each in writers) < 40:
            pass_the_time(writers)
        for _each in range(3):
            name = new_id()
            with scratch(data, name) as room:
                manifest = take(data, room / "tree", About(name), live=True)
                assert manifest.reflink
                check(room / "tree", manifest, writers)
                print(f"\npause {manifest.pause_seconds:.3f} s")
        away = volume.parent / "away"
        assert not take(data, away, About(new_id()), live=True).reflink, "to another file system blocks are copied"
    assert [each.failures for each in writers] == [[], [], []]


def test_memory_does_not_grow_with_the_data(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        f"from {take.__module__} import About, take; from {new_id.__module__} import new_id\n"
        "take(Path(sys.argv[1]), Path(sys.argv[2]), About(new_id()), live=True)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    used = []
    for records in (1_000, 200_000):
        data, tree = tmp_path / f"data-{records}", tmp_path / f"tree-{records}"
        synthetic.create(data, records, 64)
        command = [sys.executable, "-c", program, str(data), str(tree)]
        used.append(int(subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout))
    print(f"\n{used} kB")
    assert used[1] < 300_000
    assert used[1] < used[0] + 30_000


def pass_the_time(writers: list[Writer]) -> None:
    """Wait a moment; a writer that failed says why."""
    for each in writers:
        each.join(0.05)
        assert each.failures == []
