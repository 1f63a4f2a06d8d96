# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of operations from the command line to the API server, which is one of the tests' own on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.tests.unit.kube_api import KubeApi, serve

ROOT = Path(__file__).parents[2]
JOBS = "/apis/batch/v1/namespaces/chroma/jobs"
PODS = "/api/v1/namespaces/chroma/pods"


@pytest.fixture
def api():
    with serve() as server:
        server.bodies_posted = []
        answer = server.answer

        def recorded(method, target, body):
            if method == "POST":
                server.bodies_posted.append((target.partition("?")[0], json.loads(json.dumps(body))))
            return answer(method, target, body)

        server.answer = recorded
        yield server


def command(api: KubeApi, folder: Path, playbook: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    platform = {
        "domain_name": "example.com",
        "admin_username": "tkadmin",
        "primary_ingress_class": "nginx",
        "harbor_registry": "registry.example.com",
        "kubeconfig": api.kubeconfig(folder),
    }
    inventory = folder / "hosts.yaml"
    inventory.write_text(
        json.dumps(
            {
                "k8s_control_plane": {
                    "hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
                    "vars": platform,
                }
            }
        )
    )
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"), "PYTHONUNBUFFERED": "1"}
    environment |= {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ADMIN_PASSWORD": "sesame-open"}
    return ["ansible-playbook", "-i", str(inventory), str(ROOT / f"playbooks/{playbook}.yaml"), *arguments], environment


def run(api: KubeApi, folder: Path, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words, environment = command(api, folder, playbook, *arguments)
    return subprocess.run(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)


def job_of(api: KubeApi) -> dict:
    return next(body for path, body in api.bodies_posted if path == JOBS)


def environment_of(job: dict) -> dict:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def add_pod(api: KubeApi, job: str, *events: dict, exit_code: int | None = None) -> None:
    state = {"running": {}} if exit_code is None else {"terminated": {"exitCode": exit_code}}
    status = {"phase": "Running", "containerStatuses": [{"name": "operation", "state": state}]}
    pod = api.put("Pod", f"{job}-1", "chroma", labels={"job-name": job}, spec={}, status=status)
    pod["metadata"]["creationTimestamp"] = "2026-11-21T06:00:00Z"
    lines = [f"2026-11-21T06:00:{n:02d}.000000000Z {json.dumps({'n': n, **event})}" for n, event in enumerate(events, start=1)]
    api.answers["GET", f"{PODS}/{job}-1/log"] = (200, "\n".join(lines).encode())


def end(api: KubeApi, job: str, kind: str) -> None:
    api.put("Job", job, "chroma", labels={"thinkube.chroma/operation": "export"}, status={"conditions": [{"type": kind, "status": "True"}]})


PLAYBOOKS = [
    ("40_validate", []),
    ("48_test_validate", []),
    ("80_export", ["-e", "chroma_destination=s3://bucket/prefix"]),
    ("80_export", ["-e", "chroma_destination=/dataset/x", "-e", "chroma_dataset_pvc=mine", "-e", "chroma_export_source=server"]),
    ("81_import", ["-e", "chroma_dataset=s3://bucket/prefix", "-e", "chroma_parts=3", "-e", "chroma_s3_ca_key=ca.crt"]),
]


@pytest.mark.parametrize(("playbook", "arguments"), PLAYBOOKS)
def test_check_mode_shows_the_job_and_stores_nothing_and_no_pod_has_more_rights_than_it_needs(api, tmp_path, playbook, arguments):
    done = run(api, tmp_path, playbook, "--check", "--diff", *arguments)
    assert done.returncode == 0, done.stdout
    assert api.objects == {}
    job = job_of(api)
    assert f"Job {job['metadata']['name']}" in done.stdout
    assert "sesame-open" not in done.stdout + json.dumps(job)
    template = job["spec"]["template"]
    pod, container = template["spec"], template["spec"]["containers"][0]
    # The Services choose the server by this label.
    assert template["metadata"]["labels"].get("app") != "chroma"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    writes = playbook == "81_import"
    assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (writes, "chroma-operations" if writes else "default")
    data = [mount for mount in container["volumeMounts"] if mount["name"] == "data"]
    reads_directory = playbook == "40_validate" or arguments[-1:] == ["chroma_destination=s3://bucket/prefix"]
    assert data == ([{"name": "data", "mountPath": "/data", "readOnly": True}] if reads_directory else [])
    # Every mount has its volume, and the other way round.
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_secrets_come_from_secrets_and_settings_as_json(api, tmp_path):
    run(api, tmp_path, "81_import", "--check", "-e", "chroma_dataset=s3://bucket/x", "-e", '{"chroma_rename": {"a": "b"}}')
    environment = environment_of(job_of(api))
    assert environment["AWS_SECRET_ACCESS_KEY"] == {"secretKeyRef": {"name": "chroma-s3", "key": "AWS_SECRET_ACCESS_KEY"}}
    assert environment["CHROMA_AUTH_TOKEN"] == {"secretKeyRef": {"name": "chroma-auth", "key": "auth-token"}}
    variables = json.loads(environment["CHROMA_OPERATION_VARIABLES"])
    assert variables["chroma_rename"] == {"a": "b"}
    assert variables["chroma_url"] == "http://chromadb-svc.chroma.svc"
    assert variables["chroma_operation_lock"] == "chroma-operation"


def test_the_token_of_this_server_is_not_shown_to_another_and_its_lock_not_taken(api, tmp_path):
    run(api, tmp_path, "81_import", "--check", "-e", "chroma_dataset=s3://bucket/x", "-e", "chroma_url=https://other.example.com")
    job = job_of(api)
    environment = environment_of(job)
    assert "CHROMA_AUTH_TOKEN" not in environment
    assert "chroma_operation_lock" not in json.loads(environment["CHROMA_OPERATION_VARIABLES"])
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://chroma.example.com", True),
        ("http://chromadb-svc:8000", True),
        ("http://chromadb-svc.chroma.svc.cluster.local", True),
        ("http://chroma-0.chromadb-headless.chroma", True),
        ("http://chromadb-svc.staging.svc", False),
        ("https://chroma.example.com.example.org", False),
    ],
)
def test_the_lock_is_taken_by_whatever_name_this_chroma_is_called(api, tmp_path, url, own):
    run(api, tmp_path, "81_import", "--check", "-e", "chroma_dataset=s3://bucket/x", "-e", f"chroma_url={url}")
    assert job_of(api)["spec"]["template"]["spec"]["automountServiceAccountToken"] is own


def test_of_several_parts_each_has_its_own_attempts(api, tmp_path):
    run(api, tmp_path, "81_import", "--check", "-e", "chroma_dataset=s3://bucket/x", "-e", "chroma_parts=2", "-e", "chroma_wait=0")
    spec = job_of(api)["spec"]
    assert (spec["backoffLimitPerIndex"], spec["podFailurePolicy"]["rules"][0]["action"]) == (3, "FailIndex")
    # 0 is a value, and not none.
    assert json.loads(environment_of(job_of(api))["CHROMA_OPERATION_VARIABLES"])["chroma_wait"] == 0


@pytest.mark.parametrize(
    ("playbook", "variable", "value"),
    [
        ("80_export", "chroma_destination", "s3://KEY:sesame-open@bucket/x"),
        ("80_export", "chroma_destination", "s3://KEY:sesame/open@bucket/x"),
        ("80_export", "chroma_s3_endpoint", "https://key:sesame-open@s3.example.com"),
        ("81_import", "chroma_url", "https://sesame-open@other.example.com"),
    ],
)
def test_a_secret_in_an_address_reaches_no_job_and_no_line(api, tmp_path, playbook, variable, value):
    place = "chroma_destination" if playbook == "80_export" else "chroma_dataset"
    done = run(api, tmp_path, playbook, "-e", f"{place}=s3://bucket/x", "-e", f"{variable}={value}")
    assert (done.returncode, api.requests) == (2, [])
    assert f"{variable}: an address with" in " ".join(done.stdout.split())
    assert "sesame" not in done.stdout


@pytest.mark.parametrize("value", ["http://chromadb-svc.chroma.svc:8000/", "http://[fd00::1]:8000", "https://other.example.com/a:b@c"])
def test_an_address_without_one_is_taken(api, tmp_path, value):
    done = run(api, tmp_path, "81_import", "--check", "-e", "chroma_dataset=s3://bucket/team@x", "-e", f"chroma_url={value}")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("rc", "fails_on"), [(0, ()), (3, ("minor",)), (4, ("minor", "severe"))])
