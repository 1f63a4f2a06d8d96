# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a collection: real Chroma, real PostgreSQL, a real webhook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import interference
import postgres
import pytest
import servers
import watching
import writing
from watching import NAME, NEW, RECORDS, Scene

from ansible_collections.thinkube.chroma.plugins.module_utils import chroma_postgres
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks

DAMAGED, RECOVERED, HEALED = "CollectionDamaged", "CollectionRecovered", "CollectionHealthy"

# Fixtures.
cluster, hook, scene, saved = watching.cluster, watching.hook, watching.scene, watching.saved


@pytest.mark.parametrize(
    ("verdict", "harm"),
    [
        ("missing", lambda client: client.delete_collection(NAME)),
        ("empty", lambda client: client.delete(client.require_collection(NAME), [f"id-{number}" for number in range(RECORDS)])),
        ("shrunken", lambda client: client.delete(client.require_collection(NAME), [f"id-{number}" for number in range(100)])),
    ],
)
def test_a_collection_that_lost_records_is_brought_back_once_under_another_name(
    scene: Scene, verdict: str, harm: Callable[[ChromaClient], None]
) -> None:
    held = scene.records(NAME)
    assert (scene.check()["verdict"], scene.told()) == ("healthy", [])
    harm(scene.client)
    planned = scene.check(check=True)
    assert (planned["verdict"], planned["changed"], planned["recovered"]) == (verdict, True, {"name": NEW, "records": RECORDS})
    assert (scene.told(), NEW in scene.names()) == ([], False)
    done = scene.check()
    assert (done["verdict"], done["changed"], done["recovered"]) == (verdict, True, {"name": NEW, "records": RECORDS})
    assert writing.differences(scene.records(NEW), [held], "l2") == ""
    assert scene.told() == done["alerts"] == [DAMAGED, RECOVERED]
    found = scene.client.require_collection(NEW)
    assert dict(found.metadata) == {"title": "Docs"}
    again = scene.check()
    assert (again["verdict"], again["changed"], again["recovered"], scene.told()) == (verdict, False, None, [])
    assert [each for each in scene.names() if each != NAME] == [NEW]
    assert again["rc"] == 4


def test_destroyed_vectors_are_back_within_one_check_and_the_story_goes_on(
    saved: tuple[Path, Scene, writing.Records], hook: hooks.Hook, tmp_path: Path
) -> None:
    held = saved[2]
    data = watching.harmed(saved, tmp_path, watching.lose_vectors)
    with servers.running("1.5.9", data=data) as server:
        scene = watching.own_table(saved[1], hook).at(server.url)
        generations = scene.rows("SELECT * FROM {}_generations ORDER BY 1")
        exported = scene.rows("SELECT count(*), sum(hashtext(t::text)) FROM {} t")

        done = scene.check()
        assert (done["verdict"], done["recovered"]) == ("vectors_lost", {"name": NEW, "records": RECORDS})
        assert writing.differences(scene.records(NEW), [held], "l2") == ""
        assert "set CHROMA_COLLECTION_NAME" in hook.bodies[1]["text"]
        assert scene.told() == [DAMAGED, RECOVERED]

        # The second one imports nothing, and the good export stays what it is: that of the damaged collection is refused.
        assert scene.check()["changed"] is False
        with pytest.raises(ChromaError):
            scene.export()
        assert scene.rows("SELECT * FROM {}_generations ORDER BY 1") == generations
        assert scene.rows("SELECT count(*), sum(hashtext(t::text)) FROM {} t") == exported

        # Readers are switched: the fault is over, and the damaged collection is left alone from now on.
        switched = scene.check(NEW)
        assert (switched["verdict"], [each["collection"] for each in switched["ended"]]) == ("healthy", [NAME])
        assert scene.told() == [HEALED]
        left = scene.check()
        assert (left["verdict"], left["changed"], left["rc"], scene.told()) == ("vectors_lost", False, 4, [])
        assert scene.names() == [NAME, NEW]

        # Mended, and damaged again: a new fault, whose data come back once more, beside the first ones.
        scene.client.delete_collection(NAME)
        watching.fill(scene.client)
        assert (scene.check()["verdict"], scene.told()) == ("healthy", [])
        scene.client.delete_collection(NAME)
        once_more = scene.check()
        assert (once_more["verdict"], once_more["recovered"]) == ("missing", {"name": f"{NEW}-2", "records": RECORDS})
        assert writing.differences(scene.records(f"{NEW}-2"), [held], "l2") == ""
        assert scene.told() == [DAMAGED, RECOVERED]


