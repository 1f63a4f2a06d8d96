# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a release, and prove that it is gone. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import (
    CREATED,
    MANAGED_BY,
    OWNER,
    Object,
    Session,
    is_adopted,
    is_ours,
    wait_until,
)

# (name in the option `names`, kind) in the order of removal: first the way in, then the server, then what it used.
STAGES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("ingress", "Ingress"), ("route", "HTTPRoute")),
    (("statefulset", "StatefulSet"),),
    (
        ("service", "Service"),
        ("headless_service", "Service"),
        ("disruption_budget", "PodDisruptionBudget"),
        ("network_policy", "NetworkPolicy"),
        ("gateway_config", "ConfigMap"),
        ("discovery_config", "ConfigMap"),
        ("tls_secret", "Secret"),
        ("auth_secret", "Secret"),
        ("operations_binding", "RoleBinding"),
        ("operations_role", "Role"),
        ("operations_account", "ServiceAccount"),
        ("operations_lock", "Lease"),
        ("scaling_binding", "RoleBinding"),
        ("scaling_role", "Role"),
        ("scaling_account", "ServiceAccount"),
        ("watching_binding", "RoleBinding"),
        ("watching_role", "Role"),
        ("watching_account", "ServiceAccount"),
        ("backup_secret", "Secret"),
    ),
    (("pvc", "PersistentVolumeClaim"), ("backup_pvc", "PersistentVolumeClaim")),
)
_NAMESPACE_STAGE = len(STAGES)
# What backups consist of: it outlives the data, which are removed by another word.
_BACKUPS = ("backup_pvc", "backup_secret")

# Kubernetes puts these into every namespace by itself.
_AUTOMATIC = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_EPHEMERAL_KINDS = {"Event", "Endpoints", "EndpointSlice"}
# Version v2 is there from Kubernetes 1.30 on.
_DISCOVERY = ",".join(f"application/json;v={version};g=apidiscovery.k8s.io;as=APIGroupDiscoveryList" for version in ("v2", "v2beta1"))
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Removed:
    """What goes beside the release itself.

    Attributes:
        data: the volume claim, the tokens and, where we created it and nothing else is left in it, the namespace.
        backups: the volume claim of the backups, and the Secret with their password.
    """

    data: bool = False
    backups: bool = False


@dataclass(frozen=True)
class Target:
    """One object to delete; ``stage`` orders the deletions."""

    kind: str
    name: str
    stage: int
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Kept:
    """One object that stays, and why."""

    kind: str
    name: str
    reason: str

    def as_result(self) -> dict[str, str]:
        """Return it as plain values."""
        return {"kind": self.kind, "name": self.name, "reason": self.reason}


@dataclass(frozen=True)
class Found:
    """What there is of a release.

    Attributes:
        namespace: the Namespace object, None where absent.
        objects: objects by their name in the option ``names``.
        schedules, jobs, pods: what carries our label, also what a broken release or an interrupted test left behind.
        contents: (kind, name) of everything in the namespace; None where it was not looked at.
    """

    namespace: Object | None = None
    objects: dict[str, Object] = field(default_factory=dict)
    schedules: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    contents: frozenset[tuple[str, str]] | None = None


@dataclass(frozen=True)
class Plan:
    """What is deleted, in order, and what is kept."""

    delete: tuple[Target, ...]
    kept: tuple[Kept, ...]


def roll_back(
    session: Session, namespace: str, names: dict[str, str], removed: Removed, timeout: float, check_mode: bool
) -> dict[str, Any]:
    """Remove a release and wait until it is gone.

    Args:
        session: the cluster.
        namespace: the release's namespace.
        names: object names by the keys of ``STAGES``.
        removed: what goes beside the release itself.
        timeout: seconds that each stage may take.
        check_mode: plan only.

    Returns:
        ``changed``, ``deleted`` [{kind, name}], ``kept`` [{kind, name, reason}] and ``diff``.

    Raises:
        ChromaError: ``timeout``, naming what is stuck and the last state seen; its result says what was deleted until then.
    """
    found = _find(session, namespace, names, removed.data)
    plan = plan_rollback(found, removed)
    kept = [item.as_result() for item in plan.kept]
    deleted: list[dict[str, str]] = []
    for stage in sorted({target.stage for target in plan.delete}):
        targets = [target for target in plan.delete if target.stage == stage]
        if not check_mode:
            if stage == _NAMESPACE_STAGE:
                # Minutes may have passed, and what somebody put there meanwhile would go with it.
                reason = _reason_to_keep_namespace(replace(found, contents=_contents(session, namespace)), set(), removed)
                if reason:
                    kept.append(Kept("Namespace", namespace, reason).as_result())
                    continue
            _delete(session, namespace, targets, timeout, {"deleted": deleted, "kept": kept})
        deleted += [{"kind": target.kind, "name": target.name} for target in targets]
    remaining = sorted(f"{item['kind']} {item['name']}" for item in kept)
    before = sorted(remaining + [f"{item['kind']} {item['name']}" for item in deleted])
    return {
        "changed": bool(deleted),
        "deleted": deleted,
        "kept": kept,
        "diff": {"before": _lines(before), "after": _lines(remaining)},
    }


