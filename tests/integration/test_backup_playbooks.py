# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of backups up to the API server: what they make once, ask for, refuse, and give to the Job."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import object_path
from ansible_collections.thinkube.chroma.tests.integration.test_operation_playbooks import (
    JOBS,
    KubeApi,
    add_pod,
    end,
    environment_of,
    job_of,
    run,
    serve,
)

CRONJOB = "/apis/batch/v1/namespaces/chroma/cronjobs/chroma-backup"
SECRET = "/api/v1/namespaces/chroma/secrets/chroma-backup"
CLAIM = "/api/v1/namespaces/chroma/persistentvolumeclaims/chroma-backups-pvc"
PASSWORD = "sesame-kept"
ON_S3 = ("-e", "chroma_backup_repository=s3://bucket/chroma")
# All that a repository is used by; those that make it, and those that ask for it.
MAKES = ("20_backup",)
ASKS = ("28_test_backup", "29_prune", "30_restore", "39_undo_restore", "backups")
# What says in check mode what it would do, and by which variable otherwise.
PLANS = {"29_prune": "chroma_prune_plan", "30_restore": "chroma_restore_plan", "39_undo_restore": "chroma_restore_plan"}


@pytest.fixture
def api():
    with serve() as server:
        server.bodies_posted, server.deletions = [], []
        answer = server.answer

        def recorded(method, target, body):
            if method == "DELETE":
                server.deletions.append((target.partition("?")[0], body["propagationPolicy"]))
            if method == "POST":
                server.bodies_posted.append((target.partition("?")[0], json.loads(json.dumps(body))))
            return answer(method, target, body)

        server.answer = recorded
        yield server


def keep(api: KubeApi) -> None:
    """Put the password and the volume claim there, as an earlier backup leaves them."""
    data = {"repository-password": base64.b64encode(PASSWORD.encode()).decode()}
    api.put("Secret", "chroma-backup", "chroma", data=data)
    api.put("PersistentVolumeClaim", "chroma-backups-pvc", "chroma")


