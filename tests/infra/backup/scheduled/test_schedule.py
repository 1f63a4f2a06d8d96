# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the schedule was written, the first backup made, data changed, and an hour's job ran: a full backup and its increment."""

from __future__ import annotations

import base64

from ...conftest import TOKEN, Release
from ..state import assert_nothing_is_left_paused, events, pods, results


def test_one_schedule_makes_the_same_pods_as_on_demand(release: Release) -> None:
    schedule = release.get("cronjob", "chroma-backup")
    assert schedule["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "thinkube.chroma"
    assert (schedule["spec"]["schedule"], schedule["spec"]["concurrencyPolicy"]) == (release.names["chroma_backup_schedule"], "Forbid")
    assert schedule["spec"]["timeZone"] == "Etc/UTC"
    # The first backup, which no schedule started, counts as one of its own: 21_schedule would make another one otherwise.
    assert schedule["status"]["lastSuccessfulTime"]
    wanted = schedule["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    first, hourly = pods(release, "backup")[:2]
    for pod in (first, hourly):
        container = pod["spec"]["containers"][0]
        for part in ("image", "env", "securityContext", "command"):
            assert container[part] == wanted[part]


def test_the_first_was_full_the_second_an_increment_and_both_are_proven(release: Release) -> None:
    first, hourly = (result["backup"] for result in results(release, "backup")[:2])
    assert (first["kind"], hourly["kind"]) == ("full", "increment")
    assert hourly["parent"] == first["id"]
    assert first["verified"]
    assert hourly["verified"]


def test_the_volume_is_bound_and_the_server_runs(release: Release) -> None:
    assert release.get("persistentvolumeclaim", release.names["chroma_backup_pvc"])["status"]["phase"] == "Bound"
    assert_nothing_is_left_paused(release)


def test_a_backup_can_do_little_else(release: Release) -> None:
    for pod in pods(release, "backup"):
        (container,) = pod["spec"]["containers"]
        context = {**pod["spec"]["securityContext"], **container["securityContext"]}
        assert (context["runAsNonRoot"], context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, True, False)
        account = {each["name"] for each in pod["spec"]["volumes"] if each["name"].startswith("kube-api-access")}
        assert {each["name"] for each in pod["spec"]["volumes"]} - account == {"tmp", "data", "backups"}
        assert pod["metadata"]["labels"]["app"] == "chroma-data"  # no Service may choose it
    account_name = "system:serviceaccount:{}:{}".format(release.names["chroma_namespace"], pod["spec"]["serviceAccountName"])

    def may(*what: str) -> str:
        done = release.host.run(*release.command("auth", "can-i", f"--as={account_name}", *what))
        return done.stdout.strip()

    assert may("patch", f"statefulsets/{release.names['chroma_statefulset']}") == "yes"
    assert may("patch", "statefulsets/other") == "no"
    assert may("delete", f"statefulsets/{release.names['chroma_statefulset']}") == "no"
    assert may("get", "secrets") == "no"
    assert may("create", "pods") == "no"


def test_no_secret_is_in_objects_logs_or_events(release: Release) -> None:
    data = release.get("secret", release.names["chroma_backup_secret"])["data"]
    password = base64.b64decode(data["repository-password"]).decode()
    shown = release.kubectl("get", "all,cronjobs,configmaps,events,leases", "--output=yaml")
    logs = "".join(release.kubectl("logs", pod["metadata"]["name"]) for pod in pods(release, "backup"))
    assert events(release, pods(release, "backup")[0])[-1]["event"] == "end"
    for secret in (TOKEN, password):
        for text in (shown, logs):
            assert secret not in text
            assert base64.b64encode(secret.encode()).decode()[:-4] not in text
