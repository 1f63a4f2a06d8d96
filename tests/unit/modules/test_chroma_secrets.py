# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_secrets: arguments in, JSON out."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_secrets
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:
        api.put("Secret", "example-com-tls", "default", data={"tls.crt": "Y2VydA==", "tls.key": "a2V5a2V5"})

        def run(check_mode=False, **changes):
            given = {
                "kubeconfig": api.kubeconfig(tmp_path),
                "labels": OURS,
                "namespace_labels": {"thinkube.io/managed": True},
                "admin_token": "abracadabra",
                "admin_username": "tkadmin",
                "applications": [{"name": "discovery", "scope": "write"}],
                "tls_source_secret": "example-com-tls",
            }
            return run_module(chroma_secrets, {"url": None, "retries": None, **given, **changes}, check_mode=check_mode, diff=True)

        run.api = api
        yield run


def test_written_once(run):
    assert run()["changed"] is True
    assert run()["changed"] is False
    stored = run.api.session().get("Secret", "chroma-auth", "chroma")["data"]
    assert base64.b64decode(stored["auth-token"]) == b"abracadabra"
    assert run.api.session().get("Namespace", "chroma")["metadata"]["labels"] == {"thinkube.io/managed": "True"}


def test_no_secret_is_in_the_result(run):
    result = json.dumps(run())
    stored = run.api.session().get("Secret", "chroma-auth", "chroma")["data"]
    for value in ("abracadabra", stored["auth-token"], stored["token.discovery.write"], "a2V5a2V5"):
        assert value not in result
        assert base64.b64decode(stored["token.discovery.write"]).decode() not in result


def test_check_mode(run):
    result = run(check_mode=True)
    assert (result["changed"], run.api.writes()) == (True, [])
    assert result["diff"]["after"]["Secret chroma-auth"] == {"admin-username": "set", "auth-token": "set", "token.discovery.write": "set"}


def test_tokens_are_named(run):
    assert run()["tokens"] == [
        {"key": "auth-token", "name": "admin", "scope": "admin"},
        {"key": "token.discovery.write", "name": "discovery", "scope": "write"},
    ]


def test_no_certificate(run):
    result = run(tls_source_secret="absent")
    assert (result["code"], run.api.writes()) == ("certificate_missing", [])


def test_an_unknown_scope_is_refused(run):
    assert "value of scope must be one of" in run(applications=[{"name": "a", "scope": "admin"}])["msg"]
