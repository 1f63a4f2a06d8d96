# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cluster as kubectl and curl see it. Names come from the files that the playbooks read, so no other can be looked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma"
CLUSTER = CACHE / "cluster"
TOKEN = "only-for-molecule"
MINOR_FOUND = 3  # exit code of an operation, docs/operations.md


def settings() -> dict[str, Any]:
    """Return the role's defaults under the scenario's own values."""
    defaults = yaml.safe_load((ROOT / "roles" / "chroma" / "defaults" / "main.yml").read_text())
    scenario = ROOT / "molecule" / os.environ.get("MOLECULE_SCENARIO_NAME", "default")
    return {**defaults, **yaml.safe_load((scenario / "inventory" / "group_vars" / "k8s_control_plane.yaml").read_text())}


@dataclass(frozen=True)
class Release:
    """A release on the cluster: its settings, and what kubectl and curl say of it."""

    host: Host
    names: Mapping[str, Any]

    def kubectl(self, *arguments: str) -> str:
        return self.host.check_output(*self.command(*arguments))

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return a run of kubectl as testinfra takes it."""
        command = [
            f"{CLUSTER}/bin/kubectl",
            f"--kubeconfig={CLUSTER}/admin.conf",
            f"--namespace={self.names['chroma_namespace']}",
            *arguments,
        ]
        return (" ".join(["%s"] * len(command)), *command)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what ``kubectl get`` has; an empty dictionary where it has nothing."""
        return json.loads(self.kubectl("get", *arguments, "--ignore-not-found", "--output=json") or "{}")

    def url(self, path: str) -> str:
        return f"https://{self.names['chroma_hostname']}{path}"

    def curl(self, url: str, *options: str, token: str | None = None) -> tuple[int, str]:
        """Return status and body; 0 where nothing answered. The token goes through the environment of a shell, not through ``ps``."""
        header = "-H @<(printf 'X-Chroma-Token: %s' \"$TOKEN\")" if token else ""
        words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in options)
        script = f"curl -sS --max-time 20 --cacert '{CLUSTER}/pki/ca.crt' -w '\\n%{{http_code}}' {header} {words} '{url}' 2>/dev/null; true"
        done = self.host.run("TOKEN=%s bash -c %s", token or "", script)
        body, _newline, status = done.stdout.rpartition("\n")
        return int(status or 0), body


def pods_of(release: Release, selector: str) -> list[dict[str, Any]]:
    """Return the pods that a selector chooses, without those that failed: Jobs try again what may be tried again.

    Minor findings are no failure: a disk that is nearly full is one.
    """
    found: list[dict[str, Any]] = release.get("pods", selector).get("items", [])
    return [pod for pod in found if pod["status"]["phase"] != "Failed" or exit_codes(pod) == [MINOR_FOUND]]


def exit_codes(pod: dict[str, Any]) -> list[int]:
    states = [each["state"] for each in pod["status"].get("containerStatuses", [])]
    return [each["terminated"]["exitCode"] for each in states if "terminated" in each]


@pytest.fixture
def release(host: Host) -> Release:
    return Release(host, settings())
