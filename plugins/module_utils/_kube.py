# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One session with the Kubernetes API for the length of a module. FOR INTERNAL COLLECTION USE ONLY.

Objects are the API's own JSON documents, over one kept-alive connection.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kubeconfig import Access, connect, load_access

Object = dict[str, Any]
T = TypeVar("T")

FIELD_MANAGER = "thinkube-chroma"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "thinkube.chroma"
CREATED = "thinkube.chroma/created"
# What was there before this collection, and would be lost for good: a removal keeps it.
ADOPTED = "thinkube.chroma/adopted"
# The release that had a claim's data last.
VERSION = "thinkube.chroma/version"

# kind: (API root, plural, lives in a namespace)
RESOURCES: dict[str, tuple[str, str, bool]] = {
    "ConfigMap": ("/api/v1", "configmaps", True),
    "CronJob": ("/apis/batch/v1", "cronjobs", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "Event": ("/api/v1", "events", True),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways", True),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "IngressClass": ("/apis/networking.k8s.io/v1", "ingressclasses", False),
    "Job": ("/apis/batch/v1", "jobs", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "Namespace": ("/api/v1", "namespaces", False),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "Node": ("/api/v1", "nodes", False),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Pod": ("/api/v1", "pods", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "Secret": ("/api/v1", "secrets", True),
    "SelfSubjectAccessReview": ("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", False),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses", False),
}

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def cluster_argument_spec() -> dict[str, Any]:
    """Return the options of the documentation fragment ``thinkube.chroma.cluster``."""
    return {
        "kubeconfig": {"type": "path"},
        "context": {"type": "str"},
        "namespace": {"type": "str", "default": "chroma"},
    }


def open_session(params: dict[str, Any], timeout: float = 30) -> Session:
    """Open a session with the cluster that a module's options name.

    Args:
        params: options ``kubeconfig`` and ``context``; both may be absent or None. As in ``kubernetes.core``, an absent
            ``kubeconfig`` means K8S_AUTH_KUBECONFIG, then KUBECONFIG, then ``~/.kube/config``, then the pod's service account.
        timeout: seconds that one request may take.

    Raises:
        ChromaError: ``kubeconfig_missing``, ``kubeconfig_invalid`` or ``missing_library``. Nothing is sent yet.
    """
    return Session(load_access(params.get("kubeconfig"), params.get("context")), timeout)


class Session:
    """A kept-alive connection to the API server. Every method raises :class:`ChromaError` where the server refuses or is silent."""

    def __init__(self, access: Access, timeout: float = 30) -> None:
        self.access = access
        self.timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Read one object; None where it, its namespace or its whole API is absent."""
        return self.request("GET", object_path(kind, namespace, name), absent_is_none=True)

    def items(self, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """List objects; an absent API is an empty list.

        Args:
            kind: a key of ``RESOURCES``.
            namespace: empty for all namespaces.
            query: ``labelSelector``, ``fieldSelector``.
        """
        found = self.request("GET", object_path(kind, namespace), query=query, absent_is_none=True)
        return list(found["items"] or []) if found else []

    def create(self, kind: str, body: Object, namespace: str = "", dry_run: bool = False) -> Object:
        """Create an object and return it as stored; with ``dry_run``, as it would be."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self.request("POST", object_path(kind, namespace), body, query) or {}

    def replace(self, kind: str, body: Object, namespace: str = "") -> Object:
        """Replace an object by one with its name, and return it as stored; a ``conflict`` where it changed since ``resourceVersion``."""
        path = object_path(kind, namespace, body["metadata"]["name"])
        return self.request("PUT", path, body, query={"fieldManager": FIELD_MANAGER}) or {}

    def patch(self, kind: str, name: str, body: Object, namespace: str = "") -> Object:
        """Merge ``body`` into an object (RFC 7386: None removes a key) and return it as stored."""
        query = {"fieldManager": FIELD_MANAGER}
        return self.request("PATCH", object_path(kind, namespace, name), body, query, "application/merge-patch+json") or {}

    def delete(self, kind: str, name: str, namespace: str = "", uid: str = "", propagation: str = "Background") -> bool:
        """Ask for the deletion of an object; False where it was absent.

        Args:
            kind: a key of ``RESOURCES``.
            name: the object's name.
            namespace: empty for an object outside namespaces.
            uid: delete only this very object, not another of its name that was created meanwhile.
            propagation: ``Background``, ``Foreground``, or ``Orphan``, which leaves what the object owns.
        """
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        return self.request("DELETE", object_path(kind, namespace, name), body, absent_is_none=True) is not None

    def log(self, pod: str, namespace: str, **query: str) -> str:
        """Return what the only container of a pod wrote; ``query``: ``sinceTime``, ``timestamps``."""
        path = object_path("Pod", namespace, pod) + "/log"
        _status, content = self._send("GET", f"{path}?{urlencode(query)}" if query else path, None, {})
        return content.decode("utf-8", "replace")

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        absent_is_none: bool = False,
    ) -> Object | None:
        """Send one request and return the JSON document that came back.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: path on the API server, without query.
            body: JSON document to send.
            query: parameters of the query string.
            content_type: media type of ``body``.
            accept: media type asked for.
            absent_is_none: return None on 404 instead of raising.

        Raises:
            ChromaError: ``forbidden``, ``not_found``, ``conflict``, ``cluster_unauthorized``, ``cluster_unreachable``,
                ``cluster_timeout``, ``cluster_error``.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Accept": accept}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        status, content = self._send(method, target, payload, headers, accepted=(404,) if absent_is_none else ())
        if status == 404:
            return None
        try:
            document = json.loads(content)
        except ValueError as error:
            raise ChromaError(
                "cluster_error",
                f"{self.access.server} answered {method} {path} with something that is no JSON.",
                "Is this the address of a Kubernetes API server?",
            ) from error
        return document if isinstance(document, dict) else {}

    def _send(
        self, method: str, target: str, payload: bytes | None, headers: dict[str, str], accepted: tuple[int, ...] = ()
    ) -> tuple[int, bytes]:
        if self.access.authorization:
            headers = {**headers, "Authorization": self.access.authorization}
        reused = self._connection is not None
        try:
            status, content = self._exchange(method, target, payload, headers)
        except (http.client.HTTPException, OSError) as error:
            self._connection = None
            # A server may close an idle connection at any time; only a reading request is repeated.
            if not (reused and method == "GET" and isinstance(error, (http.client.RemoteDisconnected, ConnectionError))):
                raise self._unreachable(error, method, target) from error
            try:
                status, content = self._exchange(method, target, payload, headers)
            except (http.client.HTTPException, OSError) as again:
                self._connection = None
                raise self._unreachable(again, method, target) from again
        if status >= 300 and status not in accepted:
            raise self._refused(status, content, method, target)
        return status, content

    def _exchange(self, method: str, target: str, payload: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = connect(self.access, self.timeout)
        self._connection.request(method, urlsplit(self.access.server).path + target, body=payload, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _unreachable(self, error: Exception, method: str, target: str) -> ChromaError:
        server = self.access.server
        if isinstance(error, ssl.SSLCertVerificationError):
            return ChromaError(
                "cluster_unreachable",
                f"The certificate of the API server {server} is not trusted: {error.verify_message}.",
                "Is certificate-authority in the kubeconfig the one of this cluster?",
            )
        if isinstance(error, TimeoutError):
            return ChromaError(
                "cluster_timeout",
                f"The API server {server} did not answer {method} {_resource(target)} within {self.timeout:g} s.",
                "Is it overloaded, or a firewall in between?",
            )
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ChromaError(
            "cluster_unreachable",
            f"The API server {server} is not reachable: {reason}.",
            "Start the cluster, or set kubeconfig and context to one that runs.",
        )

    def _refused(self, status: int, content: bytes, method: str, target: str) -> ChromaError:
        try:
            reason = str(json.loads(content).get("message", ""))
        except (ValueError, AttributeError):
            reason = content[:200].decode("utf-8", "replace")
        what = f"{VERBS.get(method, method)} {_resource(target)}"
        if status == 401:
            return ChromaError(
                "cluster_unauthorized",
                f"The API server {self.access.server} does not accept the credentials of the kubeconfig.",
                "Have they expired? Try `kubectl auth whoami` with it.",
            )
        if status == 403:
            return ChromaError(
                "forbidden", f"No right to {what}: {reason}.", "Use a kubeconfig with that right, or have it granted by a Role."
            )
        code = {404: "not_found", 409: "conflict", 504: "cluster_timeout"}.get(status, "cluster_error")
        return ChromaError(code, f"Could not {what}: {reason or http.client.responses.get(status, '')} ({status}).")


def object_path(kind: str, namespace: str = "", name: str = "") -> str:
    """Return the path of an object, or of its collection where ``name`` is empty."""
    root, plural, namespaced = RESOURCES[kind]
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}" if namespaced and namespace else f"{root}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def is_ours(item: Object) -> bool:
    """Tell whether an object carries this collection's managed-by label."""
    return bool((item["metadata"].get("labels") or {}).get(MANAGED_BY) == OWNER)


def is_adopted(item: Object) -> bool:
    """Tell whether an object was there before this collection, and holds what would be lost with it."""
    return (item["metadata"].get("annotations") or {}).get(ADOPTED) == "true"


def wait_until(
    read: Callable[[], T], done: Callable[[T], bool], timeout: float, describe: Callable[[T], str], result: Object | None = None
) -> T:
    """Read a state again until it is the wanted one, and return it.

    Args:
        read: reads the state.
        done: tells whether it is the wanted one.
        timeout: seconds.
        describe: says what was waited for and what was seen last; becomes the error's message.
        result: partial result that the error carries.

    Raises:
        ChromaError: ``timeout``, with the last state seen.
    """
    end = time.monotonic() + timeout
    pause = 0.1
    while True:
        state = read()
        if done(state):
            return state
        if time.monotonic() + pause > end:
            raise ChromaError("timeout", f"{describe(state)} (waited {timeout:g} s).", result=result)
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _resource(target: str) -> str:
    """Say what a path of the API means: ``secrets chroma-auth in namespace chroma``."""
    parts = target.partition("?")[0].strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    where = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        where = f" in namespace {parts[1]}"
        parts = parts[2:]
    return (" ".join(parts) or target) + where
