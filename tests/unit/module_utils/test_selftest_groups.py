# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of the test of a release: its data before and after a restart, its client, what is cleaned up, and in which case one runs."""

from __future__ import annotations

import json
import sys

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Release, compare
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_access import RIGHT_TOKEN
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_data import COUNT, DATA_KEPT, DELETED, nearest, sample_records
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_groups import GROUPS, run_group
from ansible_collections.thinkube.chroma.tests.unit.module_utils import selftest_release
from ansible_collections.thinkube.chroma.tests.unit.module_utils.selftest_release import READY, RELEASE, TOKEN, failures, make_release

api = selftest_release.api


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
