# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""platform/thinkube in a folder laid out like the platform's checkout: its playbooks run the collection's, its roles come first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = Path("ansible/40_thinkube/optional/chroma")
PLAYBOOKS = ["00_install", "10_deploy", "17_configure_discovery", "18_test", "19_rollback"]


@dataclass(frozen=True)
class Platform:
    """A platform's checkout and what its panel sets before it starts ansible-playbook there."""

    checkout: Path
    environment: dict[str, str]

    def play(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ansible-playbook", "-i", "inventory.yaml", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    checkout = tmp_path / "thinkube"
    shutil.copytree(ROOT / "platform" / "thinkube", checkout)
    (checkout / "inventory.yaml").write_text("k8s_control_plane:\n  hosts:\n    control: {ansible_connection: local}\n")
    (checkout / "ansible" / "roles").mkdir()
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        "ANSIBLE_ROLES_PATH": str(checkout / "ansible" / "roles"),
    }
    return Platform(checkout, environment)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_runs_the_collections_tasks(platform: Platform, playbook: str) -> None:
    done = platform.play(f"{COMPONENT}/{playbook}.yaml", "--list-tasks")
    assert done.returncode == 0, done.stderr
    original = platform.play(f"thinkube.chroma.{playbook}", "--list-tasks")
    tasks = [line for line in done.stdout.splitlines() if "TAGS:" in line]
    assert tasks == [line for line in original.stdout.splitlines() if "TAGS:" in line]
    assert len(tasks) > 1


@pytest.mark.parametrize("provided", [True, False])
def test_the_platforms_own_role_comes_before_the_collections(platform: Platform, provided: bool) -> None:
    if provided:
        tasks = platform.checkout / "ansible" / "roles" / "code_server_env_update" / "tasks"
        tasks.mkdir(parents=True)
        (tasks / "main.yml").write_text("[]\n")
    play = f"""
    - hosts: k8s_control_plane
      gather_facts: false
      vars_files: ["{ROOT}/roles/discovery/vars/main.yml"]
      tasks:
        - ansible.builtin.debug: {{msg: "role={{{{ __discovery_code_server_role }}}}"}}
    """
    (platform.checkout / "which.yaml").write_text(play)
    done = platform.play("which.yaml")
    assert done.returncode == 0, done.stdout
    own = platform.checkout / "ansible" / "roles" / "code_server_env_update"
    assert ("role=thinkube.chroma.code_server_env_update" not in done.stdout) is provided
    assert (f"role={own}" in done.stdout) is provided


def test_the_catalog_names_playbooks_that_exist(platform: Platform) -> None:
    entry = json.loads((platform.checkout / "optional_components.json").read_text())["components"]["chroma"]
    assert {"install", "test", "uninstall"} == set(entry["playbooks"])
    for name in entry["playbooks"].values():
        assert (platform.checkout / COMPONENT / name).is_file()


def test_the_version_is_one_line_and_the_components() -> None:
    assert (ROOT / "platform" / "thinkube" / COMPONENT / "VERSION").read_text() == (ROOT / "VERSION").read_text() == "0.1.0\n"
