# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of a release finds what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _kube, _selftest_access
from ansible_collections.thinkube.chroma.plugins.module_utils._client import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import (
    Check,
    Release,
    check_objects,
    compare,
    describe_pod,
    describe_route,
    describe_service,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_access import (
    RIGHT_TOKEN,
    SCRIPT,
    check_access,
    judge_log,
    probe_pod,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_data import COUNT, DATA_KEPT, DELETED, nearest, sample_records
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_groups import GROUPS, run_group
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Reply
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve

TOKEN = "abracadabra"
NAMES = {
    "statefulset": "chroma",
    "service": "chromadb-svc",
    "headless_service": "chromadb-headless",
    "pvc": "chroma-data-pvc",
    "auth_secret": "chroma-auth",
    "tls_secret": "chroma-tls-secret",
    "ingress": "chroma-ingress",
    "route": "chroma-route",
}


def make_release(**changes):
    values = {
        "namespace": "chroma",
        "names": NAMES,
        "url": "https://chroma.example.com",
        "token": TOKEN,
        "ca_path": None,
        "exposure": "ingress",
        "ingress_class": "nginx",
        "image": "r.io/library/chroma-gateway:1.22",
        "image_pull_policy": "IfNotPresent",
        "image_pull_secrets": ({"name": "pull"},),
        "run_as_user": 1000,
        "labels": OURS,
        "port": 8000,
        "server_port": 8001,
        "run_id": "a1",
        "timeout": 5,
    }
    return Release(**{**values, **changes})


RELEASE = make_release()
READY = {
    "phase": "Running",
    "podIP": "10.0.0.7",
    "containerStatuses": [{"name": "chroma", "ready": True}, {"name": "gateway", "ready": True}],
}


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(_kube.time, "sleep", lambda seconds: None)
    with serve() as server:
        server.put("Namespace", "chroma", status={"phase": "Active"})
        server.put("StatefulSet", "chroma", "chroma", spec={"replicas": 1}, status={"readyReplicas": 1})
        server.put("Pod", "chroma-0", "chroma", status=READY)
        for name, port, address in (("chromadb-svc", 80, "10.1.1.1"), ("chromadb-headless", 8000, "None")):
            spec = {"type": "ClusterIP", "clusterIP": address, "selector": {"app": "chroma"}, "ports": [{"port": port}]}
            server.put("Service", name, "chroma", spec=spec)
            endpoints = [{"addresses": ["10.0.0.7"], "conditions": {"ready": True}, "targetRef": {"uid": "pod"}}]
            labels = {"kubernetes.io/service-name": name}
            server.put("EndpointSlice", name, "chroma", labels=labels, endpoints=endpoints, ports=[{"port": 8000}])
        server.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", status={"phase": "Bound"})
        backend = {"service": {"name": "chromadb-svc", "port": {"number": 80}}}
        rule = {"host": "chroma.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}}
        tls = [{"hosts": ["chroma.example.com"], "secretName": "chroma-tls-secret"}]
        server.put("Ingress", "chroma-ingress", "chroma", spec={"ingressClassName": "nginx", "rules": [rule], "tls": tls})
        yield server


def failures(checks):
    return [check.name for check in checks if not check.ok]


def test_lines():
    assert compare("a", 1, 1).line == "PASS  a: expected 1, seen 1"
    assert compare("a", 1, 2).line == "FAIL  a: expected 1, seen 2"
    assert Check("a", "", "not run", None).line == "SKIP  a: not run"
    assert [check.as_result()["ok"] for check in (compare("a", 1, 1), compare("a", 1, 2), Check("a", "", "", None))] == [True, False, False]


def test_a_whole_release_passes(api):
    checks = list(check_objects(api.session(), RELEASE))
    assert (len(checks), failures(checks)) == (7, [])


@pytest.mark.parametrize(
    "path",
    [
        "namespaces/chroma",
        "statefulsets/chroma",
        "pods/chroma-0",
        "services/chromadb-svc",
        "persistentvolumeclaims/chroma-data-pvc",
        "ingresses/chroma-ingress",
    ],
)
def test_an_absent_object_fails_its_check_only(api, path):
    (key,) = [key for key in api.objects if key.endswith(path)]
    del api.objects[key]
    (check,) = [check for check in check_objects(api.session(), RELEASE) if not check.ok]
    assert (check.seen, path.split("/")[1] in check.name) == ("absent", True)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {"phase": "Pending", "conditions": [{"status": "False", "message": "0/1 nodes are available"}]},
            "Pending, 0/1 nodes are available",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"name": "chroma", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            "Running, chroma waiting CrashLoopBackOff",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"name": "chroma", "ready": False, "state": {"running": {}}}]},
            "Running, chroma running, not ready",
        ),
        (READY, "Running, all containers ready"),
    ],
)
def test_a_pod_in_words(status, text):
    assert describe_pod({"status": status}) == text


