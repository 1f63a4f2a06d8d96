# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_preflight: arguments in, JSON out."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import Check
from ansible_collections.thinkube.chroma.plugins.modules import chroma_preflight
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

IMAGE = "r.io/library/chroma:1.5.9"
SETTINGS = {
    "domain_name": "example.com",
    "admin_username": "tkadmin",
    "primary_ingress_class": "nginx",
    "kubeconfig": "/k",
    "harbor_registry": "r.io",
    "chroma_image": IMAGE,
    "chroma_gateway_image": IMAGE,
    "chroma_operations_image": IMAGE,
    "chroma_operations_resources": {},
    "chroma_validate_fail_on": "severe",
    "chroma_operations_scratch": "2Gi",
    "chroma_operations_deadline": 86400,
    "chroma_operations_keep": 86400,
    "chroma_operations_service_account": "chroma-operations",
    "chroma_operations_lock": "chroma-operation",
    "chroma_image_pull_policy": "IfNotPresent",
    "chroma_version": "1.5.9",
    "chroma_replicas": 1,
    "chroma_resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    "chroma_gateway_resources": {},
    "chroma_capacity": "10Gi",
    "chroma_storage_class": "k8s-hostpath",
    "chroma_backup_storage_class": "k8s-hostpath",
    "chroma_backup_repository": "",
    "chroma_backup_access_mode": "ReadWriteOnce",
    "chroma_backup_capacity": "20Gi",
    "chroma_backup_interval_hours": 24,
    "chroma_backup_max_retries": 3,
    "chroma_repository_lock_wait": 60,
    "chroma_s3_timeout": 20,
    "chroma_start_timeout": 600,
    "chroma_backup_path": "/backups",
    "chroma_backup_pause": 30,
    "chroma_backup_pvc": "chroma-backups-pvc",
    "chroma_backup_retention_count": 10,
    "chroma_backup_retention_days": 30,
    "chroma_backup_schedule": "0 * * * *",
    "chroma_backup_secret": "chroma-backup",
    "chroma_operations_scaling_account": "chroma-operations-scaling",
    "chroma_operations_watching_account": "chroma-operations-watching",
    "chroma_postgres_secret": "chroma-postgres",
    "chroma_check_schedule": "*/20 * * * *",
    "chroma_export_schedule": "0 * * * *",
    "chroma_health_interval_hours": 1,
    "chroma_health_schedule": "30 */1 * * *",
    "chroma_alerts_secret": "chroma-alerts",
    "chroma_data_path": "/data",
    "chroma_hostname": "chroma.example.com",
    "chroma_exposure": "ingress",
    "chroma_ingress_class": "nginx",
    "chroma_route_gateway": "g",
    "chroma_route_gateway_namespace": "g",
    "chroma_route_section": "https",
    "chroma_body_size": "100m",
    "chroma_proxy_timeout": 600,
    "chroma_wait_timeout": 300,
    "chroma_selftest_timeout": 180,
    "chroma_termination_grace_period": 120,
    "chroma_run_as_user": 1000,
    "chroma_discovery_token": {"name": "discovery", "scope": "write"},
    "chroma_tls_source_namespace": "default",
    "chroma_tls_source_secret": "example-com-tls",
    "chroma_namespace": "chroma",
    "chroma_statefulset": "chroma",
    "chroma_service": "chromadb-svc",
    "chroma_headless_service": "chromadb-headless",
    "chroma_pvc": "chroma-data-pvc",
    "chroma_auth_secret": "chroma-auth",
    "chroma_tls_secret": "chroma-tls-secret",
    "chroma_gateway_config": "chroma-gateway",
    "chroma_network_policy": "chroma",
    "chroma_disruption_budget": "chroma",
    "chroma_ingress": "chroma-ingress",
    "chroma_route": "chroma-route",
    "chroma_discovery_config": "thinkube-service-config",
    "chroma_port": 8000,
    "chroma_server_port": 8001,
    "chroma_labels": OURS,
    "chroma_network_policy_namespaces": ["chroma"],
}


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:
        api.answers["GET", "/version"] = (200, json.dumps({"major": "1", "minor": "34", "gitVersion": "v1.34.4"}).encode())
        status = {"allocatable": {"cpu": "4", "memory": "8Gi"}, "images": [{"names": [IMAGE]}]}
        api.put("Node", "n1", spec={}, status=status)
        api.put("StorageClass", "k8s-hostpath")

        def run(**changes):
            given = {"settings": SETTINGS, "admin_password": "sesame", "kubeconfig": api.kubeconfig(tmp_path), **changes}
            return run_module(chroma_preflight, {"url": None, "retries": None, **given})

        run.api = api
        yield run


def test_settings_are_judged_before_the_cluster_is_asked(run):
    result = run(
        settings={**SETTINGS, "chroma_replicas": 2, "domain_name": None}, admin_password="", defined=["chroma_x"], known=["chroma_y"]
    )
    assert result["code"] == "invalid_settings"
    assert [check["name"] for check in result["checks"]] == ["domain_name", "ADMIN_PASSWORD", "chroma_x", "chroma_replicas"]
    assert run.api.requests == []


def test_a_password_is_in_no_output(run):
    result = run(admin_password="abraca dabra")
    assert result["code"] == "invalid_settings"
    assert "abraca" not in json.dumps(result)


def test_what_the_cluster_lacks_is_named(run):
    result = run()
    assert result["code"] == "cluster_not_ready"
    assert [check["name"] for check in result["checks"] if not check["ok"]] == [
        "IngressClass nginx",
        "certificate Secret default/example-com-tls",
    ]
    assert all(word in result["msg"] for word in ("IngressClass nginx", "example-com-tls", "Nothing was changed"))
    assert run.api.writes() == []


def test_the_namespace_is_the_option(run):
    run(namespace="other")
    assert ("GET", "/apis/apps/v1/namespaces/other/statefulsets/chroma") in run.api.requests


def test_success_with_a_warning(run, monkeypatch):
    checks = [Check("image", True, "present", "present"), Check("image", True, "present", "not verifiable", warning=True)]
    monkeypatch.setattr(chroma_preflight, "check_cluster", lambda session, settings: checks)
    result = run()
    assert (result["changed"], len(result["checks"])) == (False, 2)
    assert (len(result["warnings"]), "seen not verifiable" in str(result["warnings"])) == (1, True)


def test_a_missing_kubeconfig(run, tmp_path):
    result = run(kubeconfig=str(tmp_path / "none"))
    assert result["code"] == "kubeconfig_missing"


def test_an_unreachable_server(run):
    run.api.url = "http://127.0.0.1:1"
    result = run()
    assert (result["code"], "http://127.0.0.1:1 is not reachable" in result["msg"]) == ("cluster_unreachable", True)
