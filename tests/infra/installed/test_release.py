# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After 00_install: the objects, the only way in, and where the administrator's password is."""

from __future__ import annotations

import pytest

from ..conftest import TOKEN, Release

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("statefulset", "chroma_statefulset"),
        ("service", "chroma_service"),
        ("service", "chroma_headless_service"),
        ("persistentvolumeclaim", "chroma_pvc"),
        ("secret", "chroma_auth_secret"),
        ("secret", "chroma_tls_secret"),
        ("configmap", "chroma_gateway_config"),
        ("configmap", "chroma_discovery_config"),
        ("networkpolicy", "chroma_network_policy"),
        ("poddisruptionbudget", "chroma_disruption_budget"),
        ("ingress", "chroma_ingress"),
    ],
)
def test_every_object_is_there_and_marked_as_ours(release: Release, kind: str, name: str) -> None:
    labels = release.get(kind, release.names[name])["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "thinkube.chroma"


def test_the_namespace_carries_the_platforms_labels(release: Release) -> None:
    labels = release.get("namespace", release.names["chroma_namespace"])["metadata"]["labels"]
    assert (labels["thinkube.io/managed"], labels["thinkube.io/service-type"]) == ("true", "optional")


def test_the_one_pod_runs_both_containers_from_pinned_images(release: Release) -> None:
    stateful_set = release.get("statefulset", release.names["chroma_statefulset"])
    assert (stateful_set["spec"]["replicas"], stateful_set["status"]["readyReplicas"]) == (1, 1)
    images = {each["name"]: each["image"] for each in stateful_set["spec"]["template"]["spec"]["containers"]}
    assert set(images) == {"chroma", "gateway"}
    for image in images.values():
        assert image.rpartition(":")[2] not in ("", "latest")


def test_the_pod_is_restricted(release: Release) -> None:
    pod = release.get("pod", f"{release.names['chroma_statefulset']}-0")["spec"]
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"]["drop"] == ["ALL"]


def test_the_volume_is_bound(release: Release) -> None:
    claim = release.get("persistentvolumeclaim", release.names["chroma_pvc"])
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["resources"]["requests"]["storage"] == release.names["chroma_capacity"]


def test_the_heartbeat_is_open_over_verified_https(release: Release) -> None:
    status, body = release.curl(release.url("/api/v2/heartbeat"))
    assert status == 200
    assert "nanosecond heartbeat" in body


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), (TOKEN.upper(), 401), (TOKEN, 200)])
def test_only_the_token_opens_the_data(release: Release, token: str | None, status: int) -> None:
    assert release.curl(release.url(COLLECTIONS), token=token)[0] == status


def test_plain_http_is_redirected(release: Release) -> None:
    status = release.curl(release.url("/api/v2/heartbeat").replace("https:", "http:"))[0]
    assert status in (301, 302, 307, 308)


def test_the_pods_address_and_the_service_refuse_the_anonymous_and_the_server_cannot_be_reached(release: Release) -> None:
    pod = release.get("pod", f"{release.names['chroma_statefulset']}-0")["status"]["podIP"]
    service = release.get("service", release.names["chroma_service"])["spec"]["clusterIP"]
    assert release.curl(f"http://{pod}:{release.names['chroma_port']}{COLLECTIONS}")[0] == 401
    assert release.curl(f"http://{service}{COLLECTIONS}")[0] == 401
    assert release.curl(f"http://{pod}:{release.names['chroma_server_port']}/api/v2/heartbeat")[0] == 0


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/api/v2/reset"])
def test_what_no_user_needs_is_closed(release: Release, path: str) -> None:
    assert release.curl(release.url(path), "-X", "POST" if path.endswith("reset") else "GET", token=TOKEN)[0] in (403, 404)


def test_the_password_is_in_the_secret_and_nowhere_else(release: Release) -> None:
    everything = release.kubectl("get", "all,configmaps,ingresses,events,networkpolicies", "--output=yaml")
    logs = release.kubectl("logs", f"{release.names['chroma_statefulset']}-0", "--all-containers")
    processes = release.host.check_output("ps -eo args")
    assert "chroma" in processes
    for text in (everything, logs, processes):
        assert TOKEN not in text


def test_the_platform_is_told_a_token_of_its_own(release: Release) -> None:
    service = release.get("configmap", release.names["chroma_discovery_config"])["data"]["service.yaml"]
    assert "CHROMA_API_URL" in service
    assert "CHROMA_AUTH_TOKEN" in service
