# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of one release, in the order of the tests: looked at, used, exposed in another way, given other tokens, removed.

Every playbook runs with -vvv and --diff, so that the last tests can look for secrets in what was written and shown.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import (
    CLUSTER,
    COLLECTIONS,
    MARKS,
    NEXT_TOKEN,
    PLATFORM,
    PREFIX,
    ROOT,
    TOKEN,
    Playbooks,
    ProcessWatch,
    Release,
    create,
    kubectl,
    until,
)

RELEASE = Release(PREFIX, {"chroma_tls_source_namespace": PLATFORM, "chroma_tls_source_secret": "wildcard"})
LOUD = ("-vvv", "--diff")
PROBE = f"{PREFIX}-probe"
HEARTBEAT = "/api/v2/heartbeat"
PKI = CLUSTER / "pki"

# Status and curl's exit code; the token comes through standard input, so that no process list shows it.
ASK = """ask() {
    printf 'header = "X-Chroma-Token: %s"\\n' "$1" | curl -K - -s -m 20 -o /dev/null -w '%{http_code}' "$2"
    echo " $?"
}
"""


@pytest.fixture(scope="module")
def certificate(platform: str) -> None:
    kubectl("create", "secret", "tls", "wildcard", f"--namespace={platform}", f"--cert={PKI}/wildcard.crt", f"--key={PKI}/wildcard.key")


@pytest.fixture(scope="module")
def deployed(playbooks: Playbooks, certificate: None, processes: ProcessWatch) -> Release:
    playbooks.succeed("10_deploy", RELEASE, *LOUD)
    playbooks.succeed("17_configure_discovery", RELEASE, *LOUD)
    return RELEASE


def known_secrets() -> dict[str, str]:
    """Return every secret that the release has or had by its name, also as a Secret's data would show it."""
    plain = {f"administrator's token {number}": mark for number, mark in enumerate(MARKS)}
    plain["discovery token"] = RELEASE.secret("token.discovery.write")
    plain["key of the certificate"] = (PKI / "wildcard.key").read_text().splitlines()[1]
    # Twelve characters are whole groups of base64, and where a value begins they are coded alike whatever follows.
    encoded = {f"{name}, encoded": base64.b64encode(value[:12].encode()).decode() for name, value in plain.items()}
    encoded["key of the certificate, encoded"] = base64.b64encode((PKI / "wildcard.key").read_bytes()).decode()[60:160]
    return {**plain, **encoded}


def shown_by_the_cluster(release: Release) -> str:
    """Return what anybody may see who may not read Secrets: objects, events, logs; without the one ConfigMap that holds a token."""
    kinds = "all,configmaps,ingresses,httproutes,networkpolicies,poddisruptionbudgets,persistentvolumeclaims,endpointslices,events"
    names = kubectl("get", kinds, f"--namespace={release.name}", "--output=name").split()
    names.remove("configmap/thinkube-service-config")
    objects = kubectl("get", *names, f"--namespace={release.name}", "--ignore-not-found", "--output=yaml")
    return objects + kubectl("logs", "chroma-0", f"--namespace={release.name}", "--all-containers")


def test_check_mode_before_the_first_deployment_creates_nothing(playbooks: Playbooks, certificate: None) -> None:
    done = playbooks.succeed("10_deploy", RELEASE, "--check", *LOUD)
    assert done.changed > 0
    assert "StatefulSet chroma" in done.output
    assert not RELEASE.exists()


def test_check_mode_with_nothing_to_change_says_so_and_changes_nothing(deployed: Release, playbooks: Playbooks) -> None:
    before = deployed.versions()
    assert playbooks.succeed("10_deploy", deployed, "--check", *LOUD).changed == 0
    assert deployed.versions() == before


def test_check_mode_shows_the_difference_and_changes_nothing(deployed: Release, playbooks: Playbooks) -> None:
    before = deployed.versions()
    done = playbooks.succeed("10_deploy", deployed, "--check", *LOUD, token=NEXT_TOKEN, chroma_body_size="73m")
    assert done.changed > 0
    assert "proxy-body-size: 73m" in done.output
    assert "auth-token: new value" in done.output
    assert deployed.versions() == before


def test_a_volume_is_not_shrunk(deployed: Release, playbooks: Playbooks) -> None:
    before = deployed.versions()
    done = playbooks.run("10_deploy", deployed, *LOUD, chroma_capacity="512Mi")
    assert done.code != 0
    assert "Nothing was changed" in done.words
    assert "A volume can't shrink: set chroma_capacity: 1Gi or more" in done.words
    assert deployed.versions() == before


def test_over_https_only_the_heartbeat_is_open_without_the_token(deployed: Release) -> None:
    assert deployed.curl(HEARTBEAT) == 200
    assert deployed.curl(COLLECTIONS) == 401
    assert deployed.curl(COLLECTIONS, TOKEN.swapcase()) == 401
    assert deployed.curl(COLLECTIONS, TOKEN) == 200


