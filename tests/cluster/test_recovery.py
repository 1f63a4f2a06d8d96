# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repair, transactions and PostgreSQL as Jobs: planned, done, undone, killed and refused. The checks' own story is molecule's (recovery).

Every playbook runs with -vvv and --diff, so that the last tests can look for secrets in what was written and shown.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import chromadb
import numpy as np
import psycopg
import pytest

from .conftest import CLUSTER, COLLECTIONS, MARKS, PREFIX, TOKEN, Done, Playbooks, ProcessWatch, Release, create, kubectl, until
from .jobs import begun, ended, exit_codes, is_in_phase, pods

# A database is everybody's, the schema is ours.
SCHEMA = "acceptance_recovery"
RELEASE = Release(
    f"{PREFIX}-recovery", {"chroma_capacity": "2Gi", "chroma_backup_capacity": "2Gi", "chroma_postgres_table": f"{SCHEMA}.kept"}
)
LOUD = ("-vvv", "--diff")
WRONG = "wrong-Acceptance5e78-password"
BIG, SMALL, DIMENSION = 4_000, 1_200, 64


def credentials() -> dict[str, str]:
    return dict(line.split("=", 1) for line in (CLUSTER / "postgres.env").read_text().splitlines())


@contextlib.contextmanager
def database() -> Iterator[psycopg.Connection[Any]]:
    values = credentials()
    place = {"host": values["DB_HOST"], "port": values["DB_PORT"], "dbname": values["DB_NAME"]}
    with psycopg.connect(**place, user=values["DB_USER"], password=values["DB_PASSWORD"], autocommit=True) as connection:
        yield connection


def rows(statement: str) -> list[tuple[Any, ...]]:
    with database() as connection:
        return connection.execute(statement.format(schema=SCHEMA)).fetchall()


def connect() -> Any:
    """Return Chroma's own client, by the Service's address: the tests' own way to the data needs no certificate."""
    address = RELEASE.get("service", "chromadb-svc")["spec"]["clusterIP"]
    return chromadb.HttpClient(host=address, port=80, headers={"X-Chroma-Token": TOKEN})


def fill(client: Any, name: str, records: int, dimension: int) -> None:
    collection = client.create_collection(name, metadata={"made": name})
    vectors = np.random.default_rng(records).standard_normal((records, dimension), dtype=np.float32)
    for begin in range(0, records, 4000):
        numbers = range(begin, min(begin + 4000, records))
        parts: dict[str, Any] = {
            "documents": [f"document {number}" for number in numbers],
            "metadatas": [{"n": number} for number in numbers],
        }
        collection.add(ids=[str(number) for number in numbers], embeddings=vectors[numbers.start : numbers.stop], **parts)


def content(name: str) -> tuple[Any, ...]:
    """Return all that a collection holds, ready to be compared."""
    collection = connect().get_collection(name)
    found = collection.get(include=["embeddings", "documents", "metadatas"])
    order = np.argsort(found["ids"])
    parts = ([found[part][index] for index in order] for part in ("ids", "documents", "metadatas"))
    return (*parts, np.asarray(found["embeddings"], dtype=np.float32)[order].tobytes(), collection.metadata)


def names() -> set[str]:
    return {each.name for each in connect().list_collections()}


def folders() -> dict[str, str]:
    """Return the checksum of all files of each index's folder, as the server's container sees them."""
    script = "cd /data && for each in */; do echo $each $(find $each -type f | sort | xargs sha256sum | sha256sum); done"
    listed = kubectl("exec", "chroma-0", f"--namespace={RELEASE.name}", "--container=chroma", "--", "sh", "-c", script)
    return {line.split()[0]: line.split()[1] for line in listed.splitlines()}


@pytest.fixture(scope="module")
def deployed(playbooks: Playbooks, processes: ProcessWatch) -> Iterator[Release]:
    """A release with two collections, and an empty schema in PostgreSQL."""
    with database() as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    playbooks.succeed("10_deploy", RELEASE, *LOUD)
    for name, values in (("chroma-postgres", credentials()), ("chroma-postgres-wrong", {**credentials(), "DB_PASSWORD": WRONG})):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        create(apiVersion="v1", kind="Secret", metadata={"name": name, "namespace": RELEASE.name}, data=data)
    fill(connect(), "big", BIG, DIMENSION)
    fill(connect(), "small", SMALL, 16)
    yield RELEASE
    with database() as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def test_a_repair_is_said_before_it_is_done_and_undone_byte_for_byte(deployed: Release, playbooks: Playbooks) -> None:
    fill(connect(), "gone", SMALL, 16)
    before = folders()
    connect().delete_collection("gone")
    assert folders() == before  # Chroma 1.x leaves it
    planned = playbooks.succeed("41_repair", deployed, *LOUD, "--check")
    assert "CHR017" in planned.output
    assert folders() == before
    playbooks.succeed("41_repair", deployed, *LOUD, chroma_repair_stop=False)
    assert len(folders()) == len(before) - 1
    assert deployed.curl(COLLECTIONS, TOKEN) == 200
    playbooks.succeed("49_undo_repair", deployed, *LOUD)
    assert folders() == before
    assert playbooks.succeed("41_repair", deployed, *LOUD).changed
    assert len(folders()) == len(before) - 1


