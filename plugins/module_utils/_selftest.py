# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test of a release is made of, and its look at the objects. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


@dataclass(frozen=True)
class Check:
    """One line of the test.

    Attributes:
        name: what was tried.
        expected: what must come back.
        seen: what came back; never a token.
        ok: whether they agree; None where it was not tried.
    """

    name: str
    expected: str
    seen: str
    ok: bool | None

    @property
    def line(self) -> str:
        """The check as a person reads it."""
        if self.ok is None:
            return f"SKIP  {self.name}: {self.seen}"
        return f"{'PASS' if self.ok else 'FAIL'}  {self.name}: expected {self.expected}, seen {self.seen}"

    def as_result(self) -> dict[str, Any]:
        """Return the check as plain values."""
        skipped = self.ok is None
        return {"name": self.name, "expected": self.expected, "seen": self.seen, "ok": bool(self.ok), "skipped": skipped, "line": self.line}


@dataclass(frozen=True)
class Release:
    """What is tested, and with what.

    Attributes:
        namespace: where it is.
        names: object names by the keys of :data:`_rollback.STAGES`.
        url: address from outside, without ``/api``.
        token: the administrator's token.
        ca_path: file of the authority that signed the certificate; None for the system's.
        exposure: ``ingress`` or ``gateway``.
        ingress_class: class that the Ingress must have.
        image: an image with a shell and curl, for the pod that tries from inside.
        image_pull_policy, image_pull_secrets, run_as_user: of that pod.
        labels: of that pod; the managed-by label lets a removal find it.
        port, server_port: of the gateway and of the server behind it.
        run_id: makes the names of test collections and pods this run's own.
        timeout: seconds that each wait may take.
    """

    namespace: str
    names: Mapping[str, str]
    url: str
    token: str = field(repr=False)
    ca_path: str | None
    exposure: str
    ingress_class: str
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[Object, ...]
    run_as_user: int
    labels: Mapping[str, str]
    port: int
    server_port: int
    run_id: str
    timeout: float

    @property
    def pod(self) -> str:
        """Name of the server's pod."""
        return f"{self.names['statefulset']}-0"

    @property
    def test_pod(self) -> str:
        """Name of the pod that tries from inside."""
        return f"{self.names['statefulset']}-selftest-{self.run_id}"

    @property
    def collection(self) -> str:
        """Name of the test collection, and beginning of the names of further ones."""
        return f"thinkube-selftest-{self.run_id}"

    def client(self) -> ChromaClient:
        """Return a client that uses the address from outside and the administrator's token."""
        return ChromaClient(Connection(url=self.url, token=self.token, ca_path=self.ca_path, timeout=30, retries=2))


def compare(name: str, expected: Any, seen: Any) -> Check:
    """Return a check that is ok where both are equal."""
    return Check(name, str(expected), str(seen), expected == seen)


def check_objects(session: Session, release: Release) -> Iterator[Check]:
    """Look at every object of the release."""
    namespace, names = release.namespace, release.names
    found = session.get("Namespace", namespace)
    yield compare(f"Namespace {namespace}", "Active", found["status"]["phase"] if found else "absent")
    found = session.get("StatefulSet", names["statefulset"], namespace)
    yield compare(f"StatefulSet {names['statefulset']}", "1 of 1 ready", describe_statefulset(found))
    found = session.get("Pod", release.pod, namespace)
    yield compare(f"Pod {release.pod}", "Running, all containers ready", describe_pod(found))
    for role, kind, port in (("service", "ClusterIP", 80), ("headless_service", "headless", release.port)):
        found = session.get("Service", names[role], namespace)
        slices = session.items("EndpointSlice", namespace, labelSelector=f"kubernetes.io/service-name={names[role]}")
        expected = f"{kind}, port {port} to {release.port}, selector app=chroma, 1 pod"
        yield compare(f"Service {names[role]}", expected, describe_service(found, slices))
    found = session.get("PersistentVolumeClaim", names["pvc"], namespace)
    yield compare(f"PersistentVolumeClaim {names['pvc']}", "Bound", found["status"]["phase"] if found else "absent")
    yield _check_exposure(session, release)


