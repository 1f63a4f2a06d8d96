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

from ansible_collections.thinkube.chroma.plugins.module_utils._certificate import Certificate, read_certificate
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._installed import Check, check_data_version
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import (
    check_cluster,
    check_free_capacity,
    check_tls_secret,
    check_version,
    report,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._registry import Presence
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

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
    api.put("StatefulSet", "chroma", "chroma", labels=OURS, spec=server(), status={"readyReplicas": 1})
    check_cluster(api.session(), SETTINGS, no_registry)
    assert ("GET", "/api/v1/pods") not in api.requests
    # One review of all rights, and one request for each object.
    assert len(api.requests) == len(set(api.requests)) == 19


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


@pytest.mark.parametrize(
    ("spec", "grows", "hint"),
    [
        (claim(), False, ""),
        (claim("10240Mi"), False, ""),
        (claim("5Gi"), True, ""),
        (claim("5Gi"), False, "set chroma_capacity: 5Gi, or copy"),
        (claim("5Gi"), None, "set chroma_capacity: 5Gi, or copy"),
        (claim("11Gi"), True, "can't shrink: set chroma_capacity: 11Gi"),
        (claim("1Ti"), True, "can't shrink"),
        (claim(storageClassName="fast"), True, "set chroma_storage_class: fast"),
        (claim(accessModes=["ReadWriteMany"]), True, "another chroma_pvc"),
    ],
)
def test_what_kubernetes_would_refuse_of_a_claim_is_found_first(api, spec, grows, hint):
    api.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", labels=OURS, spec=spec)
    api.put("StorageClass", "k8s-hostpath", **({} if grows is None else {"allowVolumeExpansion": grows}))
    refused = [check for check in check_cluster(api.session(), SETTINGS, no_registry) if not check.ok]
    assert [check.name for check in refused] == (["PersistentVolumeClaim chroma-data-pvc"] if hint else [])
    assert all(hint in check.hint for check in refused)


def test_a_claim_of_a_class_that_may_not_be_read_grows_with_a_warning(api):
    api.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", labels=OURS, spec=claim("5Gi"))
    api.denied = {("get", "storageclasses")}
    checks = check_cluster(api.session(), SETTINGS, no_registry)
    assert failed(checks) == []
    assert [check.name for check in checks if check.warning] == ["StorageClass k8s-hostpath", "PersistentVolumeClaim chroma-data-pvc"]


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({}, ""),
        ({"volumeClaimTemplates": []}, ""),
        ({"serviceName": "chroma"}, "another serviceName"),
        ({"selector": {"matchLabels": {"app": "chroma", "release": "x"}}}, "another selector"),
        ({"podManagementPolicy": "OrderedReady", "volumeClaimTemplates": [{}]}, "another podManagementPolicy, volumeClaimTemplates"),
    ],
)
def test_a_statefulset_that_can_not_be_updated_is_found_first(api, changes, seen):
    api.put("StatefulSet", "chroma", "chroma", labels=OURS, spec=server(**changes))
    refused = [check for check in check_cluster(api.session(), SETTINGS, no_registry) if not check.ok]
    assert [check.seen for check in refused] == ([seen] if seen else [])
    assert all("kubectl delete statefulset chroma -n chroma" in check.hint for check in refused)


OF_OTHERS = {
    "StatefulSet chroma": server(),
    "PersistentVolumeClaim chroma-data-pvc": claim(),
    "Secret chroma-auth": None,
    "Secret chroma-tls-secret": None,
    "Service chromadb-svc": None,
    "Service chromadb-headless": None,
    "ConfigMap chroma-gateway": None,
    "ConfigMap thinkube-service-config": None,
    "NetworkPolicy chroma": None,
    "PodDisruptionBudget chroma": None,
    "Ingress chroma-ingress": None,
}


@pytest.mark.parametrize("adopt", [False, "false", True, "true"])
def test_objects_of_others_are_named_and_not_overwritten_unless_adopted(api, adopt):
    for title, spec in OF_OTHERS.items():
        api.put(*title.split(), "chroma", labels={"app.kubernetes.io/managed-by": "Helm"}, spec=spec)
    # The other way in is not touched by this release.
    api.put("HTTPRoute", "chroma-route", "chroma")
    checks = check_cluster(api.session(), {**SETTINGS, "chroma_adopt": adopt}, no_registry)
    (check,) = [check for check in checks if check.name == "objects in namespace chroma"]
    assert check.seen == f"made by others: {', '.join(OF_OTHERS)}"
    assert failed(checks) == ([] if str(adopt).lower() == "true" else [check.name])
    assert ("chroma_adopt" in check.hint) is not check.ok


@pytest.mark.parametrize("title", OF_OTHERS)
def test_our_own_objects_are_ours_to_change(api, title):
    api.put(*title.split(), "chroma", labels=OURS, spec=OF_OTHERS[title])
    assert failed(check_cluster(api.session(), SETTINGS, no_registry)) == []


