# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A removal takes what is ours, keeps what is not, and proves what is gone."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._rollback import Found, Removed, plan_rollback, roll_back
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

NAMES = {
    "ingress": "chroma-ingress",
    "route": "chroma-route",
    "statefulset": "chroma",
    "service": "chromadb-svc",
    "headless_service": "chromadb-headless",
    "disruption_budget": "chroma",
    "network_policy": "chroma",
    "gateway_config": "chroma-gateway",
    "discovery_config": "thinkube-service-config",
    "tls_secret": "chroma-tls-secret",
    "auth_secret": "chroma-auth",
    "pvc": "chroma-data-pvc",
    "operations_binding": "chroma-operations",
    "operations_role": "chroma-operations",
    "operations_account": "chroma-operations",
    "operations_lock": "chroma-operation",
    "scaling_binding": "chroma-operations-scaling",
    "scaling_role": "chroma-operations-scaling",
    "scaling_account": "chroma-operations-scaling",
    "watching_binding": "chroma-operations-watching",
    "watching_role": "chroma-operations-watching",
    "watching_account": "chroma-operations-watching",
    "backup_secret": "chroma-backup",
    "backup_pvc": "chroma-backups-pvc",
}
KINDS = {
    "ingress": "Ingress",
    "statefulset": "StatefulSet",
    "service": "Service",
    "headless_service": "Service",
    "disruption_budget": "PodDisruptionBudget",
    "network_policy": "NetworkPolicy",
    "gateway_config": "ConfigMap",
    "discovery_config": "ConfigMap",
    "tls_secret": "Secret",
    "auth_secret": "Secret",
    "pvc": "PersistentVolumeClaim",
    "operations_binding": "RoleBinding",
    "operations_role": "Role",
    "operations_account": "ServiceAccount",
    "operations_lock": "Lease",
    "scaling_binding": "RoleBinding",
    "scaling_role": "Role",
    "scaling_account": "ServiceAccount",
    "watching_binding": "RoleBinding",
    "watching_role": "Role",
    "watching_account": "ServiceAccount",
}
BACKUPS = {"Secret chroma-backup", "PersistentVolumeClaim chroma-backups-pvc"}
DATA = {"PersistentVolumeClaim chroma-data-pvc", "Secret chroma-auth", "Namespace chroma"}
GATEWAY_API = "/apis/gateway.networking.k8s.io/v1/namespaces/chroma/httproutes/chroma-route"


ADOPTED = {"thinkube.chroma/adopted": "true"}


