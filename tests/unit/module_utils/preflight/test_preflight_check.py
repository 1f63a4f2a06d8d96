# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every bad setting is named, all of them at once, and no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.check import PLATFORM_VARIABLES, check_settings, require_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.rules import OPTIONAL_RULES, RULES
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS

ROLES = Path(__file__).parents[4] / "roles"
KNOWN = list(yaml.safe_load((ROLES / "chroma/defaults/main.yml").read_text()))
PASSWORD = "sesame-Öffne"
GOOD = {
    "domain_name": "example.com",
    "admin_username": "tkadmin",
    "primary_ingress_class": "nginx",
    "kubeconfig": "/home/thinkube/.kube/config",
    "harbor_registry": "registry.example.com",
    **yaml.safe_load((ROLES / "chroma/defaults/main.yml").read_text()),
    "chroma_image": "registry.example.com/library/chroma:1.5.9",
    "chroma_gateway_image": "registry.example.com/library/chroma-gateway:1.22",
    "chroma_operations_image": "registry.example.com/library/chroma-operations:1.3.0",
    "chroma_hostname": "chroma.example.com",
    "chroma_ingress_class": "nginx",
    "chroma_route_gateway": "thinkube-gateway",
    "chroma_route_gateway_namespace": "gateway-system",
    "chroma_tls_source_secret": "example-com-tls",
    "chroma_backup_storage_class": "k8s-hostpath",
    "chroma_backup_enabled": True,
    "chroma_health_interval_hours": 1,
    "chroma_health_schedule": "30 */1 * * *",
    "chroma_backup_interval_hours": 24,
    "chroma_backup_retention_days": 30,
    "chroma_backup_retention_count": 10,
    "chroma_labels": {**OURS, "app.kubernetes.io/name": "chroma"},
    "chroma_network_policy_namespaces": ["chroma", "ingress-nginx"],
}


def problems(password="sesame", defined=(), **changes):
    return check_settings({**GOOD, **changes}, password, defined, KNOWN)


def test_the_defaults_are_accepted():
    assert problems(defined=KNOWN) == []


def test_every_rule_is_for_a_variable_that_exists():
    assert {*RULES, *OPTIONAL_RULES} <= {*KNOWN, *PLATFORM_VARIABLES}
    assert RULES.keys().isdisjoint(OPTIONAL_RULES)


def test_every_setting_with_a_rule_may_not_be_empty():
    for name in set(RULES) - set(PLATFORM_VARIABLES):
        assert [problem.name for problem in problems(**{name: ""})] == [name]


@pytest.mark.parametrize("name", PLATFORM_VARIABLES)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named_and_nothing_that_follows_from_it(name, value):
    assert [problem.name for problem in problems(**{name: value, "chroma_hostname": "", "chroma_image": ""})] == [name]


def test_all_missing_variables_are_named_at_once():
    found = check_settings({}, "", [], KNOWN)
    assert [problem.name for problem in found] == [*PLATFORM_VARIABLES, "ADMIN_PASSWORD"]


def test_an_empty_password():
    (problem,) = problems(password="")
    assert (problem.name, problem.seen) == ("ADMIN_PASSWORD", "nothing")


@pytest.mark.parametrize("character", ['"', "'", "`", "\\", " ", "\n", "\t", "\x00", "\x7f", "ö", "数"])
@pytest.mark.parametrize("place", ["{}dabra", "abraca{}dabra", "abraca{}"])
def test_a_password_that_no_header_can_carry_is_refused_and_not_repeated(character, place):
    password = place.format(character)
    (problem,) = problems(password=password)
    assert problem.name == "ADMIN_PASSWORD"
    assert "abraca" not in str(problem)
    assert "dabra" not in str(problem)


def test_every_other_printable_character_is_accepted():
    password = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "\"'`\\")
    assert problems(password=password) == []
    assert all(problems(password=character) == [] for character in password)


