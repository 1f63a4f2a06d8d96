# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check that is killed, one whose servers are, and two at once: real Chroma, real PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import importing
import interference
import postgres
import pytest
import servers
import watching
import writing
from watching import NAME, NEW, RECORDS, Scene

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import MARK
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks
from ansible_collections.thinkube.chroma.tests.waiting import until

DAMAGED, RECOVERED = "CollectionDamaged", "CollectionRecovered"
# Fixtures.
cluster, hook, scene, saved = watching.cluster, watching.hook, watching.scene, watching.saved


def kill_at(scene: Scene, scratch: Path, chosen: Callable[[str, str], bool], times: int = 1, records: int = 0) -> None:
    """Start a check, and kill it while a chosen request is on its way to the server.

    Args:
        times: the first, or a later one of its kind.
        records: that the new collection has to have before.
    """
    reached, counted = threading.Event(), itertools.count(1)

    def decide(method: str, path: str, _number: int) -> str | None:
        if reached.is_set() or not chosen(method, path) or next(counted) < times:
            return None
        reached.set()
        return "hang"

    with interference.proxy(scene.url, decide) as proxy:
        process = scene.at(proxy.url).start(scratch, wait=60.0)
        assert reached.wait(600), process.communicate(timeout=600)
        until(lambda: importing.count(scene.client, NEW) >= records, "records")
        process.kill()
        process.communicate()


def is_upsert(method: str, path: str) -> bool:
    return path.endswith("/upsert")


