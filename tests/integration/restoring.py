# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups to restore from, made by the real modules with a real Chroma and a real restic, and the modules as processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import restic
import servers
from chains import State, Writer, state_of, write

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
PASSWORD = "a password of the tests"
NEWEST = servers.VERSIONS[-1]

# A module whose process is killed by its own hand before its n-th step of a kind, which nobody else can time.
KILLED = """
import os, runpy, signal, sys
name, module, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv = [module, sys.argv[4]]
steps = 0
def counted(function):
    def call(*arguments, **options):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
import importlib
*owners, attribute = name.split(".")
prefix = "ansible_collections.thinkube.chroma.plugins.module_utils."
found = importlib.import_module(prefix + ".".join(owners[:2]))
for each in owners[2:]:
    found = getattr(found, each)
setattr(found, attribute, counted(getattr(found, attribute)))
runpy.run_module("ansible_collections.thinkube.chroma.plugins.modules." + module, run_name="__main__")
"""


@dataclass(frozen=True)
class Place:
    """A data directory and a repository below one folder."""

    root: Path

    @property
    def data(self) -> Path:
        """The data directory; made where it is absent."""
        path = self.root / "data"
        path.mkdir(exist_ok=True)
        return path

    @property
    def repository(self) -> Path:
        """The repository."""
        return self.root / "repository"

    def module(self, name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module to its end, and return its JSON; a traceback fails the test."""
        done = self.start(name, check=check, **options)
        output, errors = done.communicate(timeout=300)
        assert output.strip(), errors
        result: dict[str, Any] = json.loads(output)
        assert "exception" not in result, result
        assert PASSWORD not in output + errors
        result.pop("invocation", None)
        return result

    def start(
        self, name: str, /, *, check: bool = False, kill: tuple[str, int] | None = None, job: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        """Start a module, as an attempt of a ``job``; with ``kill`` it is killed before its n-th call of a function."""
        given = {
            "repository": str(self.repository),
            "repository_password": PASSWORD,
            "restic_path": str(restic.quick()),
            "_ansible_check_mode": check,
            **options,
        }
        arguments = {key: value for key, value in given.items() if value is not None}
        file = self.root / f"arguments-{time.monotonic_ns()}.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        command = ["-m", f"ansible_collections.thinkube.chroma.plugins.modules.{name}", str(file)]
        if kill:
            command = ["-c", KILLED, kill[0], name, str(kill[1]), str(file)]
        environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "CHROMA_OPERATION_JOB": job}
        return subprocess.Popen([sys.executable, *command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def killed(self, name: str, function: str, number: int, /, **options: Any) -> bool:
        """Run a module that is killed before a call of a function; return False where it never came to that call."""
        process = self.start(name, kill=(function, number), **options)
        output, errors = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), (output, errors)
        return process.returncode != 0

    def backup(self, kind: str = "full", **options: Any) -> str:
        """Make a backup of the directory and return its id."""
        result = self.module("chroma_backup", path=str(self.data), kind=kind, **options)
        assert not result.get("failed"), result
        return str(result["backup"]["id"])

    def restore(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Restore the directory."""
        return self.module("chroma_restore", check=check, path=str(self.data), **options)

    def undo(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Undo a restore of the directory."""
        return self.module("chroma_restore_undo", check=check, path=str(self.data), **options)

    def backups(self) -> list[dict[str, Any]]:
        """Return what restic says of all snapshots."""
        environ = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
        command = [str(restic.program()), "-r", str(self.repository), "snapshots", "--json", "--no-lock", "--no-cache"]
        return json.loads(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout) or []

    def served(self) -> State:
        """Serve the directory with Chroma and return all that it holds."""
        with servers.running(NEWEST, data=self.data) as server:
            return state_of(server.url)


def fill(place: Place, seed: int = 1, turns: int = 3) -> State:
    """Write all kinds of records and collections into a place's directory; return what the server says."""
    with servers.running(NEWEST, data=place.data) as server:
        writer = Writer(server.url, seed, lists=True)
        writer.made = 1000 * seed  # names that no other writer gives
        for _each in range(turns):
            writer.turn()
        return state_of(server.url)


def upsert(url: str, first: int, last: int) -> None:
    """Write records into the one collection of a server, whose index is saved after every twenty."""
    client = ChromaClient(Connection(url))
    books = client.get_collection("books") or client.create_collection("books", {}, {"sync_threshold": 20, "batch_size": 10})
    numbers = range(first, last)
    write(client, books, "upsert", [f"id-{each}" for each in numbers], embeddings=[[each, 1.0, 0.5] for each in numbers])


def files(directory: Path) -> Mapping[str, str]:
    """Return the checksums of what is Chroma's in a directory."""
    found = (each.relative_to(directory) for each in directory.rglob("*") if each.is_file())
    return {str(each): hashlib.sha256((directory / each).read_bytes()).hexdigest() for each in found if each.parts[0] != ".thinkube-chroma"}


# What a restore that has come to its end leaves beside the data; the lineage begins with the next backup.
KEPT = {"lock", "journal.jsonl", "journal.head", "swap.json", "instance", "last-backup.json"}


def private(directory: Path) -> set[str]:
    """Return what is left of ours in a directory, beside empty folders."""
    folder = directory / ".thinkube-chroma"
    return {each.name for each in folder.iterdir() if each.is_file() or any(each.iterdir())} if folder.exists() else set()
