# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the Job of an operation, and read what it says. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._apply import essence, pod_troubles
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import OK, Cursor, Event, condense, read_lines

CONTAINER = "operation"
OPERATION = "thinkube.chroma/operation"
INDEX = "batch.kubernetes.io/job-completion-index"
# Seconds between two looks within one call.
PAUSE = 0.5


@dataclass(frozen=True)
class Attempt:
    """One pod of an operation.

    Attributes:
        pod: its name.
        index: its part of the work, with several parts.
        phase: as Kubernetes names it.
        exit_code: of its container; None while that runs, or where nobody knows.
        reason: why Kubernetes ended it, for example ``OOMKilled``.
        trouble: what keeps it from running.
        result: what it left as its termination message.
    """

    pod: str
    index: int
    phase: str
    exit_code: int | None
    reason: str
    trouble: str
    result: Any


@dataclass(frozen=True)
class Look:
    """What was seen of an operation.

    Attributes:
        operation: ``validate``, ``export`` …
        status: ``waiting`` (nothing ran yet), ``running``, ``succeeded`` or ``failed``.
        message: why the Job failed, as Kubernetes says it.
        attempts: its pods, oldest first.
        events: what its pods said since the cursor, each with its ``pod``.
        cursor: how far the log of each pod was read.
    """

    operation: str
    status: str
    message: str
    attempts: tuple[Attempt, ...]
    events: tuple[Event, ...]
    cursor: dict[str, Cursor]

    def as_result(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "exit_code": final_exit_code(self)}


def start(session: Session, namespace: str, manifest: Object, check_mode: bool) -> dict[str, Any]:
    """Create a Job; where it is there already, it was created by an earlier call of the same task.

    Args:
        session: the cluster.
        namespace: where the Job is created.
        manifest: a whole Job with a name that no other Job has.
        check_mode: let the server check it and store nothing.

    Returns:
        ``changed``, ``job`` and ``diff``.

    Raises:
        ChromaError: those of the session.
    """
    name = manifest["metadata"]["name"]
    try:
        created = session.create("Job", manifest, namespace, dry_run=check_mode)
    except ChromaError as error:
        # A connection that broke after the request: the name is random, so this Job is ours.
        if error.code != "conflict" or session.get("Job", name, namespace) is None:
            raise
        created = manifest
    return {"changed": True, "job": name, "diff": {"before": {}, "after": {f"Job {name}": essence(created)}}}


def look(session: Session, namespace: str, name: str, cursor: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Collect what an operation says for some seconds, or until it ends.

    Args:
        session: the cluster.
        namespace: the Job's namespace.
        name: the Job.
        cursor: how far the log of each pod was read before; empty for all from the beginning.
        seconds: how long to collect.

    Returns:
        A :class:`Look` as plain values; progress that was superseded meanwhile is left out.

    Raises:
        ChromaError: ``not_found`` where there is no such Job, and those of the session.
    """
    cursors = {pod: Cursor.of(values) for pod, values in cursor.items()}
    events: list[Event] = []
    end = time.monotonic() + seconds
    while True:
        # In this order: what a Job that is finished wrote is complete.
        job = session.get("Job", name, namespace)
        if job is None:
            raise ChromaError(
                "not_found",
                f"There is no Job {name} in namespace {namespace}.",
                f"Was it deleted, or did it end long ago? `kubectl get jobs -n {namespace} -l {OPERATION}` lists those that are there.",
            )
        pods = sorted(
            session.items("Pod", namespace, labelSelector=f"job-name={name}"), key=lambda pod: pod["metadata"]["creationTimestamp"]
        )
        for pod in pods:
            new, cursors[pod["metadata"]["name"]] = _events(session, namespace, pod, cursors.get(pod["metadata"]["name"], Cursor()))
            events += new
        status, message = _status(job, pods)
        if status in ("succeeded", "failed") or time.monotonic() + PAUSE > end:
            operation = (job["metadata"].get("labels") or {}).get(OPERATION, "")
            attempts = tuple(_attempt(pod) for pod in pods)
            return Look(operation, status, message, attempts, tuple(condense(events)), cursors).as_result()
        time.sleep(PAUSE)


def final_exit_code(seen: Look) -> int | None:
    """Return the exit code of an operation that ended: of its last pod that failed, or 0; None where nobody knows or it runs.

    Of several parts, those that succeeded at a later attempt do not count.
    """
    if seen.status == "succeeded":
        return OK
    if seen.status != "failed":
        return None
    done = {attempt.index for attempt in seen.attempts if attempt.exit_code == OK}
    codes = [attempt.exit_code for attempt in seen.attempts if attempt.exit_code and attempt.index not in done]
    return codes[-1] if codes else None


def is_finished(job: Object) -> bool:
    """Tell whether a Job has ended and none of its pods is left running."""
    status = job.get("status") or {}
    ended = any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in status.get("conditions") or [])
    return ended and not status.get("active") and not status.get("terminating")


def _status(job: Object, pods: list[Object]) -> tuple[str, str]:
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return ("succeeded" if condition["type"] == "Complete" else "failed"), condition.get("message", "")
    started = any((pod.get("status") or {}).get("phase") not in (None, "Pending") for pod in pods)
    return ("running" if started else "waiting"), ""


def _events(session: Session, namespace: str, pod: Object, cursor: Cursor) -> tuple[list[Event], Cursor]:
    name = pod["metadata"]["name"]
    state = _container(pod).get("state") or {}
    if not ("running" in state or "terminated" in state):
        return [], cursor
    query = {"timestamps": "true", **({"sinceTime": cursor.at} if cursor.at else {})}
    try:
        log = session.log(name, namespace, **query)
    except ChromaError as error:
        # The pod went away, or its node did, between the two requests; the Job says what comes of it.
        if error.code in ("not_found", "cluster_error"):
            return [], cursor
        raise
    events, cursor = read_lines(log, cursor)
    return [{**event, "pod": name} for event in events], cursor


def _container(pod: Object) -> Object:
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status["name"] == CONTAINER:
            return dict(status)
    return {}


def _troubles(pod: Object) -> list[str]:
    # Every pod is created for a moment; an image that can't be pulled is something else.
    return [trouble for trouble in pod_troubles(pod) if not trouble.endswith(": ContainerCreating")]


def _attempt(pod: Object) -> Attempt:
    ended = (_container(pod).get("state") or {}).get("terminated") or {}
    phase = (pod.get("status") or {}).get("phase", "Pending")
    try:
        result = json.loads(ended.get("message") or "null")
    except ValueError:
        result = None
    return Attempt(
        pod=pod["metadata"]["name"],
        index=int((pod["metadata"].get("annotations") or {}).get(INDEX, 0)),
        phase=phase,
        exit_code=ended.get("exitCode"),
        reason=ended.get("reason", "") or (pod.get("status") or {}).get("reason", ""),
        trouble="; ".join(_troubles(pod)) if phase == "Pending" else "",
        result=result,
    )
