# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release for the tests of its test: what is told of it, and a cluster that has all of it."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Release
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

TOKEN = "abracadabra"
NAMES = {
    "statefulset": "chroma",
    "service": "chromadb-svc",
    "headless_service": "chromadb-headless",
    "pvc": "chroma-data-pvc",
    "auth_secret": "chroma-auth",
    "tls_secret": "chroma-tls-secret",
    "ingress": "chroma-ingress",
    "route": "chroma-route",
}


def make_release(**changes):
    """Return what the test of a release is told of it."""
    values = {
        "namespace": "chroma",
        "names": NAMES,
        "url": "https://chroma.example.com",
        "token": TOKEN,
        "ca_path": None,
        "exposure": "ingress",
        "ingress_class": "nginx",
        "image": "r.io/library/chroma-gateway:1.22",
        "image_pull_policy": "IfNotPresent",
        "image_pull_secrets": ({"name": "pull"},),
        "run_as_user": 1000,
        "labels": OURS,
        "port": 8000,
        "server_port": 8001,
        "run_id": "a1",
        "timeout": 5,
    }
    return Release(**{**values, **changes})


RELEASE = make_release()
READY = {
    "phase": "Running",
    "podIP": "10.0.0.7",
    "containerStatuses": [{"name": "chroma", "ready": True}, {"name": "gateway", "ready": True}],
}


@pytest.fixture
def api(monkeypatch):
    """Return an API server with all objects of a whole release."""
    monkeypatch.setattr(_kube.time, "sleep", lambda seconds: None)
    with serve() as server:
        server.put("Namespace", "chroma", status={"phase": "Active"})
        server.put("StatefulSet", "chroma", "chroma", spec={"replicas": 1}, status={"readyReplicas": 1})
        server.put("Pod", "chroma-0", "chroma", status=READY)
        for name, port, address in (("chromadb-svc", 80, "10.1.1.1"), ("chromadb-headless", 8000, "None")):
            spec = {"type": "ClusterIP", "clusterIP": address, "selector": {"app": "chroma"}, "ports": [{"port": port}]}
            server.put("Service", name, "chroma", spec=spec)
            endpoints = [{"addresses": ["10.0.0.7"], "conditions": {"ready": True}, "targetRef": {"uid": "pod"}}]
            labels = {"kubernetes.io/service-name": name}
            server.put("EndpointSlice", name, "chroma", labels=labels, endpoints=endpoints, ports=[{"port": 8000}])
        server.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", status={"phase": "Bound"})
        backend = {"service": {"name": "chromadb-svc", "port": {"number": 80}}}
        rule = {"host": "chroma.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}}
        tls = [{"hosts": ["chroma.example.com"], "secretName": "chroma-tls-secret"}]
        server.put("Ingress", "chroma-ingress", "chroma", spec={"ingressClassName": "nginx", "rules": [rule], "tls": tls})
        yield server


def failures(checks):
    """Return the names of the checks that failed."""
    return [check.name for check in checks if not check.ok]