def test_a_service_without_pods_in_words():
    spec = {"type": "NodePort", "clusterIP": "10.1.1.1", "selector": {"app": "other"}, "ports": [{"port": 80}]}
    slices = [{"endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": False}}], "ports": [{"port": 8000}]}]
    assert describe_service({"spec": spec}, slices) == "NodePort, port 80 to nothing, selector app=other, 0 pods"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "h, not Accepted (no Gateway has looked at it), not ResolvedRefs (no Gateway has looked at it)"),
        (
            {
                "parents": [
                    {
                        "conditions": [
                            {"type": "Accepted", "status": "True"},
                            {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"},
                        ]
                    }
                ]
            },
            "h, Accepted, not ResolvedRefs (BackendNotFound)",
        ),
        (
            {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]}]},
            "h, Accepted, ResolvedRefs",
        ),
    ],
)
def test_a_route_in_words(status, text):
    assert describe_route({"spec": {"hostnames": ["h"]}, "status": status}) == text


def test_a_route_is_looked_at_where_there_is_no_ingress(api):
    checks = list(check_objects(api.session(), make_release(exposure="gateway")))
    assert (checks[-1].name, checks[-1].seen) == ("HTTPRoute chroma-route", "absent")


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


class MemoryClient:
    """A Chroma in memory that is exact, except where a test breaks it."""

    legacy = False

    def __init__(self):
        self.collections, self.rows = {}, {}

    def heartbeat(self):
        return 1

    def create_collection(self, name, metadata=None):
        self.collections[name] = Collection(f"id-{name}", name, {}, None, {}, "", "t", "d")
        return self.collections[name]

    def require_collection(self, name):
        return self.collections[name]

    def list_collections(self):
        return list(self.collections.values())

    def delete_collection(self, name):
        del self.collections[name]

    def write(self, collection, action, payload):
        columns = json.loads(payload)
        for each in zip(*(columns[part] for part in ("ids", "embeddings", "documents", "metadatas")), strict=True):
            self.rows[each[0]] = dict(zip(("id", "embedding", "document", "metadata"), each, strict=True))

    def count(self, collection):
        return len(self.rows)

    def query(self, collection, queries, count):
        return [[{"id": name} for name in nearest(list(self.rows.values()), query, count)] for query in queries]

    def get(self, collection):
        return iter([dict(row) for row in self.rows.values()])

    def delete(self, collection, ids):
        for name in ids:
            del self.rows[name]


@pytest.fixture
def server(monkeypatch):
    client = MemoryClient()
    monkeypatch.setattr(Release, "client", lambda release: client)
    return client


def test_the_samples_are_the_same_in_every_run_and_nearest_is_by_distance():
    assert sample_records() == sample_records()
    assert (len(sample_records()), COUNT - DELETED >= 20) == (COUNT, True)
    rows = [{"id": name, "embedding": [value]} for name, value in (("far", 9.0), ("near", 1.0), ("middle", 4.0))]
    assert nearest(rows, [0.0], 2) == ["near", "middle"]


def test_data(api, server):
    checks = run_group("data", api.session(), RELEASE)
    assert (len(checks), failures(checks), checks[-1].name) == (7, [], DATA_KEPT)
    assert list(server.collections) == ["thinkube-selftest-a1"]


def test_wrong_neighbours_fail(api, server, monkeypatch):
    query = server.query
    monkeypatch.setattr(server, "query", lambda *arguments: [rows[::-1] for rows in query(*arguments)])
    assert failures(run_group("data", api.session(), RELEASE)) == ["nearest 5 to query 1", "nearest 5 to query 2", "nearest 5 to query 3"]


@pytest.mark.parametrize(("part", "value"), [("document", "other"), ("metadata", {}), ("embedding", [0.0] * 8)])
def test_a_changed_record_fails(api, server, monkeypatch, part, value):
    get = server.get
    monkeypatch.setattr(
        server, "get", lambda collection: ({**row, part: value} if row["id"] == "record-09" else row for row in get(collection))
    )
    (check,) = [check for check in run_group("data", api.session(), RELEASE) if not check.ok]
    assert (check.name, check.seen) == ("get all records", "24 records, 23 equal; not as written: record-09")


def restart(api, new_status):
    original = api.answer

    def answer(method, target, body):
        result = original(method, target, body)
        if method == "DELETE" and target.endswith("/pods/chroma-0"):
            api.put("Pod", "chroma-0", "chroma", status=new_status)
        return result

    api.answer = answer


