# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After 19_rollback: everything of the release is gone but the data, the tokens that belong to them, and their namespace."""

from __future__ import annotations

from ..conftest import Release


def test_only_the_data_and_their_tokens_are_left(release: Release) -> None:
    left = release.get(
        "statefulsets,pods,services,endpointslices,secrets,configmaps,ingresses,networkpolicies,poddisruptionbudgets,persistentvolumeclaims",
        "--selector=app.kubernetes.io/managed-by=thinkube.chroma",
    )["items"]
    assert {(each["kind"], each["metadata"]["name"]) for each in left} == {
        ("PersistentVolumeClaim", release.names["chroma_pvc"]),
        ("Secret", release.names["chroma_auth_secret"]),
    }
    assert release.get("persistentvolumeclaim", release.names["chroma_pvc"])["status"]["phase"] == "Bound"


def test_the_platform_no_longer_sees_a_service(release: Release) -> None:
    assert release.get("configmap", release.names["chroma_discovery_config"]) == {}


def test_nothing_answers_under_its_name(release: Release) -> None:
    assert release.curl(release.url("/api/v2/heartbeat"), "--insecure")[0] in (0, 404, 502, 503)