@pytest.mark.parametrize("fail_on", ["severe", "minor", "never"])
def test_findings_fail_the_validation_from_the_severity_that_was_chosen_on(api, tmp_path, rc, fails_on, fail_on):
    add_pod(api, "chroma-validate-x", {"event": "result", "result": {"rc": rc}}, exit_code=rc)
    end(api, "chroma-validate-x", "Failed" if rc else "Complete")
    chosen = ["-e", f"chroma_validate_fail_on={fail_on}"]
    done = run(api, tmp_path, "40_validate", "-e", "chroma_operation_follow=chroma-validate-x", *chosen)
    assert (done.returncode == 2) is (fail_on in fails_on), done.stdout
    assert ("The data are healthy" in done.stdout) is (rc == 0)
    assert ("docs/findings.md" in done.stdout) is (rc > 0)


def test_what_a_validation_leaves_out_each_time_is_said(api, tmp_path):
    add_pod(api, "chroma-validate-x", {"event": "result", "result": {"rc": 0, "limits": ["an own check"]}}, exit_code=0)
    end(api, "chroma-validate-x", "Complete")
    done = run(api, tmp_path, "40_validate", "-e", "chroma_operation_follow=chroma-validate-x")
    assert done.returncode == 0, done.stdout
    assert "Nothing was found, but not looked at: an own check" in done.stdout
    assert "The data are healthy" not in done.stdout


