# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks that are killed, releases that are broken or half there, and objects of others: in the order of the tests."""

from __future__ import annotations

import pytest

from .conftest import COLLECTIONS, OURS, PREFIX, TOKEN, Playbooks, Release, create, get, kubectl, until

RELEASE = Release(f"{PREFIX}-interrupted")
KEPT = {"PersistentVolumeClaim/chroma-data-pvc", "Secret/chroma-auth"}


@pytest.fixture(scope="module")
def deployed(playbooks: Playbooks) -> Release:
    """Deployed by a playbook that was killed three times before."""
    playbooks.kill(RELEASE.exists, "10_deploy", RELEASE)
    playbooks.kill(lambda: RELEASE.get("statefulset", "chroma"), "10_deploy", RELEASE)
    playbooks.kill(lambda: RELEASE.get("pod", "chroma-0").get("status", {}).get("podIP"), "10_deploy", RELEASE)
    playbooks.succeed("10_deploy", RELEASE)
    return RELEASE


def test_a_deployment_that_was_killed_is_completed_by_the_next(deployed: Release, playbooks: Playbooks) -> None:
    assert deployed.curl(COLLECTIONS, TOKEN) == 200
    assert deployed.curl(COLLECTIONS) == 401
    assert playbooks.succeed("10_deploy", deployed).changed == 0


def break_pod(release: Release) -> None:
    """Let the pod wait for an image that does not exist."""
    kubectl("set", "image", "statefulset/chroma", "chroma=127.0.0.1:5000/library/chroma:absent", f"--namespace={release.name}")

    def pull_fails() -> bool:
        states = release.get("pod", "chroma-0").get("status", {}).get("containerStatuses", [])
        return any("Pull" in each["state"].get("waiting", {}).get("reason", "") for each in states)

    until(pull_fails, "an image that cannot be pulled")


def test_a_pod_that_cannot_start_is_mended_by_the_next_deployment(deployed: Release, playbooks: Playbooks) -> None:
    break_pod(deployed)
    playbooks.succeed("10_deploy", deployed)
    assert deployed.curl(COLLECTIONS, TOKEN) == 200


def test_a_pod_that_cannot_start_is_removed_even_when_the_removal_is_killed(deployed: Release, playbooks: Playbooks) -> None:
    break_pod(deployed)
    before = deployed.versions()
    done = playbooks.succeed("19_rollback", deployed, "--check", "--diff")
    assert "would remove StatefulSet chroma" in done.words
    assert deployed.versions() == before
    playbooks.kill(lambda: not deployed.get("ingress", "chroma-ingress"), "19_rollback", deployed)
    playbooks.succeed("19_rollback", deployed, remove_data="false")
    assert deployed.names(f"pods,{OURS.replace('configmaps,', '')}") == KEPT
    assert deployed.names("configmaps") == {"ConfigMap/kube-root-ca.crt"}


def test_a_second_removal_changes_nothing(deployed: Release, playbooks: Playbooks) -> None:
    done = playbooks.succeed("19_rollback", deployed)
    assert done.changed == 0
    assert "nothing to remove" in done.words
    assert "kept PersistentVolumeClaim chroma-data-pvc: it holds the data" in done.words


def test_what_others_created_stays_and_is_named(deployed: Release, playbooks: Playbooks) -> None:
    where = {"namespace": deployed.name}
    create(apiVersion="v1", kind="ConfigMap", metadata={"name": "notes", **where}, data={"text": "mine"})
    create(apiVersion="v1", kind="Service", metadata={"name": "chromadb-svc", **where}, spec={"ports": [{"port": 80}]})
    before = deployed.versions()
    refused = playbooks.run("10_deploy", deployed)
    assert refused.code != 0
    assert "made by others: Service chromadb-svc" in refused.words
    assert deployed.versions() == before
    done = playbooks.succeed("19_rollback", deployed, remove_data="true")
    assert "kept Service chromadb-svc: not created by this collection" in done.words
    assert f"kept Namespace {deployed.name}: it holds objects of others: ConfigMap notes, Service chromadb-svc" in done.words
    assert deployed.names("services,configmaps,secrets,pvc") == {
        "Service/chromadb-svc",
        "ConfigMap/notes",
        "ConfigMap/kube-root-ca.crt",
    }
    assert playbooks.succeed("19_rollback", deployed, remove_data="true").changed == 0


def test_the_namespace_goes_with_its_last_foreign_object(deployed: Release, playbooks: Playbooks) -> None:
    kubectl("delete", "configmap/notes", "service/chromadb-svc", f"--namespace={deployed.name}")
    playbooks.succeed("19_rollback", deployed, remove_data="true")
    assert not get("namespace", deployed.name)
    done = playbooks.succeed("19_rollback", deployed, remove_data="true")
    assert done.changed == 0
    assert "nothing to remove" in done.words
