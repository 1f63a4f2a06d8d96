# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of repair, recovery, PostgreSQL and checks up to the API server: what they ask for, and give to Jobs and CronJobs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import object_path
from ansible_collections.thinkube.chroma.tests.integration.test_backup_playbooks import CRONJOB, PASSWORD, api, finishing, keep
from ansible_collections.thinkube.chroma.tests.integration.test_operation_playbooks import (
    JOBS,
    KubeApi,
    add_pod,
    end,
    environment_of,
    job_of,
    run,
)

__all__ = ["api"]  # a fixture

ROOT = Path(__file__).parents[2]
DATABASE = {"DB_HOST": "postgres.example.com", "DB_NAME": "vectors", "DB_USER": "chroma", "DB_PASSWORD": "sesame-kept"}
LOCK, SCALING, WATCHING, NOBODY = "chroma-operations", "chroma-operations-scaling", "chroma-operations-watching", "default"
# playbook: (arguments, account, how the data are mounted, Secrets besides that of this server's token)
EVERY = {
    "41_repair": ([], SCALING, "write", set()),
    "41_repair --check": ([], NOBODY, "read", set()),
    "42_recover": (["-e", "chroma_collection_name=docs"], SCALING, "write", {"chroma-backup", "chroma-postgres"}),
    "42_recover --check": (["-e", "chroma_recover_backups=false"], NOBODY, "read", set()),
    "43_export_postgres": (["-e", "chroma_collection_name=docs"], LOCK, "write", {"chroma-postgres"}),
    "43_export_postgres -e chroma_export_source=server": ([], LOCK, None, {"chroma-postgres"}),
    "43_export_postgres -e chroma_url=http://chromadb-svc.chroma": ([], LOCK, None, {"chroma-postgres"}),
    # Another server's lock is not ours.
    "43_export_postgres -e chroma_url=https://elsewhere.example.com": ([], NOBODY, None, {"chroma-postgres"}),
    "44_import_postgres": (["-e", "chroma_collection_name=docs"], LOCK, None, {"chroma-postgres"}),
    "45_check_collection": (["-e", "chroma_collection_name=docs"], WATCHING, None, {"chroma-postgres", "chroma-alerts"}),
    "48_test_recover": ([], NOBODY, None, set()),
    "49_undo_repair": (["-e", "chroma_repair_id=r1"], SCALING, "write", set()),
    "82_delete_collection": (["-e", "chroma_delete_collection=docs"], SCALING, "write", {"chroma-backup"}),
    "83_rename_collection": (["-e", "chroma_rename_collection=docs", "-e", "chroma_rename_to=x"], SCALING, "write", {"chroma-backup"}),
    "89_undo_collection": (["-e", "chroma_undo_entry=17"], SCALING, "write", {"chroma-backup"}),
}


def give(api: KubeApi) -> None:
    """Put there what somebody provides: credentials of PostgreSQL, and a repository of backups."""
    keep(api)
    api.put("Secret", "chroma-postgres", "chroma", data={key: base64.b64encode(value.encode()).decode() for key, value in DATABASE.items()})


def jobs(api: KubeApi) -> dict[str, dict]:
    """Return the Jobs that were created, by the names of their operations."""
    created = [body for path, body in api.bodies_posted if path == JOBS]
    return {body["metadata"]["labels"]["thinkube.chroma/operation"]: body for body in created}


def cronjob(name: str) -> str:
    return object_path("CronJob", "chroma", f"chroma-{name}")


@pytest.mark.parametrize(
    ("playbook", "arguments", "account", "data", "secrets"), [(name, *each) for name, each in EVERY.items()], ids=EVERY
)
def test_a_job_has_no_more_rights_and_secrets_than_it_needs_and_only_variables_that_its_playbook_knows(
    api, tmp_path, playbook, arguments, account, data, secrets
):
    give(api)
    finishing(api)
    name, *check = playbook.split()
    done = run(api, tmp_path, name, *check, "-vvv", *arguments)
    assert done.returncode == 0, done.stdout
    job = job_of(api)
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (account, account != NOBODY)
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    mounted = {True: "read", False: "write"}[mounts["data"]["readOnly"]] if "data" in mounts else None
    assert mounted == data

    environment = environment_of(job)
    given = {value["secretKeyRef"]["name"] for value in environment.values() if isinstance(value, dict) and "secretKeyRef" in value}
    assert given - {"chroma-auth"} == secrets
    variables = json.loads(environment["CHROMA_OPERATION_VARIABLES"])
    assert ("chroma_operation_lock" in variables) is (account != NOBODY)
    data_playbook = (ROOT / "playbooks" / "data" / f"{container['command'][1]}.yaml").read_text()
    assert [each for each in variables if each not in data_playbook] == []
    for secret in (PASSWORD, DATABASE["DB_PASSWORD"], "sesame-open"):
        assert secret not in done.stdout + json.dumps(job)


