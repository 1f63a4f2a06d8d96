# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault that lasts over many checks: one recovery, and each alert once to each channel. Real Chroma and PostgreSQL."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import interference
import postgres
import pytest
import servers
import watching
from watching import NAME, NEW, RECORDS, Scene

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Alert
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.run import CheckOrder, check_collection
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks

NUMBERS = itertools.count(1)
DAMAGED, RECOVERED, HEALED = "CollectionDamaged", "CollectionRecovered", "CollectionHealthy"


@dataclass
class Good:
    """A channel that takes alerts while it is there."""

    there: bool = True
    told: list[str] = field(default_factory=list)

    def deliver(self, alert: Alert) -> None:
        if not self.there:
            raise ChromaError("unreachable", "It is away.")
        self.told.append(alert.reason)


class Other(Good):
    """Another one."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.running("15") as running:
        yield running


@pytest.fixture
def scene(newest: servers.Server, cluster: postgres.Cluster) -> Iterator[Scene]:
    number = next(NUMBERS)
    with hooks.serve() as hook:
        made = Scene(newest.url, cluster, f"lasting_{number}", hook, f"lasting_{number}")
        made.client.create_database()
        watching.fill(made.client)
        made.export()
        yield made


def check(scene: Scene, *channels: Good, **fields: Any) -> dict[str, Any]:
    order = CheckOrder(NAME, NEW, **{"confirm": 0.02, "wait": 0.2, **fields})
    return check_collection(scene.client, scene.settings, order, channels)


def test_a_fault_is_recovered_once_although_it_is_exported_meanwhile(scene: Scene) -> None:
    # As where the server can't read what the reader of its directory can.
    with interference.proxy(scene.url, lambda method, path, _number: 500 if path.endswith(f"/{NAME}") else None) as proxy:
        broken = scene.at(proxy.url)
        assert (broken.check()["verdict"], broken.told()) == ("unreadable", [DAMAGED, RECOVERED])
        for _hour in range(2):
            scene.export()
            done = broken.check()
            assert (done["verdict"], done["recovered"], done["changed"], broken.told()) == ("unreadable", None, False, [])
        assert (done["fault"]["generation"], done["generation"]) == (1, 3)
    assert scene.names() == [NAME, NEW]
    assert (scene.check()["verdict"], scene.told()) == ("healthy", [HEALED])


def test_a_channel_that_is_away_repeats_nothing_on_the_others_and_is_told_later(scene: Scene) -> None:
    good, other = Good(), Other(there=False)
    scene.client.delete_collection(NAME)
    for _check in range(3):
        check(scene, good, other)
    assert good.told == [DAMAGED, RECOVERED]
    other.there = True
    check(scene, good, other)
    check(scene, good, other)
    assert (good.told, other.told) == ([DAMAGED, RECOVERED], [RECOVERED])


def test_the_end_of_a_fault_is_told_later_where_nobody_took_it(scene: Scene) -> None:
    good, other = Good(), Other()
    scene.client.delete_collection(NAME)
    check(scene, good, other)
    watching.fill(scene.client)
    good.there = other.there = False
    assert (check(scene, good, other)["verdict"], good.told) == ("healthy", [DAMAGED, RECOVERED])
    good.there = True
    check(scene, good, other)
    other.there = True
    check(scene, good, other)
    assert good.told == other.told == [DAMAGED, RECOVERED, HEALED]


def test_the_end_is_told_later_where_readers_were_switched(scene: Scene) -> None:
    good = Good()
    scene.client.delete_collection(NAME)
    check(scene, good)
    good.there = False
    switched = CheckOrder(NEW, NEW, confirm=0.02, wait=0.2)
    check_collection(scene.client, scene.settings, switched, [good])
    good.there = True
    check_collection(scene.client, scene.settings, switched, [good])
    check_collection(scene.client, scene.settings, switched, [good])
    assert good.told == [DAMAGED, RECOVERED, HEALED]


def test_a_server_that_stumbles_for_a_moment_is_not_unreadable(scene: Scene) -> None:
    answers = itertools.count()
    with interference.proxy(scene.url, lambda method, path, number: 500 if path.endswith("/get") and next(answers) < 6 else None) as proxy:
        assert check(scene.at(proxy.url), wait=30.0)["verdict"] == "healthy"


def test_a_postgresql_that_restarts_is_waited_for_and_one_that_is_away_is_told_of(scene: Scene) -> None:
    good, away = Good(), replace(scene.settings, port=servers.free_port())
    with pytest.raises(ChromaError) as refusal:
        check_collection(scene.client, away, CheckOrder(NAME, NEW, wait=0.0), [good])
    assert (refusal.value.code, good.told) == ("unreachable", ["CheckFailed"])
    scene.cluster.end(signal.SIGQUIT)
    restart = threading.Timer(0.5, scene.cluster.start)
    restart.start()
    try:
        assert check(scene, good, wait=60.0)["verdict"] == "healthy"
    finally:
        restart.join()
    assert good.told == ["CheckFailed"]


def test_an_older_generation_is_brought_back_where_the_current_one_is_damaged(scene: Scene) -> None:
    watching.fill(scene.client, records=RECORDS)
    scene.export()
    scene.rows("UPDATE {}_g2 SET document = 'rot' WHERE id = 'id-3'")
    scene.client.delete_collection(NAME)
    done = scene.check()
    assert (done["recovered"], done["fault"]["generation"], done["generation"]) == ({"name": NEW, "records": RECORDS}, 1, 2)
    assert "generation 1 (the current one, 2," in scene.hook.bodies[1]["text"]


def test_exports_that_are_not_made_any_more_are_told_once_and_when_they_are_again(scene: Scene) -> None:
    assert (scene.check()["overdue"], scene.told()) == (False, [])
    scene.rows("UPDATE {}_generations SET verified = now() - interval '4 hours'")
    assert scene.check(check=True)["overdue"]
    for told in (["ExportStale"], []):
        done = scene.check()
        assert (done["verdict"], done["overdue"], done["rc"], done["fault"], scene.told()) == ("healthy", True, 0, None, told)
    assert not scene.check(stale_hours=0)["overdue"]
    scene.rows("DELETE FROM {}_faults")
    scene.hook.bodies.clear()
    # A collection that is lost has other worries; what is brought back is the last export, however old.
    scene.client.delete_collection(NAME)
    assert (scene.check()["verdict"], scene.told()) == ("missing", [DAMAGED, RECOVERED])
    watching.fill(scene.client)
    assert (scene.check()["overdue"], scene.told()) == (True, [HEALED, "ExportStale"])
    scene.export()
    assert (scene.check()["overdue"], scene.told()) == (False, ["ExportFresh"])


def test_a_collection_that_is_never_exported_is_told_of_once_it_has_been_checked_for_hours(scene: Scene) -> None:
    def look(**fields: Any) -> tuple[Any, ...]:
        done = scene.check(**fields)
        return done["verdict"], done["overdue"], done["rc"], done["fault"], scene.told()

    scene.rows("DELETE FROM {}_generations")
    fresh, late = ("healthy", False, 0, None), ("healthy", True, 0, None)
    assert look(stale_hours=0) == look(check=True) == look() == look() == (*fresh, [])
    scene.rows("UPDATE {}_faults SET first_seen = now() - interval '4 hours'")
    assert look(check=True) == (*late, [])
    assert look() == (*late, ["ExportStale"])
    assert look() == (*late, [])
    scene.export()
    assert look() == (*fresh, ["ExportFresh"])
    # One that was exported before anybody was told, too long ago meanwhile; and one that was exported in time.
    scene.rows("DELETE FROM {}_generations")
    assert look() == (*fresh, [])
    scene.export()
    scene.rows("UPDATE {}_generations SET verified = now() - interval '4 hours'")
    scene.check()
    assert "but generation 3 of" in scene.hook.bodies[-1]["text"]
    assert scene.told() == ["ExportStale"]
    scene.export()
    assert look() == (*fresh, ["ExportFresh"])
    scene.rows("DELETE FROM {}_generations")
    assert look() == (*fresh, [])
    scene.export()
    assert look() == look() == (*fresh, [])
    assert scene.rows("SELECT count(*) FROM {}_faults WHERE ended IS NULL") == [(0,)]


def test_a_collection_that_goes_by_less_than_half_each_hour_is_compared_with_the_largest_export(scene: Scene) -> None:
    collection = scene.client.require_collection(NAME)
    ids = list(scene.records(NAME))
    scene.client.delete(collection, ids[:80])
    assert scene.export()["collections"][0]["status"] == "exported"
    scene.client.delete(collection, ids[80:120])
    done = scene.check(recover=False)
    assert (done["verdict"], done["generation"], "generation 1 has 180" in done["reason"]) == ("shrunken", 2, True)
    scene.export(allow_shrink=True)
    assert scene.check()["verdict"] == "healthy"
