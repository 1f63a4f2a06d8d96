# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster can take a release: its parts, our rights, its free capacity. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._certificate import read_certificate
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._installed import (
    EXPOSURES,
    OBJECTS,
    Check,
    check_claim,
    check_data_version,
    check_owner,
    check_statefulset,
    unverified,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import RESOURCES, Object, Session, is_ours
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import Image, is_true, parse_image, parse_quantity
from ansible_collections.thinkube.chroma.plugins.module_utils._registry import Presence, find_image

OLDEST_KUBERNETES = (1, 28)

# What an installation does with each kind; a right that is missing would stop it half-way.
NEEDED_RIGHTS: dict[str, tuple[str, ...]] = {
    "ConfigMap": ("get", "create", "patch"),
    "NetworkPolicy": ("get", "create", "patch"),
    "PersistentVolumeClaim": ("get", "create", "patch"),
    "PodDisruptionBudget": ("get", "create", "patch"),
    "Secret": ("get", "create", "patch"),
    "Service": ("get", "create", "patch"),
    "StatefulSet": ("get", "create", "patch"),
}


@dataclass
class _Rights:
    """What we may do, asked once for everything and then one by one only where we may not do everything."""

    session: Session
    everything: bool | None = None
    asked: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def may(self, verb: str, kind: str, namespace: str) -> bool:
        if self.everything is None:
            self.everything = self._ask("*", "*", "*", "")
        if self.everything:
            return True
        key = (verb, kind, namespace)
        if key not in self.asked:
            root, plural, _namespaced = RESOURCES[kind]
            self.asked[key] = self._ask(verb, root.split("/")[2] if root.startswith("/apis/") else "", plural, namespace)
        return self.asked[key]

    def _ask(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        kind = "SelfSubjectAccessReview"
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {"resourceAttributes": attributes}}
        return bool(self.session.create(kind, body)["status"].get("allowed"))


def check_cluster(session: Session, settings: dict[str, Any], ask_registry: Callable[[Image], Presence] = find_image) -> list[Check]:
    """Look at everything in a cluster that an installation with these settings needs.

    Args:
        session: the cluster.
        settings: variables of role ``chroma`` that :func:`check_settings` accepted.
        ask_registry: tells whether a registry holds an image.

    Raises:
        ChromaError: where the API server is unreachable or refuses us altogether.
    """
    namespace = settings["chroma_namespace"]
    rights = _Rights(session)
    checks = [check_version(session.request("GET", "/version") or {})]
    checks += _check_rights(rights, settings)
    checks += _check_namespace(session, rights, namespace)
    storage_class = None
    if rights.may("get", "StorageClass", ""):
        storage_class = session.get("StorageClass", settings["chroma_storage_class"])
    checks.append(_check_storage_class(session, rights, storage_class, settings["chroma_storage_class"]))
    checks += _check_backups(session, rights, settings)
    checks += _check_exposure(session, rights, settings)
    checks += _check_certificate(session, rights, settings)
    found = _installed(session, rights, settings)
    claim, statefulset = found.get("chroma_pvc"), found.get("chroma_statefulset")
    checks += [
        check_owner(found.values(), settings),
        check_claim(claim, storage_class, settings),
        check_statefulset(statefulset, settings),
        check_data_version(claim, statefulset, settings),
    ]
    checks += _check_former_exposure(session, rights, settings)
    nodes = session.items("Node") if rights.may("list", "Node", "") else []
    always = settings.get("chroma_image_pull_policy") == "Always"
    # Without the image of the start check the pod would wait for ever, and the old one be gone.
    more = ("chroma_operations_image",) if is_true(settings.get("chroma_start_check")) else ()
    for name in ("chroma_image", "chroma_gateway_image", *more):
        checks.append(check_image(name, str(settings[name]), [] if always else nodes, ask_registry))
    if not nodes:
        checks.append(unverified("capacity", "a node with enough free CPU and memory", "no right to list nodes"))
    elif not (statefulset or {}).get("status", {}).get("readyReplicas"):
        if rights.may("list", "Pod", ""):
            pods = session.items("Pod", fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
            checks.append(check_free_capacity(nodes, pods, settings))
        else:
            checks.append(unverified("capacity", "a node with enough free CPU and memory", "no right to list pods"))
    return checks


def report(checks: Iterable[Check]) -> dict[str, Any]:
    """Return ``{"checks": […], "warnings": […]}`` of checks that are all ok.

    Raises:
        ChromaError: ``cluster_not_ready``, naming every check that is not ok, with all checks as its result.
    """
    checks = list(checks)
    result = {"checks": [check.as_result() for check in checks]}
    failed = [check for check in checks if not check.ok]
    if failed:
        listed = "\n- ".join(map(str, failed))
        raise ChromaError("cluster_not_ready", f"Nothing was changed: the cluster can't take this release.\n- {listed}", result=result)
    return {**result, "warnings": [str(check) for check in checks if check.warning]}


def check_version(version: Object) -> Check:
    """Compare the answer of ``/version`` with the oldest Kubernetes that is supported."""
    seen = str(version.get("gitVersion", "nothing"))
    numbers = tuple(int("".join(filter(str.isdigit, str(version.get(part, "")))) or 0) for part in ("major", "minor"))
    oldest = ".".join(map(str, OLDEST_KUBERNETES))
    return Check(
        "Kubernetes", numbers >= OLDEST_KUBERNETES, f"{oldest} or later", seen, "" if numbers >= OLDEST_KUBERNETES else "Upgrade it."
    )


def check_tls_secret(secret: Object | None, namespace: str, name: str, now: float, host: str = "") -> Check:
    """Look at a certificate Secret: both keys, and a certificate that is valid.

    Args:
        secret: the Secret; None where absent.
        namespace, name: where it is, or should be.
        now: seconds since the epoch.
        host: the host name that it must be valid for; empty for any.
    """
    title, expected = f"certificate Secret {namespace}/{name}", f"tls.crt and tls.key, valid today{' for ' + host if host else ''}"
    if secret is None:
        return Check(
            title, False, expected, "absent", "Let the platform issue it, or set chroma_tls_source_secret and chroma_tls_source_namespace."
        )
    data = secret.get("data") or {}
    lacking = [key for key in ("tls.crt", "tls.key") if not data.get(key)]
    if lacking:
        return Check(title, False, expected, f"without {' and '.join(lacking)}", "It must be of type kubernetes.io/tls.")
    try:
        certificate = read_certificate(base64.b64decode(data["tls.crt"]))
    except ValueError as error:
        return Check(title, False, expected, str(error), "tls.crt must be a certificate in PEM form.")
    day = datetime.fromtimestamp(certificate.end, UTC).strftime("%Y-%m-%d")
    if host and not certificate.covers(host):
        names = ", ".join(certificate.names) or "no host name"
        hint = "Choose a chroma_hostname that it covers, or name another one: chroma_tls_source_secret, chroma_tls_source_namespace."
        return Check(title, False, expected, f"for {names}", hint)
    if certificate.end <= now:
        return Check(title, False, expected, f"expired on {day}", "Renew it.")
    return Check(title, True, expected, f"valid until {day}")


def check_image(name: str, reference: str, nodes: list[Object], ask_registry: Callable[[Image], Presence]) -> Check:
    """Look for an image on the nodes, and otherwise in its registry."""
    title = f"{name} {reference}"
    image = parse_image(reference)
    if image is None:
        return Check(title, False, "an image reference", "something else")
    if any(reference in (entry.get("names") or []) for node in nodes for entry in node["status"].get("images") or []):
        return Check(title, True, "can be pulled", "on a node already")
    found = ask_registry(image)
    if found.present is None:
        return unverified(title, "can be pulled", found.seen)
    hint = "" if found.present else f"Push the image to that registry, or set harbor_registry or {name} to where one is."
    return Check(title, found.present, "can be pulled", found.seen, hint)


def check_free_capacity(nodes: list[Object], pods: list[Object], settings: dict[str, Any]) -> Check:
    """Look for one node whose allocatable CPU and memory, less what its pods request, are enough for ours.

    Args:
        nodes: Node objects.
        pods: Pod objects that are neither done nor failed; ours are left out.
        settings: ``chroma_resources`` and ``chroma_gateway_resources``.
    """
    wanted = {
        resource: sum(
            (_request(settings.get(name) or {}, resource) for name in ("chroma_resources", "chroma_gateway_resources")), Decimal(0)
        )
        for resource in ("cpu", "memory")
    }
    own = f"{settings['chroma_statefulset']}-0"
    used: dict[str, dict[str, Decimal]] = {}
    for pod in pods:
        if pod["metadata"]["name"] == own and pod["metadata"]["namespace"] == settings["chroma_namespace"]:
            continue
        on_node = used.setdefault(pod["spec"].get("nodeName", ""), {"cpu": Decimal(0), "memory": Decimal(0)})
        for resource in on_node:
            on_node[resource] += _requested(pod, resource)
    expected = f"a node with {_cores(wanted['cpu'])} CPU and {_mebibytes(wanted['memory'])} free"
    seen = []
    for node in nodes:
        name = node["metadata"]["name"]
        if not _is_schedulable(node):
            seen.append(f"{name} takes no pods")
            continue
        free = {
            resource: (parse_quantity(node["status"]["allocatable"][resource]) or Decimal(0)) - used.get(name, {}).get(resource, Decimal(0))
            for resource in wanted
        }
        text = f"{name} with {_cores(free['cpu'])} CPU and {_mebibytes(free['memory'])}"
        if all(free[resource] >= wanted[resource] for resource in wanted):
            return Check("capacity", True, expected, text)
        seen.append(text)
    return Check("capacity", False, expected, "; ".join(seen), "Lower chroma_resources.requests, or make room in the cluster.")


def _check_rights(rights: _Rights, settings: dict[str, Any]) -> list[Check]:
    namespace = settings["chroma_namespace"]
    needed = [(verb, kind, namespace) for kind, verbs in NEEDED_RIGHTS.items() for verb in verbs]
    needed += [(verb, EXPOSURES[settings["chroma_exposure"]][1], namespace) for verb in ("get", "create", "patch")]
    needed += [(verb, "Namespace", "") for verb in ("get", "create", "patch")]
    needed.append(("get", "Secret", settings["chroma_tls_source_namespace"]))
    missing: dict[str, list[str]] = {}
    for verb, kind, where in needed:
        if not rights.may(verb, kind, where):
            missing.setdefault(f"{RESOURCES[kind][1]} in {where}" if where else RESOURCES[kind][1], []).append(verb)
    seen = "; ".join(f"not allowed to {', '.join(verbs)} {what}" for what, verbs in missing.items())
    hint = "Use a kubeconfig with these rights, or have them granted by a Role." if missing else ""
    return [Check("rights", not missing, "all that an installation needs", seen or "all of them", hint)]


def _check_namespace(session: Session, rights: _Rights, namespace: str) -> list[Check]:
    if not rights.may("get", "Namespace", ""):
        return []
    phase = ((session.get("Namespace", namespace) or {}).get("status") or {}).get("phase", "absent")
    ok = phase != "Terminating"
    return [Check(f"Namespace {namespace}", ok, "absent or Active", phase, "" if ok else "It is being deleted; wait until it is gone.")]


def _check_backups(session: Session, rights: _Rights, settings: dict[str, Any]) -> list[Check]:
    """Look for what the schedule will need, where that is not what the data need anyway."""
    namespace, name = settings["chroma_namespace"], settings["chroma_backup_storage_class"]
    if settings["chroma_backup_repository"]:
        secret, keys = settings["chroma_s3_secret"], ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        title, expected = f"Secret {secret}, for backups to S3", " and ".join(keys)
        if not rights.may("get", "Secret", namespace):
            return []
        data = (session.get("Secret", secret, namespace) or {}).get("data") or {}
        if all(data.get(key) for key in keys):
            return [Check(title, True, expected, "both")]
        # The namespace may be still to be created, and nothing of the installation needs it.
        return [Check(title, True, expected, "not both: no backup can be made before that", warning=True)]
    if name == settings["chroma_storage_class"]:
        return []
    found = session.get("StorageClass", name) if rights.may("get", "StorageClass", "") else None
    return [_check_storage_class(session, rights, found, name, "chroma_backup_storage_class")]


def _check_storage_class(
    session: Session, rights: _Rights, found: Object | None, name: str, variable: str = "chroma_storage_class"
) -> Check:
    if not rights.may("get", "StorageClass", ""):
        return unverified(f"StorageClass {name}", "present", "no right to get storageclasses")
    if found:
        return Check(f"StorageClass {name}", True, "present", "present")
    return Check(f"StorageClass {name}", False, "present", "absent", _others(session, rights, "StorageClass", variable))


def _check_exposure(session: Session, rights: _Rights, settings: dict[str, Any]) -> list[Check]:
    if settings["chroma_exposure"] == "ingress":
        name = settings["chroma_ingress_class"]
        if not rights.may("get", "IngressClass", ""):
            return [unverified(f"IngressClass {name}", "present", "no right to get ingressclasses")]
        ok = session.get("IngressClass", name) is not None
        hint = (
            ""
            if ok
            else _others(session, rights, "IngressClass", "primary_ingress_class") + " Clusters without ingress: chroma_exposure: gateway."
        )
        return [Check(f"IngressClass {name}", ok, "present", "present" if ok else "absent", hint)]
    name, namespace, section = (
        settings["chroma_route_gateway"],
        settings["chroma_route_gateway_namespace"],
        settings["chroma_route_section"],
    )
    title, expected = f"Gateway {namespace}/{name}", f"present, with section {section}"
    if not rights.may("get", "Gateway", namespace):
        return [unverified(title, expected, f"no right to get gateways in {namespace}")]
    gateway = session.get("Gateway", name, namespace)
    if gateway is None:
        return [Check(title, False, expected, "absent", "Set gateway_name and gateway_namespace, or chroma_exposure: ingress.")]
    sections = [listener["name"] for listener in gateway["spec"].get("listeners") or []]
    ok = section in sections
    return [Check(title, ok, expected, f"sections {', '.join(sections) or 'none'}", "" if ok else "Set chroma_route_section.")]


def _check_certificate(session: Session, rights: _Rights, settings: dict[str, Any]) -> list[Check]:
    namespace, name = settings["chroma_tls_source_namespace"], settings["chroma_tls_source_secret"]
    if not rights.may("get", "Secret", namespace):
        return []
    # A Gateway shows a certificate of its own.
    host = settings["chroma_hostname"] if settings["chroma_exposure"] == "ingress" else ""
    return [check_tls_secret(session.get("Secret", name, namespace), namespace, name, time.time(), host)]


def _installed(session: Session, rights: _Rights, settings: dict[str, Any]) -> dict[str, Object]:
    """Return the objects with the names of ours that are there, by the setting with their name."""
    namespace = settings["chroma_namespace"]
    found = {
        setting: session.get(kind, settings[setting], namespace)
        for setting, kind in [*OBJECTS.items(), EXPOSURES[settings["chroma_exposure"]]]
        if rights.may("get", kind, namespace)
    }
    return {setting: item for setting, item in found.items() if item}


def _check_former_exposure(session: Session, rights: _Rights, settings: dict[str, Any]) -> list[Check]:
    """Look for the way in that was chosen before: an installation closes it."""
    setting, kind = next(entry for exposure, entry in EXPOSURES.items() if exposure != settings["chroma_exposure"])
    name, namespace, (root, plural, _namespaced) = settings[setting], settings["chroma_namespace"], RESOURCES[kind]
    title = f"{kind} {name}"
    if not rights.may("get", kind, namespace):
        # The server refuses before it looks whether there is such a kind at all.
        served = session.request("GET", root, absent_is_none=True)
        return [unverified(title, "absent, or of others", f"no right to get {plural} in {namespace}")] if served else []
    former = session.get(kind, name, namespace)
    if former is None or not is_ours(former) or rights.may("delete", kind, namespace):
        return []
    hint = f"It would stay open: have the right granted, or delete it: kubectl delete {plural} {name} -n {namespace}."
    return [Check(title, False, "absent, or ours to delete", f"not allowed to delete {plural} in {namespace}", hint)]


def _others(session: Session, rights: _Rights, kind: str, variable: str) -> str:
    names = [item["metadata"]["name"] for item in session.items(kind)] if rights.may("list", kind, "") else []
    return f"Set {variable} to one that exists{': ' + ', '.join(names) if names else ''}."


def _is_schedulable(node: Object) -> bool:
    taints = node["spec"].get("taints") or []
    return not node["spec"].get("unschedulable") and not any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in taints)


def _request(resources: Object, resource: str) -> Decimal:
    # As the scheduler: without a request, the limit counts as one.
    value = (resources.get("requests") or {}).get(resource) or (resources.get("limits") or {}).get(resource)
    return parse_quantity(value) or Decimal(0)


def _requested(pod: Object, resource: str) -> Decimal:
    def of(kind: str) -> list[Decimal]:
        return [_request(container.get("resources") or {}, resource) for container in pod["spec"].get(kind) or []]

    return max(sum(of("containers"), Decimal(0)), *of("initContainers"), Decimal(0))


def _cores(value: Decimal) -> str:
    return f"{value:.2f}"


def _mebibytes(value: Decimal) -> str:
    return f"{value / 1024**2:.0f}Mi"
