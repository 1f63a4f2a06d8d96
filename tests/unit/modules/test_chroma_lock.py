# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_lock: arguments in, JSON out."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_lock
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:
        for job in ("mine", "other"):
            api.put("Job", job, "chroma", status={"active": 1})

        def run(check_mode=False, **given):
            given = {"kubeconfig": api.kubeconfig(tmp_path), **given}
            return run_module(chroma_lock, {"url": None, "retries": None, **given}, check_mode=check_mode)

        run.api = api
        yield run


def test_it_is_taken_once(run):
    assert [run(holder="mine")["changed"] for _each in range(2)] == [True, False]


def test_a_pod_finds_its_job_in_its_environment(run, monkeypatch):
    monkeypatch.setenv("CHROMA_OPERATION_JOB", "mine")
    assert run()["holder"] == "mine"


def test_the_other_one_is_named(run):
    run(holder="other")
    result = run(holder="mine")
    assert (result["failed"], result["code"], result["holder"]) == (True, "lock_held", "other")


def test_check_mode(run):
    assert run(check_mode=True, holder="mine")["changed"] is True
    assert run.api.writes() == []
