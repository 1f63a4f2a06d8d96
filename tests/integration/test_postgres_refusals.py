# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL or its settings do not allow is named with the next step, and nothing is changed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exporting
import postgres
import pytest
import servers
import wire

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres import connection
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import checked, settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import current_generation


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a stopped server with one collection."""
    path = tmp_path_factory.mktemp("refusals") / "data"
    with servers.running(servers.VERSIONS[-1], data=path) as server:
        exporting.fill(exporting.connect(server.url), "books", 50)
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of localhost, which signs itself, and another one that did not sign it."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "other"):
        (folder / name).mkdir()
        wire.make_certificate(folder / name, "localhost")
    return folder


@pytest.fixture(scope="module")
def cluster(certificates: Path) -> Iterator[postgres.Cluster]:
    """Run a server that speaks TLS."""
    with postgres.running("15") as running:
        for kind in ("key", "crt"):
            copy = running.data / f"server.{kind}"
            copy.write_bytes((certificates / "server" / f"localhost.{kind}").read_bytes())
            copy.chmod(0o600)
            if running.owner is not None:
                os.chown(copy, running.owner, -1)
        running.query("ALTER SYSTEM SET ssl = on")
        running.query("SELECT pg_reload_conf()")
        yield running


def export(directory: Path, cluster: postgres.Cluster, wanted: Wanted | None = None, **changed: Any) -> dict[str, Any]:
    """Export, and return the result, or what a module would say of the failure; the password is in neither."""
    settings = settings_from_environment(cluster.variables())
    try:
        result = export_directory(str(directory), checked(dataclasses.replace(settings, **changed)), wanted or Wanted())
    except ChromaError as error:
        result = error.as_result()
    assert not any(secret in json.dumps(result) for secret in (postgres.PASSWORD, json.dumps(postgres.PASSWORD)[1:-1]))
    return result


def test_a_server_that_answers_nothing_any_more_is_noticed(cluster):
    with connection.connected(settings_from_environment(cluster.variables())) as opened:
        with socket.fromfd(opened.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as wired:
            assert wired.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == connection._UNACKNOWLEDGED
        assert opened.rows("SHOW client_connection_check_interval") == [("1s",)]


def test_a_server_whose_system_can_not_notice_dead_clients_is_used_all_the_same(cluster, monkeypatch):
    monkeypatch.setattr(connection, "_NOTICED", "-1")  # refused with the same SQLSTATE
    with connection.connected(settings_from_environment(cluster.variables())) as opened:
        assert opened.rows("SHOW client_connection_check_interval") == [("0",)]


@pytest.mark.parametrize("table", ["""we"ird'; DROP TABLE x; --""", "Großes Ä 漢字 %s %d {x}", "back up.the data", "x" * 51, "$1"])
def test_any_name_of_a_table_is_only_a_name(table, directory, cluster):
    if table.startswith("back up."):
        cluster.query('CREATE SCHEMA "back up" AUTHORIZATION chroma')
    result = export(directory, cluster, table=table)
    assert (result["changed"], result["collections"][0]["generation"]) == (True, 1), result
    assert result["table"] == (table if "." in table else f"public.{table}")
    found = cluster.query("SELECT 1 FROM pg_class WHERE relname = %s", table.rpartition(".")[2])
    assert found == [(1,)]
    assert export(directory, cluster, table=table)["collections"][0]["status"] == "unchanged"


@pytest.mark.parametrize(
    ("options", "wanted", "code"),
    [
        ({"table": "a.b.c"}, Wanted(), "invalid_value"),
        ({"table": "x" * 52}, Wanted(), "invalid_value"),
        ({"table": "nowhere.chroma_data"}, Wanted(), "not_found"),
        ({"password": "wrong"}, Wanted(), "unauthorized"),
        ({"user": "nobody else"}, Wanted(), "unauthorized"),
        ({"name": "no such"}, Wanted(), "no_database"),
        ({"port": 1}, Wanted(), "unreachable"),
        ({"host": "/no/such/socket"}, Wanted(), "unreachable"),
        ({"sslrootcert": "/no/such/file", "sslmode": "verify-full"}, Wanted(), "tls"),
        ({}, Wanted(shrink_share=2.0), "invalid_value"),
        ({}, Wanted(["boks"]), "not_found"),
    ],
)
def test_a_setting_that_can_not_be_right_is_named(options, wanted, code, directory, cluster):
    before = cluster.query("SELECT count(*) FROM pg_class")
    result = export(directory, cluster, wanted, **{"table": "never", **options})
    assert result.get("code") == code, result
    assert result["hint"]
    assert cluster.query("SELECT count(*) FROM pg_class") == before


def test_the_module_takes_the_options_and_says_no_password(run_module, directory, cluster):
    options = {"path": str(directory), **cluster.options(backup_table="module")}
    done = run_module("chroma_export_postgres", options, check_mode=True)
    assert (done["changed"], done["collections"][0]["status"]) == (True, "planned"), done
    failed = run_module("chroma_export_postgres", {**options, "db_user": postgres.PASSWORD})
    assert failed["code"] == "unauthorized", failed
    for result in (done, failed):
        assert json.dumps(postgres.PASSWORD)[1:-1] not in json.dumps(result)


