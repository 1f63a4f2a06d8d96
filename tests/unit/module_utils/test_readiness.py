# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster lacks for a release is found before anything is changed."""

from __future__ import annotations

import base64
import functools
import json
import subprocess
from datetime import UTC, datetime

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import (
    Check,
    certificate_end,
    check_cluster,
    check_free_capacity,
    check_tls_secret,
    check_version,
    report,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._registry import Presence
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

SETTINGS = {
    "chroma_namespace": "chroma",
    "chroma_storage_class": "k8s-hostpath",
    "chroma_exposure": "ingress",
    "chroma_ingress_class": "nginx",
    "chroma_route_gateway": "thinkube-gateway",
    "chroma_route_gateway_namespace": "gateway-system",
    "chroma_route_section": "https",
    "chroma_tls_source_namespace": "default",
    "chroma_tls_source_secret": "example-com-tls",
    "chroma_pvc": "chroma-data-pvc",
    "chroma_statefulset": "chroma",
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
        days = {"2040": "4748", "2055": "10227"}[end]
        subprocess.run([*command, "-days", days, "-keyout", "/dev/null", "-out", path], check=True, capture_output=True)
        return path.read_bytes()

    return make


def node(name="n1", cpu="4", memory="8Gi", images=(), **spec):
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory}, "images": [{"names": [image]} for image in images]},
    }


@pytest.fixture
def api(certificate):
    with serve() as server:
        server.answers["GET", "/version"] = (200, json.dumps({"major": "1", "minor": "34", "gitVersion": "v1.34.4"}).encode())
        server.put("StorageClass", "k8s-hostpath")
        server.put("IngressClass", "nginx")
        data = {"tls.crt": base64.b64encode(certificate("2040")).decode(), "tls.key": "a2V5"}
        server.put("Secret", "example-com-tls", "default", data=data)
        ready = node(images=[SETTINGS["chroma_image"], SETTINGS["chroma_gateway_image"]])
        server.put("Node", "n1", spec=ready["spec"], status=ready["status"])
        yield server


def no_registry(image):
    raise AssertionError(f"the registry was asked for {image}")


def failed(checks):
    return [check.name for check in checks if not check.ok]


def test_a_ready_cluster(api):
    checks = check_cluster(api.session(), SETTINGS, no_registry)
    assert failed(checks) == []
    assert [check for check in checks if check.warning] == []
    assert api.writes() == []
    assert report(checks)["warnings"] == []


def test_a_cluster_with_a_running_release_is_not_asked_for_its_pods(api):
    api.put("StatefulSet", "chroma", "chroma", status={"readyReplicas": 1})
    check_cluster(api.session(), SETTINGS, no_registry)
    assert ("GET", "/api/v1/pods") not in api.requests
    # One review of all rights, and one request for each object.
    assert len(api.requests) == 9


@pytest.mark.parametrize(
    ("kind", "name", "namespace", "title", "hint"),
    [
        ("StorageClass", "k8s-hostpath", "", "StorageClass k8s-hostpath", "chroma_storage_class"),
        ("IngressClass", "nginx", "", "IngressClass nginx", "chroma_exposure: gateway"),
        ("Secret", "example-com-tls", "default", "certificate Secret default/example-com-tls", "chroma_tls_source_secret"),
    ],
)
def test_an_absent_object_is_named_with_the_next_step(api, kind, name, namespace, title, hint):
    api.session().delete(kind, name, namespace)
    (check,) = [check for check in check_cluster(api.session(), SETTINGS, no_registry) if not check.ok]
    assert (check.name, check.seen, hint in check.hint) == (title, "absent", True)


def test_an_absent_storage_class_names_the_others(api):
    api.session().delete("StorageClass", "k8s-hostpath")
    api.put("StorageClass", "fast")
    (check,) = [check for check in check_cluster(api.session(), SETTINGS, no_registry) if not check.ok]
    assert check.hint == "Set chroma_storage_class to one that exists: fast."


def test_all_that_is_missing_is_named_in_one_error(api):
    api.objects.clear()
    api.put("Node", "n1", spec={"unschedulable": True}, status=node()["status"])
    with pytest.raises(ChromaError) as caught:
        report(check_cluster(api.session(), SETTINGS, lambda image: Presence(False, "404")))
    assert caught.value.code == "cluster_not_ready"
    names = [check["name"] for check in caught.value.result["checks"] if not check["ok"]]
    assert [name.split()[0] for name in names] == [
        "StorageClass",
        "IngressClass",
        "certificate",
        "chroma_image",
        "chroma_gateway_image",
        "capacity",
    ]
    assert all(name in caught.value.message for name in names)


@pytest.mark.parametrize(
    ("listeners", "ok", "seen"),
    [
        (None, False, "absent"),
        ([{"name": "http"}], False, "sections http"),
        ([], False, "sections none"),
        ([{"name": "http"}, {"name": "https"}], True, "sections http, https"),
    ],
)
def test_gateway(api, listeners, ok, seen):
    if listeners is not None:
        api.put("Gateway", "thinkube-gateway", "gateway-system", spec={"listeners": listeners})
    api.session().delete("IngressClass", "nginx")
    checks = check_cluster(api.session(), {**SETTINGS, "chroma_exposure": "gateway"}, no_registry)
    (check,) = [check for check in checks if check.name.startswith("Gateway")]
    assert (check.ok, check.seen) == (ok, seen)


def test_missing_rights_are_named_with_verb_and_resource(api):
    api.denied = {("create", "statefulsets"), ("patch", "statefulsets"), ("create", "namespaces")}
    (check,) = [check for check in check_cluster(api.session(), SETTINGS, no_registry) if not check.ok]
    assert check.name == "rights"
    assert check.seen == "not allowed to create, patch statefulsets in chroma; not allowed to create namespaces"


