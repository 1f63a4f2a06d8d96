# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input to 10_deploy: a message that says what is wrong, an exit code that says so too, and nothing created."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import CLUSTER, PREFIX, ROOT, TOKEN, Playbooks, Release, kubectl

RELEASE = Release(f"{PREFIX}-never")
NOTHING_CHANGED = "Nothing was changed"


@dataclass(frozen=True)
class Bad:
    """One bad input: extra variables, the administrator's token (None: unset), and what the message must contain."""

    message: tuple[str, ...]
    variables: dict[str, Any] = field(default_factory=dict)
    token: str | None = TOKEN


CASES = {
    "no token": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "Export ADMIN_PASSWORD"), token=None),
    "empty token": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "Export ADMIN_PASSWORD"), token=""),
    "token with a double quote": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "without spaces, quotes"), token='hush"hush'),
    "token with a single quote": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "without spaces, quotes"), token="hush'hush"),
    "token with a newline": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "printable ASCII"), token="hush\nhush"),
    "token that ends with a newline": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "printable ASCII"), token="hushhush\n"),
    "token with an umlaut": Bad((NOTHING_CHANGED, "ADMIN_PASSWORD", "printable ASCII"), token="hushhüsh"),
    "domain with a space": Bad((NOTHING_CHANGED, "domain_name", "'thin kube.test'"), {"domain_name": "thin kube.test"}),
    "two replicas": Bad((NOTHING_CHANGED, "chroma_replicas", "expected 1"), {"chroma_replicas": 2}),
    "mistyped variable": Bad((NOTHING_CHANGED, "chroma_capcity", "Did you mean chroma_capacity?"), {"chroma_capcity": "2Gi"}),
    "tag latest": Bad((NOTHING_CHANGED, "chroma_image", "chroma_allow_latest"), {"chroma_image": "127.0.0.1:5000/library/chroma:latest"}),
    "unknown StorageClass": Bad(
        (NOTHING_CHANGED, "StorageClass nowhere", "seen absent", "k8s-hostpath"), {"chroma_storage_class": "nowhere"}
    ),
    "absent certificate": Bad(
        (NOTHING_CHANGED, "certificate Secret default/no-such-tls", "seen absent"), {"chroma_tls_source_secret": "no-such-tls"}
    ),
    "image that is not in the registry": Bad(
        (NOTHING_CHANGED, "library/chroma:1.5.8", "404", "Push the image"), {"chroma_version": "1.5.8"}
    ),
    "registry that does not exist": Bad(
        (NOTHING_CHANGED, "chroma_image 127.0.0.1:1/library/chroma:1.5.9", "Connection refused"), {"harbor_registry": "127.0.0.1:1"}
    ),
    "unknown ingress class": Bad(
        (NOTHING_CHANGED, "IngressClass nowhere", "seen absent", "primary_ingress_class", "nginx"), {"primary_ingress_class": "nowhere"}
    ),
    "missing Gateway": Bad(
        (NOTHING_CHANGED, "Gateway gateway-system/nowhere", "seen absent"), {"chroma_exposure": "gateway", "gateway_name": "nowhere"}
    ),
    "missing section of the Gateway": Bad(
        (NOTHING_CHANGED, "Gateway gateway-system/thinkube-gateway", "chroma_route_section"),
        {"chroma_exposure": "gateway", "chroma_route_section": "nowhere"},
    ),
    "absent kubeconfig": Bad(("/nowhere/admin.conf",), {"kubeconfig": "/nowhere/admin.conf"}),
}


def refused(playbooks: Playbooks, case: Bad, **settings: Any) -> None:
    done = playbooks.run("10_deploy", RELEASE, token=case.token, **{**case.variables, **settings})
    assert done.code != 0, done.output
    for part in case.message:
        assert part in done.words, done.output
    assert "Traceback" not in done.output
    for hidden in ("hushhush", "hush\\nhush", "hushhüsh", "hush'hush", 'hush"hush'):
        assert hidden not in done.output
    assert not RELEASE.exists()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_is_refused_before_any_change(playbooks: Playbooks, case: Bad) -> None:
    refused(playbooks, case)


def inventory_without(scratch: Path, *variables: str) -> Path:
    """Write the local inventory without some of its variables: only so they are undefined, not just empty."""
    given = yaml.safe_load((ROOT / "inventory" / "local" / "group_vars" / "all.yaml").read_text())
    hosts = yaml.safe_load((ROOT / "inventory" / "local" / "hosts.yaml").read_text())
    (scratch / "group_vars").mkdir()
    (scratch / "group_vars" / "all.yaml").write_text(yaml.safe_dump({key: given[key] for key in given if key not in variables}))
    (scratch / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return scratch


REQUIRED = ("domain_name", "admin_username", "primary_ingress_class", "kubeconfig", "harbor_registry")


@pytest.mark.parametrize("variable", REQUIRED)
def test_a_missing_variable_is_named(playbooks: Playbooks, tmp_path: Path, variable: str) -> None:
    refused(playbooks, Bad((NOTHING_CHANGED, f"- {variable}: expected")), inventory=inventory_without(tmp_path, variable))


def test_all_that_is_missing_is_named_at_once(playbooks: Playbooks, tmp_path: Path) -> None:
    case = Bad((NOTHING_CHANGED, *(f"- {variable}: expected" for variable in (*REQUIRED, "ADMIN_PASSWORD"))), token=None)
    refused(playbooks, case, inventory=inventory_without(tmp_path, *REQUIRED))


def test_an_unreachable_api_server_is_named(playbooks: Playbooks, tmp_path: Path) -> None:
    config = yaml.safe_load((CLUSTER / "admin.conf").read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    kubeconfig = tmp_path / "unreachable.conf"
    kubeconfig.write_text(yaml.safe_dump(config))
    refused(playbooks, Bad(("The API server https://127.0.0.1:1 is not reachable", "Connection refused")), kubeconfig=str(kubeconfig))


def test_missing_rights_are_named(playbooks: Playbooks, platform: str, tmp_path: Path) -> None:
    kubectl("create", "serviceaccount", "powerless", "--namespace", platform)
    token = kubectl("create", "token", "powerless", "--namespace", platform).strip()
    config = yaml.safe_load((CLUSTER / "admin.conf").read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "powerless.conf"
    kubeconfig.write_text(yaml.safe_dump(config))
    kubeconfig.chmod(0o600)
    missing = f"not allowed to get, create, patch statefulsets in {RELEASE.name}"
    refused(playbooks, Bad((NOTHING_CHANGED, "rights", missing, "granted by a Role")), kubeconfig=str(kubeconfig))
    assert all(token not in text for text in playbooks.journal)
