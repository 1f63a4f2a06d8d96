# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in the tests: of directories that real servers fill, into real repositories; and operations that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import restic
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.operation import Order, backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection
from ansible_collections.thinkube.chroma.tests.waiting import until

INTEGRATION = Path(__file__).resolve().parent
COLLECTIONS = INTEGRATION.parents[1] / "playbooks" / "collections"
DIMENSION = 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[servers.Server]:
    """Run the newest release on an empty directory."""
    (tmp_path / "data").mkdir()
    with servers.running(servers.VERSIONS[-1], data=tmp_path / "data") as running:
        yield running


def nobody(hostname: str) -> bool:
    """Say of a host that left a lock that nobody knows whether it is gone."""
    return False


def upsert(url: str, name: str, numbers: range, seed: int = 1) -> None:
    """Write records ``id-<number>`` to a collection, which is created where it is absent."""
    client = ChromaClient(Connection(url, timeout=120))
    collection = client.get_collection(name) or client.create_collection(name)
    values = random.Random(seed * 1_000_003 + numbers.start)
    for start in range(numbers.start, numbers.stop, 500):
        some = range(start, min(start + 500, numbers.stop))
        body = {
            "ids": [f"id-{each}" for each in some],
            "embeddings": [[round(values.gauss(0, 1), 6) for _place in range(DIMENSION)] for _each in some],
            "documents": [f"document {each}, written by {seed}" for each in some],
            "metadatas": [{"number": each, "seed": seed} for each in some],
        }
        client.write(collection, "upsert", json.dumps(body).encode())


def make(path: Path, settings: RepositorySettings, kind: str = "auto", *, check: bool = False, **wanted: Any) -> dict[str, Any]:
    """Make a backup in this process."""
    source = Source(path, **wanted.pop("source", {}))
    return backup(Order(kind, source=source, **wanted), settings, None, nobody, check)


def catalogue(settings: RepositorySettings) -> Catalogue:
    """Return what is in a repository."""
    return catalogue_of(open_repository(settings).snapshots())


def options(settings: RepositorySettings, **more: Any) -> dict[str, Any]:
    """Return the options of a module for a repository."""
    store = settings.store
    given = {
        "repository": settings.location,
        "repository_password": settings.password,
        "repository_lock_wait": settings.lock_wait,
        "restic_path": str(restic.quick()),
        "s3_endpoint": store.endpoint or None,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "s3_timeout": store.timeout,
        **more,
    }
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}


@contextmanager
def started(module: str, arguments: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a module as Ansible does, and yield its process; it is killed where it still runs at the end."""
    file = folder / f"{module}-{time.monotonic_ns()}.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    command = [sys.executable, "-m", f"ansible_collections.thinkube.chroma.plugins.modules.{module}", str(file)]
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(module: str, arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a module to its end, and return what it says."""
    with started(module, arguments, folder) as process:
        output, complaints = process.communicate(timeout=300)
    assert output.strip(), complaints
    said: dict[str, Any] = json.loads(output)
    return said


def reached(path: Path, step: str) -> bool:
    """Return whether the operation that is at work on a directory has begun a step."""
    journal = Journal.of(path)
    entries = {each.n for each in journal.open_entries()}
    return any(line.entry in entries and (line.name == step or (step == "begin" and line.event == "begin")) for line in journal.lines())


def kill_at(process: subprocess.Popen[str], path: Path, step: str, after: float = 0.0) -> None:
    """Kill an operation when it has begun a step, some seconds later."""
    until(lambda: reached(path, step), step, process=process)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()


def leftovers(path: Path) -> list[str]:
    """Return what is in the scratch of a directory."""
    folder = path / ".thinkube-chroma" / "scratch"
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