@pytest.mark.parametrize(
    ("destination", "overwrite", "code"), [("x", "false", 2), ("x", "true", 0), ("{job}", "false", 0), ("at/{job}/x", "false", 0)]
)
def test_a_schedule_whose_second_run_could_not_work_is_refused(api, tmp_path, destination, overwrite, code):
    where = ["-e", f"chroma_destination=s3://bucket/{destination}", "-e", f"chroma_overwrite={overwrite}"]
    done = run(api, tmp_path, "80_export", *where, "-e", '{"chroma_operation_schedule": "0 3 * * *"}')
    assert done.returncode == code, done.stdout
    assert ("Write {job} into chroma_destination" in " ".join(done.stdout.split())) is bool(code)
    assert bool(api.writes()) is not bool(code)


@pytest.mark.parametrize("job", ["", "chroma-export-29389140"])
def test_an_export_is_named_after_its_job(tmp_path, job):
    synthetic.create(tmp_path / "data", 10, 4)
    words = ["ansible-playbook", "thinkube.chroma.data.export", "-e", f"chroma_data_path={tmp_path}/data"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"), "CHROMA_OPERATION_JOB": job}
    done = subprocess.run(
        [*words, "-e", f"chroma_destination={tmp_path}/night/{{job}}"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if job else 2), done.stdout
    assert (tmp_path / f"night/{job}/manifest.json").exists() is bool(job)


def test_an_operation_that_ends_well(api, tmp_path):
    add_pod(api, "chroma-export-x", {"event": "result", "result": {"dataset": "s3://b/p", "changed": True}}, exit_code=0)
    end(api, "chroma-export-x", "Complete")
    done = run(api, tmp_path, "80_export", "-e", "chroma_operation_follow=chroma-export-x")
    assert (done.returncode, "changed=1" in done.stdout) == (0, True)


def test_an_operation_that_fails_gives_its_own_reason(api, tmp_path):
    add_pod(api, "chroma-export-x", {"event": "error", "message": "No bucket.", "hint": "Create it.", "code": "no_bucket"}, exit_code=5)
    end(api, "chroma-export-x", "Failed")
    done = run(api, tmp_path, "80_export", "-e", "chroma_operation_follow=chroma-export-x")
    assert done.returncode == 2
    assert "export ended with exit code 5 (bad input): No bucket. Create it." in " ".join(done.stdout.split())


def test_an_interruption_says_how_to_follow_and_touches_nothing(api, tmp_path):
    api.put("Job", "chroma-export-x", "chroma", status={"active": 1})
    add_pod(api, "chroma-export-x", {"event": "progress", "phase": "export", "done": 1, "total": 2, "unit": "records", "seconds": 1.0})
    words, environment = command(api, tmp_path, "80_export", "-e", "chroma_operation_follow=chroma-export-x")
    with subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown = ""
        while "50 %" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        shown += process.communicate(timeout=600)[0]
    assert "chroma-export-x goes on. To follow it again: the same playbook with -e chroma_operation_follow=chroma-export-x" in shown
    assert api.writes() == []
    assert process.returncode == 99


def test_an_interruption_before_the_answer_to_the_creation_names_the_job_too(api, tmp_path):
    answer, asked = api.answer, threading.Event()

    def slow(method, target, body):
        reply = answer(method, target, body)
        if method == "POST" and target.startswith(JOBS):
            asked.set()
            time.sleep(5)
        return reply

    api.answer = slow
    words, environment = command(api, tmp_path, "48_test_validate")
    with subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert asked.wait(600)
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=600)[0]
    name = job_of(api)["metadata"]["name"]
    assert f"If {name} was started all the same, it goes on by itself." in shown
    assert f"-e chroma_operation_follow={name}" in shown


def test_a_job_whose_creation_was_not_answered_is_created_once_and_followed(api, tmp_path):
    answer, lost = api.answer, []

    def deaf(method, target, body):
        reply = answer(method, target, body)
        if method == "POST" and target.startswith(JOBS):
            job = job_of(api)["metadata"]["name"]
            add_pod(api, job, {"event": "result", "result": {"drills": 1}}, exit_code=0)
            end(api, job, "Complete")
            if not lost:
                lost.append(job)
                raise ConnectionAbortedError
        return reply

    api.answer = deaf
    done = run(api, tmp_path, "48_test_validate")
    assert done.returncode == 0, done.stdout
    assert [body["metadata"]["name"] for path, body in api.bodies_posted if path == JOBS] == lost * 2
    assert f"Started {lost[0]}" in done.stdout


@pytest.mark.parametrize(
    ("playbook", "variable", "value"),
    [("80_export", "chroma_destination", value) for value in ("", "s3://", "s3://bucket", "/tmp/x", "http://x/y")]
    + [("81_import", "chroma_dataset", value) for value in ("", "s3://bucket")],
)
def test_a_place_that_is_none_is_refused_before_anything_is_asked(api, tmp_path, playbook, variable, value):
    done = run(api, tmp_path, playbook, "-e", f"{variable}={value}")
    assert (done.returncode, api.requests) == (2, [])
    assert f"Set {variable}" in " ".join(done.stdout.split())


def test_a_schedule_is_the_same_pod_and_can_be_taken_back(api, tmp_path):
    path = "/apis/batch/v1/namespaces/chroma/cronjobs/chroma-validate"
    run(api, tmp_path, "40_validate", "--check")
    wanted = job_of(api)["spec"]["template"]
    done = run(api, tmp_path, "40_validate", "-e", '{"chroma_operation_schedule": "0 3 * * *"}')
    assert done.returncode == 0, done.stdout
    cron = api.objects[path]["spec"]
    scheduled = cron["jobTemplate"]["spec"]["template"]
    assert (cron["schedule"], cron["concurrencyPolicy"], scheduled) == ("0 3 * * *", "Forbid", wanted)
    done = run(api, tmp_path, "40_validate", "-e", "chroma_operation_schedule=never")
    assert (done.returncode, path in api.objects) == (0, False)
