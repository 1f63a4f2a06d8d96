# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module chroma_database: arguments in, JSON out."""

from __future__ import annotations

from ansible_collections.thinkube.chroma.plugins.modules import chroma_database

ACME = {"tenant": "acme", "name": "docs"}


def test_present_creates_what_is_absent(run_module, recorded, version):
    server = recorded(version, "tenant_get", "database_missing", "database_get", "database_create")
    result = run_module(chroma_database, ACME, server)
    assert (result["changed"], result["created"]) == (True, ["database"])
    assert run_module(chroma_database, ACME, server)["changed"] is False


def test_check_mode_changes_nothing(run_module, recorded, version):
    server = recorded(version, "database_get", "database_count")
    result = run_module(chroma_database, {**ACME, "state": "absent"}, server, check_mode=True)
    assert (result["changed"], result["diff"]["after"], server.changes()) == (True, {}, [])


def test_absent_says_where_it_is_not_possible(run_module, recorded):
    server = recorded("0.5.23", "database_get", "database_count", "database_delete")
    result = run_module(chroma_database, {**ACME, "state": "absent"}, server)
    assert (result["failed"], result["code"]) == (True, "unsupported")


def test_name_and_not_database_is_used(run_module, recorded):
    server = recorded("1.5.9", "tenant_get", "database_get")
    assert run_module(chroma_database, {**ACME, "database": "other"}, server)["changed"] is False
    assert all("other" not in path for _method, path, _body in server.sent)