def test_what_may_not_be_read_is_a_warning_and_not_asked(api):
    api.denied = {("get", "storageclasses"), ("get", "ingressclasses"), ("list", "nodes")}
    checks = check_cluster(api.session(), SETTINGS, lambda image: Presence(True, "present"))
    assert failed(checks) == []
    assert [check.name for check in checks if check.warning] == ["StorageClass k8s-hostpath", "IngressClass nginx", "capacity"]
    assert len(report(checks)["warnings"]) == 3


def test_a_namespace_that_is_going_is_no_place(api):
    api.put("Namespace", "chroma", status={"phase": "Terminating"})
    assert failed(check_cluster(api.session(), SETTINGS, no_registry)) == ["Namespace chroma"]


@pytest.mark.parametrize(("have", "ok"), [("10Gi", True), ("5Gi", True), ("10240Mi", True), ("11Gi", False), ("1Ti", False)])
def test_a_claim_may_grow_and_not_shrink(api, have, ok):
    api.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", spec={"resources": {"requests": {"storage": have}}})
    assert (failed(check_cluster(api.session(), SETTINGS, no_registry)) == []) is ok


@pytest.mark.parametrize(
    ("presence", "ok", "warning"),
    [(Presence(True, "present"), True, False), (Presence(False, "404"), False, False), (Presence(None, "refused"), True, True)],
)
def test_an_image_that_is_on_no_node_is_looked_for_in_its_registry(api, presence, ok, warning):
    settings = {**SETTINGS, "chroma_image": "r.io/library/chroma:1.5.8"}
    checks = check_cluster(api.session(), settings, lambda image: presence)
    (check,) = [check for check in checks if check.name == "chroma_image r.io/library/chroma:1.5.8"]
    assert (check.ok, check.warning) == (ok, warning)


def test_where_images_are_always_pulled_a_node_proves_nothing(api):
    asked = []
    check_cluster(
        api.session(), {**SETTINGS, "chroma_image_pull_policy": "Always"}, lambda image: asked.append(image) or Presence(True, "")
    )
    assert [image.name for image in asked] == ["r.io/library/chroma", "r.io/library/chroma-gateway"]


@pytest.mark.parametrize(("minor", "ok"), [("28", True), ("27", False), ("34+", True), ("", False)])
def test_versions(minor, ok):
    assert check_version({"major": "1", "minor": minor, "gitVersion": f"v1.{minor}"}).ok is ok


def pod(name="other", node_name="n1", namespace="default", requests=None, limits=None, init=None):
    containers = [{"resources": {"requests": requests, "limits": limits}}]
    spec = {"nodeName": node_name, "containers": containers}
    if init:
        spec["initContainers"] = [{"resources": {"requests": init}}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


BIG = {"cpu": "3800m", "memory": "7936Mi"}


@pytest.mark.parametrize(
    ("nodes", "pods", "ok"),
    [
        ([node()], [], True),
        ([node(cpu="275m", memory="544Mi")], [], True),
        ([node(cpu="274m")], [], False),
        ([node(memory="543Mi")], [], False),
        ([node()], [pod(requests=BIG)], False),
        ([node()], [pod(limits=BIG)], False),
        ([node()], [pod(init=BIG)], False),
        ([node()], [pod(requests=BIG, node_name="n2")], True),
        ([node()], [pod("chroma-0", namespace="chroma", requests=BIG)], True),
        ([node(), node("n2")], [pod(requests=BIG)], True),
        ([node(unschedulable=True)], [], False),
        ([node(taints=[{"key": "x", "effect": "NoSchedule"}])], [], False),
        ([node(taints=[{"key": "x", "effect": "PreferNoSchedule"}])], [], True),
    ],
)
def test_free_capacity(nodes, pods, ok):
    assert check_free_capacity(nodes, pods, SETTINGS).ok is ok


@pytest.mark.parametrize("year", ["2040", "2055"])
def test_the_end_of_a_certificate(certificate, year):
    pem = certificate(year)
    printed = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"], input=pem, check=True, capture_output=True)
    seconds = certificate_end(pem + pem)
    assert f"notAfter={datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}" == printed.stdout.decode().strip()


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", b"-----BEGIN CERTIFICATE-----\n%\n"]
)
def test_what_is_no_certificate(text):
    with pytest.raises(ValueError, match="no readable certificate"):
        certificate_end(text)


@pytest.mark.parametrize(
    ("data", "later", "ok", "seen"),
    [
        ({"tls.crt": "PEM", "tls.key": "eA=="}, -60, True, "valid until"),
        ({"tls.crt": "PEM", "tls.key": "eA=="}, 60, False, "expired on"),
        ({"tls.crt": "PEM"}, 0, False, "without tls.key"),
        ({}, 0, False, "without tls.crt and tls.key"),
        ({"tls.crt": "eA==", "tls.key": "eA=="}, 0, False, "no readable certificate"),
    ],
)
def test_tls_secret(certificate, data, later, ok, seen):
    pem = certificate("2040")
    data = {key: base64.b64encode(pem).decode() if value == "PEM" else value for key, value in data.items()}
    check = check_tls_secret({"data": data}, "default", "tls", certificate_end(pem) + later)
    assert (check.ok, check.seen.startswith(seen)) == (ok, True)


def test_a_check_says_what_to_do():
    assert str(Check("a", False, "b", "c", "Do d.")) == "a: expected b, seen c. Do d."
