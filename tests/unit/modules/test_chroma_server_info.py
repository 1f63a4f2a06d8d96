# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_server_info: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_server_info


def test_it_returns_what_was_measured(run_module, recorded, version):
    result = run_module(chroma_server_info, {}, recorded(version, "access"))
    assert result["changed"] is False
    assert result["auth_enforced"] is False
    assert result["version"] == (version if version.startswith("0.") else "1.0.0")


def test_an_error_has_code_and_hint(run_module, recorded):
    server = recorded("0.4.24", "token_absent_v2_version")
    server.forget("v2_version")
    result = run_module(chroma_server_info, {"token": "s3cret-token"}, server)
    assert (result["code"], result["attempts"]) == ("unauthorized", 1)
    assert result["hint"] in result["msg"]


def test_the_token_is_not_returned(run_module, recorded):
    result = run_module(chroma_server_info, {"token": "s3cret-token"}, recorded("1.5.9", "access"))
    assert "s3cret-token" not in str(result)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"url": "chroma.example.com"}, "invalid_url"), ({"token": "a b"}, "invalid_token"), ({"retries": -1}, "invalid_value")],
)
def test_bad_settings_are_refused(run_module, arguments, code):
    assert run_module(chroma_server_info, arguments)["code"] == code


def test_url_and_token_come_from_the_environment(run_module, recorded, monkeypatch):
    monkeypatch.setenv("CHROMA_API_URL", "http://from.environment")
    monkeypatch.setenv("CHROMA_AUTH_TOKEN", "from-environment")
    result = run_module(chroma_server_info, {"url": None}, recorded("1.5.9", "access"))
    assert result["invocation"]["module_args"]["url"] == "http://from.environment"
    assert result["invocation"]["module_args"]["token"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