def is_creation(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/collections")


@pytest.fixture(scope="module")
def many(newest: servers.Server, cluster: postgres.Cluster) -> tuple[Scene, writing.Records]:
    """A collection that is brought back in more than one request."""
    with hooks.serve() as unused:
        made = Scene(newest.url, cluster, "many", unused, "many")
        made.client.create_database()
        watching.fill(made.client, records=6000)
        made.export()
        held = made.records(NAME)
        made.client.delete_collection(NAME)
        return made, held


KILLED = {
    "before the collection is made": (is_creation, 1, 0),
    "before its first records": (is_upsert, 1, 0),
    "half filled": (is_upsert, 2, 1),
    "before it is read back": (lambda method, path: path.endswith("/get"), 1, 6000),
    "before the mark is removed": (lambda method, path: method == "PUT", 1, 6000),
}


@pytest.mark.parametrize("moment", [pytest.param(each, marks=[] if each == "half filled" else pytest.mark.thorough) for each in KILLED])
def test_a_recovery_that_is_killed_is_completed_by_the_next_check(
    many: tuple[Scene, writing.Records], hook: hooks.Hook, tmp_path: Path, moment: str
) -> None:
    scene, held = Scene(many[0].url, many[0].cluster, many[0].table, hook, many[0].database), many[1]
    scene.cluster.query("DROP TABLE IF EXISTS many_faults")
    for each in scene.names():
        scene.client.delete_collection(each)
    kill_at(scene, tmp_path, *KILLED[moment])
    scene.told()
    done = scene.check()
    assert done["verdict"] == "missing"
    assert scene.names() == [NEW]
    assert writing.differences(scene.records(NEW), [held], "l2") == ""
    assert MARK not in scene.client.require_collection(NEW).metadata
    assert scene.told() == [RECOVERED]
    assert scene.rows("SELECT target, recovered, alerted FROM {}_faults") == [(NEW, 6000, "recovered")]
    assert scene.check()["changed"] is False


def test_a_mark_that_was_left_on_a_whole_collection_goes_where_readers_were_switched_to_it(scene: Scene) -> None:
    scene.client.delete_collection(NAME)
    scene.check()
    # As one leaves it that is killed before the mark is removed.
    [(token,)] = scene.rows("SELECT token FROM {}_faults")
    brought = scene.client.require_collection(NEW)
    scene.client.update_collection(brought, metadata={**brought.metadata, MARK: str(token)})
    with pytest.raises(ChromaError) as refused:
        scene.export(NEW)
    assert refused.value.code == "source_incomplete"
    assert scene.check(NEW)["verdict"] == "healthy"
    assert MARK not in scene.client.require_collection(NEW).metadata
    assert scene.export(NEW)["changed"]


def test_a_chroma_that_is_killed_and_started_again_during_a_recovery_gets_all_of_it(
    saved: tuple[Path, Scene, writing.Records], hook: hooks.Hook, tmp_path: Path
) -> None:
    data = watching.harmed(saved, tmp_path, watching.lose_vectors)
    restarted: list[servers.Server] = []
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(servers.running("1.5.9", data=data))

        def restart(method: str, path: str, _number: int) -> int | None:
            if not is_upsert(method, path) or restarted:
                return None
            os.kill(first.pid, signal.SIGKILL)
            restarted.append(stack.enter_context(servers.running("1.5.9", data=data)))
            proxy.target = restarted[0].url
            return 503

        proxy = stack.enter_context(interference.proxy(first.url, restart))
        scene = watching.own_table(saved[1], hook).at(proxy.url)
        done = scene.check(wait=60.0)
        assert (done["verdict"], done["recovered"], len(restarted)) == ("vectors_lost", {"name": NEW, "records": RECORDS}, 1)
        assert writing.differences(scene.records(NEW), [saved[2]], "l2") == ""
    assert scene.told() == [DAMAGED, RECOVERED]


@pytest.mark.thorough
def test_a_postgresql_that_crashes_during_a_recovery_loses_nothing_of_it(newest: servers.Server, hook: hooks.Hook) -> None:
    with postgres.running("15") as cluster:
        scene = Scene(newest.url, cluster, "crashed", hook, "crashed")
        scene.client.create_database()
        watching.fill(scene.client)
        scene.export()
        held = scene.records(NAME)
        scene.client.delete_collection(NAME)

        def crash(method: str, path: str, _number: int) -> None:
            if is_upsert(method, path) and cluster.processes[-1].poll() is None:
                cluster.end(signal.SIGQUIT)

        with interference.proxy(scene.url, crash) as proxy, pytest.raises(ChromaError):
            scene.at(proxy.url).check()
        cluster.start()
        assert scene.check()["recovered"] == {"name": NEW, "records": RECORDS}
        assert (scene.names(), writing.differences(scene.records(NEW), [held], "l2")) == ([NEW], "")
        assert scene.check()["changed"] is False


def test_two_checks_at_once_are_one(scene: Scene, tmp_path: Path) -> None:
    scene.client.delete_collection(NAME)
    reached, asked = threading.Event(), threading.Event()

    def slow(method: str, path: str, _number: int) -> None:
        if is_upsert(method, path):
            reached.set()
            asked.wait(600)

    with interference.proxy(scene.url, slow) as proxy:
        first = scene.at(proxy.url).start(tmp_path)
        assert reached.wait(600)
        try:
            with pytest.raises(ChromaError) as refused:
                scene.check()
        finally:
            asked.set()
        assert refused.value.code == "lock_held"
        assert watching.end(first)["recovered"] == {"name": NEW, "records": RECORDS}
    assert scene.told() == [DAMAGED, RECOVERED]


def test_a_name_that_somebody_takes_between_two_checks_is_not_written_to(scene: Scene, tmp_path: Path) -> None:
    scene.client.delete_collection(NAME)
    kill_at(scene, tmp_path, is_creation)
    assert scene.rows("SELECT target, recovered FROM {}_faults") == [(NEW, None)]
    watching.fill(scene.client, NEW, 3)
    theirs = scene.records(NEW)
    assert scene.check()["recovered"] == {"name": f"{NEW}-2", "records": RECORDS}
    assert scene.records(NEW) == theirs


def test_a_name_that_somebody_takes_at_the_same_moment_is_not_written_to(scene: Scene) -> None:
    scene.client.delete_collection(NAME)
    theirs: list[writing.Records] = []

    def taken(method: str, path: str, _number: int) -> None:
        if is_creation(method, path) and not theirs:
            watching.fill(scene.client, NEW, 3)
            theirs.append(scene.records(NEW))

    with interference.proxy(scene.url, taken) as proxy, pytest.raises(ChromaError) as refused:
        scene.at(proxy.url).check()
    assert refused.value.code == "conflict"
    assert [scene.records(NEW)] == theirs
    assert scene.check()["recovered"] == {"name": f"{NEW}-2", "records": RECORDS}
    assert [scene.records(NEW)] == theirs
    assert scene.told() == [DAMAGED, "CollectionRecoveryFailed", RECOVERED]
