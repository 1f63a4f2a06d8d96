# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the checks were scheduled and a collection was deleted: the first hour repaired what Chroma left."""

from __future__ import annotations

from ...conftest import Release
from ..state import CHECK, EXPORT, HEALTH, alerts, result, rows


def test_each_check_has_its_schedule_and_was_made_once_by_it(release: Release) -> None:
    for check in (HEALTH, EXPORT, CHECK):
        found = release.get("cronjob", f"chroma-{check}")
        assert found["spec"]["concurrencyPolicy"] == "Forbid"
        # The first one, which no schedule started, counts as one of its own; not that of the data on a disk that is nearly full.
        assert check == HEALTH or found["status"]["lastSuccessfulTime"]


def test_the_export_is_one_proven_generation_of_all_records(release: Release) -> None:
    found = rows(release, "SELECT collection, records, current, verified IS NOT NULL FROM {generations}")
    assert found == [("fruit", 2990, True, True)]
    assert rows(release, "SELECT count(*) FROM {current}") == [(2990,)]


def test_the_folder_of_a_deleted_collection_was_repaired_by_the_hourly_check_and_somebody_told(release: Release) -> None:
    checked = result(release, "first", HEALTH)
    assert checked["summary"]["severe"] == 0
    assert checked["findings"] == [] or {each["id"] for each in checked["findings"]} == {"CHR102"}  # this machine's disk may be nearly full
    assert "CHR017" in {step["finding"] for step in checked["repaired"]}
    assert checked["report"].startswith("/data/.thinkube-chroma/reports/")
    [(kind, message)] = [(kind, message) for kind, reason, message in alerts(release) if reason == "DataRepaired"]
    assert kind == "Normal"
    assert "49_undo_repair" in message


def test_a_check_may_raise_alerts_and_change_nothing_on_the_cluster(release: Release) -> None:
    account = "system:serviceaccount:{}:{}".format(release.names["chroma_namespace"], release.names["chroma_operations_watching_account"])

    def may(*what: str) -> str:
        return release.host.run(*release.command("auth", "can-i", f"--as={account}", *what)).stdout.strip()

    assert may("create", "events") == "yes"
    assert may("get", f"statefulsets/{release.names['chroma_statefulset']}") == "yes"
    assert may("patch", f"statefulsets/{release.names['chroma_statefulset']}") == "no"
    assert may("get", "secrets") == "no"
    assert may("create", "pods") == "no"
