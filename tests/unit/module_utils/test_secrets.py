# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens are made once, certificates are followed, and no value shows."""

from __future__ import annotations

import base64
import re

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._secrets import (
    Application,
    Existing,
    Wanted,
    ensure_secrets,
    plan_secrets,
)
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

NAMESPACE_LABELS = {"thinkube.io/managed": "true"}
WANTED = Wanted(
    namespace="chroma",
    namespace_labels=NAMESPACE_LABELS,
    labels=OURS,
    auth_secret="chroma-auth",
    admin_token="sesame",
    admin_username="tkadmin",
    applications=(Application("discovery", "write"),),
    tls_source=("default", "example-com-tls"),
    tls_secret="chroma-tls-secret",
)


def encoded(**values):
    return {key.replace("__", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}


TLS = encoded(tls__crt="certificate", tls__key="key")
AUTH = {**encoded(token__discovery__write="first"), "auth-token": "c2VzYW1l", "admin-username": "dGthZG1pbg=="}
NAMESPACE = {"metadata": {"labels": NAMESPACE_LABELS}, "status": {"phase": "Active"}}


def secret(data, labels=None):
    return {"metadata": {"labels": OURS if labels is None else labels}, "data": data}


COMPLETE = Existing(NAMESPACE, secret(AUTH), secret(TLS, {}), secret(TLS))


def plan(wanted=WANTED, **found):
    return plan_secrets(Existing(**{**COMPLETE.__dict__, **found}), wanted, lambda: "generated")


def only_change(the_plan):
    (change,) = the_plan.changes
    return change


def test_nothing_to_do():
    assert plan().changes == ()


def test_nothing_is_there():
    the_plan = plan(namespace=None, auth=None, tls_copy=None)
    assert [(change.action, change.kind, change.name) for change in the_plan.changes] == [
        ("create", "Namespace", "chroma"),
        ("create", "Secret", "chroma-auth"),
        ("create", "Secret", "chroma-tls-secret"),
    ]
    namespace, auth, tls = (change.body for change in the_plan.changes)
    assert namespace["metadata"] == {"name": "chroma", "labels": NAMESPACE_LABELS, "annotations": {"thinkube.chroma/created": "true"}}
    assert auth["data"] == {**AUTH, **encoded(token__discovery__write="generated")}
    assert (tls["type"], tls["data"]) == ("kubernetes.io/tls", TLS)


def test_a_namespace_of_others_is_labelled_and_not_claimed():
    change = only_change(plan(namespace={"metadata": {"labels": {"team": "a"}}}))
    assert (change.action, change.body) == ("patch", {"metadata": {"labels": NAMESPACE_LABELS}})


def test_a_namespace_that_is_going_is_an_error():
    with pytest.raises(ChromaError) as caught:
        plan(namespace={"metadata": {}, "status": {"phase": "Terminating"}})
    assert caught.value.code == "namespace_terminating"


def test_another_admin_token_changes_that_key_only():
    change = only_change(plan(Wanted(**{**WANTED.__dict__, "admin_token": "other"})))
    assert change.body == {"metadata": {"labels": {}}, "data": {"auth-token": "b3RoZXI="}}
    assert (change.before, change.after) == ({"auth-token": "present"}, {"auth-token": "new value"})


def test_a_further_application_gets_a_token_and_the_first_keeps_its_own():
    both = (*WANTED.applications, Application("notebooks", "read"))
    the_plan = plan(Wanted(**{**WANTED.__dict__, "applications": both}))
    assert only_change(the_plan).body["data"] == encoded(token__notebooks__read="generated")
    assert [(token["name"], token["scope"]) for token in the_plan.tokens] == [
        ("admin", "admin"),
        ("discovery", "write"),
        ("notebooks", "read"),
    ]


def test_another_scope_keeps_the_token_and_ends_the_former_scope():
    auth = secret({**AUTH, **encoded(token__discovery__write__previous="old")})
    the_plan = plan(Wanted(**{**WANTED.__dict__, "applications": (Application("discovery", "read"),)}), auth=auth)
    data = {**encoded(token__discovery__read="first"), "token.discovery.write": None, "token.discovery.write.previous": None}
    assert only_change(the_plan).body["data"] == data
    assert [(token["name"], token["scope"]) for token in the_plan.tokens] == [("admin", "admin"), ("discovery", "read")]


def test_tokens_that_nobody_asked_for_stay():
    auth = secret({**AUTH, **encoded(token__other__read="kept"), "auth-token.previous": "eA=="})
    assert plan(auth=auth).changes == ()


def test_a_renewed_certificate_is_copied():
    renewed = encoded(tls__crt="renewed", tls__key="key", ca__crt="authority")
    assert only_change(plan(tls_source=secret(renewed))).body["data"] == encoded(tls__crt="renewed")


def test_a_lost_label_is_put_back():
    change = only_change(plan(tls_copy=secret(TLS, {})))
    assert (change.name, change.body) == ("chroma-tls-secret", {"metadata": {"labels": OURS}, "data": {}})


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        (None, "certificate_missing", "default/example-com-tls"),
        ({}, "certificate_incomplete", "tls.crt and tls.key"),
        ({"data": {"tls.crt": "eA=="}}, "certificate_incomplete", "lacks tls.key"),
    ],
)
def test_a_source_without_certificate_is_an_error(source, code, word):
    with pytest.raises(ChromaError) as caught:
        plan(tls_source=source)
    assert (caught.value.code, word in caught.value.message, bool(caught.value.hint)) == (code, True, True)


def test_no_value_is_in_plan_or_difference():
    the_plan = plan(namespace=None, auth=None, tls_copy=None)
    shown = repr((the_plan, WANTED, COMPLETE, the_plan.diff()))
    for value in ("sesame", "c2VzYW1l", "generated", TLS["tls.key"], AUTH["token.discovery.write"]):
        assert value not in shown


@pytest.fixture
def api():
    with serve() as server:
        server.put("Secret", "example-com-tls", "default", data=TLS)
        yield server


def test_everything_is_written_once(api):
    assert len(ensure_secrets(api.session(), WANTED, check_mode=False).changes) == 3
    token = base64.b64decode(api.session().get("Secret", "chroma-auth", "chroma")["data"]["token.discovery.write"]).decode()
    assert re.fullmatch(r"[0-9a-f]{48}", token)
    api.requests.clear()
    assert ensure_secrets(api.session(), WANTED, check_mode=False).changes == ()
    assert len(api.requests) == 4
    assert api.writes() == []


def test_check_mode_writes_nothing(api):
    assert len(ensure_secrets(api.session(), WANTED, check_mode=True).changes) == 3
    assert api.writes() == []


def test_a_write_that_was_lost_is_an_error(api):
    ensure_secrets(api.session(), WANTED, check_mode=False)
    api.drops.add("/api/v1/namespaces/chroma/secrets/chroma-auth")
    with pytest.raises(ChromaError) as caught:
        ensure_secrets(api.session(), Wanted(**{**WANTED.__dict__, "admin_token": "other"}), check_mode=False)
    assert (caught.value.code, "Secret chroma-auth" in caught.value.message) == ("not_verified", True)
