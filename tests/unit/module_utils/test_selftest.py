# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of a release finds what is wrong with its objects, and says it in words."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import (
    Check,
    check_objects,
    compare,
    describe_pod,
    describe_route,
    describe_service,
)
from ansible_collections.thinkube.chroma.tests.unit.module_utils import selftest_release
from ansible_collections.thinkube.chroma.tests.unit.module_utils.selftest_release import READY, RELEASE, failures, make_release

api = selftest_release.api


def test_lines():
    assert compare("a", 1, 1).line == "PASS  a: expected 1, seen 1"
    assert compare("a", 1, 2).line == "FAIL  a: expected 1, seen 2"
    assert Check("a", "", "not run", None).line == "SKIP  a: not run"
    assert [check.as_result()["ok"] for check in (compare("a", 1, 1), compare("a", 1, 2), Check("a", "", "", None))] == [True, False, False]


def test_a_whole_release_passes(api):
    checks = list(check_objects(api.session(), RELEASE))
    assert (len(checks), failures(checks)) == (7, [])


@pytest.mark.parametrize(
    "path",
    [
        "namespaces/chroma",
        "statefulsets/chroma",
        "pods/chroma-0",
        "services/chromadb-svc",
        "persistentvolumeclaims/chroma-data-pvc",
        "ingresses/chroma-ingress",
    ],
)
def test_an_absent_object_fails_its_check_only(api, path):
    (key,) = [key for key in api.objects if key.endswith(path)]
    del api.objects[key]
    (check,) = [check for check in check_objects(api.session(), RELEASE) if not check.ok]
    assert (check.seen, path.split("/")[1] in check.name) == ("absent", True)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {"phase": "Pending", "conditions": [{"status": "False", "message": "0/1 nodes are available"}]},
            "Pending, 0/1 nodes are available",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"name": "chroma", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            "Running, chroma waiting CrashLoopBackOff",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"name": "chroma", "ready": False, "state": {"running": {}}}]},
            "Running, chroma running, not ready",
        ),
        (READY, "Running, all containers ready"),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "start-check", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
                "containerStatuses": [{"name": "chroma", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "Pending, start-check waiting CrashLoopBackOff, chroma waiting PodInitializing",
        ),
    ],
)
def test_a_pod_in_words(status, text):
    assert describe_pod({"status": status}) == text


def test_a_service_without_pods_in_words():
    spec = {"type": "NodePort", "clusterIP": "10.1.1.1", "selector": {"app": "other"}, "ports": [{"port": 80}]}
    slices = [{"endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": False}}], "ports": [{"port": 8000}]}]
    assert describe_service({"spec": spec}, slices) == "NodePort, port 80 to nothing, selector app=other, 0 pods"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "h, not Accepted (no Gateway has looked at it), not ResolvedRefs (no Gateway has looked at it)"),
        (
            {
                "parents": [
                    {
                        "conditions": [
                            {"type": "Accepted", "status": "True"},
                            {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"},
                        ]
                    }
                ]
            },
            "h, Accepted, not ResolvedRefs (BackendNotFound)",
        ),
        (
            {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]}]},
            "h, Accepted, ResolvedRefs",
        ),
    ],
)
def test_a_route_in_words(status, text):
    assert describe_route({"spec": {"hostnames": ["h"]}, "status": status}) == text


def test_a_route_is_looked_at_where_there_is_no_ingress(api):
    checks = list(check_objects(api.session(), make_release(exposure="gateway")))
    assert (checks[-1].name, checks[-1].seen) == ("HTTPRoute chroma-route", "absent")