@pytest.mark.parametrize(
    ("changes", "name", "word"),
    [
        ({"domain_name": "example .com"}, "domain_name", "'example .com'"),
        ({"domain_name": "https://example.com"}, "domain_name", "without scheme"),
        ({"chroma_validate_fail_on": "major"}, "chroma_validate_fail_on", "one of severe, minor, never"),
        ({"chroma_hostname": "Chroma.example.com"}, "chroma_hostname", "lower case"),
        ({"chroma_hostname": "chroma.example.com\n"}, "chroma_hostname", "host name"),
        ({"chroma_hostname": "-chroma.example.com"}, "chroma_hostname", "host name"),
        ({"chroma_hostname": "chroma..example.com"}, "chroma_hostname", "host name"),
        ({"chroma_hostname": "x" * 64 + ".example.com"}, "chroma_hostname", "host name"),
        ({"chroma_hostname": ".".join(["x" * 60] * 5)}, "chroma_hostname", "host name"),
        ({"chroma_namespace": "my_chroma"}, "chroma_namespace", "DNS label"),
        ({"chroma_namespace": "a.b"}, "chroma_namespace", "DNS label"),
        ({"chroma_storage_class": "fast disk"}, "chroma_storage_class", "DNS name"),
        ({"chroma_capacity": "10GB"}, "chroma_capacity", "10Gi"),
        ({"chroma_capacity": "-1Gi"}, "chroma_capacity", "quantity"),
        ({"chroma_capacity": 0}, "chroma_capacity", "above zero"),
        ({"chroma_replicas": 2}, "chroma_replicas", "expected 1"),
        ({"chroma_replicas": "2"}, "chroma_replicas", "expected 1"),
        ({"chroma_replicas": 0}, "chroma_replicas", "expected 1"),
        ({"chroma_replicas": True}, "chroma_replicas", "expected 1"),
        ({"chroma_exposure": "loadbalancer"}, "chroma_exposure", "ingress, gateway"),
        ({"chroma_image_pull_policy": "Sometimes"}, "chroma_image_pull_policy", "IfNotPresent"),
        ({"chroma_proxy_timeout": "10m"}, "chroma_proxy_timeout", "whole number"),
        ({"chroma_body_size": "100Mi"}, "chroma_body_size", "100m"),
        ({"chroma_port": 80}, "chroma_port", "1024"),
        ({"chroma_port": 70000}, "chroma_port", "65535"),
        ({"chroma_data_path": "data"}, "chroma_data_path", "absolute"),
        ({"chroma_discovery_token": {"name": "Discovery", "scope": "write"}}, "chroma_discovery_token", "lower-case"),
        ({"chroma_discovery_token": {"name": "discovery", "scope": "admin"}}, "chroma_discovery_token", "read or write"),
        ({"chroma_discovery_token": "discovery"}, "chroma_discovery_token", "scope"),
        ({"chroma_statefulset": "x" * 53}, "chroma_statefulset", "52"),
        ({"chroma_image": "registry.example.com/library/chroma"}, "chroma_image", "chroma_allow_latest"),
        ({"chroma_image": "registry.example.com/library/chroma:latest"}, "chroma_image", "chroma_allow_latest"),
        ({"chroma_gateway_image": "nginx"}, "chroma_gateway_image", "chroma_allow_latest"),
        ({"chroma_image": "registry.example.com/a b:1"}, "chroma_image", "image reference"),
        ({"chroma_image": "r/chroma:0.6.3"}, "chroma_version", "Set chroma_version: 0.6.3"),
        ({"chroma_version": "newest", "chroma_image": "r/chroma@sha256:" + "a" * 64}, "chroma_version", "also for an image by digest"),
        ({"chroma_version": "1.5"}, "chroma_version", "such as 1.5.9"),
        ({"chroma_version": 1.5}, "chroma_version", "such as 1.5.9"),
        ({"chroma_version": "0.4.24", "chroma_image": "r/chroma:0.4.24"}, "chroma_version", "no /api/v2"),
        ({"chroma_network_policy_namespaces": "ingress"}, "chroma_network_policy_namespaces", "as JSON"),
        ({"chroma_network_policy_namespaces": []}, "chroma_network_policy_namespaces", "one or more"),
        ({"chroma_network_policy_namespaces": ["chroma", "In_gress"]}, "chroma_network_policy_namespaces", "In_gress"),
        ({"chroma_network_policy_namespaces": [1]}, "chroma_network_policy_namespaces", "namespaces"),
        ({"chroma_labels": {"team": "a"}}, "chroma_labels", "app.kubernetes.io/managed-by: thinkube.chroma"),
        ({"chroma_labels": "a=b"}, "chroma_labels", "among them"),
        ({"chroma_labels": {"app.kubernetes.io/managed-by": "me"}}, "chroma_labels", "no removal finds"),
        ({"chroma_labels": {**OURS, "app": "db"}}, "chroma_labels.app", "no such label"),
        ({"chroma_labels": {**OURS, "team": "a b"}}, "chroma_labels.team", "'a b'"),
        ({"chroma_labels": {**OURS, "team": "a" * 64}}, "chroma_labels.team", "label"),
        ({"chroma_labels": {**OURS, "cost": 7}}, "chroma_labels.cost", "in quotes"),
        ({"chroma_labels": {**OURS, "-x/y": "a"}}, "chroma_labels.-x/y", "label"),
        ({"chroma_labels": {**OURS, "x/y/z": "a"}}, "chroma_labels.x/y/z", "label"),
        ({"chroma_extra_env": "A=1"}, "chroma_extra_env", "a list"),
        ({"chroma_extra_env": ["A=1"]}, "chroma_extra_env", "one of them"),
        ({"chroma_extra_env": [{"name": "A"}]}, "chroma_extra_env", "valueFrom"),
        ({"chroma_extra_env": [{"name": "A", "value": 1}]}, "chroma_extra_env", "in quotes"),
        ({"chroma_extra_env": [{"name": "1A", "value": "1"}]}, "chroma_extra_env", "1A"),
        ({"chroma_extra_env": [{"name": "A", "value": "1", "valueFrom": {}}]}, "chroma_extra_env", "valueFrom"),
        ({"chroma_extra_env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "chroma_extra_env", "A again"),
        ({"chroma_extra_env": [{"name": "IS_PERSISTENT", "value": "FALSE"}]}, "chroma_extra_env", "set already"),
        ({"chroma_image_pull_secrets": ["harbor"]}, "chroma_image_pull_secrets", "{name: …}"),
        ({"chroma_image_pull_secrets": "harbor"}, "chroma_image_pull_secrets", "{name: …}"),
        ({"chroma_priority_class": "a b"}, "chroma_priority_class", "DNS name"),
        ({"chroma_adopt": "perhaps"}, "chroma_adopt", "true or false"),
        ({"chroma_allow_latest": "perhaps"}, "chroma_allow_latest", "true or false"),
        ({"chroma_ca_path": "/nowhere/ca.crt"}, "chroma_ca_path", "/nowhere/ca.crt"),
        ({"chroma_ca_path": "/"}, "chroma_ca_path", "a file"),
        (
            {"chroma_tls_source_namespace": "chroma", "chroma_tls_source_secret": "chroma-tls-secret"},
            "chroma_tls_secret",
            "delete the certificate itself",
        ),
        ({"chroma_backup_schedule": "hourly"}, "chroma_backup_schedule", "cron expression"),
        ({"chroma_backup_schedule": "0 * * *"}, "chroma_backup_schedule", "five fields"),
        ({"chroma_backup_retention_days": 0}, "chroma_backup_retention_days", "above zero"),
        ({"chroma_backup_retention_count": "0"}, "chroma_backup_retention_count", "above zero"),
        ({"chroma_backup_interval_hours": -1}, "chroma_backup_interval_hours", "above zero"),
        ({"chroma_backup_enabled": "perhaps"}, "chroma_backup_enabled", "true or false"),
        ({"chroma_backup_repository": "/backups/chroma"}, "chroma_backup_repository", "s3://bucket/prefix"),
        ({"chroma_backup_access_mode": "RWO"}, "chroma_backup_access_mode", "ReadWriteOnce"),
        ({"chroma_resources": "small"}, "chroma_resources", "requests"),
        ({"chroma_resources": {"requests": None}}, "chroma_resources", "requests"),
        ({"chroma_resources": {"requests": {"memory": "1GB"}}}, "chroma_resources.requests.memory", "'1GB'"),
        (
            {"chroma_resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
            "chroma_resources.requests.cpu",
            "at most its limit 1500m",
        ),
        (
            {"chroma_gateway_resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}},
            "chroma_gateway_resources.requests.memory",
            "512Mi",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(changes, name, word):
    (problem,) = problems(**changes)
    assert problem.name == name
    assert word in str(problem)


def test_a_key_in_the_address_of_the_backups_is_not_repeated():
    (problem,) = problems(chroma_backup_repository="s3://KEY:sesame/open@bucket/backups")
    assert "sesame" not in str(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {"chroma_replicas": "1"},
        {"chroma_backup_schedule": "*/30 1-5 * JAN,FEB ?", "chroma_backup_repository": "s3://bucket/chroma", "chroma_backup_enabled": "no"},
        {"chroma_backup_schedule": "@daily"},
        {"chroma_exposure": "gateway"},
        {"chroma_validate_fail_on": "never"},
        {"chroma_capacity": "1.5Ti"},
        {"chroma_capacity": 10737418240},
        {"chroma_allow_latest": True, "chroma_image": "chroma:latest"},
        {"chroma_allow_latest": "true", "chroma_image": "chroma"},
        {"chroma_version": "0.6.3", "chroma_image": "r/chroma:0.6.3"},
        {"chroma_version": "0.5.23", "chroma_image": "r/chroma:0.5.23-thinkube.1"},
        {"chroma_image": "127.0.0.1:5000/chroma@sha256:" + "0" * 64},
        {"chroma_image": "r/chroma:2026-spring"},
        {"chroma_resources": {}},
        {"chroma_wait_timeout": "600", "chroma_port": "8080", "chroma_run_as_user": "1001"},
        {"chroma_adopt": "yes", "chroma_allow_latest": False},
        {"chroma_ca_path": __file__},
        {"chroma_priority_class": "thinkube-workload", "chroma_image_pull_secrets": [{"name": "harbor"}]},
        {"chroma_labels": {**OURS, "example.com/cost-center": "7", "team_a": ""}},
        {"chroma_extra_env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        {"chroma_resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1000m", "memory": "2e9"}}},
    ],
)
def test_an_unusual_good_value_is_accepted(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [("chroma_capcity", "Did you mean chroma_capacity?"), ("chroma_hostnam", "Did you mean chroma_hostname?"), ("chroma_zzzz", "README")],
)
def test_a_mistyped_variable_is_named_with_the_nearest(name, hint):
    (problem,) = problems(defined=[*KNOWN, name])
    assert (problem.name, hint in problem.hint) == (name, True)


@pytest.mark.parametrize(("length", "names"), [(1, []), (1024, []), (1025, ["ADMIN_PASSWORD"])])
def test_a_token_is_no_longer_than_the_gateway_takes(length, names):
    assert [problem.name for problem in problems(password="x" * length)] == names


def test_no_value_of_the_environment_is_repeated():
    (problem,) = problems(chroma_extra_env=[{"name": "KEY", "value": "hush", "extra": "hush"}])
    assert "hush" not in str(problem)


def test_all_problems_come_in_one_error():
    with pytest.raises(ChromaError) as caught:
        require_settings({**GOOD, "chroma_replicas": 2, "domain_name": ""}, PASSWORD, ["chroma_capcity"], KNOWN)
    error = caught.value
    assert error.code == "invalid_settings"
    assert error.message.count("\n- ") == 4
    assert [check["name"] for check in error.result["checks"]] == ["domain_name", "ADMIN_PASSWORD", "chroma_capcity", "chroma_replicas"]
    assert PASSWORD not in repr(error.as_result())