@pytest.mark.parametrize("name", ["ab", "two words", "-dash", "dot.", "ümlaut", "x" * 513])
def test_a_collection_name_that_chroma_refuses(deployed: Release, name: str) -> None:
    module = ["ansible", "localhost", "-m", "thinkube.chroma.chroma_collection", "-a", f"name='{name}' ca_path={PKI}/ca.crt"]
    environment = {**os.environ, "CHROMA_API_URL": f"https://{deployed.hostname}", "CHROMA_AUTH_TOKEN": TOKEN}
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / "playbooks" / "collections")
    done = subprocess.run(module, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    written = "".join((done.stdout + done.stderr).split())  # without white space: long words are wrapped too
    assert done.returncode != 0
    assert f"Collectionname'{name.replace(' ', '')[:20]}" in written
    assert "isrefused:" in written
    assert "Traceback" not in written
    assert deployed.curl(f"{COLLECTIONS}/{name.replace(' ', '%20').replace('ü', '%C3%BC')}", TOKEN) in (400, 404)


@pytest.fixture
def pod_elsewhere(deployed: Release) -> Iterator[str]:
    """A pod in a namespace that the network policy admits; returns its name."""
    image = deployed.get("pod", "chroma-0")["spec"]["containers"][1]["image"]
    container = {"name": "probe", "image": image, "command": ["sleep", "600"]}
    create(
        apiVersion="v1",
        kind="Pod",
        metadata={"name": PROBE, "namespace": "code-server"},
        spec={"containers": [container], "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0},
    )
    try:
        kubectl("wait", "--for=condition=Ready", f"pod/{PROBE}", "--namespace=code-server", "--timeout=120s")
        yield PROBE
    finally:
        kubectl("delete", "pod", PROBE, "--namespace=code-server")


def test_from_another_pod_neither_service_nor_address_opens_without_the_token(deployed: Release, pod_elsewhere: str) -> None:
    address = deployed.get("pod", "chroma-0")["status"]["podIP"]
    service = f"http://chromadb-svc.{deployed.name}.svc.cluster.local"
    wanted = {
        ("", service + COLLECTIONS): "401 0",
        ("", f"http://{address}:8000{COLLECTIONS}"): "401 0",
        ("wrong", service + COLLECTIONS): "401 0",
        ("wrong", f"http://{address}:8000{COLLECTIONS}"): "401 0",
        (TOKEN, service + COLLECTIONS): "200 0",
        (TOKEN, f"http://{address}:8000{COLLECTIONS}"): "200 0",
        ("", service + HEARTBEAT): "200 0",
        ("", f"http://{address}:8001{HEARTBEAT}"): "000 7",  # curl's exit code 7: connection refused
    }
    script = ASK + "".join(f"ask '{token}' '{url}'\n" for token, url in wanted)
    seen = kubectl("exec", "--stdin", pod_elsewhere, "--namespace=code-server", "--", "/bin/sh", "-s", text=script).splitlines()
    assert dict(zip(wanted, seen, strict=True)) == wanted


def test_what_the_cluster_shows_before_the_pod_is_restarted_holds_no_secret(deployed: Release) -> None:
    shown = shown_by_the_cluster(deployed)
    assert '"token":"admin"' in shown  # the gateway logged requests
    assert [name for name, secret in known_secrets().items() if secret in shown] == []


def test_no_file_on_the_nodes_disk_holds_a_token(deployed: Release, tmp_path: Path) -> None:
    # etcd has the Secret itself; the mounts of the Secret are in memory, and find does not cross into them.
    places = [str(CLUSTER / name) for name in ("kubelet", "logs", "pod-logs", "volumes")]
    # A folder of a pod that has ended may go meanwhile, which find calls an error.
    files = subprocess.run(["find", *places, "-xdev", "-type", "f", "-print0"], capture_output=True, check=False).stdout
    patterns = tmp_path / "patterns"
    patterns.write_text("\n".join(secret for name, secret in known_secrets().items() if "token" in name))
    grep = ["xargs", "--null", "grep", "--fixed-strings", "--files-with-matches", f"--file={patterns}"]
    found = subprocess.run(grep, input=files, capture_output=True, check=False).stdout.decode().splitlines()
    assert f"{deployed.name}_chroma-0".encode() in files
    assert [file for file in found if "/code-server/" not in file] == []


def test_exposure_by_route_replaces_the_ingress_and_passes_the_test(deployed: Release, playbooks: Playbooks) -> None:
    assert playbooks.succeed("10_deploy", deployed, *LOUD, chroma_exposure="gateway").changed == 1
    assert deployed.names("ingresses,httproutes") == {"HTTPRoute/chroma-route"}
    done = playbooks.succeed("18_test", deployed, *LOUD, chroma_exposure="gateway")
    assert " passed, 0 failed" in done.words


def test_exposure_by_ingress_replaces_the_route(deployed: Release, playbooks: Playbooks) -> None:
    assert playbooks.succeed("10_deploy", deployed, *LOUD, chroma_exposure="ingress").changed == 1
    assert deployed.names("ingresses,httproutes") == {"Ingress/chroma-ingress"}
    assert deployed.curl(HEARTBEAT) == 200


def renew_certificate(scratch: Path) -> str:
    """Put a new certificate into the platform's Secret, and return its serial number.

    It is for one name: of two certificates for the same names, which Secrets of other namespaces may hold, Traefik takes either.
    """
    serial = "7C41AC"
    extensions = scratch / "extensions"
    extensions.write_text(f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:{RELEASE.hostname}\n")
    request = [
        "openssl",
        "req",
        "-new",
        "-key",
        str(PKI / "wildcard.key"),
        "-subj",
        f"/CN={RELEASE.hostname}",
        "-out",
        str(scratch / "csr"),
    ]
    sign = ["openssl", "x509", "-req", "-in", str(scratch / "csr"), "-CA", str(PKI / "ca.crt"), "-CAkey", str(PKI / "ca.key")]
    sign += ["-set_serial", f"0x{serial}", "-days", "30", "-extfile", str(extensions), "-out", str(scratch / "crt")]
    for command in (request, sign):
        subprocess.run(command, check=True, capture_output=True)
    patch = {"data": {"tls.crt": base64.b64encode((scratch / "crt").read_bytes()).decode()}}
    kubectl("patch", "secret", "wildcard", f"--namespace={PLATFORM}", "--patch-file=/dev/stdin", text=json.dumps(patch))
    return serial


def served_serial(release: Release) -> str:
    context = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    plain = socket.create_connection((release.hostname, 443), timeout=10)
    with context.wrap_socket(plain, server_hostname=release.hostname) as secured:
        return str((secured.getpeercert() or {})["serialNumber"])


def test_another_password_and_another_certificate_count_without_a_restart(deployed: Release, playbooks: Playbooks, tmp_path: Path) -> None:
    def identity() -> tuple[str, list[int]]:
        pod = deployed.get("pod", "chroma-0")
        return pod["metadata"]["uid"], [each["restartCount"] for each in pod["status"]["containerStatuses"]]

    before = identity()
    discovery = deployed.secret("token.discovery.write")
    serial = renew_certificate(tmp_path)
    assert served_serial(deployed) != serial
    playbooks.succeed("10_deploy", deployed, *LOUD, token=NEXT_TOKEN)
    assert deployed.curl(COLLECTIONS, NEXT_TOKEN) == 200
    until(lambda: deployed.curl(COLLECTIONS, TOKEN) == 401, "the old token refused")
    assert deployed.curl(COLLECTIONS, discovery) == 200
    until(lambda: served_serial(deployed) == serial, "the new certificate served")
    assert identity() == before


def test_the_installed_artifact_does_the_same_as_the_checkout(deployed: Release, playbooks: Playbooks, tmp_path: Path) -> None:
    installed = tmp_path / "collections"
    galaxy = ["ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", "--output-path", str(tmp_path), str(ROOT)], check=True, capture_output=True, cwd=tmp_path)
    artifact = next(tmp_path.glob("thinkube-chroma-*.tar.gz"))
    install = [*galaxy, "install", "--no-deps", "--offline", "--collections-path", str(installed), str(artifact)]
    # Otherwise it would find itself installed already, in the checkout.
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)}
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path, env=environment)
    settings = {"collections": installed, "directory": tmp_path, "token": NEXT_TOKEN}
    deploy = playbooks.succeed("10_deploy", deployed, *LOUD, **settings)
    assert deploy.changed == 0
    assert str(installed) in deploy.output
    assert " passed, 0 failed" in playbooks.succeed("18_test", deployed, *LOUD, **settings).words


def test_what_the_cluster_shows_at_the_end_holds_no_secret(deployed: Release) -> None:
    shown = shown_by_the_cluster(deployed)
    assert [name for name, secret in known_secrets().items() if secret in shown] == []


def test_only_the_discovery_token_is_in_a_configmap(deployed: Release) -> None:
    shown = kubectl("get", "configmaps", f"--namespace={deployed.name}", "--output=yaml")
    assert {name for name, secret in known_secrets().items() if secret in shown} == {"discovery token"}


def test_neither_output_nor_process_list_holds_a_secret(deployed: Release, playbooks: Playbooks, processes: ProcessWatch) -> None:
    secrets = known_secrets()
    playbooks.succeed("19_rollback", deployed, *LOUD, remove_data="true")
    assert not deployed.exists()
    written = "".join(playbooks.journal)
    assert "TASK [thinkube.chroma.server : " in written
    assert [name for name, secret in secrets.items() if secret in written] == []
    listed = b"\n".join(processes.seen).decode(errors="replace")
    assert "18_test" in listed
    assert "gateway.sh" in listed
    assert [name for name, secret in secrets.items() if secret in listed] == []
