# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_operation: one look at the cluster for each call."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.modules import chroma_operation
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

JOB = {"kind": "Job", "metadata": {"name": "chroma-export-x"}, "spec": {"template": {"spec": {}}}}


@pytest.fixture
def run(run_module, tmp_path):
    with serve() as api:

        def run(check_mode=False, **given):
            given = {"kubeconfig": api.kubeconfig(tmp_path), **given}
            return run_module(chroma_operation, {"url": None, "retries": None, **given}, check_mode=check_mode)

        run.api = api
        yield run


def test_a_job_is_started_and_then_looked_at(run):
    assert (run(job=JOB)["changed"], run(job=JOB)["job"]) == (True, "chroma-export-x")
    seen = run(follow="chroma-export-x")
    assert (seen["changed"], seen["look"]["status"], seen["look"]["cursor"]) == (False, "waiting", {})


def test_check_mode_stores_nothing(run):
    assert run(check_mode=True, job=JOB)["changed"] is True
    assert run.api.objects == {}


def test_one_that_is_not_there(run):
    result = run(follow="chroma-export-y")
    assert (result["failed"], result["code"]) == (True, "not_found")


@pytest.mark.parametrize("given", [{}, {"job": JOB, "follow": "x"}])
def test_either_a_job_or_the_name_of_one(run, given):
    assert run(**given)["failed"] is True
    assert run.api.requests == []
