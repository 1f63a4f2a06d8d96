# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks said, what PostgreSQL holds, and the events that somebody sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from ..backup.state import ask, events
from ..conftest import CLUSTER, Release

# molecule/recovery/pass.yml names the Jobs of an hour.
HEALTH, EXPORT, CHECK = "health", "export-postgres", "check-collection"


def said(release: Release, hour: str, check: str) -> list[dict[str, Any]]:
    """Return the events of the only pod of a scheduled check: none was tried a second time."""
    [pod] = release.get("pods", f"--selector=batch.kubernetes.io/job-name={hour}-{check}")["items"]
    return events(release, pod)


def result(release: Release, hour: str, check: str) -> dict[str, Any]:
    """Return what a scheduled check handed over."""
    [found] = [event["result"] for event in said(release, hour, check) if event["event"] == "result"]
    return dict(found)


def alerts(release: Release) -> list[tuple[str, str, str]]:
    """Return type, reason and message of the Events about the server that are ours."""
    found = release.get("events", f"--field-selector=involvedObject.name={release.names['chroma_statefulset']}").get("items", [])
    return [(each["type"], each["reason"], each["message"]) for each in found if each["source"].get("component") == "thinkube.chroma"]


def rows(release: Release, statement: str) -> list[tuple[Any, ...]]:
    """Return what PostgreSQL answers; ``{generations}``, ``{current}`` and ``{faults}`` in the statement are the names of its tables."""
    schema, table = release.names["chroma_postgres_table"].split(".")
    names = {each: sql.Identifier(schema, f"{table}_{each}") for each in ("generations", "current", "faults")}
    values = dict(line.split("=", 1) for line in (CLUSTER / "postgres.env").read_text().splitlines())
    place = {"host": values["DB_HOST"], "port": values["DB_PORT"], "dbname": values["DB_NAME"]}
    with psycopg.connect(**place, user=values["DB_USER"], password=values["DB_PASSWORD"]) as connection:
        return connection.execute(sql.SQL(statement).format(**names)).fetchall()


def vectors(release: Release, name: str, limit: int = 5000) -> dict[str, np.ndarray]:
    """Return the vectors of a collection by their ids, float32."""
    found = ask(release, f"/{ask(release, f'/{name}')['id']}/get", limit=limit, include=["embeddings"])
    return {each: np.array(vector, np.float32) for each, vector in zip(found["ids"], found["embeddings"], strict=True)}
