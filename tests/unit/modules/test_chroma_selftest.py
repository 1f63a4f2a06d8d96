# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_selftest: arguments in, JSON out."""

from __future__ import annotations

import json

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_groups import GROUPS
from ansible_collections.thinkube.chroma.plugins.modules import chroma_selftest
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:

        def run(check_mode=False, **changes):
            given = {
                "group": "objects",
                "kubeconfig": api.kubeconfig(tmp_path),
                "url": "http://127.0.0.1:1",
                "token": "abracadabra",
                "image": "r.io/library/chroma-gateway:1.22",
                "run_id": "a1",
                "names": {name: name.replace("_", "-") for name in chroma_selftest.NAMES},
            }
            return run_module(chroma_selftest, {"retries": None, **given, **changes}, check_mode=check_mode)

        run.api = api
        yield run


def test_checks_that_fail_do_not_fail_the_module(run):
    result = run()
    assert (result["changed"], len(result["checks"])) == (False, 7)
    assert result["checks"][0] == {
        "name": "Namespace chroma",
        "expected": "Active",
        "seen": "absent",
        "ok": False,
        "skipped": False,
        "line": "FAIL  Namespace chroma: expected Active, seen absent",
    }


def test_an_error_is_a_check(run):
    run.api.answers["GET", "/api/v1/namespaces/chroma"] = (403, b'{"message": "no"}')
    (check,) = run()["checks"]
    assert (check["ok"], "No right to get namespaces chroma" in check["seen"]) == (False, True)


@pytest.mark.parametrize("group", sorted(set(GROUPS) - {"objects"}))
def test_check_mode_writes_nothing(run, group):
    assert run(group=group, check_mode=True)["checks"] == []
    assert run.api.requests == []


def test_a_group_that_is_not_run_says_why(run):
    earlier = [{"name": "right token from outside", "ok": False}]
    (check,) = run(group="data", earlier=earlier)["checks"]
    assert (check["skipped"], check["line"]) == (
        True,
        "SKIP  group data: not run because of 'right token from outside', on which it builds",
    )


def test_no_token_is_in_the_result(run):
    assert "abracadabra" not in json.dumps(run())


def test_an_unusable_kubeconfig_fails_the_module(run):
    assert run(kubeconfig="/does/not/exist")["code"] == "kubeconfig_missing"
