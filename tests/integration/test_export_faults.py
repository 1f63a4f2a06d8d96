# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""chroma_export interrupted: whatever happens, half a dataset never lies under its final name, and the next run completes it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import disks
import exporting
import object_store
import pytest
import servers
from interference import Proxy, proxy

from ansible_collections.thinkube.chroma.tests.waiting import until

# Three parts.
RECORDS, DIMENSION = 300_000, 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a data directory of several parts."""
    path = tmp_path_factory.mktemp("large") / "data"
    exporting.synthetic(path, RECORDS, DIMENSION)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def s3() -> Iterator[object_store.ObjectStore]:
    with object_store.running() as running:
        yield running


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """Run the newest release with a collection of many pages."""
    with servers.running(servers.VERSIONS[-1]) as server:
        exporting.fill(exporting.connect(server.url), "many", 4000, dimension=64)
        yield server


def keys(store: object_store.ObjectStore, endpoint: str | None = None, **changed: Any) -> dict[str, Any]:
    options = {"s3_endpoint": endpoint or store.endpoint, "access_key": store.access_key, "secret_key": store.secret_key, "s3_timeout": 2}
    return {**options, **changed}


def check_parts(dataset: Path, records: int) -> set[str]:
    """Fail unless every part is as the manifest says, and they hold so many records, once each; returns the files of the dataset."""
    parts = [part for each in exporting.manifest(dataset)["collections"] for part in each["parts"]]
    for part in parts:
        assert exporting.checksum(dataset / part["path"]) == part["sha256"]
    ids = exporting.exported_ids(dataset)
    assert len(set(ids)) == len(ids) == records == sum(part["records"] for part in parts)
    return {part["path"] for part in parts} | {"manifest.json", "VDF_META.json"}


def check_whole(dataset: Path, records: int) -> None:
    """Fail unless the dataset is complete, and nothing else is beside it."""
    named = check_parts(dataset, records)
    assert {str(each.relative_to(dataset)) for each in dataset.rglob("*") if each.is_file()} == named


@pytest.mark.parametrize("where", ["directory", "object store"])
def test_killed_at_any_moment_it_goes_on_where_it_was(where, large, s3, tmp_path):
    local = where == "directory"
    dataset = tmp_path / "set" if local else s3.root / s3.bucket / "killed"
    target = {"destination": str(dataset)} if local else {"destination": f"s3://{s3.bucket}/killed", **keys(s3)}
    arguments, chance = {"path": str(large), **target}, random.Random(7)
    began = time.monotonic()
    exporting.run({"path": str(large), "destination": str(tmp_path / "other")})
    takes = time.monotonic() - began
    killed = 0
    while killed < 5:
        process = exporting.start(arguments)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(takes * chance.uniform(0.2, 1))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode != 0
        if (dataset / "manifest.json").exists():
            # It was done before it was killed, or killed while it tidied up: whole, and again from the beginning, killed earlier.
            check_parts(dataset, RECORDS)
            shutil.rmtree(dataset)
            takes *= 0.8
    exporting.run(arguments)
    check_whole(dataset, RECORDS)
    assert not (tmp_path / "set.partial").exists()
    assert exporting.exported_ids(dataset) == exporting.exported_ids(tmp_path / "other")


def test_parts_that_were_finished_are_not_written_again(large, tmp_path):
    arguments = {"path": str(large), "destination": str(tmp_path / "set")}
    process = exporting.start(arguments)
    first = tmp_path / "set.partial" / "collections"
    until(lambda: list(first.rglob("part-00001.parquet*")), "a second part", pause=0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {each.name: each.stat().st_ino for each in first.rglob("*.parquet")}
    assert kept
    assert not (tmp_path / "set").exists()
    assert exporting.run(arguments)["resumed_parts"] == len(kept)
    assert kept.items() <= {each.name: each.stat().st_ino for each in (tmp_path / "set").rglob("*.parquet")}.items()
    check_whole(tmp_path / "set", RECORDS)


@pytest.mark.parametrize("phase", ["rename", "rmtree"])
def test_killed_while_it_replaces_a_dataset_it_leaves_a_whole_one(phase, large, tmp_path):
    """The moments around the two renames are too short for chance: the process ends itself there."""
    small = tmp_path / "small"
    exporting.synthetic(small, 50, 4)
    arguments = {"path": str(large), "destination": str(tmp_path / "set")}
    exporting.run({"path": str(small), "destination": str(tmp_path / "set")})
    dying = exporting.start({**arguments, "overwrite": True}, PYTHONPATH=_dies_at(tmp_path, phase))
    dying.communicate(timeout=600)
    assert dying.returncode == -signal.SIGKILL
    whole = [each for each in (tmp_path / "set", tmp_path / "set.replaced") if (each / "manifest.json").exists()]
    assert whole, "neither the old nor the new dataset is there"
    assert exporting.run({**arguments, "overwrite": True})["collections"][0]["records"] == RECORDS
    check_whole(tmp_path / "set", RECORDS)
    assert sorted(each.name for each in tmp_path.glob("set*")) == ["set"]


def _dies_at(scratch: Path, phase: str) -> str:
    """Return a PYTHONPATH with a sitecustomize that kills the process after its first rename of a directory, or before it removes one."""
    rename = "def rename(*names):\n    old(*names)\n    die()\nold, os.rename = os.rename, rename\n"
    rmtree = "def rmtree(path, *_rest, **_options):\n    if os.path.exists(path):\n        die()\nshutil.rmtree = rmtree\n"
    code = "import os, shutil, signal\ndef die():\n    os.kill(os.getpid(), signal.SIGKILL)\n" + {"rename": rename, "rmtree": rmtree}[phase]
    (scratch / "site").mkdir()
    (scratch / "site" / "sitecustomize.py").write_text(code)
    return f"{scratch / 'site'}{os.pathsep}{exporting.COLLECTIONS}"


def test_a_full_disk_is_named_and_what_was_finished_is_kept(large, tmp_path):
    with disks.mounted(tmp_path / "disk", "size=10m") as mount:
        arguments = {"path": str(large), "destination": str(mount / "set")}
        failed = exporting.run(arguments)
        assert failed["code"] == "no_space", failed
        assert sorted(each.name for each in mount.iterdir()) == ["set.partial"]
        assert not list(mount.rglob("*.unfinished"))
        disks.resize(mount, "64m")
        done = exporting.run(arguments)
        assert done["resumed_parts"] >= 1, done
        check_whole(mount / "set", RECORDS)


def test_two_at_once_do_not_write_the_same_dataset(large, tmp_path):
    arguments = {"path": str(large), "destination": str(tmp_path / "set")}
    first = exporting.start(arguments)
    until((tmp_path / "set.partial" / "_state.json").exists, "an export that has begun", pause=0.005)
    first.send_signal(signal.SIGSTOP)
    try:
        refused = exporting.run(arguments)
    finally:
        first.send_signal(signal.SIGCONT)
    assert refused["code"] == "busy", refused
    assert exporting.end(first)["changed"] is True
    check_whole(tmp_path / "set", RECORDS)


def test_a_directory_that_is_written_to_is_never_exported(tmp_path):
    """As long as a server writes, no export of its directory succeeds; when it has stopped, one does."""
    with servers.running(servers.VERSIONS[-1], data=tmp_path / "data") as server:
        client, over = exporting.connect(server.url), threading.Event()
        exporting.fill(client, "busy", 3000, dimension=32)
        collection = client.require_collection("busy")

        def write() -> None:
            number = 0
            while not over.is_set():
                number += 1
                one = {"id": f"more-{number}", "embedding": [float(number)] * 32, "document": "d", "metadata": {"n": number}, "uri": None}
                exporting.upsert(client, collection, [one])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for attempt in range(3):
                result = exporting.run({"path": str(tmp_path / "data"), "destination": str(tmp_path / f"set-{attempt}")})
                assert result["code"] in ("directory_changed", "busy"), result
                assert not (tmp_path / f"set-{attempt}").exists()
        finally:
            over.set()
            writer.join()
        said = exporting.served(client, "busy")
    exporting.run({"path": str(tmp_path / "data"), "destination": str(tmp_path / "set-0")})
    exporting.same(exporting.exported(tmp_path / "set-0", "busy"), said)


def test_a_server_that_is_restarted_meanwhile_costs_no_record(tmp_path):
    """Killed at the tenth page and started again; the export waits, and is exactly what the server says."""
    data = tmp_path / "data"
    with contextlib.ExitStack() as stack:
        first = contextlib.ExitStack()
        server = first.enter_context(servers.running(servers.VERSIONS[-1], data=data))
        exporting.fill(exporting.connect(server.url), "many", 3000, dimension=64)
        said = exporting.served(exporting.connect(server.url), "many")
        middle: Proxy = stack.enter_context(proxy(server.url))
        pages = 0

        def restart() -> None:
            os.kill(server.pid, signal.SIGKILL)
            first.close()
            middle.target = stack.enter_context(servers.running(servers.VERSIONS[-1], data=data)).url

        def decide(_method: str, path: str, _number: int) -> None:
            nonlocal pages
            pages += path.endswith("/get")
            if path.endswith("/get") and pages == 10:
                threading.Thread(target=restart).start()

        middle.decide = decide
        result = exporting.run({"url": middle.url, "destination": str(tmp_path / "set")})
        assert result["changed"] is True, result
        assert middle.target != server.url
    exporting.same(exporting.exported(tmp_path / "set", "many"), said)


@pytest.mark.parametrize("change", ["add", "delete", "retype"])
def test_a_collection_that_changes_meanwhile_is_never_exported(change, chroma, tmp_path):
    client = exporting.connect(chroma.url)
    name = f"changing-{change}"
    exporting.fill(client, name, 1500)
    collection = client.require_collection(name)
    once = threading.Lock()

    def decide(_method: str, path: str, _number: int) -> None:
        nonlocal done
        pages = sum(1 for _method, each in middle.seen if each.endswith(f"{collection.id}/get"))
        if path.endswith("/get") and pages >= 9 and once.acquire(blocking=False):
            if change == "delete":
                client.delete(collection, ["id-1", "id-1498"])
            else:
                value = {"brand new": 1} if change == "retype" else None
                number = "id-1499" if change == "retype" else "later"
                exporting.upsert(
                    client, collection, [{"id": number, "embedding": [1.0] * 8, "document": None, "metadata": value, "uri": None}]
                )
            done = True

    done = False
    with proxy(chroma.url, decide) as middle:
        result = exporting.run({"url": middle.url, "collections": [name], "destination": str(tmp_path / "set")})
        assert done
        assert result["code"] == "collection_changed", result
        assert not (tmp_path / "set").exists()
    exporting.run({"url": chroma.url, "collections": [name], "destination": str(tmp_path / "set")})
    exporting.same(exporting.exported(tmp_path / "set", name), exporting.served(client, name))


def test_to_an_object_store_it_is_the_same(large, s3, tmp_path):
    exporting.run({"path": str(large), "destination": str(tmp_path / "set")})
    done = exporting.run({"path": str(large), "destination": f"s3://{s3.bucket}/same/set", **keys(s3)})
    assert done["dataset"] == f"s3://{s3.bucket}/same/set"
    remote = s3.root / s3.bucket / "same" / "set"
    check_whole(remote, RECORDS)
    assert exporting.exported_ids(remote) == exporting.exported_ids(tmp_path / "set")
    again = exporting.run({"path": str(large), "destination": f"s3://{s3.bucket}/same/set", **keys(s3)})
    assert again["changed"] is False


@pytest.mark.parametrize(("fault", "code"), [(500, "unavailable"), ("hang", "timeout")])
def test_a_failing_object_store_is_named_and_the_next_run_goes_on(fault, code, large, s3):
    prefix = f"failing-{fault}"
    remote = s3.root / s3.bucket / prefix

    def decide(_method: str, path: str, _number: int) -> int | str | None:
        return fault if "part-00001" in path else None

    with proxy(s3.endpoint, decide) as middle:
        options = {"path": str(large), "destination": f"s3://{s3.bucket}/{prefix}", **keys(s3, middle.url)}
        began = time.monotonic()
        failed = exporting.run(options, timeout=300)
        assert failed["code"] == code, failed
        print(f"named after {time.monotonic() - began:.0f} s")
        assert not (remote / "manifest.json").exists()
        middle.decide = lambda _method, _path, _number: None
        done = exporting.run(options)
        assert done["resumed_parts"] == 1
    check_whole(remote, RECORDS)


@pytest.mark.parametrize("fault", [500, "hang"])
@pytest.mark.parametrize("name", ["_state.json", "VDF_META.json", "manifest.json"])
def test_a_small_file_that_can_not_be_written_costs_no_dataset(name, fault, s3, tmp_path):
    for directory, records in (("old", 50), ("new", 60)):
        exporting.synthetic(tmp_path / directory, records, 4)
    prefix = f"small-{name}-{fault}"
    remote, where = s3.root / s3.bucket / prefix, {"destination": f"s3://{s3.bucket}/{prefix}"}
    exporting.run({"path": str(tmp_path / "old"), **where, **keys(s3)})
    with proxy(s3.endpoint, lambda method, path, _number: fault if method == "PUT" and name in path else None) as middle:
        failed = exporting.run(
            {"path": str(tmp_path / "new"), "overwrite": True, **where, **keys(s3, middle.url, s3_timeout=1)}, timeout=300
        )
    assert failed["code"] == ("timeout" if fault == "hang" else "unavailable"), failed
    check_parts(remote, 50)
    exporting.run({"path": str(tmp_path / "new"), "overwrite": True, **where, **keys(s3)})
    check_whole(remote, 60)


def test_of_two_exports_to_one_prefix_the_one_that_is_done_stays(large, s3, tmp_path):
    """The first stands still in the middle, the second does it all; the first then refuses to finish."""
    exporting.synthetic(tmp_path / "small", 50, 4)
    remote, where = s3.root / s3.bucket / "two", {"destination": f"s3://{s3.bucket}/two", **keys(s3)}
    first = exporting.start({"path": str(large), **where})
    until((remote / "_state.json").exists, "an export that has begun", pause=0.005)
    first.send_signal(signal.SIGSTOP)
    try:
        done = exporting.run({"path": str(tmp_path / "small"), **where})
    finally:
        first.send_signal(signal.SIGCONT)
    assert done["changed"] is True, done
    assert exporting.end(first)["code"] == "busy"
    check_parts(remote, 50)


def test_a_dataset_in_an_object_store_is_replaced_only_by_a_whole_one(large, s3, tmp_path):
    exporting.synthetic(tmp_path / "small", 50, 4)
    remote = s3.root / s3.bucket / "replaced"
    where = {"destination": f"s3://{s3.bucket}/replaced"}
    exporting.run({"path": str(tmp_path / "small"), **where, **keys(s3)})
    with proxy(s3.endpoint, lambda _method, path, _number: 500 if "part-00002" in path else None) as middle:
        failed = exporting.run({"path": str(large), "overwrite": True, **where, **keys(s3, middle.url)}, timeout=300)
    assert failed["code"] == "unavailable", failed
    described = exporting.manifest(remote)["collections"]
    assert [each["records"] for each in described] == [50]
    assert all(exporting.checksum(remote / part["path"]) == part["sha256"] for part in described[0]["parts"])
    done = exporting.run({"path": str(large), "overwrite": True, **where, **keys(s3)})
    assert done["resumed_parts"] == 2
    check_whole(remote, RECORDS)


def test_what_an_object_store_refuses_is_said_without_a_secret(large, s3):
    there = {"path": str(large), "destination": f"s3://{s3.bucket}/refused"}
    wrong = {"secret_key": "not-the-secret-key"}
    for options, code in (
        ({**there, **keys(s3, **wrong)}, "forbidden"),
        ({**there, **keys(s3, access_key="nobody")}, "forbidden"),
        ({**there, **keys(s3), "destination": "s3://no-such-bucket/refused"}, "no_bucket"),
        ({**there, **keys(s3, f"http://127.0.0.1:{servers.free_port()}")}, "unreachable"),
        ({**there, **keys(s3), "destination": f"s3://{s3.bucket}"}, "invalid_value"),
        ({**there, **keys(s3, secret_key=None)}, "invalid_value"),
    ):
        result = exporting.run(options, timeout=200)
        assert result["code"] == code, result
        assert result["hint"]
        assert "not-the-secret-key" not in json.dumps(result)
        assert s3.secret_key not in json.dumps(result)
    assert not (s3.root / s3.bucket / "refused").exists()
