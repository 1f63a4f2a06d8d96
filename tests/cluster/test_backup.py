# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups and restorations that are killed, disturbed and refused, and the loss of everything, with a real Chroma and a real S3 server."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from pyarrow import fs

from .conftest import (
    CLUSTER,
    COLLECTIONS,
    PREFIX,
    ROOT,
    TOKEN,
    Playbooks,
    ProcessWatch,
    Release,
    create,
    get,
    kubectl,
    until,
)
from .jobs import begun, ended, exit_codes, is_in_phase, last_words, results, signal_processes

RELEASE = Release(f"{PREFIX}-backup", {"chroma_capacity": "4Gi", "chroma_backup_capacity": "4Gi"})
FOLDER = "chroma/acceptance-backup"
ON_S3 = {"chroma_backup_repository": f"s3://{FOLDER}/kept"}
RECORDS, DIMENSION = 8_000, 96
RUN = Path("/run/thinkube-chroma")


def credentials() -> dict[str, str]:
    return dict(line.split("=", 1) for line in (CLUSTER / "s3.env").read_text().splitlines())


def give_keys() -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in credentials().items()}
    create(apiVersion="v1", kind="Secret", metadata={"name": "chroma-s3", "namespace": RELEASE.name}, data=data)


def connect() -> Any:
    """Return Chroma's own client, by the Service's address: the tests' own way to the data needs no certificate."""
    address = RELEASE.get("service", "chromadb-svc")["spec"]["clusterIP"]
    return chromadb.HttpClient(host=address, port=80, headers={"X-Chroma-Token": TOKEN})


@pytest.fixture(scope="module")
def store() -> Iterator[fs.S3FileSystem]:
    """The local cluster's S3 server; our folder there is empty at the beginning, and at the end."""
    values = credentials()
    keys = {"access_key": values["AWS_ACCESS_KEY_ID"], "secret_key": values["AWS_SECRET_ACCESS_KEY"]}
    opened = fs.S3FileSystem(**keys, endpoint_override="http://s3.s3.svc.cluster.local:7070", region="us-east-1")

    def clear() -> None:
        for found in opened.get_file_info(fs.FileSelector(FOLDER, recursive=True, allow_not_found=True)):
            if found.type == fs.FileType.File:
                opened.delete_file(found.path)

    clear()
    yield opened
    clear()


@pytest.fixture(scope="module")
def deployed(store: fs.S3FileSystem, playbooks: Playbooks, processes: ProcessWatch) -> Release:
    """A release with a collection of some size, and one full backup on its volume."""
    playbooks.succeed("10_deploy", RELEASE)
    give_keys()
    collection = connect().create_collection("big")
    vectors = np.random.default_rng(4).standard_normal((RECORDS, DIMENSION), dtype=np.float32)
    for begin in range(0, RECORDS, 4000):
        numbers = range(begin, begin + 4000)
        documents = [f"document {number}" for number in numbers]
        collection.add(ids=[str(number) for number in numbers], embeddings=vectors[begin : begin + 4000], documents=documents)
    playbooks.succeed("20_backup", RELEASE)
    return RELEASE


def content() -> dict[str, Any]:
    """Return everything that the server holds, ready to be compared."""
    held = {}
    for collection in connect().list_collections():
        found = collection.get(include=["embeddings", "documents", "metadatas"])
        order = np.argsort(found["ids"])
        held[collection.name] = (
            [found["ids"][index] for index in order],
            [found["documents"][index] for index in order],
            np.asarray(found["embeddings"], dtype=np.float32)[order].tobytes(),
        )
    return held


def answers() -> bool:
    try:
        return connect().heartbeat() > 0
    except Exception:  # the client raises errors of many kinds
        return False


def assert_served() -> None:
    """The server runs, answers, and nobody is noted as having stopped it."""
    found = until(
        lambda: (each := RELEASE.get("statefulset", "chroma"))["status"].get("readyReplicas") == 1 and each, "a server that runs", 180
    )
    assert found["spec"]["replicas"] == 1
    assert "thinkube.chroma/paused" not in (found["metadata"].get("annotations") or {})
    # The ingress learns of the pod a moment later.
    until(lambda: RELEASE.curl(COLLECTIONS, TOKEN) == 200, "an answer by the way of its users", pause=1)
    until(answers, "an answer at the Service's address, which these tests use", pause=1)


