# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/tk_ansible: what it calls ansible-playbook with, and where secrets do not go."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, SCRIPTS, Sandbox

TK_ANSIBLE = SCRIPTS / "tk_ansible"
SECRET = "p|a&s$s'\"#"


@pytest.fixture
def platform(sandbox: Sandbox) -> Sandbox:
    """A home as a Thinkube platform has it: ~/.env with a password that breaks careless quoting, and ~/.venv."""
    (sandbox.home / ".env").write_text(
        f"ANSIBLE_BECOME_PASSWORD={SECRET.translate(str.maketrans({c: chr(92) + c for c in SECRET}))}\nX_TOKEN=token\n"
    )
    sandbox.install_recorder(sandbox.home / ".venv" / "bin")
    (sandbox.home / ".venv" / "bin" / "activate").write_text(f'PATH="{sandbox.home}/.venv/bin:$PATH"\n')
    (sandbox.home / "site.yaml").write_text("[]\n")
    return sandbox


@pytest.fixture
def local(sandbox: Sandbox) -> Sandbox:
    sandbox.prepare_environment()
    (sandbox.home / "site.yaml").write_text("[]\n")
    return sandbox


def playbooks_of(sandbox: Sandbox) -> list[str]:
    return [next(Path(a).name for a in call["arguments"] if a.endswith(".yaml") and "inventory" not in a) for call in sandbox.calls]


def test_arguments_reach_ansible_playbook_unchanged_and_its_exit_code_comes_back(platform: Sandbox) -> None:
    given = ["--check", "--diff", "--tags", "a,b", "-vvv", "-e", '{"key": "two words $HOME"}']
    done = platform.run(TK_ANSIBLE, "site.yaml", *given, RECORDER_EXIT="4")
    assert done.returncode == 4
    [call] = platform.calls
    assert call["arguments"] == ["site.yaml", "-i", "/home/thinkube/.ansible/inventory/inventory.yaml", *given]
    assert call["cwd"] == str(platform.home)


def test_passwords_reach_ansible_exactly_and_only_through_the_environment(platform: Sandbox) -> None:
    before = set(Path("/tmp").glob("ansible-vars-*"))
    done = platform.run(TK_ANSIBLE, "site.yaml", ANSIBLE_SSH_PASS="other " + SECRET)
    [call] = platform.calls
    assert call["passwords"] == {"ANSIBLE_BECOME_PASSWORD_FILE": SECRET, "ANSIBLE_CONNECTION_PASSWORD_FILE": "other " + SECRET}
    assert call["environment"]["X_TOKEN"] == "token"
    assert SECRET not in " ".join(call["arguments"]) + done.stdout + done.stderr
    assert set(Path("/tmp").glob("ansible-vars-*")) == before
    assert [path for path in platform.home.rglob("*") if path.is_file() and path.name != ".env" and SECRET in path.read_text()] == []


@pytest.mark.parametrize("option", [["-i", "mine"], ["--inventory", "mine"], ["--inventory=mine"], ["-imine"]])
def test_an_inventory_that_is_given_replaces_the_platforms(platform: Sandbox, option: list[str]) -> None:
    platform.run(TK_ANSIBLE, "site.yaml", *option)
    assert platform.calls[0]["arguments"] == ["site.yaml", *option]


