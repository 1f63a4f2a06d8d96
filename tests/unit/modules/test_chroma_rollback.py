# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_rollback: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_rollback
from ansible_collections.thinkube.chroma.tests.unit.kube_api import OURS, serve


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:
        api.put("Namespace", "chroma", annotations={})
        api.put("StatefulSet", "chroma", "chroma", labels=OURS)
        api.put("PersistentVolumeClaim", "chroma-data-pvc", "chroma", labels=OURS)
        api.answers["GET", "/api"] = api.answers["GET", "/apis"] = (200, b'{"items": []}')

        def run(check_mode=False, **changes):
            names = {"statefulset": "chroma", "pvc": "chroma-data-pvc"}
            given = {"kubeconfig": api.kubeconfig(tmp_path), "names": names, **changes}
            return run_module(chroma_rollback, {"url": None, "retries": None, **given}, check_mode=check_mode)

        run.api = api
        yield run


def test_the_data_stay(run):
    result = run()
    assert (result["changed"], result["deleted"]) == (True, [{"kind": "StatefulSet", "name": "chroma"}])
    assert [item["kind"] for item in result["kept"]] == ["PersistentVolumeClaim", "Namespace"]
    assert run()["changed"] is False


@pytest.mark.parametrize("text", [True, "true", "yes"])
def test_the_data_go_where_asked_for_also_as_a_text(run, text):
    assert {"kind": "PersistentVolumeClaim", "name": "chroma-data-pvc"} in run(remove_data=text)["deleted"]


@pytest.mark.parametrize("text", ["false", "no", "0"])
def test_a_text_that_means_no_keeps_the_data(run, text):
    assert [item["kind"] for item in run(remove_data=text)["kept"]] == ["PersistentVolumeClaim", "Namespace"]


def test_check_mode(run):
    assert run(check_mode=True)["changed"] is True
    assert run.api.writes() == []


def test_what_does_not_go(run):
    run.api.keeps.add("/apis/apps/v1/namespaces/chroma/statefulsets/chroma")
    result = run(timeout=0)
    assert (result["code"], result["deleted"], "StatefulSet chroma" in result["msg"]) == ("timeout", [], True)
