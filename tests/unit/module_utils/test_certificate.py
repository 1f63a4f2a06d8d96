# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end and the names of a certificate, and whether its Secret serves a host."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._certificate import Certificate, read_certificate
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import check_cluster, check_tls_secret
from ansible_collections.thinkube.chroma.tests.unit.module_utils import ready_cluster
from ansible_collections.thinkube.chroma.tests.unit.module_utils.ready_cluster import SETTINGS, failed, no_registry

api, certificate = ready_cluster.api, ready_cluster.certificate


@pytest.mark.parametrize("year", ["2040", "2055"])
def test_the_end_of_a_certificate(certificate, year):
    pem = certificate(year)
    printed = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"], input=pem, check=True, capture_output=True)
    seconds = read_certificate(pem + pem).end
    assert f"notAfter={datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}" == printed.stdout.decode().strip()


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", b"-----BEGIN CERTIFICATE-----\n%\n"]
)
def test_what_is_no_certificate(text):
    with pytest.raises(ValueError, match="no readable certificate"):
        read_certificate(text)


def test_the_names_of_a_certificate(certificate):
    assert read_certificate(certificate("2040")).names == ("*.example.com", "chroma.example.org")
    plain = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=chroma.example.com"]
    pem = subprocess.run([*plain, "-keyout", "/dev/null"], check=True, capture_output=True).stdout
    assert read_certificate(pem).names == ()


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("chroma.example.com", True),
        ("Chroma.Example.com", True),
        ("chroma.example.org", True),
        ("example.com", False),
        ("a.chroma.example.com", False),
        ("other.example.org", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host, covered):
    assert Certificate(0, ("*.example.com", "chroma.example.org")).covers(host) is covered


@pytest.mark.parametrize(
    ("data", "later", "ok", "seen"),
    [
        ({"tls.crt": "PEM", "tls.key": "eA=="}, -60, True, "valid until"),
        ({"tls.crt": "PEM", "tls.key": "eA=="}, 60, False, "expired on"),
        ({"tls.crt": "PEM"}, 0, False, "without tls.key"),
        ({}, 0, False, "without tls.crt and tls.key"),
        ({"tls.crt": "eA==", "tls.key": "eA=="}, 0, False, "no readable certificate"),
    ],
)
def test_tls_secret(certificate, data, later, ok, seen):
    pem = certificate("2040")
    data = {key: base64.b64encode(pem).decode() if value == "PEM" else value for key, value in data.items()}
    check = check_tls_secret({"data": data}, "default", "tls", read_certificate(pem).end + later)
    assert (check.ok, check.seen.startswith(seen)) == (ok, True)


@pytest.mark.parametrize(("host", "ok"), [("chroma.example.com", True), ("chroma.example.org", True), ("db.chroma.example.com", False)])
def test_the_certificate_must_be_for_the_host(api, host, ok):
    checks = check_cluster(api.session(), {**SETTINGS, "chroma_hostname": host}, no_registry)
    assert failed(checks) == ([] if ok else ["certificate Secret default/example-com-tls"])


def test_a_gateway_shows_a_certificate_of_its_own(api):
    api.put("Gateway", "thinkube-gateway", "gateway-system", spec={"listeners": [{"name": "https"}]})
    settings = {**SETTINGS, "chroma_exposure": "gateway", "chroma_hostname": "chroma.elsewhere.net"}
    assert failed(check_cluster(api.session(), settings, no_registry)) == []
