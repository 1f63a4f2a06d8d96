# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of a release finds every way in that is open, and never shows the token."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube, _selftest_access
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_access import (
    RIGHT_TOKEN,
    SCRIPT,
    check_access,
    judge_log,
    probe_pod,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_groups import run_group
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Reply
from ansible_collections.thinkube.chroma.tests.unit.module_utils import selftest_release
from ansible_collections.thinkube.chroma.tests.unit.module_utils.selftest_release import RELEASE, TOKEN, failures

api = selftest_release.api

GOOD_LOG = "\n".join(
    f"{place} {kind} {'200' if kind == 'right' else '401'} 0"
    for place in ("service", "pod")
    for kind in ("none", "wrong", "header", "right")
)
GOOD_LOG += "\nserver none 000 7\n"


def test_a_locked_release():
    checks = list(judge_log(GOOD_LOG))
    assert (len(checks), failures(checks)) == (9, [])


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("service none 401", "service none 200", "Service from another pod, no token"),
        ("pod wrong 401", "pod wrong 200", "pod address from another pod, wrong token"),
        ("pod header 401", "pod header 403", "pod address from another pod, token in header X-Api-Key"),
        ("service right 200 0", "service right 000 6", "Service from another pod, right token"),
        ("server none 000 7", "server none 200 0", "Chroma itself from another pod"),
        ("server none 000 7\n", "", "Chroma itself from another pod"),
        ("service none 401 0", "noise", "Service from another pod, no token"),
    ],
)
def test_an_open_way_in_fails(before, after, name):
    assert before in GOOD_LOG
    assert failures(judge_log(GOOD_LOG.replace(before, after))) == [name]


def test_the_pod_is_restricted_and_holds_no_token():
    pod = probe_pod(RELEASE, "fd00::7")
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert TOKEN not in json.dumps(pod)
    assert "app" not in pod["metadata"]["labels"]
    assert (spec["automountServiceAccountToken"], spec["restartPolicy"], spec["activeDeadlineSeconds"]) == (False, "Never", 5)
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "POD_URL", "value": "http://[fd00::7]:8000"} in container["env"]


def test_the_script_sends_the_token_in_a_header_and_never_on_a_command_line(tmp_path):
    curl = tmp_path / "curl"
    # Writes down its arguments, and answers with what its configuration holds.
    program = f"""#!{sys.executable}
import sys
open({str(tmp_path / "arguments")!r}, "a").write(repr(sys.argv) + chr(10))
print(sys.stdin.read().strip().replace(" ", "_"), end="")
"""
    curl.write_text(program)
    curl.chmod(0o700)
    urls = {"SERVICE_URL": "http://service", "POD_URL": "http://pod", "SERVER_URL": "http://server"}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TOKEN": TOKEN, **urls}
    done = subprocess.run(["/bin/sh", "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True)
    seen = {tuple(line.split()[:2]): line.split()[2] for line in done.stdout.splitlines()}
    assert len(seen) == 9
    assert seen["pod", "right"] == f'header_=_"X-Chroma-Token:_{TOKEN}"'
    assert seen["service", "header"] == f'header_=_"X-Api-Key:_{TOKEN}"'
    assert TOKEN not in seen["service", "none"] + seen["pod", "wrong"]
    arguments = (tmp_path / "arguments").read_text()
    assert TOKEN not in arguments
    assert "http://server/api/v2/heartbeat" in arguments


@pytest.fixture
def outside(monkeypatch):
    """What the way in from outside answers, by what is sent; and what was sent."""
    answers = {"heartbeat": 200, "none": 401, "wrong": 401, "header": 401, "right": 200}

    def http_exchange(connection):
        def exchange(method, path, payload):
            if path.endswith("heartbeat"):
                return Reply(answers["heartbeat"], b"")
            if connection.token_header == "X-Api-Key":
                return Reply(answers["header"], b"")
            kind = "none" if not connection.token else "right" if connection.token == TOKEN else "wrong"
            return Reply(answers[kind], b"")

        return exchange

    monkeypatch.setattr(_selftest_access, "http_exchange", http_exchange)
    return answers


def finish_probe(api, log):
    """Make the API server run the probing pod at once."""
    path = f"/api/v1/namespaces/chroma/pods/{RELEASE.test_pod}"
    create = api._create

    def created(where, body):
        body["status"] = {"phase": "Succeeded"}
        return create(where, body)

    api._create = created
    api.answers["GET", f"{path}/log"] = (200, log.encode())
    return path


def test_access(api, outside):
    path = finish_probe(api, GOOD_LOG)
    checks = list(check_access(api.session(), RELEASE))
    assert (len(checks), failures(checks)) == (14, [])
    assert api.writes() == [("POST", path.rsplit("/", 1)[0]), ("DELETE", path)]


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("none", 200, "no token from outside"),
        ("wrong", 200, "wrong token from outside"),
        ("header", 200, "token in header X-Api-Key from outside"),
        ("right", 401, RIGHT_TOKEN),
    ],
)
def test_access_from_outside_that_is_wrong(api, outside, kind, status, name):
    finish_probe(api, GOOD_LOG)
    outside[kind] = status
    assert failures(check_access(api.session(), RELEASE)) == [name]


def test_the_probing_pod_goes_also_when_it_does_not_finish(api, outside, monkeypatch):
    monkeypatch.setattr(
        _selftest_access, "wait_until", lambda read, done, timeout, describe, result=None: _kube.wait_until(read, done, 0, describe, result)
    )
    (*_checks, last) = run_group("access", api.session(), RELEASE)
    assert (last.ok, "is not done: Pending" in last.seen) == (False, True)
    assert ("DELETE", f"/api/v1/namespaces/chroma/pods/{RELEASE.test_pod}") in api.requests
    assert api.session().get("Pod", RELEASE.test_pod, "chroma") is None
