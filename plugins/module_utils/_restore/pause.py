# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping the server for an operation, and starting it again, even if the operation dies. FOR INTERNAL COLLECTION USE ONLY.

The number of replicas goes into an annotation of the StatefulSet in the same request that sets it to 0: either both are there, or
neither. Whoever finds the annotation can start the server again, and every operation that writes begins with that.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session, wait_until

PAUSED = "thinkube.chroma/paused"
# Seconds until the pods have ended (they are given their grace period), and until the server is ready again.
STOPS, STARTS = 180.0, 600.0
# The StatefulSet's controller writes its status between our look and our change.
_TRIES = 20
_ENDED = ("Succeeded", "Failed")
# Seconds between the tries to start a server: an API server that was restarted is there again by then.
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
_REFUSED = ("forbidden", "cluster_unauthorized")


@dataclass(frozen=True)
class Workload:
    """The server as Kubernetes runs it.

    Args:
        session: with the cluster.
        namespace, name: of the StatefulSet.
    """

    session: Session
    namespace: str
    name: str

    def read(self) -> Object | None:
        """Return the StatefulSet; None where it is absent."""
        return self.session.get("StatefulSet", self.name, self.namespace)

    def pods(self, statefulset: Object) -> list[Object]:
        """Return its pods that have not ended; one that is about to end still may write."""
        labels = statefulset["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        found = self.session.items("Pod", self.namespace, labelSelector=selector)
        return [pod for pod in found if (pod.get("status") or {}).get("phase") not in _ENDED]


@dataclass(frozen=True)
class Pause:
    """What the annotation says.

    Args:
        operation: that stopped the server.
        replicas: that there were.
    """

    operation: str
    replicas: int


def pause(workload: Workload, operation: str, timeout: float = STOPS, restart: bool = True) -> Pause:
    """Stop the server, and return when its last pod has ended.

    Args:
        operation: its Job's name, for whoever reads the annotation.
        timeout: seconds.
        restart: start it again where this fails, also where only the cluster's answer was lost; not on half a directory.

    Raises:
        ChromaError: ``not_found``, ``not_applied``; ``timeout`` where a pod does not end; those of the session.
    """
    try:
        return _pause(workload, operation, timeout)
    except BaseException:
        if restart:
            # What failed first is what the caller has to know.
            with contextlib.suppress(ChromaError):
                start_again(workload)
        raise


def _pause(workload: Workload, operation: str, timeout: float) -> Pause:
    statefulset = _change(workload, lambda found: plan_pause(found, operation))
    if statefulset is None:
        raise ChromaError(
            "not_found",
            f"There is no StatefulSet {workload.name} in namespace {workload.namespace}, which was to be stopped.",
            "Check the names, or deploy Chroma first (10_deploy).",
        )
    found = read_pause(statefulset)
    if found is None:
        raise ChromaError(
            "not_applied",
            f"StatefulSet {workload.name} did not take the annotation {PAUSED}.",
            "Look for a webhook that changes StatefulSets.",
        )
    wait_until(
        lambda: workload.pods(statefulset),
        lambda pods: not pods,
        timeout,
        lambda pods: f"The server did not stop: {', '.join(pod['metadata']['name'] for pod in pods)} did not end",
    )
    return found


def is_stopped(workload: Workload) -> bool:
    """Return whether no pod of the server is left, and none is wanted."""
    statefulset = workload.read()
    return statefulset is None or (statefulset["spec"].get("replicas") == 0 and not workload.pods(statefulset))


def start(workload: Workload) -> Pause | None:
    """Set the replicas back to what the annotation says, and take it off; None where there is none, and nothing is changed.

    It does not wait: see :func:`resume`.
    """
    found: list[Pause | None] = [None]

    def plan(statefulset: Object) -> Object | None:
        found[0] = read_pause(statefulset)
        return plan_resume(statefulset)

    _change(workload, plan)
    return found[0]


def start_again(workload: Workload, pauses: tuple[float, ...] = PAUSES) -> Pause | None:
    """Do as :func:`start`, and be patient with the cluster.

    Raises:
        ChromaError: what the cluster answered last.
    """
    for wait in (*pauses, None):
        try:
            return start(workload)
        except ChromaError as error:
            if wait is None or error.code in _REFUSED:
                raise
            time.sleep(wait)
    raise AssertionError("the loop returns or raises")


def wait_ready(workload: Workload, timeout: float = STARTS) -> int:
    """Wait until as many pods are ready as the StatefulSet wants, and return how many that is; 0 also where it is absent.

    Raises:
        ChromaError: ``timeout``; those of the session.
    """
    there = workload.read()
    replicas = int(there["spec"].get("replicas", 1)) if there else 0
    if replicas:
        wait_until(
            workload.read,
            lambda now: now is not None and is_ready(now, replicas),
            timeout,
            lambda now: _describe(workload, now, replicas),
        )
    return replicas


def resume(workload: Workload, timeout: float = STARTS) -> Pause | None:
    """Start the server again if an operation stopped it, and return when it is ready.

    The first step of everything that writes, once a swap that was begun is settled: see :func:`_restore.recover.recover`.

    Returns:
        What the annotation said; None where there was none, and then it is not waited for.

    Raises:
        ChromaError: ``timeout`` where it does not become ready; those of the session.
    """
    found = start_again(workload)
    if found is not None:
        wait_ready(workload, timeout)
    return found


@contextlib.contextmanager
def paused(workload: Workload, operation: str, stops: float = STOPS, starts: float = STARTS) -> Iterator[Pause]:
    """Stop the server for the length of a ``with`` block, and start it again however the block ends.

    Raises:
        ChromaError: those of :func:`pause`; at the end those of :func:`resume`: what the block has done is done then.
    """
    found = pause(workload, operation, stops)
    try:
        yield found
    except BaseException:
        # What failed first is what the caller has to know.
        with contextlib.suppress(ChromaError):
            start_again(workload)
        raise
    resume(workload, starts)


def read_pause(statefulset: Object) -> Pause | None:
    """Return what the annotation of a StatefulSet says; one replica where it cannot be read, for a server is better than none."""
    text = (statefulset["metadata"].get("annotations") or {}).get(PAUSED)
    if text is None:
        return None
    try:
        said = json.loads(text)
        return Pause(str(said["operation"]), max(0, int(said["replicas"])))
    except (ValueError, KeyError, TypeError):
        return Pause("", 1)


def plan_pause(statefulset: Object, operation: str) -> Object:
    """Return the patch that stops a server; one that another operation stopped keeps the number that was there before that,
    unless somebody has set a larger one since."""
    before = read_pause(statefulset)
    replicas = max(before.replicas if before else 0, statefulset["spec"].get("replicas", 1))
    return _patch(statefulset, json.dumps(asdict(Pause(operation, replicas)), sort_keys=True), 0)


def plan_resume(statefulset: Object) -> Object | None:
    """Return the patch that starts a server that an operation stopped; None where none did."""
    found = read_pause(statefulset)
    if found is None:
        return None
    # Who set it to a number since then wants that number.
    return _patch(statefulset, None, statefulset["spec"].get("replicas") or found.replicas)


def is_ready(statefulset: Object, replicas: int) -> bool:
    """Return whether the controller has seen the latest change and so many pods are ready."""
    status = statefulset.get("status") or {}
    seen = status.get("observedGeneration", 0) >= statefulset["metadata"].get("generation", 0)
    return seen and (status.get("readyReplicas") or 0) >= replicas


def _patch(statefulset: Object, annotation: str | None, replicas: int) -> Object:
    metadata: dict[str, Any] = {"annotations": {PAUSED: annotation}}
    if version := statefulset["metadata"].get("resourceVersion"):
        metadata["resourceVersion"] = version
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def _change(workload: Workload, plan: Callable[[Object], Object | None]) -> Object | None:
    """Apply a plan to the StatefulSet as it is now; None where it is absent."""
    for attempt in range(_TRIES):
        found = workload.read()
        if found is None:
            return None
        body = plan(found)
        if body is None:
            return found
        try:
            return workload.session.patch("StatefulSet", workload.name, body, workload.namespace)
        except ChromaError as error:
            if error.code != "conflict" or attempt == _TRIES - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _describe(workload: Workload, there: Object | None, replicas: int) -> str:
    if there is None:
        return f"StatefulSet {workload.name} has been deleted meanwhile"
    status = there.get("status") or {}
    pods = ", ".join(f"{pod['metadata']['name']} is {(pod.get('status') or {}).get('phase')}" for pod in workload.pods(there))
    return f"The server was started again and is not ready: {status.get('readyReplicas') or 0} of {replicas}; {pods or 'no pod is there'}"