@pytest.mark.parametrize(
    ("noted", "image", "wanted", "ok"),
    [
        (None, None, "1.5.9", True),
        ("1.5.9", None, "1.5.9", True),
        ("1.5.9", None, "1.5.10", True),
        ("1.5.9", None, "1.0.20", False),
        ("0.6.3", None, "0.5.23", False),
        (None, "r/chroma:1.5.9", "1.0.20", False),
        (None, "r/chroma:1.0.20", "1.5.9", True),
        (None, "r/chroma:latest", "1.0.20", True),
        ("1.5.9", "r/chroma@sha256:" + "0" * 64, "1.0.20", False),
        ("1.0.20", "r/chroma:1.5.9", "1.0.20", False),
    ],
)
def test_an_older_server_does_not_get_newer_data(noted, image, wanted, ok):
    had = {"metadata": {"annotations": {"thinkube.chroma/version": noted}}} if noted else {"metadata": {}}
    runs = {"spec": server(image)} if image else None
    check = check_data_version(had, runs, {**SETTINGS, "chroma_version": wanted})
    assert (check.ok, "docs/operate.md" in check.hint) == (ok, not ok)


def test_a_container_of_another_name_tells_the_version_where_it_is_alone():
    alone = {"spec": {"template": {"spec": {"containers": [{"name": "chromadb", "image": "chromadb/chroma:1.5.9"}]}}}}
    assert check_data_version(None, alone, {**SETTINGS, "chroma_version": "1.0.20"}).ok is False


GATEWAY_API = ("GET", "/apis/gateway.networking.k8s.io/v1")


@pytest.mark.parametrize(("served", "warned"), [((200, b'{"resources": []}'), ["HTTPRoute chroma-route"]), ((404, b"{}"), [])])
def test_the_former_way_in_that_may_not_be_seen_is_a_warning_where_there_is_such_a_kind(api, served, warned):
    api.denied = {("get", "httproutes"), ("delete", "httproutes")}
    api.answers[GATEWAY_API] = served
    checks = check_cluster(api.session(), SETTINGS, no_registry)
    assert (failed(checks), [check.name for check in checks if check.warning]) == ([], warned)


@pytest.mark.parametrize(("labels", "refused"), [(OURS, ["Ingress chroma-ingress"]), ({}, [])])
def test_the_former_way_in_must_be_ours_to_close(api, labels, refused):
    api.put("Gateway", "thinkube-gateway", "gateway-system", spec={"listeners": [{"name": "https"}]})
    api.put("Ingress", "chroma-ingress", "chroma", labels=labels)
    api.denied = {("delete", "ingresses")}
    assert failed(check_cluster(api.session(), {**SETTINGS, "chroma_exposure": "gateway"}, no_registry)) == refused


@pytest.mark.parametrize(("host", "ok"), [("chroma.example.com", True), ("chroma.example.org", True), ("db.chroma.example.com", False)])
def test_the_certificate_must_be_for_the_host(api, host, ok):
    checks = check_cluster(api.session(), {**SETTINGS, "chroma_hostname": host}, no_registry)
    assert failed(checks) == ([] if ok else ["certificate Secret default/example-com-tls"])


def test_a_gateway_shows_a_certificate_of_its_own(api):
    api.put("Gateway", "thinkube-gateway", "gateway-system", spec={"listeners": [{"name": "https"}]})
    settings = {**SETTINGS, "chroma_exposure": "gateway", "chroma_hostname": "chroma.elsewhere.net"}
    assert failed(check_cluster(api.session(), settings, no_registry)) == []


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
    seconds = read_certificate(pem + pem).end
    assert f"notAfter={datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}" == printed.stdout.decode().strip()


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", b"-----BEGIN CERTIFICATE-----\n%\n"]
)
def test_what_is_no_certificate(text):
    with pytest.raises(ValueError, match="no readable certificate"):
        read_certificate(text)


def test_the_names_of_a_certificate(certificate):
    assert read_certificate(certificate("2040")).names == ("*.example.com", "chroma.example.org")
    plain = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=chroma.example.com"]
    pem = subprocess.run([*plain, "-keyout", "/dev/null"], check=True, capture_output=True).stdout
    assert read_certificate(pem).names == ()


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("chroma.example.com", True),
        ("Chroma.Example.com", True),
        ("chroma.example.org", True),
        ("example.com", False),
        ("a.chroma.example.com", False),
        ("other.example.org", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host, covered):
    assert Certificate(0, ("*.example.com", "chroma.example.org")).covers(host) is covered


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
    check = check_tls_secret({"data": data}, "default", "tls", read_certificate(pem).end + later)
    assert (check.ok, check.seen.startswith(seen)) == (ok, True)


def test_a_check_says_what_to_do():
    assert str(Check("a", False, "b", "c", "Do d.")) == "a: expected b, seen c. Do d."