def in_phase(name: str) -> Callable[[str], Any]:
    """Return a moment: the operation says that it is in this phase."""
    return lambda job: is_in_phase(RELEASE, job, name)


def server_is_stopped(_job: str) -> bool:
    return bool(RELEASE.get("statefulset", "chroma")["spec"]["replicas"] == 0)


# The other phases are killed on loopback; here it is the pod, its lock on the cluster and its successor that are looked at.
BACKUP_MOMENTS = {"while it copies": in_phase("copy"), "while it stores": in_phase("upload")}
RESTORE_MOMENTS = {"when the server is stopped": server_is_stopped}


@pytest.mark.parametrize("moment", BACKUP_MOMENTS)
def test_a_backup_whose_pod_is_killed_is_completed_by_its_next_pod(deployed: Release, playbooks: Playbooks, moment: str) -> None:
    before = content()
    process, output = playbooks.start("20_backup", RELEASE)
    job = begun(process, output)
    until(lambda: BACKUP_MOMENTS[moment](job), f"the moment: {moment}", process=process)
    signal_processes(RELEASE, job)
    assert ended(process, output, playbooks).code == 0
    assert exit_codes(RELEASE, job) == [0, 137]
    assert_served()
    assert content() == before


# The backups above are of these records, too.
@pytest.mark.parametrize("moment", RESTORE_MOMENTS)
def test_a_restoration_whose_pod_is_killed_is_completed_by_its_next_pod(deployed: Release, playbooks: Playbooks, moment: str) -> None:
    expected = content()
    connect().get_collection("big").delete(ids=[str(number) for number in range(100)])
    process, output = playbooks.start("30_restore", RELEASE)
    job = begun(process, output)
    until(lambda: RESTORE_MOMENTS[moment](job), f"the moment: {moment}", process=process)
    signal_processes(RELEASE, job)
    assert ended(process, output, playbooks).code == 0
    assert exit_codes(RELEASE, job) == [0, 137]
    assert_served()
    assert content() == expected


def test_a_restoration_that_is_deleted_while_the_server_is_stopped_is_mended_by_the_next_operation(
    deployed: Release, playbooks: Playbooks
) -> None:
    expected = content()
    process, output = playbooks.start("30_restore", RELEASE)
    job = begun(process, output)
    until(lambda: server_is_stopped(job), "a server that is stopped", process=process)
    kubectl("delete", "job", job, f"--namespace={RELEASE.name}", "--cascade=foreground", "--now")
    assert ended(process, output, playbooks).code != 0
    playbooks.succeed("20_backup", RELEASE)
    assert_served()
    assert content() == expected


def back_up(playbooks: Playbooks) -> str:
    """Make a full backup and return its id."""
    process, output = playbooks.start("20_backup", RELEASE)
    job = begun(process, output)
    assert ended(process, output, playbooks).code == 0
    (result,) = results(RELEASE, job)
    return str(result["backup"]["id"])


def test_a_removal_whose_pod_is_deleted_by_force_is_completed_by_its_next_pod(deployed: Release, playbooks: Playbooks) -> None:
    goes, stays = back_up(playbooks), back_up(playbooks)
    before = content()
    assert goes in playbooks.succeed("29_prune", RELEASE, "--check", chroma_prune_backups=[goes]).words
    process, output = playbooks.start("29_prune", RELEASE, chroma_prune_backups=[goes])
    job = begun(process, output)
    until(lambda: in_phase("prune")(job), "a removal that is under way", process=process)
    kubectl("delete", "pod", f"--selector=batch.kubernetes.io/job-name={job}", f"--namespace={RELEASE.name}", "--force", "--grace-period=0")
    assert ended(process, output, playbooks).code == 0
    assert RELEASE.get("job", job)["status"]["failed"] == 1
    assert_served()
    assert content() == before
    listed = playbooks.succeed("backups", RELEASE, chroma_list_check=True).words
    assert goes not in listed
    assert stays in listed


def test_in_check_mode_a_restoration_and_its_undoing_are_planned_and_nothing_is_changed(deployed: Release, playbooks: Playbooks) -> None:
    before, pod = content(), RELEASE.get("pod", "chroma-0")["metadata"]["uid"]
    for name in ("30_restore", "39_undo_restore"):
        assert re.search(r"\d{8}T\d{6}Z-[0-9a-f]{6}", playbooks.succeed(name, RELEASE, "--check").output)
    assert (content(), RELEASE.get("pod", "chroma-0")["metadata"]["uid"]) == (before, pod)