def discovery(*resources):
    """Return what aggregated discovery says of (group, version, plural, kind); the versions of a group are in their order."""
    groups = {}
    for group, version, plural, kind in resources:
        entry = {"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["create", "delete", "get", "list"]}
        groups.setdefault((group, version), []).append(entry)
    versions = {}
    for (group, version), each in groups.items():
        versions.setdefault(group, []).append({"version": version, "resources": each})
    items = [{"metadata": {"name": group}, "versions": each} for group, each in versions.items()]
    return 200, json.dumps({"items": items}).encode()


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(_kube.time, "sleep", lambda seconds: None)
    with serve() as server:
        core = [
            ("", "v1", plural, kind)
            for plural, kind in (("configmaps", "ConfigMap"), ("secrets", "Secret"), ("pods", "Pod"), ("services", "Service"))
        ]
        server.answers["GET", "/api"] = discovery(
            *core, ("", "v1", "events", "Event"), ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
        )
        server.answers["GET", "/apis"] = discovery(("apps", "v1", "statefulsets", "StatefulSet"))
        # The cluster has no Gateway API.
        server.answers["GET", GATEWAY_API] = (404, b"404 page not found")
        yield server


@pytest.fixture
def release(api):
    """A whole release, as the roles leave it."""
    api.put("Namespace", "chroma", annotations={"thinkube.chroma/created": "true"})
    for role, kind in KINDS.items():
        api.put(kind, NAMES[role], "chroma", labels=OURS)
    api.put("ConfigMap", "kube-root-ca.crt", "chroma")
    return api


def names(items):
    return [f"{item['kind']} {item['name']}" for item in items]


def roll(api, remove_data=False, check_mode=False, timeout=5, remove_backups=False):
    return roll_back(api.session(), "chroma", NAMES, Removed(remove_data, remove_backups), timeout, check_mode)


def back_up(api):
    api.put("Secret", "chroma-backup", "chroma", labels=OURS)
    api.put("PersistentVolumeClaim", "chroma-backups-pvc", "chroma", labels=OURS)


def test_by_default_the_data_stay(release):
    result = roll(release)
    assert names(result["deleted"]) == [
        "Ingress chroma-ingress",
        "StatefulSet chroma",
        "Service chromadb-svc",
        "Service chromadb-headless",
        "PodDisruptionBudget chroma",
        "NetworkPolicy chroma",
        "ConfigMap chroma-gateway",
        "ConfigMap thinkube-service-config",
        "Secret chroma-tls-secret",
        "RoleBinding chroma-operations",
        "Role chroma-operations",
        "ServiceAccount chroma-operations",
        "Lease chroma-operation",
        "RoleBinding chroma-operations-scaling",
        "Role chroma-operations-scaling",
        "ServiceAccount chroma-operations-scaling",
        "RoleBinding chroma-operations-watching",
        "Role chroma-operations-watching",
        "ServiceAccount chroma-operations-watching",
    ]
    assert set(names(result["kept"])) == DATA
    assert all(item["reason"] for item in result["kept"])
    assert {item["kind"] + " " + item["metadata"]["name"] for item in release.objects.values()} == {*DATA, "ConfigMap kube-root-ca.crt"}


def test_with_remove_data_nothing_is_left(release):
    result = roll(release, remove_data=True)
    assert result["kept"] == []
    assert names(result["deleted"])[-2:] == ["PersistentVolumeClaim chroma-data-pvc", "Namespace chroma"]
    assert list(release.objects) == ["/api/v1/namespaces/chroma/configmaps/kube-root-ca.crt"]


@pytest.mark.parametrize("remove_data", [False, True])
def test_backups_and_their_password_outlive_the_data(release, remove_data):
    back_up(release)
    kept = {f"{item['kind']} {item['name']}": item["reason"] for item in roll(release, remove_data)["kept"]}
    assert set(kept) == BACKUPS | ({"Namespace chroma"} if remove_data else DATA)
    assert "remove_backups=true" in kept["PersistentVolumeClaim chroma-backups-pvc"]
    assert ("backups" in kept["Namespace chroma"]) is remove_data


def test_backups_go_by_a_word_of_their_own(release):
    back_up(release)
    assert set(names(roll(release, remove_backups=True)["kept"])) == DATA


def test_with_both_words_nothing_is_left(release):
    back_up(release)
    assert roll(release, remove_data=True, remove_backups=True)["kept"] == []
    assert list(release.objects) == ["/api/v1/namespaces/chroma/configmaps/kube-root-ca.crt"]


@pytest.mark.parametrize("remove_data", [False, True])
def test_the_second_time_nothing_changes(release, remove_data):
    roll(release, remove_data)
    release.requests.clear()
    result = roll(release, remove_data)
    assert (result["changed"], result["deleted"], release.writes()) == (False, [], [])


@pytest.mark.parametrize("remove_data", [False, True])
def test_check_mode_says_the_same_and_deletes_nothing(release, remove_data):
    planned = roll(release, remove_data, check_mode=True)
    assert release.writes() == []
    assert roll(release, remove_data) == planned


def test_the_difference_lists_objects(release):
    diff = roll(release, check_mode=True)["diff"]
    assert set(diff["after"].splitlines()) == DATA
    assert "StatefulSet chroma" in diff["before"].splitlines()


def test_no_namespace_is_no_release(api):
    assert roll(api, remove_data=True) == {"changed": False, "deleted": [], "kept": [], "diff": {"before": "", "after": ""}}


@pytest.mark.parametrize("role", KINDS)
def test_what_lacks_our_label_is_kept_and_named(release, role):
    release.put(KINDS[role], NAMES[role], "chroma", labels={"app.kubernetes.io/managed-by": "Helm"})
    kept = {f"{item['kind']} {item['name']}": item["reason"] for item in roll(release, remove_data=True)["kept"]}
    assert "not created by this collection" in kept[f"{KINDS[role]} {NAMES[role]}"]
    assert release.session().get(KINDS[role], NAMES[role], "chroma")


@pytest.mark.parametrize("remove_data", [False, True])
@pytest.mark.parametrize("role", ["pvc", "auth_secret"])
def test_what_was_adopted_is_kept_whatever_its_labels_say(release, role, remove_data):
    release.put(KINDS[role], NAMES[role], "chroma", labels=OURS, annotations=ADOPTED)
    kept = {f"{item['kind']} {item['name']}": item["reason"] for item in roll(release, remove_data)["kept"]}
    assert kept[f"{KINDS[role]} {NAMES[role]}"] == "it was there before this collection, which only used it"
    assert "Namespace chroma" in kept
    assert release.session().get(KINDS[role], NAMES[role], "chroma")


@pytest.mark.parametrize("role", KINDS)
def test_a_release_with_a_part_missing_is_removed(release, role):
    release.session().delete(KINDS[role], NAMES[role], "chroma")
    assert roll(release, remove_data=True)["kept"] == []


def test_a_route_is_removed(release):
    del release.answers["GET", GATEWAY_API]
    release.put("HTTPRoute", "chroma-route", "chroma", labels=OURS)
    assert "HTTPRoute chroma-route" in names(roll(release)["deleted"])


def test_pods_and_jobs_that_were_left_behind_are_removed(release):
    server = release.session().get("StatefulSet", "chroma", "chroma")
    job = release.put("Job", "operation", "chroma", labels=OURS)
    release.put("Pod", "chroma-selftest-x", "chroma", labels=OURS)
    release.put("Pod", "foreign", "chroma", labels={})
    release.put("Pod", "operation-1", "chroma", labels=OURS, owners=[job["metadata"]["uid"]])
    found = Found(
        namespace=release.session().get("Namespace", "chroma"),
        objects={"statefulset": server},
        jobs=(job,),
        pods=tuple(item for item in release.objects.values() if item["kind"] == "Pod" and item["metadata"]["labels"]),
    )
    # What has an owner goes with it.
    assert [str(target) for target in plan_rollback(found, Removed()).delete] == [
        "StatefulSet chroma",
        "Job operation",
        "Pod chroma-selftest-x",
    ]
    release.session().delete("Pod", "operation-1", "chroma")
    assert {"Job operation", "Pod chroma-selftest-x"} <= set(names(roll(release)["deleted"]))
    assert release.session().get("Pod", "foreign", "chroma")


def test_schedules_are_removed_before_what_they_made(release):
    schedule = release.put("CronJob", "chroma-export", "chroma", labels=OURS)
    release.put("CronJob", "theirs", "chroma")
    job = release.put("Job", "chroma-export-1", "chroma", labels=OURS, owners=[schedule["metadata"]["uid"]])
    pod = release.put("Pod", "chroma-export-1-x", "chroma", labels=OURS, owners=[job["metadata"]["uid"]])
    found = Found(release.session().get("Namespace", "chroma"), schedules=(schedule,), jobs=(job,), pods=(pod,))
    assert [str(target) for target in plan_rollback(found, Removed()).delete] == ["CronJob chroma-export"]
    assert names(roll(release)["deleted"])[:2] == ["Ingress chroma-ingress", "CronJob chroma-export"]
    assert release.session().get("CronJob", "theirs", "chroma")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda api: api.put("Namespace", "chroma", annotations={}), "it was there before this collection"),
        (lambda api: api.put("Secret", "theirs", "chroma"), "it holds objects of others: Secret theirs"),
        (lambda api: [api.put("Secret", f"s{number}", "chroma") for number in range(7)], "Secret s4 and 2 more"),
        (
            lambda api: api.answers.update({("GET", "/api/v1/namespaces/chroma/secrets"): (403, b'{"message":"no"}')}),
            "not everything in it can be listed",
        ),
        (
            lambda api: api.answers.update({("GET", "/apis/apps/v1/namespaces/chroma/statefulsets"): (503, b"{}")}),
            "not everything in it can be listed",
        ),
    ],
)
def test_the_namespace_stays_unless_it_is_surely_ours(release, change, reason):
    change(release)
    (kept,) = roll(release, remove_data=True)["kept"]
    assert (kept["kind"], reason in kept["reason"]) == ("Namespace", True)


