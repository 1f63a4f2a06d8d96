# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the server was started all the same, two rounds of checks ran, and 42_recover: the data are back, each once, and equal."""

from __future__ import annotations

import base64

import numpy as np

from ...backup.state import ask, assert_nothing_is_left_paused, neighbours, records
from ...conftest import TOKEN, Release
from ..state import CHECK, EXPORT, HEALTH, alerts, result, rows, said, vectors


def test_one_check_brought_the_collection_back_and_the_next_one_nothing(release: Release) -> None:
    first, second = result(release, "second", CHECK), result(release, "third", CHECK)
    assert first["verdict"] in ("vectors_lost", "unreadable")
    assert first["recovered"] == {"name": "fruit-again", "records": 2990}
    assert (second["verdict"], second["recovered"], second["fault"]["target"]) == (first["verdict"], None, "fruit-again")
    assert second["fault"]["number"] == first["fault"]["number"]
    assert {each["name"] for each in ask(release)} == {"fruit", "colours", "nothing", "fruit-again", "colours-recovered"}
    assert rows(release, "SELECT count(*) FROM {faults}") == [(1,)]


def test_it_equals_the_last_export_and_that_was_not_touched(release: Release) -> None:
    assert rows(release, "SELECT count(*) FROM {generations} WHERE collection = 'fruit' AND current") == [(1,)]
    exported = {each: np.array(vector, np.float32) for each, vector in rows(release, "SELECT id, embedding::real[] FROM {current}")}
    found = vectors(release, "fruit-again")
    assert found.keys() == exported.keys()
    assert all(found[each].tobytes() == exported[each].tobytes() for each in exported)
    some = ["fruit-10", "fruit-14", "fruit-2999"]
    kept = rows(release, "SELECT id, document FROM {current} WHERE id IN ('fruit-10', 'fruit-14', 'fruit-2999')")
    back = records(release, "fruit-again", *some)
    assert {each: back[each]["document"] for each in some} == dict(kept)
    assert back["fruit-10"]["metadata"]["largest"] == 2**63 - 1
    assert neighbours(release, "fruit-again", some)[0][0][0] == "fruit-10"


def test_no_export_of_the_damaged_collection_took_the_place_of_the_good_one(release: Release) -> None:
    said_last = said(release, "second", EXPORT)[-1]
    assert (said_last["status"], said_last["exit_code"]) == ("failed", 5)
    assert rows(release, "SELECT count(*) FROM {generations}") == [(1,)]


def test_the_hourly_check_reported_the_damage_and_repaired_nothing_of_it(release: Release) -> None:
    checked = result(release, "second", HEALTH)
    assert checked["rc"] == 4
    assert checked["repaired"] == []
    damaged = {each["collection"].rpartition("/")[2] for each in checked["findings"] if each["severity"] == "severe"}
    # Beside a server, a busy machine has no time for one or the other within its short locks.
    assert damaged
    assert damaged <= {"fruit", "colours"}


def test_somebody_was_told_of_each_once_and_how_to_switch_readers(release: Release) -> None:
    told = {reason: message for kind, reason, message in alerts(release) if kind == "Warning"}
    assert {"CollectionDamaged", "CollectionRecovered", "DataUnhealthy"} <= told.keys()
    reasons = [reason for _kind, reason, _message in alerts(release)]
    assert (reasons.count("CollectionDamaged"), reasons.count("CollectionRecovered")) == (1, 1)
    assert "To switch: let readers and writers use fruit-again" in told["CollectionRecovered"]
    assert "42_recover" in told["DataUnhealthy"]


def test_what_no_check_brings_back_was_recovered_from_what_was_left_of_it(release: Release) -> None:
    found = vectors(release, "colours-recovered")
    assert len(found) == 2990
    # As molecule/operations/fill.py made them; a cosine index keeps them at length 1.
    written = np.random.default_rng(4).standard_normal((3000, 32), dtype=np.float32)
    for number in (10, 1500, 2999):
        vector = found[f"colours-{number}"]
        cosine = vector @ written[number] / np.linalg.norm(vector) / np.linalg.norm(written[number])
        assert cosine > 1 - 1e-5
    back = records(release, "colours-recovered", "colours-2997")["colours-2997"]
    assert (back["document"], back["metadata"]["name"]) == ("document 2997", "Straße 2997 北")
    assert_nothing_is_left_paused(release)


def test_no_secret_is_in_objects_logs_or_events(release: Release) -> None:
    data = release.get("secret", release.names["chroma_postgres_secret"])["data"]
    password = base64.b64decode(data["DB_PASSWORD"]).decode()
    shown = release.kubectl("get", "all,cronjobs,configmaps,events,leases", "--output=yaml")
    operations = release.get("pods", "--selector=app.kubernetes.io/component=operation")["items"]
    logs = "".join(release.kubectl("logs", pod["metadata"]["name"]) for pod in operations)
    assert '"event":"result"' in logs
    for secret in (TOKEN, password):
        assert secret not in shown + logs
        assert base64.b64encode(secret.encode()).decode()[:-4] not in shown + logs