def test_the_checks_are_scheduled_and_made_at_once_the_first_time_only(api, tmp_path):
    give(api)
    finishing(api)
    watched = ["-e", "chroma_collection_name=docs", "-e", "health_check_interval_hours=6"]
    first = run(api, tmp_path, "46_schedule_checks", *watched)
    assert first.returncode == 0, first.stdout
    wanted = {"health": "30 */6 * * *", "export-postgres": "0 * * * *", "check-collection": "*/20 * * * *"}
    at_once = jobs(api)
    assert list(at_once) == list(wanted)  # an export comes before what is compared with it
    for name, schedule in wanted.items():
        spec = api.objects[cronjob(name)]["spec"]
        assert (spec["schedule"], spec["concurrencyPolicy"]) == (schedule, "Forbid")
        assert spec["jobTemplate"]["spec"]["template"] == at_once[name]["spec"]["template"]
    variables = json.loads(environment_of(at_once["health"])["CHROMA_OPERATION_VARIABLES"])
    assert [each for each in variables if each not in (ROOT / "playbooks/data/health.yaml").read_text()] == []
    assert variables["chroma_auto_repair"] is True
    for job in at_once.values():
        # Each waits for the one before, and for a backup.
        assert json.loads(environment_of(job)["CHROMA_OPERATION_VARIABLES"])["chroma_operation_lock_wait"] == 1800
    webhook = environment_of(at_once["health"])["CHROMA_ALERT_WEBHOOK"]
    assert webhook == {"secretKeyRef": {"name": "chroma-alerts", "key": "webhook-url", "optional": True}}
    # An alert is an Event about the server, and the right to write those is no right to change it.
    rules = api.objects[object_path("Role", "chroma", WATCHING)]["rules"]
    [events] = [rule for rule in rules if "events" in rule["resources"]]
    [server] = [rule for rule in rules if "statefulsets" in rule["resources"]]
    assert (events["verbs"], server["verbs"], server["resourceNames"]) == (["create"], ["get"], ["chroma"])
    # The check of the data starts a server again that was left stopped, and tells of what it finds.
    mending = api.objects[object_path("Role", "chroma", SCALING)]["rules"]
    assert [rule["verbs"] for rule in mending if "events" in rule["resources"]] == [["create"]]
    assert ["get", "patch"] in [rule["verbs"] for rule in mending if "statefulsets" in rule["resources"]]
    assert at_once["health"]["spec"]["template"]["spec"]["serviceAccountName"] == SCALING
    limits = {name: (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) for name, job in at_once.items()}
    assert limits == {"health": (3, 86400), "export-postgres": (3, 14400), "check-collection": (0, 7200)}

    again = run(api, tmp_path, "46_schedule_checks", *watched)
    assert (again.returncode, "changed=0" in again.stdout) == (0, True), again.stdout
    assert len([path for path, _body in api.bodies_posted if path == JOBS]) == 3

    done = run(api, tmp_path, "46_schedule_checks", "-e", "health_check_enabled=false")
    assert done.returncode == 0, done.stdout
    assert [cronjob(name) in api.objects for name in wanted] == [False] * 3
    assert CRONJOB not in api.objects  # that one is 21_schedule's


def test_what_fails_at_once_keeps_no_schedule_from_being_there(api, tmp_path):
    give(api)
    finishing(api, exit_code=5)
    done = run(api, tmp_path, "46_schedule_checks", "-e", "chroma_collection_name=docs")
    assert (done.returncode, list(jobs(api))) == (2, ["health"]), done.stdout
    assert [cronjob(name) in api.objects for name in ("health", "export-postgres", "check-collection")] == [True] * 3


def test_a_collection_that_is_lost_fails_the_check_with_what_was_seen(api, tmp_path):
    seen = {"rc": 4, "verdict": "vectors_lost", "reason": "Collection docs answers without vectors."}
    add_pod(api, "chroma-check-collection-x", {"event": "result", "result": seen}, exit_code=4)
    end(api, "chroma-check-collection-x", "Failed")
    done = run(api, tmp_path, "45_check_collection", "-e", "chroma_operation_follow=chroma-check-collection-x")
    assert done.returncode == 2
    assert "vectors_lost: Collection docs answers without vectors. docs/watch.md says what to do." in " ".join(done.stdout.split())


REFUSED = {
    "an interval that no schedule can have": (
        "46_schedule_checks",
        ["-e", "health_check_interval_hours=0"],
        "health_check_interval_hours (0) must be a whole number from 1 to 24",
    ),
    "no collection to import": ("44_import_postgres", [], "Set chroma_collection_name"),
    "no collection to check": ("45_check_collection", [], "Set chroma_collection_name"),
    # That one is the collection which is watched: it is never the one that is meant by a deletion.
    "no collection to delete": ("82_delete_collection", ["-e", "chroma_collection_name=docs"], "Set chroma_delete_collection"),
    "no new name": ("83_rename_collection", ["-e", "chroma_rename_collection=docs"], "chroma_rename_to to its new name"),
}


@pytest.mark.parametrize(("playbook", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_told_before_anything_is_asked(api, tmp_path, playbook, arguments, message):
    done = run(api, tmp_path, playbook, *arguments)
    assert (done.returncode, api.requests) == (2, [])
    assert message in " ".join(done.stdout.split())


def test_without_the_credentials_of_postgresql_nothing_is_started_and_their_names_are_told(api, tmp_path):
    api.put("Secret", "chroma-postgres", "chroma", data={"DB_HOST": "eA==", "DB_NAME": "eA==", "DB_USER": "eA=="})
    done = run(api, tmp_path, "43_export_postgres")
    assert (done.returncode, api.writes()) == (2, [])
    assert "DB_PASSWORD" in done.stdout
    del api.objects["/api/v1/namespaces/chroma/secrets/chroma-postgres"]
    done = run(api, tmp_path, "43_export_postgres")
    assert (done.returncode, api.writes()) == (2, [])
    assert "There is no Secret chroma-postgres in namespace chroma." in " ".join(done.stdout.split())
    assert "--from-env-file=FILE" in done.stdout


def test_who_has_no_backups_is_told_to_recover_without(api, tmp_path):
    done = run(api, tmp_path, "42_recover")
    assert (done.returncode, api.writes()) == (2, [])
    assert "Where there never was a backup, recover without: -e chroma_recover_backups=false." in " ".join(done.stdout.split())