def plan_rollback(found: Found, removed: Removed) -> Plan:
    """Decide what of a release goes and what stays.

    Only what carries our managed-by label goes. Unless the data are to be removed, the volume claim stays, and with it its
    namespace and the Secret with the tokens: the tokens of applications are generated, and a later installation that finds the
    data must also find them, or every application would be refused. Backups stay by a word of their own: who removes data
    that are damaged needs them next.
    """
    if found.namespace is None:
        return Plan((), ())
    delete: list[Target] = []
    kept: list[Kept] = []
    for stage, entries in enumerate(STAGES):
        for role, _kind in entries:
            item = found.objects.get(role)
            if item is None:
                continue
            reason = _reason_to_keep(role, item, removed)
            if reason:
                kept.append(Kept(item["kind"], item["metadata"]["name"], reason))
            else:
                delete.append(_target(item, stage))
        if stage == 0:
            # Before the jobs, of which they would make more.
            delete += [_target(item, stage) for item in found.schedules]
        if entries[0][1] == "StatefulSet":
            owners = {target.uid for target in delete}
            delete += [_target(item, stage) for item in found.jobs if not _owners(item) & owners]
            owners |= {item["metadata"]["uid"] for item in found.jobs}
            delete += [_target(pod, stage) for pod in found.pods if not _owners(pod) & owners]
    namespace = _target(found.namespace, _NAMESPACE_STAGE)
    reason = _reason_to_keep_namespace(found, {(target.kind, target.name) for target in delete}, removed)
    if reason:
        kept.append(Kept("Namespace", namespace.name, reason))
    else:
        delete.append(namespace)
    return Plan(tuple(delete), tuple(kept))


def _reason_to_keep(role: str, item: Object, removed: Removed) -> str:
    if not is_ours(item):
        return f"not created by this collection: it has no label {MANAGED_BY}={OWNER}"
    if is_adopted(item):
        return "it was there before this collection, which only used it"
    if role == "pvc" and not removed.data:
        return "it holds the data; -e remove_data=true removes it for good"
    if role == "auth_secret" and not removed.data:
        return "its tokens belong to the data: a new installation finds both, and applications go on"
    if role == "backup_pvc" and not removed.backups:
        return "it holds the backups; -e remove_backups=true removes it for good"
    if role == "backup_secret" and not removed.backups:
        return "without its password no backup can be restored, nor one on S3"
    return ""


def _reason_to_keep_namespace(found: Found, deleted: set[tuple[str, str]], removed: Removed) -> str:
    metadata = (found.namespace or {})["metadata"]
    if not removed.data:
        return "data and tokens are kept in it"
    if not removed.backups and any(role in found.objects for role in _BACKUPS):
        return "backups or their password are kept in it"
    if (metadata.get("annotations") or {}).get(CREATED) != "true":
        return "it was there before this collection"
    if found.contents is None:
        return "not everything in it can be listed, so it may hold objects of others"
    foreign = sorted(found.contents - deleted)
    if foreign:
        shown = ", ".join(f"{kind} {name}" for kind, name in foreign[:5])
        return f"it holds objects of others: {shown}{f' and {len(foreign) - 5} more' if len(foreign) > 5 else ''}"
    return ""


def _target(item: Object, stage: int) -> Target:
    return Target(item["kind"], item["metadata"]["name"], stage, item["metadata"]["uid"])


