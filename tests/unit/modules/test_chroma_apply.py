# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_apply: arguments in, JSON out."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_apply
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

SECRETS = {
    "labels": OURS,
    "namespace_labels": {"thinkube.io/managed": True},
    "admin_token": "abracadabra",
    "admin_username": "tkadmin",
    "applications": [{"name": "discovery", "scope": "write"}],
    "tls_source_secret": "example-com-tls",
}
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "chroma-gateway", "labels": OURS},
    "data": {"nginx.conf": "events {}"},
}


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:
        api.put("Secret", "example-com-tls", "default", data={"tls.crt": "Y2VydA==", "tls.key": "a2V5a2V5"})

        def run(check_mode=False, **options):
            given = {"url": None, "retries": None, "kubeconfig": api.kubeconfig(tmp_path), **options}
            return run_module(chroma_apply, given, check_mode=check_mode, diff=True)

        run.api = api
        yield run


def test_everything_is_written_once(run):
    first = run(secrets=SECRETS, objects=[CONFIG])
    assert (first["changed"], first["objects"]) == (True, [{"kind": "ConfigMap", "name": "chroma-gateway", "action": "created"}])
    again = run(secrets=SECRETS, objects=[CONFIG])
    assert (again["changed"], again["objects"][0]["action"], again["diff"]) == (False, "unchanged", {"before": {}, "after": {}})
    stored = run.api.session().get("Secret", "chroma-auth", "chroma")["data"]
    assert base64.b64decode(stored["auth-token"]) == b"abracadabra"
    assert run.api.session().get("Namespace", "chroma")["metadata"]["labels"] == {"thinkube.io/managed": "True"}


def test_a_secret_among_the_objects_is_refused_before_any_change(run):
    result = run(secrets=SECRETS, objects=[CONFIG, {**CONFIG, "kind": "Secret", "data": {"key": "c2VzYW1l"}}])
    assert (result["failed"], result["code"], run.api.writes()) == (True, "secret_refused", [])


def test_no_secret_is_in_the_result(run):
    result = json.dumps(run(secrets=SECRETS))
    stored = run.api.session().get("Secret", "chroma-auth", "chroma")["data"]
    for value in ("abracadabra", stored["auth-token"], stored["token.discovery.write"], "a2V5a2V5"):
        assert value not in result
        assert base64.b64decode(stored["token.discovery.write"]).decode() not in result


def test_check_mode_writes_nothing(run):
    result = run(check_mode=True, secrets=SECRETS, objects=[CONFIG])
    assert result["changed"] is True
    assert not [each for each in run.api.objects if "/chroma/" in each or each.endswith("/chroma")]
    assert result["diff"]["after"]["Secret chroma-auth"] == {"admin-username": "set", "auth-token": "set", "token.discovery.write": "set"}
    assert result["diff"]["after"]["ConfigMap chroma-gateway"]["data"] == CONFIG["data"]


def test_tokens_are_named(run):
    assert run(secrets=SECRETS)["tokens"] == [
        {"key": "auth-token", "name": "admin", "scope": "admin"},
        {"key": "token.discovery.write", "name": "discovery", "scope": "write"},
    ]


def test_no_certificate(run):
    result = run(secrets={**SECRETS, "tls_source_secret": "absent"}, objects=[CONFIG])
    assert (result["code"], run.api.writes()) == ("certificate_missing", [])


def test_an_unknown_scope_is_refused(run):
    result = run(secrets={**SECRETS, "applications": [{"name": "a", "scope": "admin"}]})
    assert "value of scope must be one of" in result["msg"]


def test_only_our_own_object_is_made_absent(run):
    run.api.put("HTTPRoute", "ours", "chroma", labels=OURS)
    run.api.put("HTTPRoute", "foreign", "chroma")
    result = run(absent=[{"kind": "HTTPRoute", "name": name} for name in ("ours", "foreign", "never-there")])
    assert result["objects"] == [{"kind": "HTTPRoute", "name": "ours", "action": "deleted"}]
    assert run.api.session().get("HTTPRoute", "foreign", "chroma")


def test_a_kind_that_may_not_be_seen_is_absent_for_us(run):
    run.api.answers["GET", "/apis/gateway.networking.k8s.io/v1/namespaces/chroma/httproutes/route"] = (403, b'{"message":"no"}')
    assert run(absent=[{"kind": "HTTPRoute", "name": "route"}])["changed"] is False
    run.api.answers["GET", "/apis/networking.k8s.io/v1/namespaces/chroma/ingresses/way"] = (500, b'{"message":"broken"}')
    assert run(absent=[{"kind": "Ingress", "name": "way"}])["code"] == "cluster_error"


CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "labels": OURS, "annotations": {"a": "b"}}}


@pytest.mark.parametrize(("labels", "adopted"), [(None, {}), (OURS, {}), ({"app": "chroma"}, {"thinkube.chroma/adopted": "true"})])
def test_a_claim_of_others_is_marked_and_stays_so(run, labels, adopted):
    if labels is not None:
        run.api.put("PersistentVolumeClaim", "data", "chroma", labels=dict(labels), annotations={})
    for _run in range(2):
        # What is not sent again, a server-side apply removes: so it must be sent each time.
        run.api.bodies.clear()
        run(objects=[CLAIM])
        (sent,) = run.api.bodies
        assert sent["metadata"]["annotations"] == {"a": "b", **adopted}
    assert run(objects=[CLAIM])["changed"] is False


