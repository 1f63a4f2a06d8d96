# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations that are interrupted, disturbed, refused or given nonsense, with a real Chroma and a real S3 server.

Every playbook runs with -vvv and --diff, so that the last tests can look for secrets in what was written and shown.
"""

from __future__ import annotations

import base64
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import chromadb
import numpy as np
import pytest
from pyarrow import fs

from .conftest import (
    CLUSTER,
    MARKS,
    PREFIX,
    TOKEN,
    Playbooks,
    ProcessWatch,
    Release,
    create,
    get,
    kubectl,
    until,
)
from .jobs import begun, ended, exit_codes, pods, signal_processes

RELEASE = Release(f"{PREFIX}-operations")
LOUD = ("-vvv", "--diff")
FOLDER = "chroma/acceptance"
DATASET = f"s3://{FOLDER}/served"
RECORDS, DIMENSION = 8_000, 96
WRONG_KEY = "wrong-Acceptance5e77-key"


def credentials() -> dict[str, str]:
    return dict(line.split("=", 1) for line in (CLUSTER / "s3.env").read_text().splitlines())


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


def secret(name: str, values: dict[str, str]) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    create(apiVersion="v1", kind="Secret", metadata={"name": name, "namespace": RELEASE.name}, data=encoded)


@pytest.fixture(scope="module")
def client(store: fs.S3FileSystem, playbooks: Playbooks, processes: ProcessWatch) -> Any:
    """A release with a collection that is on S3 as well; returns Chroma's own client of it."""
    playbooks.succeed("10_deploy", RELEASE, *LOUD)
    secret("chroma-s3", credentials())
    secret("chroma-s3-wrong", {**credentials(), "AWS_SECRET_ACCESS_KEY": WRONG_KEY})
    # The Service's address: the tests' own way to the data needs no certificate.
    address = RELEASE.get("service", "chromadb-svc")["spec"]["clusterIP"]
    opened = chromadb.HttpClient(host=address, port=80, headers={"X-Chroma-Token": TOKEN})
    collection = opened.create_collection("big")
    vectors = np.random.default_rng(4).standard_normal((RECORDS, DIMENSION), dtype=np.float32)
    for begin in range(0, RECORDS, 4000):
        numbers = range(begin, begin + 4000)
        documents = [f"document {number}" for number in numbers]
        collection.add(ids=[str(number) for number in numbers], embeddings=vectors[begin : begin + 4000], documents=documents)
    playbooks.succeed("80_export", RELEASE, *LOUD, chroma_export_source="server", chroma_destination=DATASET)
    return opened


def importing(name: str) -> dict[str, Any]:
    """Return the variables of an import of ``big`` under another name, in small steps: it is to be met in the middle."""
    return {"chroma_dataset": DATASET, "chroma_rename": {"big": name}, "chroma_batch_size": 50, "chroma_concurrency": 1}


def count(client: Any, name: str) -> int:
    """Return how many records a collection has; 0 where there is none."""
    if name not in {collection.name for collection in client.list_collections()}:
        return 0
    return int(client.get_collection(name).count())


