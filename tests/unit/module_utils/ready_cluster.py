# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is ready for a release, its certificate, and the objects of a release that is there."""

from __future__ import annotations

import base64
import functools
import json
import subprocess

import pytest

from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

SETTINGS = {
    "chroma_namespace": "chroma",
    "chroma_version": "1.5.9",
    "chroma_hostname": "chroma.example.com",
    "chroma_storage_class": "k8s-hostpath",
    "chroma_exposure": "ingress",
    "chroma_ingress_class": "nginx",
    "chroma_route_gateway": "thinkube-gateway",
    "chroma_route_gateway_namespace": "gateway-system",
    "chroma_route_section": "https",
    "chroma_tls_source_namespace": "default",
    "chroma_tls_source_secret": "example-com-tls",
    "chroma_backup_repository": "",
    "chroma_backup_storage_class": "k8s-hostpath",
    "chroma_s3_secret": "chroma-s3",
    "chroma_pvc": "chroma-data-pvc",
    "chroma_statefulset": "chroma",
    "chroma_service": "chromadb-svc",
    "chroma_headless_service": "chromadb-headless",
    "chroma_auth_secret": "chroma-auth",
    "chroma_tls_secret": "chroma-tls-secret",
    "chroma_gateway_config": "chroma-gateway",
    "chroma_network_policy": "chroma",
    "chroma_disruption_budget": "chroma",
    "chroma_ingress": "chroma-ingress",
    "chroma_route": "chroma-route",
    "chroma_discovery_config": "thinkube-service-config",
    "chroma_capacity": "10Gi",
    "chroma_image": "r.io/library/chroma:1.5.9",
    "chroma_gateway_image": "r.io/library/chroma-gateway:1.22",
    "chroma_resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
    "chroma_gateway_resources": {"requests": {"cpu": "25m", "memory": "32Mi"}},
}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return a function that makes a certificate valid until about 2040 or 2055, which ASN.1 writes in two ways."""
    folder = tmp_path_factory.mktemp("certificate")

    @functools.cache
    def make(end):
        path = folder / end
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:*.Example.com,DNS:chroma.example.org"]
        days = {"2040": "4748", "2055": "10227"}[end]
        subprocess.run([*command, "-days", days, "-keyout", "/dev/null", "-out", path], check=True, capture_output=True)
        return path.read_bytes()

    return make


def node(name="n1", cpu="4", memory="8Gi", images=(), **spec):
    """Return a node."""
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory}, "images": [{"names": [image]} for image in images]},
    }


@pytest.fixture
def api(certificate):
    """Return an API server of a cluster that lacks nothing."""
    with serve() as server:
        server.answers["GET", "/version"] = (200, json.dumps({"major": "1", "minor": "34", "gitVersion": "v1.34.4"}).encode())
        server.put("StorageClass", "k8s-hostpath")
        server.put("IngressClass", "nginx")
        data = {"tls.crt": base64.b64encode(certificate("2040")).decode(), "tls.key": "a2V5"}
        server.put("Secret", "example-com-tls", "default", data=data)
        ready = node(images=[SETTINGS["chroma_image"], SETTINGS["chroma_gateway_image"]])
        server.put("Node", "n1", spec=ready["spec"], status=ready["status"])
        yield server


def server(image="r.io/library/chroma:1.5.9", **changes):
    """Return the spec of a StatefulSet as role server writes it."""
    containers = [{"name": "chroma", "image": image}, {"name": "gateway", "image": "r.io/nginx:1.27.3"}]
    spec = {"serviceName": "chromadb-headless", "selector": {"matchLabels": {"app": "chroma"}}, "podManagementPolicy": "Parallel"}
    return {**spec, "template": {"spec": {"containers": containers}}, **changes}


def claim(storage="10Gi", **changes):
    """Return the spec of a claim as role server writes it."""
    requests = {"requests": {"storage": storage}}
    return {"accessModes": ["ReadWriteOnce"], "storageClassName": "k8s-hostpath", "resources": requests, **changes}


def no_registry(image):
    """Fail, in the place of what asks a registry for an image."""
    raise AssertionError(f"the registry was asked for {image}")


def failed(checks):
    """Return the names of the checks that failed."""
    return [check.name for check in checks if not check.ok]