def test_tokens_of_others_are_marked_so_that_no_removal_takes_them(run):
    run.api.put("Secret", "chroma-auth", "chroma", labels={}, annotations={}, data={"auth-token": "dGhlaXJz"})
    run.api.put("Secret", "chroma-tls-secret", "chroma", labels={}, annotations={}, data={})
    for _run in range(2):
        run(secrets=SECRETS)
        stored = {name: run.api.session().get("Secret", name, "chroma")["metadata"] for name in ("chroma-auth", "chroma-tls-secret")}
        assert {name: metadata["annotations"] for name, metadata in stored.items()} == {
            "chroma-auth": {"thinkube.chroma/adopted": "true"},
            "chroma-tls-secret": {},
        }
        assert stored["chroma-auth"]["labels"] == OURS


def test_a_pod_that_does_not_come_up_is_named(run):
    run.api.put("StatefulSet", "chroma", "chroma", spec={"replicas": 1}, status={"readyReplicas": 0})["metadata"]["generation"] = 1
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    run.api.put("Pod", "chroma-0", "chroma", status={"containerStatuses": [{"name": "gateway", "ready": False, "state": waiting}]})
    result = run(wait_for="chroma", timeout=0)
    assert result["code"] == "timeout"
    assert "chroma-0/gateway: ImagePullBackOff no such tag" in result["msg"]


def test_an_unknown_kind(run):
    assert run(objects=[{"kind": "Deployment", "metadata": {"name": "a"}}])["code"] == "unknown_kind"


PASSWORD = {"secret": "chroma-backup", "key": "repository-password", "labels": OURS}


def password(run):
    return run.api.session().get("Secret", "chroma-backup", "chroma")["data"]["repository-password"]


def test_a_password_is_made_once_and_is_in_no_result(run):
    first = run(generate=[PASSWORD])
    value = password(run)
    assert (first["changed"], first["generated"]) == (True, ["chroma-backup/repository-password"])
    assert len(base64.b64decode(value)) == 64
    again = run(generate=[PASSWORD])
    assert (again["changed"], again["generated"], password(run)) == (False, [], value)
    for result in (first, again):
        assert base64.b64decode(value).decode() not in json.dumps(result)
        assert value not in json.dumps(result)


def test_a_password_that_the_user_put_there_is_kept_with_everything_beside_it(run):
    run.api.put("Secret", "chroma-backup", "chroma", data={"repository-password": "bWluZQ==", "note": "eA=="})
    assert run(generate=[PASSWORD])["changed"] is False
    assert password(run) == "bWluZQ=="


def test_a_secret_without_the_password_gets_it_and_keeps_the_rest(run):
    run.api.put("Secret", "chroma-backup", "chroma", data={"note": "eA=="})
    assert run(generate=[PASSWORD])["changed"] is True
    assert run.api.session().get("Secret", "chroma-backup", "chroma")["data"] == {"note": "eA==", "repository-password": password(run)}


def test_of_two_that_make_a_password_at_once_the_second_keeps_the_firsts(run):
    path = "/api/v1/namespaces/chroma/secrets"
    answer = run.api.answer

    def overtaken(method, target, body):
        if method == "POST" and target.startswith(path):
            run.api.put("Secret", "chroma-backup", "chroma", data={"repository-password": "Zmlyc3Q="})
        return answer(method, target, body)

    run.api.answer = overtaken
    assert run(generate=[PASSWORD])["generated"] == []
    assert password(run) == "Zmlyc3Q="


def test_a_password_that_is_not_stored_is_an_error(run):
    run.api.drops.add("/api/v1/namespaces/chroma/secrets/chroma-backup")
    assert run(generate=[PASSWORD])["code"] == "not_verified"


def test_check_mode_makes_no_password(run):
    assert run(check_mode=True, generate=[PASSWORD])["generated"] == ["chroma-backup/repository-password"]
    assert run.api.writes() == []


def test_what_others_must_provide_is_named_at_once_before_any_change(run):
    run.api.put("Secret", "chroma-s3", "chroma", data={"AWS_ACCESS_KEY_ID": "a2V5"})
    required = [
        {"kind": "Secret", "name": "chroma-s3", "keys": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "hint": "Create it."},
        {"kind": "PersistentVolumeClaim", "name": "chroma-backups-pvc", "hint": "Run 20_backup."},
    ]
    result = run(require=required, generate=[PASSWORD], objects=[CONFIG])
    assert (result["code"], run.api.writes()) == ("absent", [])
    assert "Secret chroma-s3 in namespace chroma lacks AWS_SECRET_ACCESS_KEY. Create it." in result["msg"]
    assert "There is no PersistentVolumeClaim chroma-backups-pvc in namespace chroma. Run 20_backup." in result["msg"]
    run.api.put("Secret", "chroma-s3", "chroma", data={"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "a2V5"})
    run.api.put("PersistentVolumeClaim", "chroma-backups-pvc", "chroma")
    assert run(require=required, generate=[PASSWORD], objects=[CONFIG])["changed"] is True


def test_a_kind_that_is_none_is_told(run):
    assert run(require=[{"kind": "Wish", "name": "x"}])["code"] == "unknown_kind"