def test_a_table_that_is_somebody_elses_stays_as_it_is(directory, cluster):
    cluster.query("CREATE TABLE theirs (a int); INSERT INTO theirs VALUES (1); CREATE TABLE half_generations (b int)")
    for name in ("theirs", "half"):
        assert export(directory, cluster, table=name)["code"] == "conflict"
    assert cluster.query("SELECT a FROM theirs") == [(1,)]
    # One that only looks like a generation that was left is not removed either.
    export(directory, cluster, table="ours")
    cluster.query("CREATE TABLE ours_g77 (c int)")
    cluster.query("UPDATE ours_generations SET fingerprint = NULL")
    assert export(directory, cluster, table="ours")["removed"] == []
    assert cluster.query("SELECT 1 FROM pg_class WHERE relname = 'ours_g77'") == [(1,)]


def test_missing_rights_are_named(directory, cluster):
    cluster.query("CREATE SCHEMA closed; GRANT USAGE ON SCHEMA closed TO chroma")
    assert export(directory, cluster, table="closed.data")["code"] == "forbidden"
    cluster.query("ALTER ROLE chroma SET default_transaction_read_only = on")
    try:
        assert export(directory, cluster, table="standby")["code"] == "forbidden"
    finally:
        cluster.query("ALTER ROLE chroma RESET default_transaction_read_only")


def test_another_encoding_than_unicode_is_refused(directory, cluster):
    cluster.query("CREATE DATABASE latin OWNER chroma ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    result = export(directory, cluster, name="latin")
    assert (result["code"], "LATIN1" in result["msg"]) == ("unsupported", True)


def test_release_13_is_refused(directory):
    try:
        postgres.installed("13")
    except RuntimeError as error:
        pytest.skip(str(error))
    with postgres.running("13") as old:
        result = export(directory, old)
        assert (result["code"], "13" in result["msg"], "14" in result["hint"]) == ("old_postgres", True, True)
        assert old.query("SELECT count(*) FROM pg_class WHERE relname LIKE 'chroma_data%'") == [(0,)]


def test_tls_is_checked_as_far_as_it_is_asked_for(directory, cluster, certificates):
    settings = dataclasses.replace(settings_from_environment(cluster.variables(BACKUP_TABLE="tls")), host="localhost")
    ours, other = (str(certificates / name / "localhost.crt") for name in ("server", "other"))
    good = dataclasses.replace(settings, sslmode="verify-full", sslrootcert=ours)
    assert export_directory(str(directory), good, Wanted())["changed"]
    assert current_generation(dataclasses.replace(settings, sslmode="require"), "books") is not None
    for changed in ({"sslrootcert": other}, {"host": "127.0.0.1"}):
        with pytest.raises(ChromaError) as refused:
            current_generation(dataclasses.replace(good, **changed), "books")
        assert refused.value.code == "tls", refused.value.message
    # Where the server takes nothing else, it is said that it is for want of TLS.
    rules = cluster.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("hostssl all chroma all scram-sha-256\nhost all postgres all scram-sha-256\n")
    cluster.query("SELECT pg_reload_conf()")
    try:
        assert current_generation(dataclasses.replace(settings, sslmode="prefer"), "books") is not None
        with pytest.raises(ChromaError) as refused:
            current_generation(dataclasses.replace(settings, sslmode="disable"), "books")
        assert refused.value.code == "tls", refused.value.message
    finally:
        rules.write_text(before)
        cluster.query("SELECT pg_reload_conf()")


def test_from_the_command_line_to_the_result_with_the_variables_of_the_environment(newest, cluster, directory, run_playbook):
    environ = cluster.variables(BACKUP_TABLE="playbooks", CHROMA_COLLECTION_NAME="books", NEW_COLLECTION_NAME="books-by-playbook")
    here = ("-e", f"ansible_python_interpreter={sys.executable}", "-e")
    done = run_playbook("../../playbooks/data/export_postgres.yaml", *here, f"chroma_data_path={directory}", **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Table public.playbooks. books: exported, generation 1, 47 records." in done.stdout
    other = {**environ, "CHROMA_COLLECTION_NAME": "journals"}
    refused = run_playbook("../../playbooks/data/export_postgres.yaml", *here, f"chroma_data_path={directory}", **other)
    assert refused.returncode != 0
    assert "journals" in refused.stdout
    brought = run_playbook("../../playbooks/data/import_postgres.yaml", *here, f"chroma_url={newest.url}", **environ)
    assert brought.returncode == 0, brought.stdout + brought.stderr
    assert re.search(r"Generation 1 of \S+Z\. books -> books-by-playbook: 47 records, 47 written, 47 read back equal\.", brought.stdout)
    client = exporting.connect(newest.url)
    assert client.count(client.require_collection("books-by-playbook")) == 47
    assert postgres.PASSWORD not in done.stdout + brought.stdout
