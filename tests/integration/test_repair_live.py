# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs beside a server that writes, and with a server that is stopped for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import servers
from repairing import breaks, left, mend
from restoring import COLLECTIONS, Place, files
from test_restore_cluster import Cluster
from writing import differences, served, writing

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

NEWEST = servers.VERSIONS[-1]
BENCH = COLLECTIONS.parents[1] / "bench"


# Runs a command and writes the most memory that it had, KiB: a child's memory counts from before it became another program.
MEASURE = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[2:]);"
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
)


def module(place, name, measured=None, check=False, **options):
    """Run a module in a process of its own, as a Job does: what this process closes would drop its locks."""
    file = place / f"arguments-{time.monotonic_ns()}.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}))
    command = [sys.executable, "-m", f"ansible_collections.thinkube.chroma.plugins.modules.{name}", str(file)]
    if measured:
        command = [sys.executable, "-c", MEASURE, str(measured), *command]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, capture_output=True, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    result = json.loads(done.stdout)
    assert "exception" not in result, result
    return result


def findings(path):
    return sorted({each.kind.id for each in validate(path, live=True).of_data})


def test_beside_a_writer_none_of_its_writes_fails(bases, tmp_path):
    """Deleted collections leave folders and lists; then all of it is put back beside the writer, too."""
    path = tmp_path / "data"
    scene = breaks("lists_of_no_record", NEWEST, bases, path)
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (2000000, 'a', 'b')")
    data = scene.folder("far") / "data_level0.bin"
    os.truncate(data, data.stat().st_size + 5)
    with servers.running(NEWEST, data=path) as server:
        ChromaClient(Connection(server.url)).delete_collection("books")
        with writing(server.url, {"first": "l2", "second": "ip"}, pause=0.01) as writers:
            time.sleep(1)
            result = module(tmp_path, "chroma_repair", path=str(path))
            assert not result.get("failed"), result
            assert (result["changed"], result["live"], len(result["folders"])) == (True, True, 1)
            assert {each["finding"] for each in result["repaired"]} >= {"CHR017", "CHR081", "CHR082"}
            assert "CHR034" in [each["finding"] for each in left(result)]
            assert findings(path) == ["CHR034"]
            undone = module(tmp_path, "chroma_repair_undo", path=str(path))
            assert not undone.get("failed"), undone
            assert (undone["exact"], undone["rows"], undone["folders"]) == (False, result["rows"], result["folders"])
            assert set(findings(path)) >= {"CHR017", "CHR034", "CHR081", "CHR082"}
            time.sleep(0.5)
        assert [each.failures for each in writers] == [[], []]
        print(f"{[len(each.writes) for each in writers]} writes, the longest took {max(each.longest for each in writers):.2f} s")
        now = served(server.url, ["first", "second"])
        for writer in writers:
            assert differences(now[writer.name], writer.states(time.time()), writer.space) == ""
    # Stopped, the rest is mended as well.
    assert mend(path)["changed"]
    assert findings(path) == []


@pytest.mark.parametrize("kill", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_the_server_is_stopped_for_what_needs_it(kill, bases, tmp_path):
    breaks("the_vectors_are_longer", NEWEST, bases, tmp_path / "data")
    place = Place(tmp_path)
    with serve() as api:
        cluster = Cluster(api, place)
        try:
            options = {key: value for key, value in cluster.options().items() if key != "start_timeout"}
            unstopped = module(tmp_path, "chroma_repair", **options, stop=False)
            assert (unstopped["changed"], [each["finding"] for each in left(unstopped)]) == (False, ["CHR034"])
            if kill:
                given = {"repository": None, "repository_password": None, "restic_path": None, **options}
                assert place.killed("chroma_repair", "_repair.pieces.put", 1, **given)
                assert cluster.paused
            result = module(tmp_path, "chroma_repair", **options, start_timeout=20)
            assert not result.get("failed"), result
            assert (len(result["completed"]), result["downtime_seconds"] is None) == ((1, True) if kill else (0, False))
            assert (cluster.paused, cluster.seen, cluster.count()) == (False, [1, 0, 1], cluster.count())
            assert findings(place.data) == []
            undone = module(tmp_path, "chroma_repair_undo", **options, start_timeout=20)
            assert undone["exact"]
            assert undone["downtime_seconds"] > 0
            assert (cluster.paused, findings(place.data)) == (False, ["CHR034"])
        finally:
            cluster.stop()


@pytest.mark.parametrize("name", ["repair", "undo_repair"])
def test_the_playbooks_say_what_they_do(name, bases, tmp_path, run_playbook):
    path = tmp_path / "data"
    breaks("a_folder_belongs_to_nobody", NEWEST, bases, path)
    before = files(path)
    if name == "undo_repair":
        mend(path)
    there = files(path)
    playbook = str(COLLECTIONS.parents[1] / "playbooks" / "data" / f"{name}.yaml")
    given = ("-e", f"chroma_data_path={path}", "-e", f"ansible_python_interpreter={sys.executable}")
    planned = run_playbook(playbook, *given, "-e", "chroma_repair_plan=true")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert files(path) == there
    done = run_playbook(playbook, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("CHR017" if name == "repair" else "back  folder") in done.stdout
    assert (files(path) == before) is (name == "undo_repair")


@pytest.mark.thorough
@pytest.mark.parametrize("live", [False, True])
def test_memory_stays_below_400_mib_for_any_size(live, tmp_path):
    """200,000 records of a collection that is gone, with documents, metadata, log and full text."""
    path = tmp_path / "data"
    command = [sys.executable, str(BENCH / "synthetic.py"), str(path), "--records", "200000", "--dimension", "32", "--fulltext"]
    subprocess.run(command, check=True, capture_output=True)
    place = path / "chroma.sqlite3"
    subprocess.run(
        [sys.executable, "-c", f"import sqlite3; c=sqlite3.connect({str(place)!r}); c.execute('DELETE FROM collections'); c.commit()"],
        check=True,
    )
    began, measured = time.monotonic(), tmp_path / "memory"
    result = module(tmp_path, "chroma_repair", measured, path=str(path), live=live)
    assert not result.get("failed"), result
    most = int(measured.read_text())
    print(f"live {live}: {result['rows']} in {time.monotonic() - began:.1f} s, {most >> 10} MiB")
    assert result["rows"]["embeddings"] == 200_000
    assert findings(path) == []
    assert 20 << 10 < most < 400 << 10
    shutil.rmtree(path)