def test_a_collection_that_was_deleted_and_one_that_was_renamed_come_back(deployed: Release, playbooks: Playbooks) -> None:
    kept = content("small")
    playbooks.succeed("82_delete_collection", deployed, *LOUD, chroma_delete_collection="small")
    assert names() == {"big"}
    playbooks.succeed("89_undo_collection", deployed, *LOUD)
    assert content("small") == kept
    refused = playbooks.run("83_rename_collection", deployed, *LOUD, chroma_rename_collection="small", chroma_rename_to="big")
    assert refused.code != 0
    assert "exit code 5 (bad input)" in refused.words
    playbooks.succeed("83_rename_collection", deployed, *LOUD, chroma_rename_collection="small", chroma_rename_to="little")
    assert (names(), content("little")) == ({"big", "little"}, kept)
    playbooks.succeed("89_undo_collection", deployed, *LOUD)
    assert (names(), content("small")) == ({"big", "small"}, kept)


def test_a_deletion_whose_pod_is_killed_is_completed_by_the_next_one(deployed: Release, playbooks: Playbooks) -> None:
    fill(connect(), "killed", BIG, DIMENSION)
    process, output = playbooks.start("82_delete_collection", deployed, *LOUD, chroma_delete_collection="killed")
    job = begun(process, output)
    until(lambda: is_in_phase(deployed, job, "upload"), "a restore point under way", process=process)
    [pod] = pods(deployed, job)
    kubectl("delete", "pod", pod["metadata"]["name"], f"--namespace={deployed.name}", "--grace-period=1", "--wait=false")
    assert ended(process, output, playbooks).code == 0
    assert names() == {"big", "small"}


def test_a_database_that_crashes_in_the_middle_of_an_export_shows_nothing_half_and_the_next_attempt_completes(
    deployed: Release, playbooks: Playbooks
) -> None:
    playbooks.succeed("43_export_postgres", deployed, *LOUD)
    connect().get_collection("small").add(ids=["late"], embeddings=[[1.0] * 16], documents=["late"], metadatas=[{"n": -1}])
    with contextlib.suppress(psycopg.OperationalError), database() as connection, connection.transaction():
        # It can read, and wait; nobody can say that there is a new generation.
        connection.execute(f"LOCK TABLE {SCHEMA}.kept_generations IN EXCLUSIVE MODE")
        process, output = playbooks.start("43_export_postgres", deployed, *LOUD)
        job = begun(process, output)
        until(lambda: rows("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0], "an export that waits", process=process)
        # All but the first process, which starts the others anew after it has recovered from its log.
        kubectl("exec", "postgres-0", "--namespace=postgres", "--", "sh", "-c", "kill -KILL -1")
    done = ended(process, output, playbooks)
    assert done.code == 0, done.output[-4000:]
    assert exit_codes(deployed, job) == [0, 7]
    current = "SELECT collection, records FROM {schema}.kept_generations WHERE current ORDER BY collection"
    assert rows(current) == [("big", BIG), ("small", SMALL + 1)]
    tables = rows("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}' AND tablename ~ '^kept_g[0-9]+$'")
    assert tables == rows("SELECT count(*) FROM {schema}.kept_generations")


def test_what_was_exported_comes_back_equal_under_another_name(deployed: Release, playbooks: Playbooks) -> None:
    playbooks.succeed("44_import_postgres", deployed, *LOUD, chroma_collection_name="small", chroma_new_collection_name="small-again")
    assert content("small-again")[:4] == content("small")[:4]
    checked = playbooks.succeed("45_check_collection", deployed, *LOUD, chroma_collection_name="small")
    assert checked.code == 0


def test_wrong_credentials_of_postgresql_are_told_once_and_nothing_is_written(deployed: Release, playbooks: Playbooks) -> None:
    before = rows("SELECT count(*), max(generation) FROM {schema}.kept_generations")
    done = refused(playbooks.run("43_export_postgres", deployed, *LOUD, chroma_postgres_secret="chroma-postgres-wrong"))
    assert "DB_PASSWORD" in done.words
    assert rows("SELECT count(*), max(generation) FROM {schema}.kept_generations") == before


def refused(done: Done) -> Done:
    """Assert that an operation was refused, once."""
    assert done.code != 0
    assert "exit code 5 (bad input)" in done.words, done.output[-4000:]
    started = re.search(r"Started (chroma-[a-z0-9-]+)\.", done.output)
    assert started
    assert exit_codes(RELEASE, started[1]) == [5]
    return done


def test_repair_and_recovery_are_proven_in_scratch(deployed: Release, playbooks: Playbooks) -> None:
    before = folders()
    playbooks.succeed("48_test_recover", deployed, *LOUD)
    assert folders() == before


def test_no_secret_is_in_objects_logs_or_output(deployed: Release, playbooks: Playbooks, processes: ProcessWatch) -> None:
    secrets = {"token": MARKS[0], "password": credentials()["DB_PASSWORD"], "wrong password": WRONG}
    secrets |= {f"{name}, encoded": base64.b64encode(value[:12].encode()).decode() for name, value in secrets.items()}
    shown = kubectl("get", "all,cronjobs,configmaps,leases,events", f"--namespace={deployed.name}", "--output=yaml")
    operations = deployed.get("pods", "--selector=app.kubernetes.io/component=operation")["items"]
    logs = "".join(kubectl("logs", pod["metadata"]["name"], f"--namespace={deployed.name}") for pod in operations)
    assert '"event":"result"' in logs
    listed = b"\n".join(processes.seen).decode(errors="replace")
    assert "thinkube.chroma.data.export_postgres" in listed
    everything = shown + logs + listed + "".join(playbooks.journal)
    assert [name for name, value in secrets.items() if value in everything] == []


def test_the_removal_leaves_nothing(deployed: Release, playbooks: Playbooks) -> None:
    kubectl("delete", "secrets", "chroma-postgres", "chroma-postgres-wrong", f"--namespace={deployed.name}")
    playbooks.succeed("19_rollback", deployed, *LOUD, remove_data=True, remove_backups=True)
    assert not deployed.exists()
