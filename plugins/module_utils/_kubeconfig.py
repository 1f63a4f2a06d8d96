# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API server is and what it is shown: one kubeconfig context, resolved. FOR INTERNAL COLLECTION USE ONLY.

The ``kubernetes`` package is loaded only for credentials that need a helper program or a merge of several files: importing it takes
1.1 s of processor time, and a whole deployment without a change is to take 6 s.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import os
import ssl
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

YAML_IMPORT_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()


# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


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
        ChromaError: ``kubeconfig_missing``, ``kubeconfig_invalid`` or ``missing_library``.
    """
    path = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    if not kubeconfig and not os.path.exists(path):
        in_cluster = access_of_pod(os.environ, SERVICE_ACCOUNT)
        if in_cluster:
            return in_cluster
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


def access_of_pod(environment: Mapping[str, str], folder: str) -> Access | None:
    """Return what a pod's service account gives, or None outside of a pod or where it has no token.

    Args:
        environment: that of the process.
        folder: where Kubernetes mounts the account's token and the authority of the API server.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    token_file = os.path.join(folder, "token")
    if not host or not os.path.isfile(token_file):
        return None
    with open(token_file, encoding="ascii") as stream:
        token = stream.read().strip()
    host = f"[{host}]" if ":" in host else host
    return Access(server=f"https://{host}:{port}", ca_file=os.path.join(folder, "ca.crt"), authorization=f"Bearer {token}")


def connect(access: Access, timeout: float) -> http.client.HTTPConnection:
    """Return a connection to the API server, not opened yet; ``timeout`` in seconds."""
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