def keys_of_s3(api: KubeApi) -> None:
    api.put("Secret", "chroma-s3", "chroma", data={"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "a2V5"})


def finishing(api: KubeApi, exit_code: int = 0) -> None:
    """Let each Job that is created end at once."""
    answer = api.answer

    def answered(method, target, body):
        reply = answer(method, target, body)
        if method == "POST" and target.partition("?")[0] == JOBS and "dryRun" not in target:
            job = body["metadata"]["name"]
            add_pod(api, job, {"event": "result", "result": {"id": "20261121T060000Z-0a1b2c", "changed": True}}, exit_code=exit_code)
            end(api, job, "Failed" if exit_code else "Complete")
            # What the controller of CronJobs notes of those that succeeded, also of those that it did not start itself.
            for owner in body["metadata"].get("ownerReferences", ()):
                cron = api.objects[object_path("CronJob", "chroma", owner["name"])]
                if not exit_code and owner["controller"] and owner["uid"] == cron["metadata"]["uid"]:
                    cron["status"] = {"lastSuccessfulTime": "2026-11-21T06:00:00Z"}
        return reply

    api.answer = answered


def password_of(api: KubeApi) -> str:
    return base64.b64decode(api.objects[SECRET]["data"]["repository-password"]).decode()


@pytest.mark.parametrize("place", [(), ON_S3], ids=["volume", "s3"])
@pytest.mark.parametrize("playbook", [*MAKES, *ASKS])
def test_check_mode_stores_nothing_and_the_job_has_password_and_place_and_no_more_rights_than_it_needs(api, tmp_path, playbook, place):
    keep(api)
    keys_of_s3(api)
    before = json.dumps(api.objects)
    plans = PLANS.get(playbook)
    if plans:
        finishing(api)
    done = run(api, tmp_path, playbook, "--check", "--diff", *place)
    assert done.returncode == 0, done.stdout
    assert plans or json.dumps(api.objects) == before
    job = job_of(api)
    pod, container = job["spec"]["template"]["spec"], job["spec"]["template"]["spec"]["containers"][0]
    environment = environment_of(job)
    variables = json.loads(environment["CHROMA_OPERATION_VARIABLES"])
    assert environment["RESTIC_PASSWORD"] == {"secretKeyRef": {"name": "chroma-backup", "key": "repository-password"}}
    assert variables["chroma_repository"] == ("s3://bucket/chroma" if place else "/backups/chroma")
    assert ("AWS_SECRET_ACCESS_KEY" in environment) is bool(place)
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert ("backups" in mounts) is not bool(place)
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    lists = playbook == "backups"
    assert ("data" in mounts) is not lists
    accounts = {"20_backup": "chroma-operations-scaling", "28_test_backup": "chroma-operations"}
    assert pod["serviceAccountName"] == accounts.get(playbook, "default")
    assert pod["automountServiceAccountToken"] is (pod["serviceAccountName"] != "default")
    # Time to start the server again, where it may have been stopped.
    assert pod["terminationGracePeriodSeconds"] == (120 if pod["serviceAccountName"] == "chroma-operations-scaling" else 30)
    if plans:
        assert (variables[plans], mounts["data"]["readOnly"]) == (True, True)
    if not lists and not plans:
        assert not mounts["data"]["readOnly"]
        assert (variables["chroma_statefulset"], variables["chroma_operation_lock"]) == ("chroma", "chroma-operation")
    assert variables["chroma_repository_lock_wait"] == 60
    assert variables.get("chroma_s3_timeout") == (20 if place else None)
    for secret in (PASSWORD, "sesame-open"):
        assert secret not in done.stdout + json.dumps(job)


def test_a_pod_whose_operation_stopped_the_server_is_let_in_again_by_its_own_label(api, tmp_path):
    keep(api)
    finishing(api)
    run(api, tmp_path, "30_restore")
    template = job_of(api)["spec"]["template"]
    (rule,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (expression,) = rule["labelSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("app", "In")
    assert template["metadata"]["labels"]["app"] in expression["values"]
    assert "chroma" in expression["values"]
    assert template["metadata"]["labels"]["app"] != "chroma"


def test_only_an_operation_that_may_stop_the_server_gets_the_right_to_it(api, tmp_path):
    keep(api)
    finishing(api)
    for playbook, arguments in (("29_prune", ()), ("81_import", ("-e", "chroma_dataset=/dataset/x"))):
        done = run(api, tmp_path, playbook, *arguments)
        assert done.returncode == 0, done.stdout
    rules = {
        name: [rule for rule in api.objects[object_path("Role", "chroma", name)]["rules"] if "statefulsets" in rule["resources"]]
        for name in ("chroma-operations", "chroma-operations-scaling")
    }
    assert rules["chroma-operations"] == []
    for name in rules:
        # To look for pods that left a lock in the repository.
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]} in api.objects[object_path("Role", "chroma", name)]["rules"]
    (rule,) = rules["chroma-operations-scaling"]
    assert (rule["resourceNames"], rule["verbs"]) == (["chroma"], ["get", "patch"])


def test_the_first_backup_makes_volume_and_password_once_and_says_how_to_keep_it(api, tmp_path):
    finishing(api)
    first = run(api, tmp_path, "20_backup", "-vvv")
    assert first.returncode == 0, first.stdout
    password = password_of(api)
    assert (len(password), CLAIM in api.objects) == (64, True)
    assert "(umask 077; kubectl get secret chroma-backup chroma-auth -n chroma -o yaml > chroma-secrets.yaml)" in " ".join(
        first.stdout.split()
    )
    second = run(api, tmp_path, "20_backup", "-vvv")
    assert (second.returncode, password_of(api)) == (0, password)
    assert "Keep a copy" not in second.stdout
    for secret in (password, api.objects[SECRET]["data"]["repository-password"]):
        assert secret not in first.stdout + second.stdout + json.dumps([body for path, body in api.bodies_posted if path == JOBS])


@pytest.mark.parametrize("playbook", ASKS)
def test_without_the_password_nothing_is_restored_and_none_is_made(api, tmp_path, playbook):
    api.put("PersistentVolumeClaim", "chroma-backups-pvc", "chroma")
    done = run(api, tmp_path, playbook)
    assert (done.returncode, api.writes()) == (2, [])
    assert "There is no Secret chroma-backup in namespace chroma." in " ".join(done.stdout.split())
    assert "kubectl apply -f FILE" in " ".join(done.stdout.split())


def test_without_the_volume_nothing_is_restored_and_none_is_made(api, tmp_path):
    keep(api)
    del api.objects[CLAIM]
    done = run(api, tmp_path, "30_restore")
    assert (done.returncode, api.writes()) == (2, [])
    assert "There is no PersistentVolumeClaim chroma-backups-pvc" in " ".join(done.stdout.split())


@pytest.mark.parametrize("playbook", ["20_backup", "21_schedule", "30_restore"])
def test_without_the_keys_of_s3_nothing_is_made(api, tmp_path, playbook):
    if playbook == "30_restore":
        keep(api)
    done = run(api, tmp_path, playbook, *ON_S3)
    assert done.returncode == 2
    assert [each for each in api.writes() if each != ("PATCH", CRONJOB)] == []  # that one is a trial only
    assert CRONJOB not in api.objects
    assert "There is no Secret chroma-s3 in namespace chroma. Create it: kubectl create secret generic" in " ".join(done.stdout.split())


@pytest.mark.parametrize("place", ["s3://KEY:sesame-open@bucket/x", "s3://bucket", "/elsewhere", "https://s3.example.com/x"])
def test_a_repository_that_is_none_is_refused_and_no_secret_in_it_is_shown(api, tmp_path, place):
    done = run(api, tmp_path, "20_backup", "-e", f"chroma_backup_repository={place}")
    assert (done.returncode, api.requests) == (2, [])
    assert "sesame" not in done.stdout


def test_the_schedule_makes_the_first_backup_at_once_and_only_the_first_time(api, tmp_path):
    finishing(api)
    first = run(api, tmp_path, "21_schedule")
    assert first.returncode == 0, first.stdout
    cron = api.objects[CRONJOB]["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == ("0 * * * *", "Etc/UTC", "Forbid")
    scheduled, at_once = cron["jobTemplate"]["spec"]["template"], job_of(api)["spec"]["template"]
    assert scheduled == at_once
    variables = json.loads(environment_of(job_of(api))["CHROMA_OPERATION_VARIABLES"])
    assert (variables["chroma_backup_kind"], variables["chroma_operation_lock_wait"]) == ("auto", 1800)
    assert password_of(api) not in first.stdout + json.dumps(cron)
    second = run(api, tmp_path, "21_schedule")
    assert (second.returncode, "changed=0" in second.stdout) == (0, True), second.stdout
    assert len([path for path, _body in api.bodies_posted if path == JOBS]) == 1


def test_a_first_backup_that_failed_is_made_again(api, tmp_path):
    answer = api.answer
    finishing(api, exit_code=6)
    assert run(api, tmp_path, "21_schedule").returncode == 2
    assert CRONJOB in api.objects
    api.answer = answer
    finishing(api)
    assert run(api, tmp_path, "21_schedule").returncode == 0
    assert run(api, tmp_path, "21_schedule").returncode == 0
    assert len([path for path, _body in api.bodies_posted if path == JOBS]) == 2


def test_a_backup_that_runs_goes_on_when_its_schedule_is_removed(api, tmp_path):
    finishing(api)
    run(api, tmp_path, "21_schedule")
    run(api, tmp_path, "21_schedule", "-e", "auto_backup_enabled=false")
    assert api.deletions == [(CRONJOB, "Orphan")]


@pytest.mark.parametrize("schedule", ["0 3 * * *", "never"])
def test_another_playbook_does_not_touch_the_schedule_of_backups(api, tmp_path, schedule):
    done = run(api, tmp_path, "20_backup", "-e", json.dumps({"chroma_operation_schedule": schedule}))
    assert (done.returncode, api.requests) == (2, [])
    assert "21_schedule" in done.stdout


def test_a_check_of_the_repository_takes_the_lock_and_may_ask_whether_the_holder_of_its_lock_is_gone(api, tmp_path):
    keep(api)
    done = run(api, tmp_path, "backups", "--check", "-e", "chroma_list_check=true")
    assert done.returncode == 0, done.stdout
    job = job_of(api)
    variables = json.loads(environment_of(job)["CHROMA_OPERATION_VARIABLES"])
    assert (variables["chroma_statefulset"], variables["chroma_operation_lock"]) == ("chroma", "chroma-operation")
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "chroma-operations"


@pytest.mark.parametrize("playbook", PLANS)
def test_a_plan_is_made_by_a_job_also_in_check_mode_and_that_may_nothing(api, tmp_path, playbook):
    keep(api)
    finishing(api)
    before = set(api.objects)
    for arguments in (["--check"], ["-e", f"{PLANS[playbook]}=true"]):
        done = run(api, tmp_path, playbook, *arguments)
        assert done.returncode == 0, done.stdout
    jobs = [body for path, body in api.bodies_posted if path == JOBS]
    assert len(jobs) == 2
    for job in jobs:
        variables = json.loads(environment_of(job)["CHROMA_OPERATION_VARIABLES"])
        assert variables[PLANS[playbook]] is True
        assert variables.keys().isdisjoint({"chroma_operation_lock", "chroma_statefulset"})
    assert all("jobs" in each or "pods" in each for each in set(api.objects) - before)


def test_scratch_may_be_another_volume_and_each_limit_can_be_set(api, tmp_path):
    keep(api)
    finishing(api)
    keys_of_s3(api)
    own = {
        "chroma_scratch_pvc": "scratch",
        "chroma_backup_verify": False,
        "chroma_start_timeout": 900,
        "chroma_s3_timeout": 60,
        "chroma_repository_lock_wait": 300,
    }
    for playbook in ("20_backup", "28_test_backup", "30_restore"):
        api.bodies_posted.clear()
        done = run(api, tmp_path, playbook, *ON_S3, "-e", json.dumps(own))
        assert done.returncode == 0, done.stdout
        job = job_of(api)
        variables = json.loads(environment_of(job)["CHROMA_OPERATION_VARIABLES"])
        assert (variables["chroma_scratch_path"], variables["chroma_s3_timeout"], variables["chroma_repository_lock_wait"]) == (
            "/scratch",
            60,
            300,
        )
        assert variables.get("chroma_start_timeout") == (900 if playbook == "30_restore" else None)
        assert variables.get("chroma_backup_verify") == (False if playbook == "20_backup" else None)
        pod = job["spec"]["template"]["spec"]
        # Whose backups they are is in the data directory, whatever lies elsewhere meanwhile.
        assert variables["chroma_data_path"] in {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        assert {"name": "scratch", "persistentVolumeClaim": {"claimName": "scratch"}} in pod["volumes"]
        assert {"name": "scratch", "mountPath": "/scratch"} in pod["containers"][0]["volumeMounts"]


def test_the_drill_is_told_whose_backups_are_meant_apart_from_where_they_are_restored_to():
    [play] = yaml.safe_load((ROOT / "playbooks" / "data" / "test_backup.yaml").read_text())
    [given] = [each["thinkube.chroma.chroma_backup_drill"] for each in play["tasks"] if "thinkube.chroma.chroma_backup_drill" in each]
    assert given["path"] == "{{ chroma_data_path | default(omit, true) }}"
    assert given["scratch_path"] == "{{ chroma_scratch_path | default(omit, true) }}"


def test_in_check_mode_the_schedule_is_shown_and_nothing_is_stored(api, tmp_path):
    done = run(api, tmp_path, "21_schedule", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert api.objects == {}
    assert "CronJob chroma-backup" in done.stdout


def test_the_schedule_goes_where_backups_are_disabled_and_volume_and_password_stay(api, tmp_path):
    finishing(api)
    run(api, tmp_path, "21_schedule")
    done = run(api, tmp_path, "21_schedule", "-e", "auto_backup_enabled=false")
    assert done.returncode == 0, done.stdout
    assert [path in api.objects for path in (CRONJOB, SECRET, CLAIM)] == [False, True, True]
    again = run(api, tmp_path, "21_schedule", "-e", "auto_backup_enabled=false")
    assert (again.returncode, "changed=0" in again.stdout) == (0, True)


def test_a_schedule_that_is_no_cron_is_refused_before_anything_is_made(api, tmp_path):
    message = 'CronJob.batch "chroma-backup" is invalid: spec.schedule: Invalid value: "hourly"'
    api.answers["PATCH", CRONJOB] = (422, json.dumps({"message": message}).encode())
    done = run(api, tmp_path, "21_schedule", "-e", "chroma_backup_schedule=hourly")
    assert (done.returncode, api.objects) == (2, {})
    assert "spec.schedule: Invalid value" in done.stdout


@pytest.mark.parametrize("name", ["backup_retention_days", "backup_retention_count", "auto_backup_interval_hours"])
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_retention_that_keeps_nothing_is_refused_before_anything_is_asked(api, tmp_path, name, value):
    done = run(api, tmp_path, "21_schedule", "-e", f"{name}={value}")
    assert (done.returncode, api.requests) == (2, [])
    assert f"{name} ({value})" in " ".join(done.stdout.split())


ROOT = Path(__file__).parents[2]


def test_every_playbook_of_the_control_plane_has_its_data_playbook():
    for path in (ROOT / "playbooks").glob("[2-4]?_*.yaml"):
        name = next(line.split(":")[1].strip() for line in path.read_text().splitlines() if "operations_name:" in line)
        assert (ROOT / "playbooks" / "data" / f"{name}.yaml").exists(), path.name


def test_every_variable_that_a_job_is_given_is_one_that_its_data_playbook_knows(api, tmp_path):
    keep(api)
    keys_of_s3(api)
    own = {"chroma_scratch_pvc": "scratch", "chroma_backup_collection": "docs", "chroma_prune_backups": ["x"], "chroma_list_check": True}
    for playbook in (*MAKES, *ASKS):
        api.bodies_posted.clear()
        if playbook in PLANS:
            finishing(api)
        done = run(api, tmp_path, playbook, "--check", *ON_S3, "-e", json.dumps(own))
        assert done.returncode == 0, done.stdout
        job = job_of(api)
        _program, name = job["spec"]["template"]["spec"]["containers"][0]["command"]
        text = (ROOT / "playbooks" / "data" / f"{name}.yaml").read_text()
        given = json.loads(environment_of(job)["CHROMA_OPERATION_VARIABLES"])
        assert [each for each in given if each not in text] == [], playbook