def test_a_fault_that_another_sample_does_not_see_lasts(
    saved: tuple[Path, Scene, writing.Records], hook: hooks.Hook, tmp_path: Path
) -> None:
    data = watching.harmed(saved, tmp_path, watching.lose_one_vector)
    with servers.running("1.5.9", data=data) as server:
        scene = watching.own_table(saved[1], hook).at(server.url)
        assert scene.check(sample=1)["verdict"] == "healthy"
        done = scene.check()
        assert (done["verdict"], done["recovered"]) == ("vectors_lost", {"name": NEW, "records": RECORDS})
        assert scene.told() == [DAMAGED, RECOVERED]
        again = scene.check(sample=1)
        assert (again["verdict"], again["ended"], again["recovered"], scene.told()) == ("vectors_lost", [], None, [])

        # Mended: all are read, and the next checks take the sample's word again.
        scene.client.delete(scene.client.require_collection(NAME), ["without-vector"])
        mended = scene.check(sample=1)
        assert (mended["verdict"], len(mended["ended"]), scene.told()) == ("healthy", 1, [HEALED])
        assert f"{RECORDS:,} of them were read" in mended["reason"]
        assert "1 of them were read" in scene.check(sample=1)["reason"]


def test_a_collection_that_can_not_be_read_is_told_from_one_without_vectors(
    saved: tuple[Path, Scene, writing.Records], hook: hooks.Hook, tmp_path: Path
) -> None:
    data = watching.harmed(saved, tmp_path, watching.lose_rows)
    with servers.running("1.5.9", data=data) as server:
        scene = watching.own_table(saved[1], hook).at(server.url)
        assert scene.check(recover=False)["verdict"] == "unreadable"
        assert (scene.told(), scene.names()) == ([DAMAGED], [NAME])
        # The server can't take the data either: that is said once, and tried again by each check.
        for alerts in (["CollectionRecoveryFailed"], []):
            with pytest.raises(ChromaError):
                scene.check()
            assert scene.told() == alerts


def test_a_server_that_is_down_is_told_of_once_and_nothing_is_imported(scene: Scene) -> None:
    down = scene.at(f"http://127.0.0.1:{servers.free_port()}")
    for told in (["ChromaDown"], []):
        done = down.check(wait=0.0)
        assert (done["verdict"], done["recovered"], down.told()) == ("server_down", None, told)
    back = scene.check()
    assert (back["verdict"], [each["verdict"] for each in back["ended"]]) == ("healthy", ["server_down"])
    assert (scene.told(), scene.names()) == (["ChromaAnswers"], [NAME])


def test_a_server_that_is_restarted_meanwhile_is_waited_for(scene: Scene) -> None:
    with interference.proxy(scene.url, lambda _method, _path, number: 503 if number < 4 else None) as proxy:
        assert scene.at(proxy.url).check(wait=30.0)["verdict"] == "healthy"
    assert scene.told() == []


def test_a_name_that_is_taken_is_left_alone_and_the_next_number_is_used(scene: Scene) -> None:
    watching.fill(scene.client, NEW, 3)
    watching.fill(scene.client, f"{NEW}-2", 3)
    theirs = scene.records(NEW)
    scene.client.delete_collection(NAME)
    assert scene.check()["recovered"] == {"name": f"{NEW}-3", "records": RECORDS}
    assert scene.records(NEW) == theirs


def test_an_alert_that_nobody_took_is_sent_again_by_the_next_check_and_fails_none(scene: Scene) -> None:
    scene.client.delete_collection(NAME)
    scene.hook.statuses = [500]
    done = scene.check()
    assert done["recovered"] == {"name": NEW, "records": RECORDS}
    assert len(done["undelivered"]) == 2
    assert not any(part in str(done) for part in hooks.SECRET.split("/"))
    scene.told()
    scene.hook.statuses = [200]
    # Of the two, the one that holds now.
    assert (scene.check()["changed"], scene.told()) == (False, [RECOVERED])
    assert (scene.check()["changed"], scene.told()) == (False, [])


def test_postgresql_that_is_down_is_told_of_and_nothing_is_imported(scene: Scene, tmp_path: Path) -> None:
    scene.client.delete_collection(NAME)
    result = watching.end(scene.start(tmp_path, db_port=servers.free_port()))
    assert (result["failed"], result["code"], result["alerts"]) == (True, "unreachable", ["CheckFailed"])
    assert (scene.told(), scene.names()) == (["CheckFailed"], [])
    assert postgres.PASSWORD not in str(result)