def while_the_claim_goes(release, change):
    """Let ``change`` happen while the removal waits for the claim, the last object before the namespace."""
    original = release.answer

    def answer(method, target, body):
        if method == "DELETE" and "persistentvolumeclaims" in target:
            change()
        return original(method, target, body)

    release.answer = answer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda api: api.put("Secret", "late", "chroma"), "it holds objects of others: Secret late"),
        (lambda api: api.answers.update({("GET", "/apis"): (403, b"{}")}), "not everything in it can be listed"),
    ],
)
def test_what_comes_into_the_namespace_during_the_removal_keeps_it(release, change, reason):
    while_the_claim_goes(release, lambda: change(release))
    result = roll(release, remove_data=True)
    assert [(item["kind"], reason in item["reason"]) for item in result["kept"]] == [("Namespace", True)]
    assert "Namespace chroma" not in names(result["deleted"])
    assert "Namespace chroma" in result["diff"]["after"]
    assert release.session().get("Namespace", "chroma")


def test_a_kind_that_only_an_older_version_of_its_group_has_is_seen(release):
    release.answers["GET", "/apis"] = discovery(
        ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        ("policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget"),
        ("policy", "v1beta1", "oddities", "Oddity"),
    )
    listed = json.dumps({"items": [{"metadata": {"name": "odd"}}]}).encode()
    release.answers["GET", "/apis/policy/v1beta1/namespaces/chroma/oddities"] = (200, listed)
    (kept,) = roll(release, remove_data=True)["kept"]
    assert kept["reason"] == "it holds objects of others: Oddity odd"
    assert not any(path.startswith("/apis/policy/v1beta1") and path.endswith("budgets") for _method, path in release.requests)