def restart_api_server() -> None:
    pid = int((RUN / "kube-apiserver.pid").read_text())
    program, *arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    script = str(ROOT / "roles" / "local_cluster" / "files" / "process.sh")
    for action, words in (("stop", []), ("start", [program, *arguments])):
        command = [script, action, str(RUN), str(CLUSTER / "logs"), "kube-apiserver", *words]
        subprocess.run(command, check=True, capture_output=True, timeout=600)


def test_a_backup_goes_on_while_the_api_server_is_restarted(deployed: Release, playbooks: Playbooks) -> None:
    before = content()
    process, output = playbooks.start("20_backup", RELEASE)
    job = begun(process, output)
    until(lambda: in_phase("copy")(job), "a copy that is under way", process=process)
    restart_api_server()
    assert ended(process, output, playbooks).code == 0
    assert exit_codes(RELEASE, job)[0] == 0
    assert_served()
    assert content() == before


def test_of_two_backups_at_once_the_second_is_refused_by_name(deployed: Release, playbooks: Playbooks) -> None:
    process, output = playbooks.start("20_backup", RELEASE)
    holder = begun(process, output)
    until(lambda: RELEASE.get("lease", "chroma-operation").get("spec", {}).get("holderIdentity") == holder, "the lock", process=process)
    signal_processes(RELEASE, holder, signal.SIGSTOP)  # it may not end before the other one begins
    try:
        second = playbooks.run("20_backup", RELEASE)
    finally:
        signal_processes(RELEASE, holder, signal.SIGCONT)
    assert second.code != 0
    assert "exit code 6 (another operation holds the lock)" in second.words
    assert holder in second.words
    assert ended(process, output, playbooks).code == 0


def test_an_object_store_that_is_away_is_waited_for(deployed: Release, playbooks: Playbooks) -> None:
    metadata = {"name": "late", "namespace": RELEASE.name}
    create(apiVersion="v1", kind="Service", metadata=metadata, spec={"ports": [{"port": 7070}]})
    endpoint = f"http://late.{RELEASE.name}.svc.cluster.local:7070"
    away = {"chroma_s3_endpoint": endpoint, "chroma_s3_timeout": 5, "chroma_backup_repository": f"s3://{FOLDER}/late"}
    process, output = playbooks.start("20_backup", RELEASE, **away)
    job = begun(process, output)
    until(lambda: RELEASE.get("job", job)["status"].get("failed"), "an attempt that failed", process=process)
    assert_served()
    (address,) = [pod["status"]["podIP"] for pod in get("pods", "--namespace=s3", "--selector=app=s3")["items"]]
    create(
        apiVersion="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata={**metadata, "labels": {"kubernetes.io/service-name": "late"}},
        addressType="IPv4",
        ports=[{"port": 7070}],
        endpoints=[{"addresses": [address]}],
    )
    assert ended(process, output, playbooks).code == 0
    codes = exit_codes(RELEASE, job)
    assert (codes[0], set(codes)) == (0, {0, 7}), last_words(RELEASE, job)


REFUSED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "a backup that does not exist": (
        "30_restore",
        {"chroma_restore_backup": "20200101T000000Z-abcdef"},
        ("exit code 5 (bad input)", "20200101T000000Z-abcdef"),
    ),
    "a time before the first backup": ("30_restore", {"chroma_restore_as_of": "2020-01-01T00:00:00Z"}, ("exit code 5 (bad input)", "2020")),
    "a collection that does not exist": (
        "20_backup",
        {"chroma_backup_collection": "nowhere"},
        ("exit code 5 (bad input)", "nowhere"),
    ),
    "a collection under a name that is taken": (
        "30_restore",
        {"chroma_restore_collection": "big", "chroma_restore_new_name": "big"},
        ("exit code 5 (bad input)", "big"),
    ),
    "a bucket that does not exist": (
        "20_backup",
        {"chroma_backup_repository": "s3://no-such-bucket/x"},
        ("exit code 5 (bad input)", "no-such-bucket"),
    ),
    "a schedule that is no cron": ("21_schedule", {"chroma_backup_schedule": "every hour"}, ("spec.schedule",)),
    "a minute that is none": ("21_schedule", {"chroma_backup_schedule": "61 * * * *"}, ("spec.schedule",)),
    "retention 0": ("29_prune", {"backup_retention_days": 0}, ("exit code 5 (bad input)", "retention")),
}


