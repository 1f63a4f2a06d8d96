# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that are repaired, what is left of them, and processes that are killed in the middle of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken
import pytest
import servers
from restoring import files
from writing import served

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import REPAIRABLE
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import RepairRequest, UndoRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.run import repair
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.undo import undo

QUARANTINE = f"{PRIVATE}/quarantine"
# Severe findings that come first in these cases: what seems to belong to nobody is what is missing there.
SEVERE = {"CHR013", "CHR053", "CHR054", "CHR071"}


def cases(version: str) -> list[broken.Case]:
    """Return the ways to break a directory of a release of which something can be repaired, or looks as if it could."""
    return [each for each in broken.CASES if version in each.versions and kinds(each) & REPAIRABLE]


def kinds(case: broken.Case) -> set[str]:
    """Return the identifiers of what is found."""
    return {name for name, _collection in case.expected}


def breaks(name: str, version: str, bases: Callable[[str], tuple[Path, Path]], path: Path) -> broken.Scene:
    """Copy a release's directory, and break it."""
    base, early = bases(version)
    shutil.copytree(base, path)
    scene = broken.Scene(path, version, early)
    next(each for each in broken.CASES if each.name == name).act(scene)
    return scene


def mend(path: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Repair a directory."""
    return repair(RepairRequest(path=path, **options), check=check)


def unmend(path: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Undo a repair."""
    return undo(UndoRequest(path=path, **options), check=check)


def found(path: Path) -> list[str]:
    """Return what is wrong with the data, whatever the volume is like."""
    return sorted(each.kind.id for each in validate(path).of_data)


def refused(work: Callable[[], object], code: str) -> ChromaError:
    """Return the error that something fails with, which has a hint."""
    with pytest.raises(ChromaError) as error:
        work()
    assert error.value.code == code, error.value.message
    assert error.value.hint
    return error.value


def left(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings that a repair left, but for those about the volume that the tests happen to run on."""
    return [each for each in result["left"] if each["finding"] < "CHR100"]


def records(version: str, path: Path, names: list[str]) -> Any:
    """Return what a server of a copy of a directory says of collections."""
    copy = path.with_name(f"{path.name}-served")
    shutil.copytree(path, copy, ignore=shutil.ignore_patterns(PRIVATE))
    try:
        with servers.running(version, data=copy) as server:
            return served(server.url, names)
    finally:
        shutil.rmtree(copy)


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return each row of each of Chroma's tables with the types of its values; where it lies matters to nobody, so it is sorted."""
    connection = sqlite3.connect(path / "chroma.sqlite3")
    try:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'embedding_fulltext_search_%'"
            )
        ]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}
    finally:
        connection.close()


def everything(path: Path) -> tuple[dict[str, list[tuple[Any, ...]]], dict[str, str]]:
    """Return the rows of a directory and the checksums of its other files."""
    return rows(path), {name: each for name, each in files(path).items() if name != "chroma.sqlite3"}


def state(path: Path) -> str:
    """Return the state of a directory's only quarantine; empty where it has no manifest."""
    manifests = list((path / QUARANTINE).glob("[!.]*/manifest.json"))
    return str(json.loads(manifests[0].read_text())["state"]) if manifests else ""


def killed(work: Callable[[], object], owner: Any, name: str, number: int) -> bool:
    """Do something in a process that is killed before its n-th call of a function; return False where it never came to that call."""
    child = os.fork()
    if not child:
        _die_at(owner, name, number)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed"
    return os.WIFSIGNALED(status)


def _die_at(owner: Any, name: str, number: int) -> None:
    function = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(owner, name, counted)