def test_it_works_through_a_symbolic_link_and_by_a_collections_name(platform: Sandbox) -> None:
    link = platform.home / "tk_ansible"
    link.symlink_to(TK_ANSIBLE)
    assert platform.run(link, "thinkube.chroma.00_install").returncode == 0
    [call] = platform.calls
    assert call["arguments"][0] == "thinkube.chroma.00_install"
    assert call["environment"]["ANSIBLE_COLLECTIONS_PATH"] == f"{ROOT}/playbooks/collections"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (None, ".env is not there"),
        ("OTHER=1\n", "ANSIBLE_BECOME_PASSWORD is not set"),
        ("ANSIBLE_BECOME_PASSWORD=\n", "ANSIBLE_BECOME_PASSWORD is not set"),
    ],
)
def test_without_the_platforms_password_nothing_is_started(platform: Sandbox, env: str | None, message: str) -> None:
    (platform.home / ".env").unlink()
    if env is not None:
        (platform.home / ".env").write_text(env)
    done = platform.run(TK_ANSIBLE, "site.yaml")
    assert (done.returncode, platform.calls) == (2, [])
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--local"], ["absent.yaml"], ["--local", "absent"], ["-e", "x=1", "site.yaml"]])
def test_without_a_playbook_nothing_is_started(platform: Sandbox, arguments: list[str]) -> None:
    done = platform.run(TK_ANSIBLE, *arguments)
    assert (done.returncode, platform.calls) == (2, [])


def test_help_is_no_error_and_needs_no_platform(sandbox: Sandbox) -> None:
    done = sandbox.run(TK_ANSIBLE, "--help")
    assert done.returncode == 0
    assert "--local" in done.stdout


def test_local_starts_the_cluster_first_and_generates_a_password_that_only_the_user_can_read(local: Sandbox) -> None:
    done = local.run(TK_ANSIBLE, "--local", "site.yaml", "-e", "run_tests=false")
    assert done.returncode == 0, done.stderr
    cluster, site = local.calls
    assert cluster["arguments"] == ["-i", f"{ROOT}/inventory/local", f"{ROOT}/playbooks/01_local_cluster.yaml"]
    assert site["arguments"] == ["site.yaml", "-i", f"{ROOT}/inventory/local", "-e", "run_tests=false"]
    file = local.cache / "cluster" / "admin-password"
    password = file.read_text().strip()
    assert len(password) == 48
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["admin-password"]
    assert site["environment"]["ADMIN_PASSWORD"] == password
    assert password not in done.stdout + done.stderr
    local.run(TK_ANSIBLE, "--local", "site.yaml")
    assert local.calls[-1]["environment"]["ADMIN_PASSWORD"] == password


@pytest.mark.parametrize("given", ["", "mine"])
def test_a_password_that_is_set_stays_even_if_it_is_empty(local: Sandbox, given: str) -> None:
    local.run(TK_ANSIBLE, "--local", "site.yaml", ADMIN_PASSWORD=given)
    assert local.calls[-1]["environment"]["ADMIN_PASSWORD"] == given
    assert not (local.cache / "cluster" / "admin-password").exists()


def test_a_cluster_that_cannot_be_started_stops_it(local: Sandbox) -> None:
    done = local.run(TK_ANSIBLE, "--local", "site.yaml", RECORDER_EXIT="3")
    assert (done.returncode, playbooks_of(local)) == (3, ["01_local_cluster.yaml"])


def test_what_the_cluster_is_made_of_is_kept_only_where_all_of_it_can_be_read(local: Sandbox) -> None:
    mark = local.cache / "cluster" / "made-of"
    mark.parent.mkdir()
    local.run(TK_ANSIBLE, "--local", "site.yaml")
    assert len(mark.read_text().split()[0]) == 64

    part = local.home / "part"  # without the sources of the cluster
    shutil.copytree(SCRIPTS, part / "scripts")
    for name in ("requirements.txt", "requirements-data.txt", "constraints.txt", "galaxy.yml"):
        shutil.copy(ROOT / name, part)
    done = local.run(part / "scripts" / "tk_ansible", "--local", "site.yaml")
    assert (done.returncode, playbooks_of(local)[-2:]) == (0, ["01_local_cluster.yaml", "site.yaml"])
    assert not mark.exists()


