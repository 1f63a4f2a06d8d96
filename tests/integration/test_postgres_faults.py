# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An export to PostgreSQL that ends in the middle: no half generation is ever visible, and the next run completes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import disks
import exporting
import postgres
import pytest
from exporting import COLLECTIONS

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import settings_from_environment
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.source import generation_batches
from ansible_collections.thinkube.chroma.tests.waiting import until

# Its COPY takes a second or more.
RECORDS, DIMENSION = 60_000, 128
NAME = "synthetic-0"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a data directory of which an export takes a while."""
    path = tmp_path_factory.mktemp("large") / "data"
    exporting.synthetic(path, RECORDS, DIMENSION)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory of the same collection with few records."""
    path = tmp_path_factory.mktemp("small") / "data"
    exporting.synthetic(path, 500, DIMENSION)
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    """Run a server that the tests crash and start again."""
    with postgres.running("16", "log_statement=all") as running:
        yield running


def start(cluster: postgres.Cluster, path: Path, scratch: Path, table: str) -> subprocess.Popen[str]:
    """Start chroma_export_postgres as a process of its own, the password in its environment."""
    file = scratch / f"arguments-{time.monotonic_ns()}.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"path": str(path)}}))
    command = [sys.executable, "-m", "ansible_collections.thinkube.chroma.plugins.modules.chroma_export_postgres", str(file)]
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS), **cluster.variables(BACKUP_TABLE=table)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the module and return its JSON."""
    output, errors = process.communicate(timeout=300)
    assert output.strip(), errors
    result: dict[str, Any] = json.loads(output)
    assert "exception" not in result, result
    return result


def export(cluster: postgres.Cluster, path: Path, table: str) -> dict[str, Any]:
    """Export in this process, and return the result, or what a module would say of the failure."""
    try:
        return export_directory(str(path), settings_from_environment(cluster.variables(BACKUP_TABLE=table)), Wanted())
    except ChromaError as error:
        return error.as_result()


def copying(cluster: postgres.Cluster) -> Callable[[], bool]:
    """Return what tells whether some rows were copied."""
    connection = cluster.connect()

    def some() -> bool:
        found = connection.execute("SELECT tuples_processed FROM pg_stat_progress_copy").fetchall()
        return any(count > 1000 for (count,) in found)

    return some


@contextmanager
def switching(cluster: postgres.Cluster, table: str) -> Iterator[Callable[[], bool]]:
    """Keep the table from being attached to, and give what tells whether an export waits for that in its switch."""
    with cluster.connect() as blocker, cluster.connect() as looker:
        blocker.execute("BEGIN")
        blocker.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE % ATTACH PARTITION %'"
        yield lambda: bool(looker.execute(waiting).fetchall())


def visible(cluster: postgres.Cluster, table: str) -> list[tuple[int, int, int]]:
    """Return generation, records that are seen, and records that should be, of what is current."""
    return cluster.query(
        f"SELECT g.generation, (SELECT count(*) FROM {table}_current c WHERE c.generation = g.generation), g.records"
        f" FROM {table}_generations g WHERE current"
    )  # type: ignore[return-value]


def tables(cluster: postgres.Cluster, table: str) -> list[int]:
    """Return the numbers of the generations that have a table."""
    found = cluster.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s", f"^{table}_g[0-9]+$")
    return sorted(int(name.removeprefix(f"{table}_g")) for (name,) in found)


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("export", "copy"),
        ("postgres", "switch"),
        pytest.param("export", "switch", marks=pytest.mark.thorough),
        pytest.param("postgres", "copy", marks=pytest.mark.thorough),
    ],
)
def test_killed_in_the_middle_nothing_half_is_seen_and_the_next_run_completes(victim, moment, cluster, large, small, tmp_path):
    table = f"killed_{victim}_{moment}"
    assert export(cluster, small, table)["collections"][0]["generation"] == 1
    if moment == "copy":
        process = start(cluster, large, tmp_path, table)
        until(copying(cluster), "a COPY", pause=0.005, process=process)
        kill(victim, cluster, process)
    else:
        try:
            with switching(cluster, table) as waits:
                process = start(cluster, large, tmp_path, table)
                until(waits, "an export that waits", pause=0.005, process=process)
                kill(victim, cluster, process)
        except postgres.psycopg.OperationalError:
            assert victim == "postgres"  # the one that kept the table died with the server
    if victim == "postgres":
        result = end(process)
        assert result["code"] in ("unreachable", "unavailable"), result
        assert postgres.PASSWORD not in json.dumps(result)
        cluster.start("log_statement=all")
    else:
        process.communicate()
    assert visible(cluster, table) == [(1, 500, 500)]
    assert tables(cluster, table) == [1, 2]
    # A killed client is noticed within a second; until then the lock is held.
    result = until(lambda: None if (done := export(cluster, large, table)).get("code") == "lock_held" else done, "the lock", pause=0.2)
    assert result["removed"] == [2], result
    number = result["collections"][0]["generation"]  # after a crash PostgreSQL leaves some out
    assert visible(cluster, table) == [(number, RECORDS, RECORDS)]
    assert tables(cluster, table) == [1, number]


def kill(victim: str, cluster: postgres.Cluster, process: subprocess.Popen[str]) -> None:
    if victim == "export":
        process.send_signal(signal.SIGKILL)
        process.wait()
    else:
        cluster.end(signal.SIGQUIT)


def test_a_connection_that_is_ended_from_outside_costs_nothing(cluster, large, small, tmp_path):
    export(cluster, small, "terminated")
    with cluster.connect() as looker:  # before it is needed: it takes a busy machine as long as the COPY
        process = start(cluster, large, tmp_path, "terminated")
        until(copying(cluster), "a COPY", pause=0.005, process=process)
        ended = looker.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_copy").fetchall()
    assert ended == [(True,)]
    assert end(process)["code"] in ("unavailable", "unreachable")
    assert visible(cluster, "terminated") == [(1, 500, 500)]
    assert export(cluster, large, "terminated")["removed"] == [2]


def test_a_full_tablespace_is_named_and_costs_nothing(cluster, large, small):
    # PostgreSQL runs as another user where root runs the tests, and reaches this.
    with disks.mounted(cluster.data.parent / "disk", "size=20m") as disk:
        try:
            if cluster.owner is not None:
                os.chown(disk, cluster.owner, -1)
            cluster.query(f"CREATE TABLESPACE small OWNER chroma LOCATION '{disk}'")
            cluster.query("ALTER ROLE chroma SET default_tablespace = 'small'")
            export(cluster, small, "filled")
            result = export(cluster, large, "filled")
            assert (result["code"], result["collections"]) == ("no_space", [])
            assert "Make room" in result["hint"]
            assert visible(cluster, "filled") == [(1, 500, 500)]
            assert tables(cluster, "filled") == [1]
            assert export(cluster, small, "filled")["collections"][0]["status"] == "unchanged"
            settings = settings_from_environment(cluster.variables(BACKUP_TABLE="filled"))
            assert sum(batch.num_rows for batch in generation_batches(settings, NAME)) == 500
        finally:
            cluster.query("ALTER ROLE chroma RESET default_tablespace")
            cluster.query("DROP VIEW IF EXISTS filled_current; DROP TABLE IF EXISTS filled, filled_generations CASCADE")
            cluster.query("DROP TABLESPACE IF EXISTS small")


def test_the_password_is_in_no_process_list_log_or_result(cluster, large, tmp_path):
    process = start(cluster, large, tmp_path, "quiet")
    seen = b""

    copies = copying(cluster)

    def some() -> bool:
        nonlocal seen
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen += file.read_bytes()
            except OSError:
                continue
        return copies()

    until(some, "copies", pause=0.005, process=process)
    output, errors = process.communicate(timeout=300)
    assert b"chroma_export_postgres" in seen
    secret = postgres.PASSWORD
    assert secret.encode() not in seen
    assert not any(secret in text or json.dumps(secret)[1:-1] in text for text in (output, errors))
    exported = cluster.log().partition('CREATE TABLE "public"."quiet"')
    assert exported[1]
    assert secret not in exported[2]