def _owners(item: Object) -> set[str]:
    return {owner["uid"] for owner in item["metadata"].get("ownerReferences") or []}


def _find(session: Session, namespace: str, names: dict[str, str], list_contents: bool) -> Found:
    found = session.get("Namespace", namespace)
    if found is None:
        return Found()
    objects = {}
    for entries in STAGES:
        for role, kind in entries:
            item = session.get(kind, names[role], namespace) if names.get(role) else None
            if item is not None:
                objects[role] = item
    ours = f"{MANAGED_BY}={OWNER}"
    # Items of a list come without their kind.
    schedules, jobs, pods = (
        tuple({**item, "kind": kind} for item in session.items(kind, namespace, labelSelector=ours)) for kind in ("CronJob", "Job", "Pod")
    )
    return Found(found, objects, schedules, jobs, pods, _contents(session, namespace) if list_contents else None)


def _contents(session: Session, namespace: str) -> frozenset[tuple[str, str]] | None:
    """List everything that somebody put into a namespace, or return None where not all of it can be listed.

    What has an owner goes with it; what can't be deleted (metrics) is no content.
    """
    contents = set()
    try:
        for root in ("/api", "/apis"):
            for group in (session.request("GET", root, accept=_DISCOVERY) or {}).get("items") or []:
                for kind, path in _listable(group, root, namespace).items():
                    listed = session.request("GET", path, accept=_METADATA_ONLY)
                    contents |= {(kind, item["metadata"]["name"]) for item in (listed or {}).get("items") or [] if not _owners(item)}
    except ChromaError as error:
        if error.code in ("forbidden", "not_found", "cluster_error"):
            return None
        raise
    return frozenset(contents - _AUTOMATIC)


def _listable(group: Object, root: str, namespace: str) -> dict[str, str]:
    """Return the path of each kind of a group that a namespace may hold; a version need not have all kinds of its group."""
    paths: dict[str, str] = {}
    name = group["metadata"].get("name", "")
    for version in group["versions"]:
        prefix = "/".join(filter(None, (root, name, version["version"], "namespaces", namespace)))
        for resource in version.get("resources") or []:
            kind = resource["responseKind"]["kind"]
            if resource["scope"] == "Namespaced" and {"list", "delete"} <= set(resource["verbs"]) and kind not in _EPHEMERAL_KINDS:
                paths.setdefault(kind, f"{prefix}/{resource['resource']}")
    return paths


def _delete(session: Session, namespace: str, targets: list[Target], timeout: float, result: Object) -> None:
    for target in targets:
        # These count as gone only after what they made: pods, jobs with their pods.
        propagation = "Foreground" if target.kind in ("StatefulSet", "CronJob", "Job") else "Background"
        session.delete(target.kind, target.name, _where(target.kind, namespace), target.uid, propagation)
    pods_too = any(target.kind == "StatefulSet" for target in targets)

    def left() -> list[Object]:
        states = [session.get(target.kind, target.name, _where(target.kind, namespace)) for target in targets]
        present = [state for state, target in zip(states, targets, strict=True) if state and state["metadata"]["uid"] == target.uid]
        if pods_too:
            pods = session.items("Pod", namespace, labelSelector=f"{MANAGED_BY}={OWNER}")
            present += [{**pod, "kind": "Pod"} for pod in pods if _owners(pod) & {target.uid for target in targets}]
        return present

    wait_until(left, lambda items: not items, timeout, lambda items: f"Still there: {'; '.join(map(_state, items))}", result)


def _where(kind: str, namespace: str) -> str:
    return "" if kind == "Namespace" else namespace


def _state(item: Object) -> str:
    metadata, status = item["metadata"], item.get("status") or {}
    since = metadata.get("deletionTimestamp")
    parts = [f"being deleted since {since}" if since else "not being deleted"]
    if metadata.get("finalizers"):
        parts.append(f"held by {', '.join(metadata['finalizers'])}")
    if status.get("phase"):
        parts.append(f"phase {status['phase']}")
    parts += [
        condition["message"]
        for condition in status.get("conditions") or []
        if item["kind"] == "Namespace" and condition["status"] == "True"
    ]
    return f"{item['kind']} {metadata['name']} ({', '.join(parts)})"


def _lines(items: list[str]) -> str:
    return "".join(f"{item}\n" for item in items)