def status(job: str) -> str:
    """Return ``Complete``, ``Failed``, or an empty text where the Job goes on."""
    conditions = (RELEASE.get("job", job).get("status") or {}).get("conditions") or []
    return next((each["type"] for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"), "")


def test_ctrl_c_leaves_the_operation_running_and_it_can_be_followed_again(client: Any, playbooks: Playbooks) -> None:
    process, output = playbooks.start("81_import", RELEASE, *LOUD, terminal=True, **importing("followed"))
    job = begun(process, output)
    until(lambda: count(client, "followed"), "the first records", process=process)
    assert process.stdin
    process.stdin.write("\x03")
    process.stdin.flush()
    interrupted = ended(process, output, playbooks)
    assert interrupted.code != 0
    assert f"{job} goes on. To follow it again: the same playbook with -e chroma_operation_follow={job}" in interrupted.words
    assert status(job) == ""

    done = playbooks.succeed("81_import", RELEASE, *LOUD, chroma_operation_follow=job)
    assert f"Following {job}." in done.words
    assert "100 %" in done.words
    assert (status(job), exit_codes(RELEASE, job)) == ("Complete", [0])
    assert count(client, "followed") == RECORDS
    # Also after its end, and for nothing new.
    assert playbooks.succeed("81_import", RELEASE, *LOUD, chroma_operation_follow=job).changed == done.changed


def test_of_two_operations_that_write_the_second_is_refused_and_one_that_reads_is_not(client: Any, playbooks: Playbooks) -> None:
    process, output = playbooks.start("81_import", RELEASE, *LOUD, **importing("first"))
    holder = begun(process, output)
    until(lambda: count(client, "first"), "the first records", process=process)
    signal_processes(RELEASE, holder, signal.SIGSTOP)  # it may not end before the others have been
    try:
        second = playbooks.run("81_import", RELEASE, *LOUD, **importing("second"))
        meanwhile = {"chroma_destination": f"s3://{FOLDER}/meanwhile", "chroma_collections": ["big"], "chroma_export_source": "server"}
        playbooks.succeed("80_export", RELEASE, *LOUD, **meanwhile)
    finally:
        signal_processes(RELEASE, holder, signal.SIGCONT)
    assert second.code != 0
    assert "exit code 6 (another operation holds the lock)" in second.words
    assert holder in second.words
    refused = re.search(r"Started (chroma-[a-z0-9-]+)\.", second.output)
    assert refused
    assert exit_codes(RELEASE, refused[1]) == [6]  # tried once
    assert ended(process, output, playbooks).code == 0
    assert (count(client, "first"), count(client, "second")) == (RECORDS, 0)


def test_the_lock_of_a_job_that_is_gone_is_taken_over(client: Any, playbooks: Playbooks) -> None:
    process, output = playbooks.start("81_import", RELEASE, *LOUD, **importing("abandoned"))
    job = begun(process, output)
    until(lambda: count(client, "abandoned"), "the first records", process=process)
    kubectl("delete", "job", job, f"--namespace={RELEASE.name}", "--cascade=foreground", "--now")
    assert ended(process, output, playbooks).code != 0
    assert RELEASE.get("lease", "chroma-operation")["spec"]["holderIdentity"] == job
    playbooks.succeed("81_import", RELEASE, *LOUD, **importing("abandoned"))
    assert count(client, "abandoned") == RECORDS


@pytest.mark.parametrize("victim", ["operation", "server"])
def test_an_import_in_which_a_pod_is_killed_completes_without_duplicates(client: Any, playbooks: Playbooks, victim: str) -> None:
    process, output = playbooks.start("81_import", RELEASE, *LOUD, **importing(f"killed-{victim}"))
    job = begun(process, output)
    until(lambda: count(client, f"killed-{victim}"), "the first records", process=process)
    (pod,) = pods(RELEASE, job)
    name = pod["metadata"]["name"] if victim == "operation" else "chroma-0"
    # Not forced: the address of a server that is gone answers nothing, and the request that is under way waits for its time-out.
    kubectl("delete", "pod", name, f"--namespace={RELEASE.name}", "--grace-period=1", "--wait=false")
    assert status(job) == ""
    assert ended(process, output, playbooks).code == 0
    assert status(job) == "Complete"
    copied = client.get_collection(f"killed-{victim}")
    assert copied.count() == RECORDS
    assert len(set(copied.get(include=[])["ids"])) == RECORDS


def test_an_object_store_that_comes_back_is_waited_for(client: Any, playbooks: Playbooks, store: fs.S3FileSystem) -> None:
    metadata = {"name": "late", "namespace": RELEASE.name}
    create(apiVersion="v1", kind="Service", metadata=metadata, spec={"ports": [{"port": 7070}]})
    settings = {"chroma_s3_endpoint": f"http://late.{RELEASE.name}.svc.cluster.local:7070", "chroma_export_source": "server"}
    process, output = playbooks.start(
        "80_export", RELEASE, *LOUD, chroma_destination=f"s3://{FOLDER}/late", chroma_collections=["big"], **settings
    )
    job = begun(process, output)
    until(lambda: RELEASE.get("job", job)["status"].get("failed"), "an attempt that failed", process=process)
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
    assert sorted(exit_codes(RELEASE, job)) == [0, 7]
    assert store.get_file_info(f"{FOLDER}/late/manifest.json").type == fs.FileType.File


REFUSED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "wrong credentials of S3": (
        "80_export",
        {"chroma_destination": f"s3://{FOLDER}/never", "chroma_s3_secret": "chroma-s3-wrong"},
        ("exit code 5 (bad input)", "AWS_SECRET_ACCESS_KEY"),
    ),
    "wrong credentials of S3 for an import": (
        "81_import",
        {"chroma_dataset": DATASET, "chroma_rename": {"big": "never"}, "chroma_s3_secret": "chroma-s3-wrong"},
        ("exit code 5 (bad input)", "AWS_SECRET_ACCESS_KEY"),
    ),
    "a bucket that does not exist": (
        "80_export",
        {"chroma_destination": "s3://no-such-bucket/never"},
        ("exit code 5 (bad input)", "no-such-bucket"),
    ),
    "a collection that does not exist": (
        "80_export",
        {"chroma_destination": f"s3://{FOLDER}/never", "chroma_collections": ["nowhere"]},
        ("exit code 5 (bad input)", "nowhere", "big"),
    ),
    "a dataset that does not exist": (
        "81_import",
        {"chroma_dataset": f"s3://{FOLDER}/nowhere"},
        ("exit code 5 (bad input)", f"{FOLDER}/nowhere"),
    ),
    "a folder that holds something already": (
        "80_export",
        {"chroma_destination": DATASET},
        ("exit code 5 (bad input)", "chroma_overwrite"),
    ),
    "no destination": ("80_export", {}, ("chroma_destination", "s3://bucket/prefix")),
    "no dataset": ("81_import", {}, ("chroma_dataset", "s3://bucket/prefix")),
    "a job that does not exist": ("81_import", {"chroma_operation_follow": "chroma-import-nowhere"}, ("chroma-import-nowhere",)),
    "no Secret for S3": (
        "80_export",
        {"chroma_destination": f"s3://{FOLDER}/never", "chroma_s3_secret": "nowhere", "chroma_wait_timeout": 40},
        ("has not started", 'secret "nowhere" not found', "kubectl delete job"),
    ),
    "an image that is not there": (
        "40_validate",
        {"chroma_operations_version": "0.0.0", "chroma_wait_timeout": 40},
        ("has not started", "chroma-operations:0.0.0"),
    ),
}


@pytest.mark.parametrize(("name", "variables", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_told_and_changes_nothing(
    client: Any, playbooks: Playbooks, store: fs.S3FileSystem, name: str, variables: dict[str, Any], message: tuple[str, ...]
) -> None:
    def objects() -> set[str]:
        return {found.path for found in store.get_file_info(fs.FileSelector(FOLDER, recursive=True)) if found.type == fs.FileType.File}

    before = objects(), {collection.name for collection in client.list_collections()}
    done = playbooks.run(name, RELEASE, *LOUD, **{"chroma_export_source": "server", **variables})
    assert done.code != 0
    for part in message:
        assert part in done.words, done.output[-4000:]
    assert (objects(), {collection.name for collection in client.list_collections()}) == before
    started = re.search(r"Started (chroma-[a-z0-9-]+)\.", done.output)
    if started and "exit code 5 (bad input)" in message:
        assert (status(started[1]), exit_codes(RELEASE, started[1])) == ("Failed", [5])  # tried once


def secrets() -> dict[str, str]:
    """Return every secret by its name, also as a Secret's data would show it."""
    plain = {"token": MARKS[0], "key of S3": credentials()["AWS_SECRET_ACCESS_KEY"], "wrong key of S3": WRONG_KEY}
    return plain | {f"{name}, encoded": base64.b64encode(value[:12].encode()).decode() for name, value in plain.items()}


def named(found: Callable[[str], bool]) -> list[str]:
    return [name for name, value in secrets().items() if found(value)]


def test_no_object_log_or_event_of_the_operations_holds_a_secret(client: Any) -> None:
    shown = kubectl("get", "all,cronjobs,configmaps,leases,events", f"--namespace={RELEASE.name}", "--output=yaml")
    operations = RELEASE.get("pods", "--selector=app.kubernetes.io/component=operation")["items"]
    logs = [
        kubectl("logs", pod["metadata"]["name"], f"--namespace={RELEASE.name}")
        for pod in operations
        if pod["status"]["phase"] in ("Succeeded", "Failed")
    ]
    assert len(logs) > 5
    assert '"event":"result"' in "".join(logs)
    assert named(lambda value: value in shown or value in "".join(logs)) == []


def test_neither_output_nor_process_list_holds_a_secret(client: Any, playbooks: Playbooks, processes: ProcessWatch) -> None:
    written = "".join(playbooks.journal)
    listed = b"\n".join(processes.seen).decode(errors="replace")
    assert "chroma-operation\0import" in listed
    assert "thinkube.chroma.data.import" in listed
    assert named(lambda value: value in written or value in listed) == []


def test_the_removal_ends_an_operation_that_runs_and_leaves_nothing(client: Any, playbooks: Playbooks) -> None:
    playbooks.succeed("80_export", RELEASE, *LOUD, chroma_destination=f"s3://{FOLDER}/{{job}}", chroma_operation_schedule="0 3 * * *")
    process, output = playbooks.start("81_import", RELEASE, *LOUD, **{**importing("removed"), "chroma_batch_size": 5})
    begun(process, output)
    until(lambda: count(client, "removed"), "the first records", process=process)
    kubectl("delete", "secrets", "chroma-s3", "chroma-s3-wrong", f"--namespace={RELEASE.name}")
    kubectl("delete", "service,endpointslice", "late", f"--namespace={RELEASE.name}", "--ignore-not-found")
    playbooks.succeed("19_rollback", RELEASE, *LOUD, remove_data=True)
    assert ended(process, output, playbooks).code != 0
    assert not RELEASE.exists()
