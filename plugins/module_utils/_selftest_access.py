# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets in, and who does not: from outside, from another pod, with and without a token. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, Session, wait_until
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Check, Release, compare, describe_pod
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Unanswered, http_exchange

HEARTBEAT = "/api/v2/heartbeat"
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
WRONG_HEADER = "X-Api-Key"
RIGHT_TOKEN = "right token from outside"
COMPONENT = "app.kubernetes.io/component"

# What is tried at each address: (label, how the token is sent, status expected).
ATTEMPTS = (("no token", "none", "401"), ("wrong token", "wrong", "401"), (f"token in header {WRONG_HEADER}", "header", "401"))

# curl reads its header from its standard input, and printf is part of the shell: no token is on a command line.
SCRIPT = f"""
ask() {{
  case "$2" in
    none) header= ;;
    wrong) header='X-Chroma-Token: wrong' ;;
    header) header="{WRONG_HEADER}: $TOKEN" ;;
    right) header="X-Chroma-Token: $TOKEN" ;;
  esac
  status=$(printf 'header = "%s"\\n' "$header" |
    curl --config - --silent --noproxy '*' --max-time 10 --output /dev/null --write-out '%{{http_code}}' "$3")
  printf '%s %s %s %s\\n' "$1" "$2" "$status" "$?"
}}
for kind in none wrong header right; do
  ask service "$kind" "$SERVICE_URL{COLLECTIONS}"
  ask pod "$kind" "$POD_URL{COLLECTIONS}"
done
ask server none "$SERVER_URL{HEARTBEAT}"
"""


def check_access(session: Session, release: Release) -> Iterator[Check]:
    """Try every way in, from outside first and then from a pod of our own."""
    yield from _from_outside(release)
    yield from _from_inside(session, release)


def probe_pod(release: Release, pod_address: str) -> Object:
    """Return the pod that tries from inside: short-lived, without any privilege, and without a token in its text.

    Args:
        release: what is tested.
        pod_address: IP address of the server's pod.
    """
    host = f"[{pod_address}]" if ":" in pod_address else pod_address
    variables: list[dict[str, Any]] = [
        {"name": "SERVICE_URL", "value": f"http://{release.names['service']}.{release.namespace}.svc"},
        {"name": "POD_URL", "value": f"http://{host}:{release.port}"},
        {"name": "SERVER_URL", "value": f"http://{host}:{release.server_port}"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": release.names["auth_secret"], "key": "auth-token"}}},
    ]
    container = {
        "name": "selftest",
        "image": release.image,
        "imagePullPolicy": release.image_pull_policy,
        "command": ["/bin/sh", "-c", SCRIPT],
        "env": variables,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    identity = {"runAsNonRoot": True, "runAsUser": release.run_as_user, "runAsGroup": release.run_as_user}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        # Without the label app=chroma: the Services would take it for a server.
        "metadata": {"name": release.test_pod, "namespace": release.namespace, "labels": {**release.labels, COMPONENT: "selftest"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(release.timeout),
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": list(release.image_pull_secrets),
            "securityContext": {**identity, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def judge_log(log: str) -> Iterator[Check]:
    """Compare what the pod reported, one line ``address attempt status curl's-exit-code`` for each try, with what must be."""
    seen: dict[tuple[str, ...], list[str]] = {}
    for line in log.splitlines():
        words = line.split()
        seen[tuple(words[:2])] = words[2:]
    for address, title in (("service", "Service from another pod"), ("pod", "pod address from another pod")):
        for label, kind, status in (*ATTEMPTS, ("right token", "right", "200")):
            yield compare(f"{title}, {label}", status, _answer(seen.get((address, kind))))
    direct = _answer(seen.get(("server", "none")))
    # Where a NetworkPolicy is enforced, the packet may be dropped instead of refused.
    closed = direct in ("connection refused", "no answer in time")
    yield Check("Chroma itself from another pod", "connection refused", direct, closed)


def delete_test_pod(session: Session, release: Release) -> None:
    """Delete the pod that tries from inside, and wait until it is gone."""
    session.delete("Pod", release.test_pod, release.namespace)
    wait_until(
        lambda: session.get("Pod", release.test_pod, release.namespace),
        lambda pod: pod is None,
        release.timeout,
        lambda pod: f"Pod {release.test_pod} does not go: {describe_pod(pod)}",
    )


def _from_outside(release: Release) -> Iterator[Check]:
    anonymous = Connection(url=release.url, ca_path=release.ca_path, timeout=10)

    # A controller may need a moment to learn of a new route; what is asked afterwards needs no such patience.
    try:
        alive = wait_until(lambda: _status(anonymous, HEARTBEAT), lambda seen: seen == "200", 15, str)
    except ChromaError as error:
        alive = error.message
    yield compare("heartbeat from outside, no token", "200", alive)
    sent = {
        "none": anonymous,
        "wrong": replace(anonymous, token=secrets.token_hex(16)),
        "header": replace(anonymous, token=release.token, token_header=WRONG_HEADER),
    }
    for label, kind, status in ATTEMPTS:
        yield compare(f"{label} from outside", status, _status(sent[kind], COLLECTIONS))
    yield compare(RIGHT_TOKEN, "200", _status(replace(anonymous, token=release.token), COLLECTIONS))


def _status(connection: Connection, path: str) -> str:
    try:
        return str(http_exchange(connection)("GET", path, None).status)
    except Unanswered as failure:
        return failure.error.message


def _from_inside(session: Session, release: Release) -> Iterator[Check]:
    server = session.get("Pod", release.pod, release.namespace)
    address = ((server or {}).get("status") or {}).get("podIP")
    if not address:
        raise ChromaError("not_found", f"Pod {release.pod} has no address: {describe_pod(server)}.")
    try:
        session.create("Pod", probe_pod(release, address), release.namespace)
        done = wait_until(
            lambda: session.get("Pod", release.test_pod, release.namespace),
            lambda pod: pod is None or pod["status"].get("phase") in ("Succeeded", "Failed"),
            release.timeout,
            lambda pod: f"Pod {release.test_pod}, which tries from inside, is not done: {describe_pod(pod)}",
        )
        if done is None:
            raise ChromaError("not_found", f"Pod {release.test_pod} was deleted while it tried from inside.", "Run the test again.")
        log = session.log(release.test_pod, release.namespace)
    finally:
        delete_test_pod(session, release)
    yield from judge_log(log)


def _answer(answer: list[str] | None) -> str:
    if answer is None or len(answer) != 2:
        return "no report"
    status, code = answer
    # curl's exit codes: 6 name unknown, 7 connection refused, 28 time-out.
    reasons = {"0": status, "6": "name unknown", "7": "connection refused", "28": "no answer in time"}
    return reasons.get(code, f"curl's error {code}")