def describe_statefulset(found: Object | None) -> str:
    """Say how many replicas of a StatefulSet are ready."""
    if found is None:
        return "absent"
    return f"{found['status'].get('readyReplicas', 0)} of {found['spec']['replicas']} ready"


def describe_pod(found: Object | None) -> str:
    """Say a pod's phase, and what its containers wait for."""
    if found is None:
        return "absent"
    phase = found["status"].get("phase", "Unknown")
    # Those of the start check first: as long as it does not succeed, the others only wait for it.
    containers = (found["status"].get("initContainerStatuses") or []) + (found["status"].get("containerStatuses") or [])
    if containers and all(container["ready"] for container in containers):
        return f"{phase}, all containers ready"
    waiting = [f"{each['name']} {_container_state(each)}" for each in containers if not each["ready"]]
    reasons = [condition.get("message", "") for condition in found["status"].get("conditions") or [] if condition["status"] == "False"]
    return ", ".join([phase, *(waiting or [reason for reason in reasons if reason])])


def describe_service(found: Object | None, slices: Iterable[Object]) -> str:
    """Say a Service's kind, port, selector and how many pods are behind it."""
    if found is None:
        return "absent"
    spec = found["spec"]
    kind = "headless" if spec.get("clusterIP") == "None" else spec.get("type", "ClusterIP")
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    ready, targets = set(), set()
    for part in slices:
        for endpoint in part.get("endpoints") or []:
            if endpoint.get("conditions", {}).get("ready") is not False:
                ready.add((endpoint.get("targetRef") or {}).get("uid") or endpoint["addresses"][0])
                targets |= {port["port"] for port in part.get("ports") or []}
    target = ",".join(map(str, sorted(targets))) or "nothing"
    ports = ",".join(str(port["port"]) for port in spec.get("ports") or [])
    return f"{kind}, port {ports} to {target}, selector {selector}, {len(ready)} pod{'' if len(ready) == 1 else 's'}"


def describe_ingress(found: Object | None) -> str:
    """Say an Ingress's class, its hosts with their backends, and its certificate."""
    if found is None:
        return "absent"
    spec = found["spec"]
    rules = [
        f"{rule.get('host', '*')}{path['path']} to {path['backend']['service']['name']}:{path['backend']['service']['port'].get('number')}"
        for rule in spec.get("rules") or []
        for path in rule["http"]["paths"]
    ]
    secrets = [f"{','.join(tls.get('hosts') or [])} from {tls.get('secretName')}" for tls in spec.get("tls") or []]
    return f"class {spec.get('ingressClassName')}, {' and '.join(rules)}, TLS {' and '.join(secrets) or 'none'}"


def describe_route(found: Object | None) -> str:
    """Say an HTTPRoute's hosts, and what its Gateway says of it."""
    if found is None:
        return "absent"
    parents = (found.get("status") or {}).get("parents") or []
    conditions = {each["type"]: each for parent in parents for each in parent.get("conditions") or []}
    states = []
    for name in ("Accepted", "ResolvedRefs"):
        condition = conditions.get(name, {"status": "unknown", "reason": "no Gateway has looked at it"})
        states.append(name if condition["status"] == "True" else f"not {name} ({condition.get('reason')})")
    return ", ".join([*(found["spec"].get("hostnames") or []), *states])


def _check_exposure(session: Session, release: Release) -> Check:
    names, host = release.names, urlsplit(release.url).hostname
    if release.exposure == "ingress":
        found = session.get("Ingress", names["ingress"], release.namespace)
        expected = f"class {release.ingress_class}, {host}/ to {names['service']}:80, TLS {host} from {names['tls_secret']}"
        return compare(f"Ingress {names['ingress']}", expected, describe_ingress(found))
    found = session.get("HTTPRoute", names["route"], release.namespace)
    return compare(f"HTTPRoute {names['route']}", f"{host}, Accepted, ResolvedRefs", describe_route(found))


def _container_state(status: Object) -> str:
    for kind, state in (status.get("state") or {}).items():
        return f"{kind} {state.get('reason', '')}".strip() if kind != "running" else "running, not ready"
    return "not started"
