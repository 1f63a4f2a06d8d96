# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of repair and recovery: a directory of its own, littered, damaged and mended. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import release
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, DATABASE, HEADER_FILE, LABELS_FILE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.operation import recover_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import Helpers, RecoveryRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import RepairRequest, UndoRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.run import repair
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.undo import undo
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.drill import NAME, Records, Scene, records
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import FULL


def drill(scratch: Path, restic_path: str) -> dict[str, Any]:
    """Litter and damage a directory, repair and recover it, and compare.

    Args:
        scratch: an empty directory; some tens of MB are written.
        restic_path: the program restic.

    Returns:
        ``drills`` with name, records or files expected and found, and whether they were equal; and ``chroma_version``.

    Raises:
        ChromaError: ``drill_failed`` where something was not as it should be; those of repair and recovery, with the drills so far.
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
        message = f"Repair and recovery are not right: {', '.join(wrong)}."
        raise ChromaError("drill_failed", message, "Report it with the list of drills.", result)
    return result


def _play(scene: Scene) -> None:
    written = scene.write(range(90))
    _drill_repair(scene)
    scene.back_up(FULL)
    whole = scene.scratch / "whole"
    shutil.copytree(scene.data, whole)
    index = _index(scene.data)
    helpers = Helpers(repository=partial(open_repository, scene.settings))

    def tried(act: Callable[[Path], None], name: str, helpers: Helpers) -> Records:
        shutil.rmtree(scene.data)
        shutil.copytree(whole, scene.data)
        act(scene.data)
        done = recover_collections(RecoveryRequest(scene.data), helpers)
        if done["failed"]:
            raise ChromaError("drill_failed", done["details"][0]["reason"], "Report it with the list of drills.")
        with scene.served() as client:
            return records(client, name)

    def without(name: str) -> Callable[[Path], None]:
        return lambda data: (data / name).unlink()

    def tear(data: Path) -> None:
        (data / index / HEADER_FILE).write_bytes(b"torn")

    beside = f"{NAME}-recovered"
    for name, lost in (("The label map is lost", LABELS_FILE), ("The vectors are lost", DATA_FILE)):
        scene.check(f"{name}: from log and backup", written, partial(tried, without(f"{index}/{lost}"), beside, helpers))
    scene.check("The header is torn: from the vectors themselves", written, partial(tried, tear, beside, Helpers()))
    scene.check("SQLite's file is lost: from index and backup", written, partial(tried, without(DATABASE), NAME, helpers))


def _drill_repair(scene: Scene) -> None:
    """Put a stray folder into the directory, repair that, and take the repair back."""
    stray = scene.data / str(uuid.uuid4())
    shutil.copytree(scene.data / _index(scene.data), stray)
    littered = scene.content()
    clean = {name: each for name, each in littered.items() if not name.startswith(stray.name)}

    def repaired() -> Records:
        repair(RepairRequest(scene.data, live=False))
        found = validate(scene.data, live=False).of_data
        return scene.content() if not found else {}

    def undone() -> Records:
        undo(UndoRequest(scene.data))
        return scene.content()

    scene.check("A folder without collection is repaired", clean, repaired)
    scene.check("Undo of that, byte by byte", littered, undone)
    repair(RepairRequest(scene.data, live=False))


def _index(data: Path) -> str:
    """Return the name of the folder of the one collection."""
    with open_directory(data) as directory:
        [found] = [each.vector.id for each in directory.collections() if each.vector]
        return found
