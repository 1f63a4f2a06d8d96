# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Jobs of operations as the cluster and their own events tell of them, and playbooks that are to be disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from .conftest import Done, Playbooks, Release, create, kill_tree, kubectl, until

# What Kubernetes adds to a Job's template, under the names of old and new releases.
OF_ONE_JOB = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")


def begun(process: subprocess.Popen[str], output: Path) -> str:
    """Wait until a playbook says which Job it started, and return its name."""
    found = until(lambda: re.search(r"Started (chroma-[a-z0-9-]+)\.", output.read_text()), "a Job", process=process)
    return str(found[1])


def ended(process: subprocess.Popen[str], output: Path, playbooks: Playbooks) -> Done:
    """Wait for the end of a playbook that was started."""
    try:
        process.wait(timeout=400)
    finally:
        kill_tree(process)
        playbooks.journal.append(output.read_text())
    return Done(process.returncode, playbooks.journal[-1])


def pods(release: Release, job: str) -> list[dict[str, Any]]:
    """Return the pods of a Job that are still known."""
    # Of an empty list kubectl prints nothing.
    items: list[dict[str, Any]] = release.get("pods", f"--selector=batch.kubernetes.io/job-name={job}").get("items", [])
    return items


def exit_codes(release: Release, job: str) -> list[int]:
    """Return the exit codes of a Job's pods, which all have ended."""
    states = [pod["status"]["containerStatuses"][0]["state"] for pod in pods(release, job)]
    return sorted(state["terminated"]["exitCode"] for state in states)


def last_words(release: Release, job: str) -> dict[str, str]:
    """Return the last events of each pod of a Job: why one failed, where that is a surprise."""
    names = [pod["metadata"]["name"] for pod in pods(release, job)]
    return {name: kubectl("logs", name, "--tail=4", f"--namespace={release.name}") for name in names}


def said(release: Release, job: str) -> list[dict[str, Any]]:
    """Return the events of the first pod of a Job, as many as there are."""
    for pod in pods(release, job):
        if pod["status"]["phase"] != "Pending":
            lines = kubectl("logs", pod["metadata"]["name"], f"--namespace={release.name}").splitlines()
            return [json.loads(line) for line in lines if line.startswith("{")]
    return []


def results(release: Release, job: str) -> list[dict[str, Any]]:
    """Return what the operation of a Job said that it did, for each of its runs."""
    return [event["result"] for event in said(release, job) if event["event"] == "result"]


def is_in_phase(release: Release, job: str, name: str) -> bool:
    """Whether an operation has said that it is in a phase."""
    return any(event["event"] == "progress" and event["phase"] == name for event in said(release, job))


def signal_processes(release: Release, job: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to every process of a Job's pods, which are processes of this machine: SIGKILL, as where memory is short."""
    uids = [pod["metadata"]["uid"] for pod in pods(release, job)]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            groups, command = (process / "cgroup").read_text(), (process / "cmdline").read_bytes()
            in_pod = any(uid in groups or uid.replace("-", "_") in groups for uid in uids)
            if in_pod and b"/program" not in command and b"pause" not in command:
                inner = re.search(r"^NSpid:.*\s(\d+)$", (process / "status").read_text(), re.MULTILINE)
                assert inner
                found.append((int(inner[1]), int(process.name)))
    # The first process of the pod first, with which the others go: it would make an exit code of a child's end.
    for _inner, pid in sorted(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def start_in_a_row(release: Release, job: str, count: int) -> str:
    """Start another Job like one that was; its only pod does the same so many times, one after the other. Return its name."""
    spec = release.get("job", job)["spec"]
    del spec["selector"]
    labels = spec["template"]["metadata"]["labels"]
    spec["template"]["metadata"]["labels"] = {key: value for key, value in labels.items() if key not in OF_ONE_JOB}
    [container] = spec["template"]["spec"]["containers"]
    command = " ".join(container["command"])
    container["command"] = ["sh", "-c", f"for each in $(seq {count}); do {command} || exit; done"]
    spec["backoffLimit"] = 0
    name = f"{job}-row"
    create(apiVersion="batch/v1", kind="Job", metadata={"name": name, "namespace": release.name}, spec=spec)
    return name
