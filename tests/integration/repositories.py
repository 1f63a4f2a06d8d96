# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories for the tests, with a real restic; and ways to spoil them that restic itself would not take part in."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import object_store
import pytest
import restic
import restic_key

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, Saved, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings, environment
from ansible_collections.thinkube.chroma.tests.waiting import until

PASSWORD = "the-password-of-no-value"
BACKUP = "20261121T090000Z-00000"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write a directory to be backed up."""
    return make_tree(tmp_path / "tree", 1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where the repository is, or will be."""
    return tmp_path / "repository"


@pytest.fixture
def repository(place: Path) -> Repository:
    """Make a repository in a directory."""
    return open_repository(settings(place), create=True)


def settings(location: str | Path, **changes: Any) -> RepositorySettings:
    """Return the settings of a repository, with the pinned restic and little patience."""
    given = {"location": str(location), "password": PASSWORD, "restic_path": str(restic.quick()), "lock_wait": 2.0, **changes}
    return RepositorySettings(**given)


def in_store(store: object_store.ObjectStore, prefix: str, endpoint: str | None = None, **keys: Any) -> RepositorySettings:
    """Return the settings of a repository in an object store."""
    given = {"endpoint": endpoint or store.endpoint, "access_key": store.access_key, "secret_key": store.secret_key, "timeout": 2.0, **keys}
    return settings(f"s3://{store.bucket}/{prefix}", store=StoreSettings(**given))


def make_tree(path: Path, seed: int, megabytes: float = 1) -> Path:
    """Write a directory as a backup is one, with bytes that nothing compresses."""
    folder = path / "data" / "7ad3c1f0-segment"
    folder.mkdir(parents=True)
    numbers = random.Random(seed)
    (path / "manifest.json").write_text(json.dumps({"seed": seed}))
    (path / "data" / "chroma.sqlite3").write_bytes(numbers.randbytes(int(megabytes * 200_000)))
    (folder / "data_level0.bin").write_bytes(numbers.randbytes(int(megabytes * 800_000)))
    (folder / "name with * and [brackets]").write_text(f"only here: {seed}")
    return path


def contents(path: Path) -> dict[str, str]:
    """Return the files below a path with their checksums."""
    files = (each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def save(repository: Repository, tree: Path, number: int = 1, **more: Any) -> Saved:
    """Bring a tree into a repository as a backup with an id of this number."""
    return repository.backup(tree, [f"id={BACKUP}{number}", "kind=full"], more.pop("time", datetime.now(UTC)), **more)


def by_hand(repository: RepositorySettings, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run restic as somebody at a terminal does."""
    command = [str(restic.program()), "--no-cache", *arguments]
    return subprocess.run(command, env=environment(repository), capture_output=True, text=True, check=False, timeout=600, **more)


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> ChromaError:
    """Return the error of a call that has to fail, which says what to do next and no secret."""
    with pytest.raises(ChromaError) as caught:
        call(*arguments, **options)
    assert caught.value.hint
    assert PASSWORD not in json.dumps(caught.value.as_result())
    return caught.value


@contextlib.contextmanager
def at_work(repository: RepositorySettings, directory: Path, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a real restic at work in a repository, with a lock: a backup that waits for the rest of its input."""
    before = locks(directory)
    command = [*prefix, str(restic.program()), "--no-cache", "backup", "--stdin"]
    process = subprocess.Popen(command, env=environment(repository), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        until(lambda: locks(directory) - before, "a lock", process=process)
        yield process
    finally:
        process.kill()
        process.communicate()


def locks(directory: Path) -> set[Path]:
    """Return the locks of a repository, those left out that are only being written."""
    return {each for each in directory.glob("locks/*") if len(each.name) == 64}


def forge(repository: RepositorySettings, directory: Path, kind: str, document: dict[str, Any]) -> Path:
    """Put a file into a repository that restic would not write, encrypted as it does.

    Args:
        kind: ``config`` or a folder of the repository.
        document: its content.
    """
    keys = json.loads(by_hand(repository, "cat", "masterkey").stdout)
    encrypt, k, r = (base64.b64decode(each) for each in (keys["encrypt"], keys["mac"]["k"], keys["mac"]["r"]))
    content = restic_key.seal(encrypt, k, r, json.dumps(document).encode())
    path = directory / "config" if kind == "config" else directory / kind / hashlib.sha256(content).hexdigest()
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path
