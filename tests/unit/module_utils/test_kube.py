# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session with the Kubernetes API, and what it says when it is refused."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Session, object_path, wait_until
from ansible_collections.thinkube.chroma.plugins.module_utils._kubeconfig import Access
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve


@pytest.fixture
def api():
    with serve() as server:
        yield server


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("Pod", "chroma", "chroma-0"), "/api/v1/namespaces/chroma/pods/chroma-0"),
        (("Pod",), "/api/v1/pods"),
        (("Namespace", "", "chroma"), "/api/v1/namespaces/chroma"),
        (("StatefulSet", "a/b", "c d"), "/apis/apps/v1/namespaces/a%2Fb/statefulsets/c%20d"),
    ],
)
def test_object_path(arguments, path):
    assert object_path(*arguments) == path


def test_an_object_is_created_patched_listed_and_deleted(api):
    session = api.session()
    session.create("Secret", {"metadata": {"name": "s", "labels": OURS}, "data": {"a": "1", "b": "2"}}, "chroma")
    patched = session.patch("Secret", "s", {"data": {"a": None, "b": "3"}}, "chroma")
    assert patched["data"] == {"b": "3"}
    assert [item["data"] for item in session.items("Secret", "chroma", labelSelector="app.kubernetes.io/managed-by=thinkube.chroma")] == [
        {"b": "3"}
    ]
    assert session.items("Secret", "chroma", labelSelector="app.kubernetes.io/managed-by=helm") == []
    assert session.delete("Secret", "s", "chroma") is True
    assert session.delete("Secret", "s", "chroma") is False
    assert session.get("Secret", "s", "chroma") is None


def test_an_absent_api_is_an_empty_list(api):
    api.answers["GET", "/apis/gateway.networking.k8s.io/v1/gateways"] = (404, b"404 page not found")
    assert api.session().items("Gateway") == []


def test_the_token_is_sent_and_the_connection_kept(api):
    session = Session(Access(api.url, authorization="Bearer sesame"))
    session.items("Pod")
    session.items("Pod")
    assert [headers["authorization"] for headers in api.headers] == ["Bearer sesame"] * 2


def test_a_read_is_repeated_on_a_connection_that_the_server_closed(api):
    session = api.session()
    session.items("Pod")
    session._connection.sock.shutdown(socket.SHUT_RDWR)
    assert session.items("Pod") == []


def test_a_write_is_not_repeated(api):
    session = api.session()
    session.items("Pod")
    session._connection.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChromaError) as caught:
        session.create("Pod", {"metadata": {"name": "p"}}, "chroma")
    assert caught.value.code == "cluster_unreachable"
    assert api.writes() == []


FORBIDDEN = b'{"kind":"Status","message":"secrets \\"chroma-auth\\" is forbidden: User \\"reader\\" cannot get resource"}'


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (403, FORBIDDEN, "forbidden", ["No right to get secrets chroma-auth in namespace chroma", 'User "reader"']),
        (401, b'{"message":"Unauthorized"}', "cluster_unauthorized", ["credentials of the kubeconfig"]),
        (409, b'{"message":"object was modified"}', "conflict", ["object was modified", "(409)"]),
        (500, b"<html>", "cluster_error", ["<html>", "(500)"]),
        (504, b'{"message":"etcd"}', "cluster_timeout", ["etcd"]),
        (200, b"<html>", "cluster_error", ["no JSON"]),
    ],
)
def test_a_refusal_names_what_was_asked(api, status, body, code, words):
    api.answers["GET", "/api/v1/namespaces/chroma/secrets/chroma-auth"] = (status, body)
    with pytest.raises(ChromaError) as caught:
        api.session().get("Secret", "chroma-auth", "chroma")
    assert caught.value.code == code
    for word in words:
        assert word in caught.value.message


def test_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ChromaError) as caught:
            Session(Access(url), timeout=2).get("Pod", "p", "n")
    assert (caught.value.code, url in caught.value.message) == ("cluster_unreachable", True)


def test_a_server_that_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ChromaError) as caught:
        Session(Access(f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout=0.1).get("Pod", "p", "n")
    assert caught.value.code == "cluster_timeout"
    assert "pods p in namespace n within 0.1 s" in caught.value.message


def test_waiting_ends_with_the_wanted_state(monkeypatch):
    monkeypatch.setattr(_kube.time, "sleep", lambda seconds: None)
    states = iter("abc")
    assert wait_until(lambda: next(states), lambda state: state == "c", 10, str) == "c"


def test_waiting_too_long_carries_the_last_state():
    with pytest.raises(ChromaError) as caught:
        wait_until(lambda: "Pending", lambda state: False, 0, lambda state: f"Pod is {state}", {"deleted": []})
    assert (caught.value.code, caught.value.result) == ("timeout", {"deleted": []})
    assert caught.value.message == "Pod is Pending (waited 0 s)."
