# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One session with the Kubernetes API for the length of a module. FOR INTERNAL COLLECTION USE ONLY.

Importing the ``kubernetes`` package takes 1.1 s of processor time, this file 0.1 s, and a whole deployment without a change
is to take 6 s. So the objects travel as JSON over one kept-alive connection, and the package is loaded only for the
credentials that need a helper program, a merge of several files or a service account.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import os
import ssl
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

YAML_IMPORT_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()

Object = dict[str, Any]
T = TypeVar("T")

FIELD_MANAGER = "thinkube-chroma"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "thinkube.chroma"
CREATED = "thinkube.chroma/created"

# kind: (API root, plural, lives in a namespace)
RESOURCES: dict[str, tuple[str, str, bool]] = {
    "ConfigMap": ("/api/v1", "configmaps", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways", True),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "IngressClass": ("/apis/networking.k8s.io/v1", "ingressclasses", False),
    "Job": ("/apis/batch/v1", "jobs", True),
    "Namespace": ("/api/v1", "namespaces", False),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "Node": ("/api/v1", "nodes", False),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Pod": ("/api/v1", "pods", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "Secret": ("/api/v1", "secrets", True),
    "SelfSubjectAccessReview": ("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", False),
    "Service": ("/api/v1", "services", True),
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


@dataclass(frozen=True)
class Access:
    """Where the API server is and what it is shown: the resolved form of one kubeconfig context."""

    server: str
    ca_file: str | None = None
    ca_data: str | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    cert_data: bytes | None = None
    key_data: bytes | None = None
    authorization: str | None = None


def load_access(kubeconfig: str | None, context: str | None) -> Access:
    """Resolve a kubeconfig and a context to an :class:`Access`.

    Raises:
        ChromaError: as :func:`open_session`.
    """
    path = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    if os.pathsep in path or (not kubeconfig and not os.path.exists(path)):
        return _access_by_package(path, context)
    if not os.path.isfile(path):
        raise ChromaError(
            "kubeconfig_missing",
            f"The kubeconfig {path} does not exist on the host that runs the module.",
            "Set the variable kubeconfig to the file that kubectl uses there.",
        )
    if YAML_IMPORT_ERROR:
        raise ChromaError("missing_library", missing_required_lib("PyYAML", reason="to read a kubeconfig"))
    try:
        with open(path, encoding="utf-8") as stream:
            config = yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise ChromaError("kubeconfig_invalid", f"The kubeconfig {path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ChromaError("kubeconfig_invalid", f"The kubeconfig {path} is no YAML: {' '.join(str(error).split())[:200]}.") from error
    return access_from_config(config, context, path)


def access_from_config(config: Any, context: str | None, path: str) -> Access:
    """Resolve the content of one kubeconfig; ``path`` is its file, against whose folder relative paths count.

    Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
    """
    try:
        name = context or config["current-context"]
        chosen = _named(config, "context", name)
        cluster = _named(config, "cluster", chosen["cluster"])
        user = _named(config, "user", chosen["user"]) if chosen.get("user") else {}
        if "exec" in user or "auth-provider" in user:
            return _access_by_package(path, context)
        folder = os.path.dirname(os.path.abspath(path))
        ca_data = _decoded(cluster, "certificate-authority-data")
        return Access(
            server=cluster["server"].rstrip("/"),
            ca_file=_resolved(cluster, "certificate-authority", folder),
            ca_data=ca_data.decode("ascii") if ca_data else None,
            verify=not cluster.get("insecure-skip-tls-verify", False),
            server_name=cluster.get("tls-server-name"),
            proxy=cluster.get("proxy-url"),
            cert_file=_resolved(user, "client-certificate", folder),
            key_file=_resolved(user, "client-key", folder),
            cert_data=_decoded(user, "client-certificate-data"),
            key_data=_decoded(user, "client-key-data"),
            authorization=_authorization(user, folder),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ChromaError(
            "kubeconfig_invalid",
            f"The kubeconfig {path} is not usable: {reason}.",
            f"Compare with `kubectl --kubeconfig {path} config view`.",
        ) from error


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
        return list(found["items"]) if found else []

    def create(self, kind: str, body: Object, namespace: str = "") -> Object:
        """Create an object and return it as stored."""
        return self.request("POST", object_path(kind, namespace), body, query={"fieldManager": FIELD_MANAGER}) or {}

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
            propagation: ``Background`` or ``Foreground``.
        """
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        return self.request("DELETE", object_path(kind, namespace, name), body, absent_is_none=True) is not None

    def log(self, pod: str, namespace: str) -> str:
        """Return what the only container of a pod wrote."""
        _status, content = self._send("GET", object_path("Pod", namespace, pod) + "/log", None, {})
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
            method: GET, POST, PATCH or DELETE.
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
            self._connection = _connect(self.access, self.timeout)
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
            return ChromaError("forbidden", f"No right to {what}: {reason}.", "Use a kubeconfig with that right, or have it granted by a Role.")
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


def _named(config: Any, kind: str, name: str) -> Any:
    for entry in config.get(f"{kind}s") or []:
        if entry["name"] == name:
            return entry[kind]
    raise ValueError(f"it has no {kind} {name!r}")


def _decoded(entry: Any, key: str) -> bytes | None:
    value = entry.get(key)
    if not value:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{key} is no base64") from error


def _resolved(entry: Any, key: str, folder: str) -> str | None:
    value = entry.get(key)
    return os.path.join(folder, os.path.expanduser(value)) if value else None


def _authorization(user: Any, folder: str) -> str | None:
    token = user.get("token")
    token_file = _resolved(user, "tokenFile", folder)
    if token_file:
        with open(token_file, encoding="ascii") as stream:
            token = stream.read().strip()
    if token:
        return f"Bearer {token}"
    if user.get("username"):
        return "Basic " + base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
    return None


def _access_by_package(path: str, context: str | None) -> Access:
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise ChromaError("missing_library", missing_required_lib("kubernetes", reason="for this kind of credentials")) from error
    loaded = client.Configuration()
    try:
        if any(os.path.isfile(os.path.expanduser(part)) for part in path.split(os.pathsep)):
            config.load_kube_config(path, context, client_configuration=loaded)
        else:
            config.load_incluster_config(client_configuration=loaded)
    except config.ConfigException as error:
        raise ChromaError(
            "kubeconfig_missing",
            f"No usable kubeconfig ({path}) and no service account of a pod: {error}.",
            "Set the variable kubeconfig to the file that kubectl uses.",
        ) from error
    return Access(
        server=loaded.host.rstrip("/"),
        ca_file=loaded.ssl_ca_cert,
        verify=loaded.verify_ssl,
        server_name=getattr(loaded, "tls_server_name", None),
        cert_file=loaded.cert_file,
        key_file=loaded.key_file,
        authorization=loaded.get_api_key_with_prefix("authorization"),
    )


class _NamedTLSConnection(http.client.HTTPSConnection):
    """An HTTPS connection that checks the certificate for another name (kubeconfig's ``tls-server-name``)."""

    server_name = ""
    tls: ssl.SSLContext

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.server_name)


def _connect(access: Access, timeout: float) -> http.client.HTTPConnection:
    server = urlsplit(access.server)
    host = server.hostname or ""
    proxy = access.proxy or _proxy_of_environment(server.scheme, host)
    through = urlsplit(proxy) if proxy else server
    address = (through.hostname or "", through.port or (443 if through.scheme == "https" else 80))
    connection: http.client.HTTPConnection
    if server.scheme == "http":
        connection = http.client.HTTPConnection(*address, timeout=timeout)
    else:
        tls = _tls(access)
        named = _NamedTLSConnection(*address, timeout=timeout, context=tls)
        named.tls, named.server_name = tls, access.server_name or host
        connection = named
    if proxy:
        connection.set_tunnel(host, server.port or 443)
    return connection


def _proxy_of_environment(scheme: str, host: str) -> str | None:
    # As kubectl and Go: HTTPS_PROXY and NO_PROXY count, but never for the machine itself.
    if host == "localhost" or host.startswith("127.") or host == "::1" or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _tls(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file if not access.ca_data else None, cadata=access.ca_data)
        if not access.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.cert_data or access.cert_file:
            with tempfile.TemporaryDirectory() as folder:
                certificate = _as_file(access.cert_data, access.cert_file, os.path.join(folder, "certificate"))
                key = _as_file(access.key_data, access.key_file, os.path.join(folder, "key"))
                context.load_cert_chain(certificate, key or None)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ChromaError(
            "kubeconfig_invalid",
            f"The certificates of the kubeconfig can't be loaded: {error}.",
            "Are they complete PEM files, readable by the user who runs the module?",
        ) from error
    return context


def _as_file(data: bytes | None, path: str | None, temporary: str) -> str:
    # The ssl module reads a client's certificate from files only; the folder is private and gone right afterwards.
    if data is None:
        return path or ""
    with open(temporary, "wb") as stream:
        stream.write(data)
    return temporary


def _resource(target: str) -> str:
    """Say what a path of the API means: ``secrets chroma-auth in namespace chroma``."""
    parts = target.partition("?")[0].strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    where = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        where = f" in namespace {parts[1]}"
        parts = parts[2:]
    return (" ".join(parts) or target) + where
