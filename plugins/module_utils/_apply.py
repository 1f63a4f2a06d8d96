# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the objects of a release server-side, in order, over one connection. FOR INTERNAL COLLECTION USE ONLY.

``kubernetes.core.k8s`` does the same; its client library costs each task 0.4 s more, and a deployment without a change
is to stay below five times ``kubectl apply`` (``bench/deploy.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import (
    ADOPTED,
    FIELD_MANAGER,
    RESOURCES,
    Object,
    Session,
    is_adopted,
    is_ours,
    object_path,
    wait_until,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._prerequisites import Generated, Required, ensure_generated, require_objects
from ansible_collections.thinkube.chroma.plugins.module_utils._secrets import Wanted, ensure_secrets

# What the API server writes by itself.
SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "selfLink")


@dataclass(frozen=True)
class Applied:
    """What became of one object.

    Attributes:
        kind, name: the object.
        action: ``created``, ``changed``, ``deleted`` or ``unchanged``.
        before, after: the object without what the server writes by itself; values of Secrets are words. None where absent.
        uid: of an object that is there.
        succeeded: when a Job of a CronJob was successful last, as the server has it; empty for never, and for all other objects.
    """

    kind: str
    name: str
    action: str
    before: Object | None = field(repr=False, default=None)
    after: Object | None = field(repr=False, default=None)
    uid: str = ""
    succeeded: str = ""

    def as_result(self) -> dict[str, str]:
        """Return it as the module does."""
        told = {"kind": self.kind, "name": self.name, "action": self.action}
        return {**told, "uid": self.uid, "succeeded": self.succeeded} if self.kind == "CronJob" else told


@dataclass(frozen=True)
class Release:
    """What a release, or one role's part of it, consists of.

    Attributes:
        namespace: where it is.
        secrets: namespace, tokens and certificate, made sure of first; None to leave them alone.
        objects: whole objects, in the order in which they are applied.
        absent: ``kind`` and ``name`` of objects that must not be there.
        wait_for: a StatefulSet that must run at the end; None or empty for none.
        timeout: seconds to wait for it.
        required: objects that others provide, looked for before anything is changed.
        generated: values in Secrets that are made once.
    """

    namespace: str
    secrets: Wanted | None
    objects: tuple[Object, ...]
    absent: tuple[dict[str, str], ...]
    wait_for: str | None
    timeout: float
    required: tuple[Required, ...] = ()
    generated: tuple[Generated, ...] = ()


def ensure_release(session: Session, release: Release, check_mode: bool) -> dict[str, Any]:
    """Make a release what it must be, and return the arguments of ``exit_json``.

    Args:
        session: the cluster.
        release: what must be there.
        check_mode: plan only.

    Raises:
        ChromaError: ``secret_refused``, and those of what is required, of the Secrets, of the objects and of the wait.
    """
    for each in release.objects:
        if each["kind"] == "Secret":
            raise ChromaError(
                "secret_refused",
                f"Secret {each['metadata']['name']} is among the objects, and Ansible logs what a module is given.",
                "Name it in option secrets, or create it with kubectl.",
            )
    require_objects(session, release.namespace, release.required)
    plan = ensure_secrets(session, release.secrets, check_mode) if release.secrets else None
    generated = ensure_generated(session, release.namespace, release.generated, check_mode)
    applied = apply_objects(session, release.objects, release.absent, release.namespace, check_mode)
    if release.wait_for and not check_mode:
        wait_for_rollout(session, release.wait_for, release.namespace, release.timeout)
    changes, difference = _diff(applied), plan.diff() if plan else {"before": {}, "after": {}}
    difference["after"] |= {f"Secret {each}": "a generated value" for each in generated}
    return {
        "changed": bool(plan and plan.changes) or bool(generated) or any(each.action != "unchanged" for each in applied),
        "objects": [each.as_result() for each in applied],
        "tokens": list(plan.tokens) if plan else [],
        "generated": generated,
        "diff": {side: {**difference[side], **changes[side]} for side in ("before", "after")},
    }


def apply_objects(
    session: Session, objects: Sequence[Object], absent: Sequence[dict[str, str]], namespace: str, check_mode: bool
) -> list[Applied]:
    """Make objects what they are to be, and others of ours absent.

    Fields that others own and these objects do not name stay (server-side apply, KEP-555); a conflict is won.

    Args:
        session: the cluster.
        objects: whole objects, in the order in which they are applied.
        absent: ``kind`` and ``name`` of objects that must not be there; one without our label stays, as not ours.
        namespace: where they are, unless an object says otherwise.
        check_mode: let the server compute the result and store nothing.

    Raises:
        ChromaError: ``unknown_kind``, and those of the session; an error of the server names the object.
    """
    applied = [_apply(session, each, namespace, check_mode) for each in objects]
    for each in absent:
        found = _find(session, _known(each["kind"]), each["name"], namespace)
        if found and is_ours(found):
            if not check_mode:
                # A Job that runs goes on: a backup that is killed may have stopped the server.
                propagation = "Orphan" if each["kind"] == "CronJob" else "Background"
                session.delete(each["kind"], each["name"], namespace, found["metadata"]["uid"], propagation)
                _wait_for_absence(session, each["kind"], each["name"], namespace)
            applied.append(Applied(each["kind"], each["name"], "deleted", essence(found)))
    return applied


def wait_for_rollout(session: Session, name: str, namespace: str, timeout: float) -> None:
    """Wait until a StatefulSet's pods are all of its newest revision and ready.

    Args:
        session: the cluster.
        name, namespace: the StatefulSet.
        timeout: seconds.

    Raises:
        ChromaError: ``timeout``, which says what holds each pod up.
    """

    def describe(_statefulset: Object | None) -> str:
        pods = [pod for pod in session.items("Pod", namespace) if pod["metadata"]["name"].startswith(f"{name}-")]
        troubles = "; ".join(trouble for pod in pods for trouble in pod_troubles(pod)) or "no pod was created"
        return (
            f"StatefulSet {name} in namespace {namespace} did not become ready: {troubles}. "
            f"See `kubectl describe pod -n {namespace} {name}-0` and `kubectl logs -n {namespace} {name}-0 --all-containers`; "
            "started again, the playbook continues from here"
        )

    wait_until(lambda: session.get("StatefulSet", name, namespace), rolled_out, timeout, describe)


def rolled_out(statefulset: Object | None) -> bool:
    """Tell whether a StatefulSet's newest revision runs, as ``kubectl rollout status`` does."""
    if statefulset is None:
        return False
    status = statefulset.get("status") or {}
    replicas = statefulset["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= statefulset["metadata"]["generation"]
        and status.get("updateRevision") == status.get("currentRevision")
        and status.get("readyReplicas", 0) == replicas == status.get("updatedReplicas", status.get("currentReplicas", 0))
    )


def pod_troubles(pod: Object) -> list[str]:
    """Say what keeps a pod from being ready, one text for each reason; empty where nothing does."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    troubles = [
        f"{name}: {condition.get('message') or condition.get('reason', '')}"
        for condition in status.get("conditions") or []
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        state = container.get("state") or {}
        if (state.get("terminated") or {}).get("exitCode") == 0 and container.get("ready"):
            continue  # The start check has let the server pass.
        waiting = state.get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
        if waiting:
            troubles.append(f"{name}/{container['name']}: {waiting.get('reason', '')} {waiting.get('message', '')}".strip())
        elif not container.get("ready"):
            troubles.append(f"{name}/{container['name']}: not ready")
        if ended:
            text = f"{name}/{container['name']} ended before: {ended.get('reason', '')}, exit code {ended.get('exitCode')}"
            # What the start check says of the data.
            troubles.append(f"{text}: {message}" if (message := str(ended.get("message") or "").strip()) else text)
    return troubles


def essence(item: Object) -> Object:
    """Return an object without its status and what the server writes by itself, and without any value of a Secret."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_SIDE}
    reduced = {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}
    if item.get("kind") == "Secret":
        for part in ("data", "stringData"):
            if part in item:
                reduced[part] = dict.fromkeys(sorted(item[part] or {}), "(hidden)")
    return reduced


def _find(session: Session, kind: str, name: str, namespace: str) -> Object | None:
    try:
        return session.get(kind, name, namespace)
    except ChromaError as error:
        # Who may not even see this kind never made one, and a server says so also of kinds that it does not know; preflight warns.
        if error.code == "forbidden":
            return None
        raise


def _keep_adoption(wanted: Object, before: Object | None) -> Object:
    """Mark a claim that others made: its data are not ours to delete, whatever its labels say from now on."""
    if wanted["kind"] != "PersistentVolumeClaim" or before is None or (is_ours(before) and not is_adopted(before)):
        return wanted
    annotations = {**(wanted["metadata"].get("annotations") or {}), ADOPTED: "true"}
    return {**wanted, "metadata": {**wanted["metadata"], "annotations": annotations}}


def _apply(session: Session, wanted: Object, namespace: str, check_mode: bool) -> Applied:
    kind, name = _known(wanted["kind"]), wanted["metadata"]["name"]
    where = wanted["metadata"].get("namespace", namespace) if RESOURCES[kind][2] else ""
    before = session.get(kind, name, where)
    wanted = _keep_adoption(wanted, before)
    query = {"fieldManager": FIELD_MANAGER, "force": "true", **({"dryRun": "All"} if check_mode else {})}
    try:
        after = session.request("PATCH", object_path(kind, where, name), wanted, query, "application/apply-patch+yaml") or {}
    except ChromaError as error:
        # Nothing can be tried in a namespace that is still to be created.
        if not (check_mode and error.code == "not_found"):
            raise
        after = wanted
    uid, succeeded = after["metadata"].get("uid", ""), (after.get("status") or {}).get("lastSuccessfulTime") or ""
    if before is None:
        return Applied(kind, name, "created", None, essence(after), uid)
    unchanged = _settled(before) == _settled(after)
    return Applied(kind, name, "unchanged" if unchanged else "changed", essence(before), essence(after), uid, succeeded)


def _wait_for_absence(session: Session, kind: str, name: str, namespace: str) -> None:
    wait_until(
        lambda: session.get(kind, name, namespace),
        lambda left: left is None,
        30,
        lambda _left: f"{kind} {name} in namespace {namespace} was deleted and is still there",
    )


def _settled(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_SIDE}
    return {**{key: value for key, value in item.items() if key not in ("status", "kind", "apiVersion")}, "metadata": metadata}


def _known(kind: str) -> str:
    if kind not in RESOURCES:
        raise ChromaError("unknown_kind", f"Objects of kind {kind} are none of a release.", f"Known: {', '.join(sorted(RESOURCES))}.")
    return kind


def _diff(applied: list[Applied]) -> dict[str, Any]:
    changed = [each for each in applied if each.action != "unchanged"]
    return {
        "before": {f"{each.kind} {each.name}": each.before for each in changed if each.before is not None},
        "after": {f"{each.kind} {each.name}": each.after for each in changed if each.after is not None},
    }
