# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there already is found first: objects of others, what Kubernetes would refuse to change, newer data."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._installed import Check, check_data_version
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import check_cluster
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS
from ansible_collections.thinkube.chroma.tests.unit.module_utils import ready_cluster
from ansible_collections.thinkube.chroma.tests.unit.module_utils.ready_cluster import SETTINGS, claim, failed, no_registry, server

api, certificate = ready_cluster.api, ready_cluster.certificate


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


def test_a_check_says_what_to_do():
    assert str(Check("a", False, "b", "c", "Do d.")) == "a: expected b, seen c. Do d."