def test_persistence(api, server):
    run_group("data", api.session(), RELEASE)
    restart(api, READY)
    checks = run_group("persistence", api.session(), RELEASE)
    assert [check.ok for check in checks] == [True, True]
    assert checks[1].seen == "20 records, 20 equal"


def test_data_that_a_restart_lost_fail(api, server):
    run_group("data", api.session(), RELEASE)
    restart(api, READY)
    server.rows.popitem()
    assert failures(run_group("persistence", api.session(), RELEASE)) == ["read all records after the restart"]


def test_a_pod_that_does_not_come_back_fails(api, server):
    restart(api, {"phase": "Pending", "conditions": [{"status": "False", "message": "no node"}]})
    (check,) = run_group("persistence", api.session(), make_release(timeout=0))
    assert (check.ok, "did not come back: Pending, no node" in check.seen) == (False, True)


def test_clean_up_removes_what_is_of_this_run(api, server):
    for name in ("thinkube-selftest-a1", "thinkube-selftest-a1-client", "thinkube-selftest-b2", "documents"):
        server.create_collection(name)
    api.put("Pod", RELEASE.test_pod, "chroma")
    assert failures(run_group("cleanup", api.session(), RELEASE)) == []
    assert list(server.collections) == ["thinkube-selftest-b2", "documents"]
    assert api.session().get("Pod", RELEASE.test_pod, "chroma") is None


def test_a_collection_that_stays_fails(api, server, monkeypatch):
    server.create_collection("thinkube-selftest-a1")
    monkeypatch.setattr(server, "delete_collection", lambda name: None)
    assert failures(run_group("cleanup", api.session(), RELEASE)) == ["test collections"]


@pytest.mark.parametrize("module", [None, type(sys)("chromadb")])
def test_the_client_is_skipped_where_it_cannot_be_imported(api, server, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "chromadb", module)
    (check,) = run_group("client", api.session(), RELEASE)
    assert (check.ok, "can't be imported here" in check.seen) == (None, True)


def test_an_old_client_is_not_tried_on_a_new_server(api, server, monkeypatch):
    module, config = type(sys)("chromadb"), type(sys)("chromadb.config")
    module.__version__, module.__path__, config.Settings = "0.6.3", [], object
    monkeypatch.setitem(sys.modules, "chromadb", module)
    monkeypatch.setitem(sys.modules, "chromadb.config", config)
    (check,) = run_group("client", api.session(), RELEASE)
    assert (check.ok, check.seen) == (None, "chromadb 0.6.3 can't speak to a 1.x server")


def test_an_error_of_the_client_is_a_finding_without_the_token(api, server, monkeypatch):
    module, config = type(sys)("chromadb"), type(sys)("chromadb.config")
    module.__version__, module.__path__, config.Settings = "1.5.9", [], dict

    def refuse(**options):
        raise RuntimeError(f"401 for {options['headers']}")

    module.HttpClient = refuse
    monkeypatch.setitem(sys.modules, "chromadb", module)
    monkeypatch.setitem(sys.modules, "chromadb.config", config)
    (check,) = run_group("client", api.session(), RELEASE)
    assert (check.ok, "RuntimeError: 401" in check.seen, TOKEN in check.seen) == (False, True, False)


def test_an_error_in_the_middle_keeps_the_checks_before_it(api, monkeypatch):
    def group(session, release):
        yield compare("first", 1, 1)
        raise ChromaError("timeout", "Pod is Pending.", "Look at it.")

    monkeypatch.setitem(GROUPS, "objects", group)
    first, second = run_group("objects", api.session(), RELEASE)
    assert (first.ok, second.line) == (True, "FAIL  group objects: expected to run to its end, seen Pod is Pending. Look at it.")


@pytest.mark.parametrize(
    ("group", "earlier", "runs"),
    [
        ("data", [{"name": RIGHT_TOKEN, "ok": False}], False),
        ("data", [{"name": RIGHT_TOKEN, "ok": True}, {"name": "no token from outside", "ok": False}], True),
        ("client", [{"name": RIGHT_TOKEN, "ok": False}], False),
        ("persistence", [{"name": RIGHT_TOKEN, "ok": True}], False),
        ("persistence", [{"name": DATA_KEPT, "ok": True}], True),
        ("access", [{"name": "Namespace chroma", "ok": False}], True),
        ("cleanup", [{"name": RIGHT_TOKEN, "ok": False}], True),
        ("data", [], True),
    ],
)
def test_a_group_runs_unless_what_it_builds_on_failed(api, monkeypatch, group, earlier, runs):
    monkeypatch.setitem(GROUPS, group, lambda session, release: iter([compare("ran", 1, 1)]))
    (check,) = run_group(group, api.session(), RELEASE, earlier)
    assert (check.name == "ran", check.ok) == ((True, True) if runs else (False, None))
    assert runs or "not run because of" in check.seen
