# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restoration's own test: a directory of its own, backed up, changed, damaged, brought back. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.operation import Order, backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import release, running
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.collection import CollectionRequest, restore_collection
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import LATEST
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import FULL, INCREMENT
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NAME, BESIDE = "books", "books-then"
# Low, so that the index is saved, and a part of the records is in the log only.
SETTINGS = {"sync_threshold": 40, "batch_size": 10}

# id → vector, document, metadata.
Records = Mapping[str, Any]


@dataclass
class Scene:
    """A directory and a repository in scratch.

    Args:
        scratch: an empty directory.
        restic_path: the program.

    Attributes:
        drills: what was tried, expected and found.
    """

    scratch: Path
    restic_path: str
    drills: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = self.scratch / "data"
        self.data.mkdir()
        self.settings = RepositorySettings(str(self.scratch / "repository"), secrets.token_hex(16), restic_path=self.restic_path)
        self._around = Surroundings(partial(open_repository, self.settings))

    @contextmanager
    def served(self) -> Iterator[ChromaClient]:
        """Serve the directory with Chroma for the length of a ``with`` block."""
        with running(self.data, self.scratch / "chroma.log") as url:
            yield ChromaClient(Connection(url, timeout=60.0))

    def write(self, numbers: range, gone: range = range(0)) -> Records:
        """Write records and delete others; return what Chroma has then."""
        with self.served() as client:
            books = client.get_collection(NAME) or client.create_collection(NAME, {"made": "by the drill"}, SETTINGS)
            columns = {
                "ids": [f"id-{each}" for each in numbers],
                "embeddings": [[(each * 7 + place * 3) % 23 / 23 for place in range(8)] for each in numbers],
                "documents": [f"document {each} of {len(numbers)}" for each in numbers],
                "metadatas": [{"number": each, "tags": ["a", f"b{each}"]} for each in numbers],
            }
            client.write(books, "upsert", json.dumps(columns).encode())
            client.delete(books, [f"id-{each}" for each in gone])
            return records(client, NAME)

    def back_up(self, kind: str) -> str:
        """Back the directory up, and return the backup's id."""
        made = backup(Order(kind, source=Source(self.data, live=False)), self.settings, None, lambda _hostname: False)
        return str(made["backup"]["id"])

    def bring(self, name: str = LATEST, undo: bool = False) -> Records:
        """Restore a backup, or undo that; return what Chroma has then."""
        number = len(self.drills)
        restore(self._around, RestoreRequest(self.data, f"drill-{number}-{secrets.token_hex(3)}", name, undo=undo))
        return self.content() if undo else self.seen()

    def seen(self) -> Records:
        """Return what Chroma serves of a copy: it writes into a directory at its start."""
        with self.served() as client:
            return records(client, NAME)

    def content(self) -> Records:
        """Return the checksums of the directory's files."""
        found = (each for each in self.data.rglob("*") if each.is_file() and PRIVATE not in each.parts)
        return {str(each.relative_to(self.data)): hashlib.sha256(each.read_bytes()).hexdigest() for each in found}

    def beside(self, name: str) -> Records:
        """Restore the collection of a backup under another name into a running Chroma; return what that has."""
        with self.served() as client:
            restore_collection(self._around.repository, client, CollectionRequest(NAME, BESIDE, name, path=self.data))
            return records(client, BESIDE)

    def check(self, name: str, expected: Records, act: Callable[[], Records]) -> None:
        """Try something, and note whether it brings what is expected."""
        self.drills.append({"name": name, "expected": len(expected), "found": 0, "equal": False})
        found = act()
        self.drills[-1] |= {"found": len(found), "equal": found == expected}


def records(client: ChromaClient, name: str) -> Records:
    """Return all records of a collection."""
    return {each["id"]: each for each in client.get(client.require_collection(name), page=1000)}


def drill(scratch: Path, restic_path: str) -> dict[str, Any]:
    """Back up a directory, change it, and bring each of its states back.

    Args:
        scratch: an empty directory; some tens of MB are written.
        restic_path: the program restic.

    Returns:
        ``drills`` with name, records or files expected and found, and whether they were equal; and ``chroma_version``.

    Raises:
        ChromaError: ``drill_failed`` where something did not come back; those of backup and restoration, with the drills so far.
    """
    require_data_libraries()
    scene = Scene(scratch, restic_path)
    try:
        _play(scene)
    except ChromaError as error:
        error.result = {**error.result, "drills": scene.drills}
        raise
    result = {"drills": scene.drills, "chroma_version": release()}
    if wrong := [each["name"] for each in scene.drills if not each["equal"]]:
        raise ChromaError(
            "drill_failed", f"The restoration is not right: {', '.join(wrong)}.", "Report it with the list of drills.", result
        )
    return result


def _play(scene: Scene) -> None:
    first = scene.write(range(90))
    full = scene.back_up(FULL)
    second = scene.write(range(60, 110), gone=range(10))
    increment = scene.back_up(INCREMENT)
    scene.write(range(100, 140), gone=range(20, 30))
    last = scene.content()
    scene.check("The newest point: a full backup and an increment", second, scene.bring)
    scene.check("Undo, byte by byte", last, partial(scene.bring, undo=True))
    scene.check("The full backup by its id", first, partial(scene.bring, full))
    scene.check("One collection under another name beside it", second, partial(scene.beside, increment))
    (scene.data / DATABASE).write_bytes(b"?" * 8192)
    damaged = scene.content()
    scene.check("Over a damaged directory", first, partial(scene.bring, full))
    scene.check("Undo of that: the damaged bytes", damaged, partial(scene.bring, undo=True))
    for each in list(scene.data.iterdir()):
        if each.name != PRIVATE:
            each.rename(scene.scratch / f"lost-{each.name}")
    scene.check("Into an empty directory", second, scene.bring)