def test_the_module_takes_its_settings_from_the_documented_variables(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = scene.url.removeprefix("http://").split(":")
    variables = scene.cluster.variables(
        CHROMADB_HOST=host, CHROMADB_PORT=port, CHROMADB_USE_SSL="False", CHROMA_COLLECTION_NAME=NAME, NEW_COLLECTION_NAME=NEW,
        BACKUP_TABLE=scene.table, CHROMA_ALERT_WEBHOOK=scene.hook.url,
    )  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    absent = dict.fromkeys(("url", "collection", "new_name", "backup_table", "webhook_url", *scene.cluster.options()))
    scene.client.delete_collection(NAME)
    result = watching.end(scene.start(tmp_path, **absent))
    assert (result["verdict"], result["recovered"]) == ("missing", {"name": NEW, "records": RECORDS})
    assert scene.told() == [DAMAGED, RECOVERED]
    monkeypatch.setenv("CHROMADB_USE_SSL", "True")
    secure = watching.end(scene.start(tmp_path, **absent))
    assert (secure["failed"], secure["code"]) == (True, "tls")
    monkeypatch.setenv("CHROMADB_USE_SSL", "perhaps")
    assert "CHROMADB_USE_SSL" in watching.end(scene.start(tmp_path, **absent))["msg"]


def test_the_functions_of_those_names_do_the_same(scene: Scene) -> None:
    variables = scene.cluster.variables(
        CHROMA_API_URL=scene.url, CHROMA_COLLECTION_NAME=NAME, NEW_COLLECTION_NAME=NEW, BACKUP_TABLE=scene.table,
        CHROMA_ALERT_WEBHOOK=scene.hook.url,
    )  # fmt: skip
    within = {"database": scene.database}
    assert chroma_postgres.export_collection_to_postgres(variables, **within)["changed"] is True
    assert chroma_postgres.check_collection_health(variables, **within)["verdict"] == "healthy"
    assert chroma_postgres.import_postgres_to_chroma(variables, **within)["collections"][0]["verified"] == RECORDS
    assert writing.differences(scene.records(NEW), [scene.records(NAME)], "l2") == ""


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"shrink_share": 1.0}, "shrink_share"),
        ({"sample": 0}, "sample"),
        ({"collection": ""}, "name"),
        ({"new_name": "a b"}, "a b"),
        ({"db_password": "wrong"}, "DB_PASSWORD"),
    ],
)
def test_settings_that_can_not_be_right_change_nothing(scene: Scene, tmp_path: Path, fields: dict[str, object], word: str) -> None:
    scene.client.delete_collection(NAME)
    result = watching.end(scene.start(tmp_path, **fields))
    assert result["failed"] is True
    assert word in result["msg"]
    assert scene.names() == []


def test_a_table_that_no_check_made_is_not_touched(scene: Scene) -> None:
    scene.rows("CREATE TABLE {}_faults (theirs int)")
    with pytest.raises(ChromaError) as refused:
        scene.check()
    assert refused.value.code == "conflict"
    assert scene.rows("SELECT * FROM {}_faults") == []


def test_without_an_export_a_missing_collection_is_told_of(scene: Scene) -> None:
    alone = Scene(scene.url, scene.cluster, "nothing_here", scene.hook, scene.database)
    done = alone.check("other")
    assert (done["verdict"], done["generation"], done["recovered"]) == ("missing", None, None)
    assert "30_restore" in scene.hook.bodies[0]["text"]
    assert alone.check(NAME)["verdict"] == "healthy"


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["0.5.23", "0.6.3", "1.0.20"])
@pytest.mark.parametrize("space", ["l2", "cosine"])
def test_other_releases_lose_their_vectors_and_get_them_back(
    cluster: postgres.Cluster, hook: hooks.Hook, tmp_path: Path, version: str, space: str
) -> None:
    data = tmp_path / "data"
    table = f"releases_{next(watching.NUMBERS)}"
    with servers.running(version, data=data) as server:
        before = Scene(server.url, cluster, table, hook)
        watching.fill(before.client, space=space)
        before.export()
        held = before.records(NAME)
    watching.lose_vectors(data)
    with servers.running(version, data=data) as server:
        scene = before.at(server.url)
        done = scene.check()
        assert (done["verdict"], done["recovered"]) == ("vectors_lost", {"name": NEW, "records": RECORDS})
        assert writing.differences(scene.records(NEW), [held], space) == ""
        assert scene.check(NEW)["verdict"] == "healthy"
    assert scene.told() == [DAMAGED, RECOVERED, HEALED]
