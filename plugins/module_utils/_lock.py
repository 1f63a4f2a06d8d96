# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of one Chroma: at most one operation writes. FOR INTERNAL COLLECTION USE ONLY.

A Lease names the Job that holds it. The lock is held as long as that very Job, or one of its pods, is there and has not ended;
nothing has to be renewed or given back, so a Job that was killed blocks nobody, and all pods of one Job hold it together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_job import is_finished

HOLDER_UID = "thinkube.chroma/holder-uid"
# Seconds between two looks at a lock that another holds.
PAUSE = 2.0
# Until the pods of a Job that was deleted are gone, they may still write.
_GONE = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Holder:
    """Who holds the lock.

    Attributes:
        job, uid: the Job; the uid tells it from a later one of its name.
        since: RFC 3339 time.
    """

    job: str
    uid: str
    since: str = ""


def acquire(
    session: Session, namespace: str, lease: str, job: str, labels: Mapping[str, str], wait: float, check_mode: bool
) -> dict[str, Any]:
    """Take the lock for a Job, from nobody or from a Job that has ended.

    Args:
        session: the cluster.
        namespace: of the Lease and the Jobs.
        lease: name of the Lease.
        job: the Job that shall hold it.
        labels: of a Lease that is created.
        wait: seconds to wait for another holder to end.
        check_mode: look only.

    Returns:
        ``changed``, ``holder``, ``previous`` (the holder before, empty for none) and ``diff``.

    Raises:
        ChromaError: ``lock_held``, naming the holder; ``not_found`` where there is no such Job; those of the session.
    """
    found = session.get("Job", job, namespace)
    if found is None:
        raise ChromaError(
            "not_found",
            f"There is no Job {job} in namespace {namespace}, which was to hold the lock {lease}.",
            "Only an operation that runs as a Job needs the lock.",
        )
    me = Holder(job, found["metadata"]["uid"])
    end = time.monotonic() + wait
    while True:
        there = session.get("Lease", lease, namespace)
        holder = read_holder(there)
        if holder and holder.uid == me.uid:
            return _result(False, holder, holder)
        if holder is None or not _is_alive(session, namespace, holder):
            wanted = plan_lease(there, me, datetime.now(UTC), lease, labels)
            if check_mode or _store(session, namespace, wanted, there is None):
                return _result(True, me, holder)
            # Another was faster: look again who it is.
        elif time.monotonic() + PAUSE > end:
            raise ChromaError(
                "lock_held",
                f"Operation {holder.job} writes into this Chroma since {holder.since}"
                + (f", and did not end within {wait:g} s." if wait else "."),
                f"Wait for it (`-e chroma_operation_follow={holder.job}` follows it), set chroma_operations_lock_wait, "
                f"or end it: `kubectl delete job -n {namespace} {holder.job}`.",
                {"holder": holder.job, "since": holder.since},
            )
        else:
            time.sleep(PAUSE)


def read_holder(lease: Object | None) -> Holder | None:
    """Return who a Lease names, or None."""
    spec = (lease or {}).get("spec") or {}
    if lease is None or not spec.get("holderIdentity"):
        return None
    uid = (lease["metadata"].get("annotations") or {}).get(HOLDER_UID, "")
    return Holder(spec["holderIdentity"], uid, spec.get("acquireTime", ""))


def plan_lease(there: Object | None, holder: Holder, now: datetime, name: str, labels: Mapping[str, str]) -> Object:
    """Return the Lease that names a holder; with the version of the one that was read, so that nobody's change is overwritten.

    Format: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/
    """
    before = there or {"metadata": {"name": name, "labels": dict(labels)}}
    metadata = before["metadata"]
    time_of_day = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), HOLDER_UID: holder.uid}},
        "spec": {
            "holderIdentity": holder.job,
            "acquireTime": time_of_day,
            "renewTime": time_of_day,
            "leaseTransitions": ((before.get("spec") or {}).get("leaseTransitions") or 0) + (there is not None),
        },
    }


def _is_alive(session: Session, namespace: str, holder: Holder) -> bool:
    job = session.get("Job", holder.job, namespace)
    if job is not None and job["metadata"]["uid"] == holder.uid and not is_finished(job):
        return True
    pods = session.items("Pod", namespace, labelSelector=f"batch.kubernetes.io/controller-uid={holder.uid}") if holder.uid else []
    return any((pod.get("status") or {}).get("phase") not in _GONE for pod in pods)


def _store(session: Session, namespace: str, wanted: Object, new: bool) -> bool:
    try:
        if new:
            session.create("Lease", wanted, namespace)
        else:
            session.replace("Lease", wanted, namespace)
    except ChromaError as error:
        if error.code in ("conflict", "not_found"):
            return False
        raise
    return True


def _result(changed: bool, holder: Holder, previous: Holder | None) -> dict[str, Any]:
    before = previous.job if previous else ""
    return {
        "changed": changed,
        "holder": holder.job,
        "previous": before,
        "diff": {"before": {"holder": before}, "after": {"holder": holder.job}},
    }