def test_discovery_of_kubernetes_1_28_is_accepted_too(release):
    roll(release, remove_data=True)
    accepted = {headers["accept"] for headers in release.headers if "apidiscovery" in headers["accept"]}
    (accept,) = accepted
    assert [part.split(";")[1] for part in accept.split(",")] == ["v=v2", "v=v2beta1"]


def test_events_and_what_has_an_owner_are_no_content(release):
    release.put("Pod", "chroma-0", "chroma", owners=["uid-of-the-statefulset"])
    release.objects["/api/v1/namespaces/chroma/events/started"] = {"kind": "Event", "metadata": {"name": "started", "uid": "e"}}
    assert roll(release, remove_data=True)["kept"] == []


def test_a_claim_that_does_not_go_is_an_error_with_what_was_done(release):
    path = "/api/v1/namespaces/chroma/persistentvolumeclaims/chroma-data-pvc"
    release.keeps.add(path)
    release.objects[path]["metadata"] |= {"deletionTimestamp": "2026-11-21T03:00:00Z", "finalizers": ["kubernetes.io/pvc-protection"]}
    with pytest.raises(ChromaError) as caught:
        roll(release, remove_data=True, timeout=0)
    error = caught.value
    assert error.code == "timeout"
    assert (
        "PersistentVolumeClaim chroma-data-pvc (being deleted since 2026-11-21T03:00:00Z, held by kubernetes.io/pvc-protection)"
        in error.message
    )
    assert "StatefulSet chroma" in names(error.result["deleted"])
    assert "Namespace chroma" not in names(error.result["deleted"])


def test_a_server_that_does_not_stop_is_named_with_its_pod(release):
    path = "/apis/apps/v1/namespaces/chroma/statefulsets/chroma"
    release.keeps.add(path)
    uid = release.objects[path]["metadata"]["uid"]
    release.put("Pod", "chroma-0", "chroma", labels=OURS, owners=[uid], status={"phase": "Running"})
    with pytest.raises(ChromaError) as caught:
        roll(release, timeout=0)
    assert "Pod chroma-0 (not being deleted, phase Running)" in caught.value.message
    # The NetworkPolicy and the Services outlive the pod.
    assert release.session().get("NetworkPolicy", "chroma", "chroma")


def test_a_new_object_of_the_same_name_is_not_ours_to_wait_for(release):
    path = "/api/v1/namespaces/chroma/services/chromadb-svc"
    release.keeps.add(path)
    original = release.answer

    def recreate(method, target, body):
        answer = original(method, target, body)
        if (method, target) == ("DELETE", path):
            release.put("Service", "chromadb-svc", "chroma")
        return answer

    release.answer = recreate
    assert "Service chromadb-svc" in names(roll(release)["deleted"])


def test_no_right_to_delete_is_an_error(release):
    release.answers["DELETE", "/apis/apps/v1/namespaces/chroma/statefulsets/chroma"] = (403, b'{"message":"forbidden"}')
    with pytest.raises(ChromaError) as caught:
        roll(release)
    assert (caught.value.code, "No right to delete statefulsets chroma" in caught.value.message) == ("forbidden", True)
