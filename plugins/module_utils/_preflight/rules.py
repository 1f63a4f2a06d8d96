# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kind of value each setting takes. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import re

from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.kinds import (
    DNS_LABEL,
    DNS_NAME,
    Rule,
    absolute_path,
    application,
    boolean,
    environment,
    file,
    labels,
    namespaces,
    number,
    one_of,
    pattern,
    port,
    pull_secrets,
    quantity,
    replicas,
    repository,
    version,
)

EXPOSURES = ("ingress", "gateway")
SEVERITIES = ("severe", "minor", "never")
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_BODY_SIZE = re.compile(r"\d+[kKmMgG]?\Z")
# The API server judges the numbers; https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
_CRON = re.compile(r"(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4})\Z")

_LABEL_RULE = pattern(DNS_LABEL, "a DNS label (lower-case letters, digits, hyphens; at most 63)")
_NAME_RULE = pattern(DNS_NAME, "a DNS name (lower-case letters, digits, hyphens, dots; at most 253)")
_CRON_RULE = pattern(_CRON, "a cron expression of five fields", "For example 0 * * * *, each hour.")

RULES: dict[str, Rule] = {
    "domain_name": pattern(DNS_NAME, "a domain in lower case, without scheme, port or spaces", "For example example.com."),
    "chroma_hostname": pattern(DNS_NAME, "a host name in lower case, without scheme, port or spaces", "For example chroma.example.com."),
    "chroma_version": version,
    "chroma_replicas": replicas,
    "chroma_capacity": quantity,
    "chroma_exposure": one_of(EXPOSURES),
    "chroma_image_pull_policy": one_of(PULL_POLICIES),
    "chroma_body_size": pattern(_BODY_SIZE, "a size of nginx such as 100m"),
    "chroma_proxy_timeout": number,
    "chroma_wait_timeout": number,
    "chroma_selftest_timeout": number,
    "chroma_termination_grace_period": number,
    "chroma_run_as_user": number,
    "chroma_data_path": absolute_path,
    "chroma_discovery_token": application,
    "chroma_port": port,
    "chroma_server_port": port,
    "chroma_storage_class": _NAME_RULE,
    "chroma_ingress_class": _NAME_RULE,
    "chroma_route_gateway": _NAME_RULE,
    "chroma_route_gateway_namespace": _LABEL_RULE,
    "chroma_route_section": _NAME_RULE,
    "chroma_tls_source_namespace": _LABEL_RULE,
    "chroma_tls_source_secret": _NAME_RULE,
    "chroma_namespace": _LABEL_RULE,
    "chroma_statefulset": pattern(re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?\Z"), "a DNS label of at most 52 characters"),
    "chroma_service": _LABEL_RULE,
    "chroma_headless_service": _LABEL_RULE,
    "chroma_pvc": _NAME_RULE,
    "chroma_auth_secret": _NAME_RULE,
    "chroma_tls_secret": _NAME_RULE,
    "chroma_gateway_config": _NAME_RULE,
    "chroma_network_policy": _NAME_RULE,
    "chroma_disruption_budget": _NAME_RULE,
    "chroma_ingress": _NAME_RULE,
    "chroma_route": _NAME_RULE,
    "chroma_discovery_config": _NAME_RULE,
    "chroma_validate_fail_on": one_of(SEVERITIES),
    "chroma_backup_access_mode": one_of(ACCESS_MODES),
    "chroma_backup_capacity": quantity,
    "chroma_backup_interval_hours": number,
    "chroma_backup_max_retries": number,
    "chroma_backup_path": absolute_path,
    "chroma_backup_pause": number,
    "chroma_backup_pvc": _NAME_RULE,
    "chroma_backup_retention_count": number,
    "chroma_backup_retention_days": number,
    "chroma_backup_schedule": _CRON_RULE,
    "chroma_backup_secret": _NAME_RULE,
    "chroma_backup_storage_class": _NAME_RULE,
    "chroma_operations_scratch": quantity,
    "chroma_repository_lock_wait": number,
    "chroma_s3_timeout": number,
    "chroma_start_timeout": number,
    "chroma_operations_deadline": number,
    "chroma_operations_keep": number,
    "chroma_operations_service_account": _NAME_RULE,
    "chroma_operations_lock": _NAME_RULE,
    "chroma_operations_scaling_account": _NAME_RULE,
    "chroma_operations_watching_account": _NAME_RULE,
    "chroma_check_schedule": _CRON_RULE,
    "chroma_export_schedule": _CRON_RULE,
    "chroma_health_interval_hours": number,
    "chroma_health_schedule": _CRON_RULE,
    "chroma_postgres_secret": _NAME_RULE,
    "chroma_alerts_secret": _NAME_RULE,
    "chroma_labels": labels,
    "chroma_network_policy_namespaces": namespaces,
}

# Those of settings that may be empty.
OPTIONAL_RULES: dict[str, Rule] = {
    "chroma_adopt": boolean,
    "chroma_start_check": boolean,
    "chroma_allow_latest": boolean,
    "chroma_backup_enabled": boolean,
    "chroma_backup_repository": repository,
    "chroma_ca_path": file,
    "chroma_extra_env": environment,
    "chroma_image_pull_secrets": pull_secrets,
    "chroma_priority_class": _NAME_RULE,
}
