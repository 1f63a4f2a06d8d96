# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cluster itself: what is killed with all its containers starts again, and is reached as before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from .conftest import ROOT, get, until

RUN = Path("/run/thinkube-chroma")


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_all() -> None:
    """SIGKILL the cluster's processes, its shims, and all that runs in its pods: in an order that leaves nobody to tidy up."""
    for pidfile in RUN.glob("*.pid"):
        kill(int(pidfile.read_text()))
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            shim = command.startswith(b"/usr/bin/containerd-shim") and str(RUN).encode() in command
            if shim or "kubepods" in (process / "cgroup").read_text():
                kill(int(process.name))


def ports() -> list[str]:
    rules = subprocess.run(["iptables", "-t", "nat", "-S", "CNI-HOSTPORT-DNAT"], capture_output=True, text=True, check=True).stdout
    return [line for line in rules.splitlines() if line.startswith("-A")]


def ingress() -> int:
    """Return the status of a request to nobody's name, 0 where nothing answered."""
    command = ["curl", "--silent", "--insecure", "--max-time", "5", "--output", os.devnull, "--write-out", "%{http_code}"]
    return int(subprocess.run([*command, "https://127.0.0.1/"], capture_output=True, text=True, check=False).stdout)


def start(scratch: Path) -> str:
    """Run a playbook that does nothing, and return what it said of the cluster."""
    playbook = scratch / "nothing.yaml"
    playbook.write_text("- {hosts: localhost, gather_facts: false, tasks: []}\n")
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    command = [str(ROOT / "scripts" / "tk_ansible"), "--local", str(playbook)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=480)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stderr


def test_one_that_was_killed_with_its_containers_starts_again_and_is_reached(tmp_path: Path) -> None:
    namespaces = {each["metadata"]["uid"] for each in get("namespaces")["items"]}
    kill_all()
    until(lambda: ingress() == 0, "an ingress that is gone")
    assert "starting the local Kubernetes cluster" in start(tmp_path)
    assert ingress() == 404
    assert len(ports()) == 1  # those of the pod that was killed would take its requests
    assert {each["metadata"]["uid"] for each in get("namespaces")["items"]} >= namespaces
    assert "the local Kubernetes cluster runs" in start(tmp_path)  # and nothing is made again

    kubelet = int((RUN / "kubelet.pid").read_text())
    kill(kubelet)
    until(lambda: not os.path.exists(f"/proc/{kubelet}/exe"), "a kubelet that has ended")
    assert "starting the local Kubernetes cluster" in start(tmp_path)
    assert "the local Kubernetes cluster runs" in start(tmp_path)
