# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster lacks for a release is found before anything is changed."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import check_cluster, check_free_capacity, check_version, report
from ansible_collections.thinkube.chroma.plugins.module_utils._registry import Presence
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS
from ansible_collections.thinkube.chroma.tests.unit.module_utils import ready_cluster
from ansible_collections.thinkube.chroma.tests.unit.module_utils.ready_cluster import SETTINGS, failed, no_registry, node, server

api, certificate = ready_cluster.api, ready_cluster.certificate


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


def test_the_class_of_the_backups_is_looked_for_where_it_is_another(api):
    settings = {**SETTINGS, "chroma_backup_storage_class": "far"}
    (check,) = [check for check in check_cluster(api.session(), settings, no_registry) if not check.ok]
    assert (check.name, "chroma_backup_storage_class" in check.hint) == ("StorageClass far", True)
    api.put("StorageClass", "far")
    assert failed(check_cluster(api.session(), settings, no_registry)) == []


@pytest.mark.parametrize(
    ("data", "warns"),
    [(None, True), ({"AWS_ACCESS_KEY_ID": "a2V5"}, True), ({"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "a2V5"}, False)],
)
def test_absent_keys_for_backups_to_s3_are_a_warning(api, data, warns):
    if data:
        api.put("Secret", "chroma-s3", "chroma", data=data)
    checks = check_cluster(api.session(), {**SETTINGS, "chroma_backup_repository": "s3://bucket/chroma"}, no_registry)
    assert failed(checks) == []
    assert [check.name for check in checks if check.warning] == (["Secret chroma-s3, for backups to S3"] if warns else [])


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


@pytest.mark.parametrize(("wanted", "looked_for"), [(True, True), ("true", True), (False, False), ("false", False)])
def test_the_image_of_the_start_check_is_looked_for_where_it_is_wanted(api, wanted, looked_for):
    image = "r.io/library/chroma-operations:1.3.0"
    settings = {**SETTINGS, "chroma_start_check": wanted, "chroma_operations_image": image}
    checks = [each for each in check_cluster(api.session(), settings, lambda _image: Presence(False, "404")) if not each.ok]
    assert [each.name for each in checks] == ([f"chroma_operations_image {image}"] if looked_for else [])


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