@pytest.mark.parametrize(("arguments", "kept"), [([], False), (["-e", "domain_name=x.test"], False), (["--tags", "images"], True)])
def test_a_cluster_that_was_given_arguments_is_not_what_this_checkout_makes_but_for_more_images(
    local: Sandbox, arguments: list[str], kept: bool
) -> None:
    mark = local.cache / "cluster" / "made-of"
    mark.parent.mkdir()
    mark.touch()
    local.run(TK_ANSIBLE, "--local", "playbooks/01_local_cluster.yaml", *arguments)
    assert mark.exists() is kept


@pytest.mark.parametrize("playbook", ["playbooks/01_local_cluster.yaml", "playbooks/09_remove_local_cluster.yaml"])
def test_the_clusters_own_playbooks_run_alone_and_leave_no_password(local: Sandbox, playbook: str) -> None:
    local.run(TK_ANSIBLE, "--local", playbook)
    assert playbooks_of(local) == [Path(playbook).name]
    assert not (local.cache / "cluster").exists()


@pytest.mark.parametrize("option", ["--syntax-check", "--list-tasks"])
def test_looking_at_a_playbook_starts_no_cluster(local: Sandbox, option: str) -> None:
    local.run(TK_ANSIBLE, "--local", "site.yaml", option)
    assert playbooks_of(local) == ["site.yaml"]


def answer_for_the_cluster(local: Sandbox) -> None:
    stand_in = next(local.cache.glob("venv-*")) / "bin" / "python"
    real = sys.executable
    stand_in.unlink()
    # Only the question to the API server is answered for it; everything else is Python's.
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = - ] && exit "$CLUSTER_ANSWERS"\nexec {real} "$@"\n')
    stand_in.chmod(0o755)


def test_a_kubeconfig_that_answers_is_used_and_one_that_does_not_is_an_error(local: Sandbox) -> None:
    answer_for_the_cluster(local)
    done = local.run(TK_ANSIBLE, "--local", "site.yaml", KUBECONFIG="/some/config", CLUSTER_ANSWERS="1")
    assert (done.returncode, local.calls) == (2, [])
    assert "/some/config" in done.stderr
    done = local.run(TK_ANSIBLE, "--local", "site.yaml", KUBECONFIG="/some/config", CLUSTER_ANSWERS="0")
    assert (done.returncode, playbooks_of(local)) == (0, ["site.yaml"])
    assert "/some/config" in done.stderr
    local.run(TK_ANSIBLE, "--local", "site.yaml", KUBECONFIG=f"{local.cache}/cluster/admin.conf", CLUSTER_ANSWERS="1")
    assert playbooks_of(local)[1:] == ["01_local_cluster.yaml", "site.yaml"]


def test_it_starts_from_any_directory_and_without_a_home_variable(local: Sandbox) -> None:
    environment = {**local.environment, "XDG_CACHE_HOME": str(local.home / ".cache")}
    del environment["HOME"]
    done = subprocess.run(
        [TK_ANSIBLE, "--local", "playbooks/01_local_cluster.yaml"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert playbooks_of(local) == ["01_local_cluster.yaml"]


def test_the_password_of_another_cluster_is_not_kept_with_the_local_one(local: Sandbox) -> None:
    answer_for_the_cluster(local)
    other = {"KUBECONFIG": str(local.home / "other"), "CLUSTER_ANSWERS": "0"}
    local.run(TK_ANSIBLE, "--local", "site.yaml")
    local.run(TK_ANSIBLE, "--local", "site.yaml", **other)
    local.run(TK_ANSIBLE, "--local", "site.yaml", **other)
    ours, others, again = (call["environment"]["ADMIN_PASSWORD"] for call in local.calls if "site.yaml" in call["arguments"])
    assert ours != others == again
    assert [path.name for path in (local.cache / "cluster").iterdir()] == ["admin-password"]


def test_this_machine_is_not_reached_through_a_proxy(local: Sandbox) -> None:
    local.run(TK_ANSIBLE, "--local", "site.yaml", NO_PROXY="intranet")
    assert local.calls[-1]["environment"]["no_proxy"] == "intranet,127.0.0.1,localhost,.thinkube.test,.cluster.local"
