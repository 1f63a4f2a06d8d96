# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs, whole and broken."""

from __future__ import annotations

import base64
import copy
import json
import ssl
import sys

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kubeconfig
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kubeconfig import Access, access_from_config, connect, load_access

CONFIG = {
    "current-context": "local",
    "contexts": [{"name": "local", "context": {"cluster": "c", "user": "u"}}, {"name": "other", "context": {"cluster": "d", "user": "u"}}],
    "clusters": [
        {"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", "certificate-authority-data": base64.b64encode(b"PEM").decode()}},
        {"name": "d", "cluster": {"server": "https://d:6443", "insecure-skip-tls-verify": True, "certificate-authority": "pki/ca.crt"}},
    ],
    "users": [{"name": "u", "user": {"token": "sesame"}}],
}


def with_user(**user):
    config = copy.deepcopy(CONFIG)
    config["users"][0]["user"] = user
    return config


def test_current_context():
    access = access_from_config(CONFIG, None, "/etc/k/config")
    assert access == Access("https://127.0.0.1:6443", ca_data="PEM", authorization="Bearer sesame")


def test_named_context_with_a_path_beside_the_file():
    access = access_from_config(CONFIG, "other", "/etc/k/config")
    assert (access.server, access.verify, access.ca_file) == ("https://d:6443", False, "/etc/k/pki/ca.crt")


def test_token_file(tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    access = access_from_config(with_user(tokenFile="token"), None, str(tmp_path / "config"))
    assert access.authorization == "Bearer from-file"


def test_password():
    access = access_from_config(with_user(username="u", password="p"), None, "/k")
    assert access.authorization == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize(
    ("config", "context", "words"),
    [
        ({}, None, "current-context is missing"),
        ("text", None, "not usable"),
        (CONFIG, "absent", "it has no context 'absent'"),
        ({**CONFIG, "clusters": []}, None, "it has no cluster 'c'"),
        ({**CONFIG, "clusters": None}, None, "it has no cluster 'c'"),
        (with_user(**{"client-certificate-data": "%%"}), None, "client-certificate-data is no base64"),
        (with_user(tokenFile="/does/not/exist"), None, "/does/not/exist"),
    ],
)
def test_unusable(config, context, words):
    with pytest.raises(ChromaError) as caught:
        access_from_config(config, context, "/k")
    assert caught.value.code == "kubeconfig_invalid"
    assert words in caught.value.message


def test_missing_file(tmp_path):
    with pytest.raises(ChromaError) as caught:
        load_access(str(tmp_path / "none"), None)
    assert (caught.value.code, str(tmp_path / "none") in caught.value.message) == ("kubeconfig_missing", True)


def test_no_yaml(tmp_path):
    (tmp_path / "config").write_text("a: [")
    with pytest.raises(ChromaError) as caught:
        load_access(str(tmp_path / "config"), None)
    assert (caught.value.code, "is no YAML" in caught.value.message) == ("kubeconfig_invalid", True)


def test_environment_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(json.dumps(CONFIG))
    monkeypatch.delenv("K8S_AUTH_KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert load_access(None, None).server == "https://127.0.0.1:6443"


def test_a_helper_program_is_left_to_the_kubernetes_package(tmp_path):
    helper = tmp_path / "helper"
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-helper"}}
    helper.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    helper.chmod(0o700)
    config = with_user(exec={"apiVersion": "client.authentication.k8s.io/v1", "command": str(helper), "interactiveMode": "Never"})
    config |= {"apiVersion": "v1", "kind": "Config"}
    (tmp_path / "config").write_text(json.dumps(config))
    access = load_access(str(tmp_path / "config"), None)
    assert (access.server, access.authorization) == ("https://127.0.0.1:6443", "Bearer from-helper")


def test_several_files_are_left_to_the_kubernetes_package(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({**CONFIG, "apiVersion": "v1", "kind": "Config"}))
    monkeypatch.delenv("K8S_AUTH_KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert load_access(None, None).authorization == "Bearer sesame"


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(ChromaError) as caught:
        access_from_config(with_user(exec={}), None, "/k")
    assert (caught.value.code, "kubernetes" in caught.value.message) == ("missing_library", True)


def test_without_yaml_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(_kubeconfig, "YAML_IMPORT_ERROR", "traceback")
    with pytest.raises(ChromaError) as caught:
        load_access(str(tmp_path / "config"), None)
    assert (caught.value.code, "PyYAML" in caught.value.message) == ("missing_library", True)


@pytest.mark.parametrize(
    "part", [{"ca_data": "no certificate"}, {"cert_data": b"no", "key_data": b"no"}, {"cert_file": "/none", "key_file": "/none"}]
)
def test_certificates_that_cannot_be_loaded(part):
    with pytest.raises(ChromaError) as caught:
        connect(Access("https://127.0.0.1:6443", **part), 1)
    assert caught.value.code == "kubeconfig_invalid"


def test_verification_is_off_only_where_asked():
    assert connect(Access("https://h"), 1).tls.verify_mode is ssl.CERT_REQUIRED
    assert connect(Access("https://h", verify=False), 1).tls.verify_mode is ssl.CERT_NONE


def test_another_name_in_the_certificate():
    assert connect(Access("https://10.0.0.1:6443", server_name="kubernetes"), 1).server_name == "kubernetes"


@pytest.mark.parametrize(
    ("server", "through"),
    [("https://k8s.test:6443", "proxy.test"), ("https://127.0.0.1:6443", "127.0.0.1"), ("https://in.test", "in.test")],
)
def test_proxy_of_the_environment(monkeypatch, server, through):
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "in.test")
    assert connect(Access(server), 1).host == through