@pytest.mark.parametrize(("name", "variables", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_told_and_changes_nothing(
    deployed: Release, playbooks: Playbooks, name: str, variables: dict[str, Any], message: tuple[str, ...]
) -> None:
    before = content(), RELEASE.names("cronjobs")
    done = playbooks.run(name, RELEASE, **variables)
    assert done.code != 0
    for part in message:
        assert part in done.words, done.output[-4000:]
    assert (content(), RELEASE.names("cronjobs")) == before
    assert_served()


def test_neither_output_nor_process_list_holds_the_password(deployed: Release, playbooks: Playbooks, processes: ProcessWatch) -> None:
    password = base64.b64decode(RELEASE.get("secret", "chroma-backup")["data"]["repository-password"]).decode()
    listed = b"\n".join(processes.seen).decode(errors="replace")
    assert "restic\0" in listed
    assert "Started chroma-restore" in "".join(playbooks.journal)
    for secret in (password, TOKEN, credentials()["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in listed
        assert secret not in "".join(playbooks.journal)


def kept_secrets() -> str:
    """Return the two Secrets that the documentation says to keep, as kubectl writes them."""
    return kubectl("get", "secret", "chroma-backup", "chroma-auth", f"--namespace={RELEASE.name}", "--output=yaml")


def test_after_the_loss_of_everything_the_same_records_are_served_to_the_same_tokens(deployed: Release, playbooks: Playbooks) -> None:
    expected, token = content(), RELEASE.secret("token.discovery.write")
    playbooks.succeed("20_backup", RELEASE, **ON_S3)
    kept = kept_secrets()
    kubectl("delete", "namespace", RELEASE.name, "--timeout=150s")
    volumes = get("persistentvolumes")["items"]
    until(
        lambda: not [each for each in volumes if get("persistentvolume", each["metadata"]["name"]) and in_ours(each)],
        "volumes that are gone",
    )

    kubectl("create", "namespace", RELEASE.name)
    kubectl("apply", "--filename=-", text=kept)
    give_keys()
    playbooks.succeed("00_install", RELEASE, run_tests=False)
    assert content() == {}
    playbooks.succeed("30_restore", RELEASE, **ON_S3)
    assert_served()
    assert content() == expected
    assert RELEASE.secret("token.discovery.write") == token
    assert RELEASE.curl(COLLECTIONS, token) == 200


def in_ours(volume: dict[str, Any]) -> bool:
    return bool(volume["spec"].get("claimRef", {}).get("namespace") == RELEASE.name)


def test_without_the_password_the_restoration_says_what_to_do(deployed: Release, playbooks: Playbooks) -> None:
    kubectl("delete", "secret", "chroma-backup", f"--namespace={RELEASE.name}")
    before = content()
    done = playbooks.run("30_restore", RELEASE, **ON_S3)
    assert done.code != 0
    assert "There is no Secret chroma-backup" in done.words
    assert "kubectl apply -f FILE" in done.words
    # A backup would make another password, which does not open what is there.
    done = playbooks.run("20_backup", RELEASE, **ON_S3)
    assert done.code != 0
    assert "password" in done.words
    assert content() == before


def test_the_removal_keeps_the_backups_unless_told_otherwise(deployed: Release, playbooks: Playbooks) -> None:
    playbooks.succeed("21_schedule", RELEASE)
    kubectl("delete", "secret", "chroma-s3", f"--namespace={RELEASE.name}")
    kept = playbooks.succeed("19_rollback", RELEASE, remove_data=True)
    assert "kept PersistentVolumeClaim chroma-backups-pvc: it holds the backups" in kept.words
    assert RELEASE.names("persistentvolumeclaims,secrets,cronjobs") == {"PersistentVolumeClaim/chroma-backups-pvc", "Secret/chroma-backup"}
    playbooks.succeed("19_rollback", RELEASE, remove_data=True, remove_backups=True)
    assert RELEASE.names("persistentvolumeclaims,secrets,cronjobs") == set()
