# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Kubernetes API server on loopback, for the tests of what speaks to one."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import RESOURCES, Session, object_path
from ansible_collections.thinkube.chroma.plugins.module_utils._kubeconfig import Access

Object = dict[str, Any]
OURS = {"app.kubernetes.io/managed-by": "thinkube.chroma"}


class KubeApi:
    """Objects by their path, as an API server keeps them.

    Attributes:
        objects: path → object.
        requests: (method, path) of everything that was asked.
        bodies: what was sent by PATCH.
        answers: (method, path) → (status, body) that is given instead.
        denied: (verb, plural) that an access review refuses.
        keeps: paths that a DELETE leaves there, as a finalizer does.
        drops: path of which a write is lost, as by a webhook.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[Object] = []
        self.answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.denied: set[tuple[str, str]] = set()
        self.keeps: set[str] = set()
        self.drops: set[str] = set()
        self.url = ""
        self.lock = threading.Lock()
        self._uids = 0

    def put(self, kind: str, name: str, namespace: str = "", **parts: Any) -> Object:
        """Store an object; ``labels``, ``annotations`` and ``owners`` go into its metadata."""
        self._uids += 1
        metadata: Object = {"name": name, "uid": f"uid-{self._uids}"}
        if namespace:
            metadata["namespace"] = namespace
        metadata |= {part: parts.pop(part) for part in ("labels", "annotations", "finalizers", "deletionTimestamp") if part in parts}
        if "owners" in parts:
            metadata["ownerReferences"] = [{"uid": uid} for uid in parts.pop("owners")]
        stored = {"kind": kind, "metadata": metadata, **parts}
        self.objects[object_path(kind, namespace, name)] = stored
        return stored

    def session(self, timeout: float = 5) -> Session:
        """Return a session with this server, which has so many seconds for an answer."""
        return Session(Access(self.url), timeout)

    def kubeconfig(self, folder: Path) -> str:
        """Write a kubeconfig for this server and return its path."""
        path = folder / "kubeconfig"
        config = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": "service-account-token"}}],
        }
        path.write_text(json.dumps(config))
        return str(path)

    def writes(self) -> list[tuple[str, str]]:
        """Return what was asked that changes something."""
        return [each for each in self.requests if each[0] != "GET" and "accessreviews" not in each[1]]

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Return status and document for a request."""
        parts = urlsplit(target)
        self.requests.append((method, parts.path))
        if (method, parts.path) in self.answers:
            return self.answers[method, parts.path]
        if parts.path.endswith("accessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            everything = wanted["verb"] == "*" and self.denied
            return 201, {"status": {"allowed": not everything and (wanted["verb"], wanted["resource"]) not in self.denied}}
        if method == "POST":
            if "dryRun" in parts.query:
                return 201, body
            return self._create(parts.path, body)
        if method == "PUT":
            return self._replace(parts.path, body)
        if method == "PATCH":
            self.bodies.append(copy.deepcopy(body))
            return self._patch(parts.path, body, dict(parse_qsl(parts.query)))
        if method == "DELETE":
            found = self.objects.get(parts.path)
            if found and parts.path not in self.keeps:
                del self.objects[parts.path]
            return (200, found) if found else (404, {"message": "not found"})
        return self._read(parts.path, dict(parse_qsl(parts.query)))

    def _create(self, path: str, body: Object) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            return 409, {"message": f"{name} already exists"}
        self._uids += 1
        body["metadata"] |= {"uid": f"uid-{self._uids}", "resourceVersion": "1"}
        if path.endswith("/pods"):
            body.setdefault("status", {"phase": "Pending"})
        if f"{path}/{name}" not in self.drops:
            self.objects[f"{path}/{name}"] = body
        return 201, body

    def _replace(self, path: str, body: Object) -> tuple[int, Any]:
        found = self.objects.get(path)
        if found is None:
            return 404, {"message": f"{path} not found"}
        version = found["metadata"].get("resourceVersion", "1")
        if body["metadata"].get("resourceVersion", version) != version:
            return 409, {"message": "the object has been modified"}
        body["metadata"]["resourceVersion"] = str(int(version) + 1)
        self.objects[path] = body
        return 200, body

    def _patch(self, path: str, body: Object, query: dict[str, str]) -> tuple[int, Any]:
        if "force" in query and path not in self.objects:  # a server-side apply creates what is absent
            if "dryRun" in query:
                return 201, body
            return self._create(path.rsplit("/", 1)[0], body)
        found = copy.deepcopy(self.objects[path]) if "dryRun" in query else self.objects[path]
        if path not in self.drops:
            _merge(found, body)
        return 200, found

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        if path.rsplit("/", 1)[1] not in {plural for _root, plural, _namespaced in RESOURCES.values()}:
            return 404, {"message": f"{path} not found"}
        listed = [item for key, item in self.objects.items() if _lists(path, key)]
        for condition in filter(None, query.get("labelSelector", "").split(",")):
            label, _equals, value = condition.partition("=")
            listed = [item for item in listed if item["metadata"].get("labels", {}).get(label) == value]
        for condition in filter(None, query.get("fieldSelector", "").split(",")):
            field, equals, value = condition.partition("!=" if "!=" in condition else "=")
            if field not in ("metadata.name", "status.phase"):
                return 400, {"message": f"field label not supported: {field}"}
            part, name = field.split(".")
            listed = [item for item in listed if (item.get(part, {}).get(name) == value) is (equals == "=")]
        # As a real server: items of a list come without their kind.
        return 200, {"items": [{key: value for key, value in item.items() if key != "kind"} for item in listed] or None}


@contextmanager
def serve() -> Iterator[KubeApi]:
    """Run a :class:`KubeApi` on a free port of loopback."""
    api = KubeApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: two would each wait 40 ms for the other side.
        wbufsize = 65536

        def _any(self) -> None:
            api.headers.append({name.lower(): value for name, value in self.headers.items()})
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            with api.lock:  # as a real one: an object changes at once, or not
                status, document = api.answer(self.command, self.path, body)
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, *arguments: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _lists(path: str, key: str) -> bool:
    root, _slash, plural = path.rpartition("/")
    parent = key.rpartition("/")[0]
    return parent == path or ("/namespaces/" not in path and parent.startswith(f"{root}/namespaces/") and parent.endswith(f"/{plural}"))


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
