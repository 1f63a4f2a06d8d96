# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The init container of the server's pod, as role server makes it: what it runs, and what keeps a server from starting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from repairing import breaks

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "playbooks" / "collections"


def rendered(tmp_path, **variables):
    """Return the StatefulSet as role server makes it."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(ROOT / "roles/chroma/defaults/main.yml"), str(ROOT / "roles/server/vars/main.yml")],
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ lookup('ansible.builtin.template', template) | from_yaml | to_json }}",
                        "dest": str(tmp_path / "statefulset.json"),
                    }
                }
            ],
        }
    ]
    (tmp_path / "play.json").write_text(json.dumps(play))
    given = {
        "template": str(ROOT / "roles/server/templates/statefulset.yaml.j2"),
        "harbor_registry": "registry.example.com",
        "domain_name": "example.com",
        "ansible_python_interpreter": sys.executable,
        "__server_gateway_config": "",
        "__server_gateway_script": "",
        **variables,
    }
    environ = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(tmp_path / "play.json")]
    done = subprocess.run([*command, "-e", json.dumps(given)], env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((tmp_path / "statefulset.json").read_text())


def test_the_pod_checks_the_data_before_the_server_starts(bases, tmp_path):
    pod = rendered(tmp_path)["spec"]["template"]["spec"]
    [check] = pod["initContainers"]
    server = pod["containers"][0]
    assert check["image"].startswith("registry.example.com/library/chroma-operations:")
    assert check["securityContext"] == server["securityContext"]
    assert check["volumeMounts"] == [{"name": "data", "mountPath": "/data", "readOnly": True}]
    # It asks for no more than the server does, so the pod needs no more room.
    assert check["resources"] == server["resources"]
    # The command and the path of the image, with the places of this machine.
    assert check["command"][check["command"].index("--release") + 1] == "1.5.9"
    containerfile = (ROOT / "images/operations/Containerfile").read_text()
    [variable] = check["env"]
    assert variable["name"] == "PYTHONPATH"
    assert f"--collections-path {variable['value']} " in containerfile
    path = breaks("the_label_map_is_gone", "1.5.9", bases, tmp_path / "data").path
    places = {"/data": str(path), "/dev/termination-log": str(tmp_path / "message"), "python": sys.executable}
    assert set(places) < set(check["command"])

    def start(**others):
        command = [{**places, **others}.get(each, each) for each in check["command"]]
        environ = {"PYTHONPATH": str(COLLECTIONS), "PATH": os.defpath}
        return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=600)

    assert start().returncode == 4
    assert "CHR050" in (tmp_path / "message").read_text()
    healthy = start(**{"/data": str(bases("1.5.9")[0])})
    assert (healthy.returncode, "not finished" in healthy.stdout) == (0, False)
    # A volume that hangs, a check that is killed for its memory, and an image without it, keep no server from its data.
    for line, code in (("sleep 600", 137), ("kill -9 $$", 137), ("exit 1", 1)):
        (tmp_path / "program").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "program").chmod(0o755)
        hangs = start(python=str(tmp_path / "program"), **{"60": "1"})
        assert hangs.returncode == 0, hangs.stderr
        assert f"not finished (code {code}, it has 1 s)" in hangs.stdout


def test_the_check_can_be_switched_off(tmp_path):
    pod = rendered(tmp_path, chroma_start_check="false")["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert [each["name"] for each in pod["containers"]] == ["chroma", "gateway"]
