# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment costs beside kubectl, on a real cluster: ``python bench/deploy.py [PAIRS]``.

Prints two ratios, each of the medians of PAIRS (default 3) alternating runs:

- a 10_deploy that changes nothing against ``kubectl apply`` of the same objects (target: at most 5),
- a fresh 10_deploy, which ends with the first authenticated answer, against ``kubectl apply`` and ``kubectl rollout status`` of
  the same objects (target: at most 1.3).

Needs KUBECONFIG, kubectl and ansible-playbook on PATH, and inventory/local; works in a namespace of its own and removes it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NAMESPACE = "chroma-bench"
HOSTNAME = "chroma-bench.thinkube.test"
KINDS = "persistentvolumeclaim,configmap,secret,networkpolicy,poddisruptionbudget,service,statefulset,ingress"
SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "finalizers")
BINDING = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller", "volume.kubernetes.io/selected-node")


def run(*command: str, timeout: float = 600) -> float:
    """Run a command to its end and return its seconds; a failure ends the measurement with what it printed."""
    begin = time.monotonic()
    done = subprocess.run(command, cwd=CHECKOUT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.monotonic() - begin


def playbook(name: str, *arguments: str) -> float:
    """Run one of the collection's playbooks for the namespace of the measurement; returns seconds."""
    variables = json.dumps({"chroma_namespace": NAMESPACE, "chroma_hostname": HOSTNAME})
    return run("ansible-playbook", "-i", "inventory/local", f"playbooks/{name}.yaml", "-e", variables, *arguments)


def objects() -> str:
    """Return the release's objects as a user would have written them, as one JSON list."""
    command = ("kubectl", "get", KINDS, "-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by=thinkube.chroma", "-o", "json")
    items = json.loads(subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True).stdout)["items"]
    for item in items:
        item.pop("status", None)
        metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_SIDE}
        if "annotations" in metadata:
            metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if not key.startswith(BINDING)}
        item["metadata"] = metadata
        item["spec"] = {
            key: value for key, value in item.get("spec", {}).items() if key not in ("clusterIP", "clusterIPs", "volumeName")
        } or item.get("spec")
        if item["kind"] == "Service" and "headless" in metadata["name"]:
            item["spec"]["clusterIP"] = "None"
        if item["spec"] is None:
            del item["spec"]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, *items]})


def kubectl_apply(manifest: str) -> float:
    """Apply the objects with kubectl, waiting for nothing; returns seconds."""
    return run("kubectl", "apply", "-f", manifest)


def kubectl_rollout(manifest: str) -> float:
    """Apply the objects with kubectl and wait for the pod; returns seconds."""
    return kubectl_apply(manifest) + run("kubectl", "rollout", "status", "statefulset/chroma", "-n", NAMESPACE, "--timeout=300s")


def remove() -> None:
    """Remove the namespace with all that is in it."""
    run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")


def report(what: str, ours: list[float], theirs: list[float], target: float) -> None:
    """Print both medians and their ratio."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{what}: {statistics.median(ours):.2f} s against {statistics.median(theirs):.2f} s, ratio {ratio:.2f} (target <= {target:g})")


def main() -> None:
    """Measure, and leave nothing behind."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    hosts = Path("/etc/hosts")
    before = hosts.read_text(encoding="utf-8")
    hosts.write_text(f"{before}127.0.0.1 {HOSTNAME}\n", encoding="utf-8")
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            remove()
            playbook("10_deploy")
            file.write(objects())
            file.flush()
            # The first of each finds cold caches, and kubectl's has to note its own last configuration in every object.
            kubectl_apply(file.name)
            playbook("10_deploy")
            unchanged = [(playbook("10_deploy"), kubectl_apply(file.name)) for _row in range(pairs)]
            fresh = []
            for _row in range(pairs):
                remove()
                ours = playbook("10_deploy")
                remove()
                fresh.append((ours, kubectl_rollout(file.name)))
        report("10_deploy without a change against kubectl apply", *map(list, zip(*unchanged, strict=True)), 5)
        report("fresh 10_deploy against kubectl apply and rollout status", *map(list, zip(*fresh, strict=True)), 1.3)
    finally:
        hosts.write_text(hosts.read_text(encoding="utf-8").replace(f"127.0.0.1 {HOSTNAME}\n", ""), encoding="utf-8")
        remove()


if __name__ == "__main__":
    ENVIRONMENT = {"ADMIN_PASSWORD": "only-for-the-measurement", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **os.environ}
    main()
