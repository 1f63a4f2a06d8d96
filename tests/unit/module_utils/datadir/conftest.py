# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small data directories for the reader's unit tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.tests.unit.module_utils.datadir.directories import DIMENSION, RECORDS


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a healthy directory that no test changes: two collections of 60 records."""
    path = tmp_path_factory.mktemp("pattern") / "data"
    synthetic.create(path, RECORDS, DIMENSION, collections=2)
    return path


@pytest.fixture
def directory(pattern: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(pattern, tmp_path / "data"))


@pytest.fixture(scope="session")
def state() -> Callable[[Path], dict[str, tuple[int, bytes]]]:
    """Return a function that returns time and content of everything in a directory."""

    def of(path: Path) -> dict[str, tuple[int, bytes]]:
        return {
            str(each.relative_to(path)): (each.stat().st_mtime_ns, each.read_bytes() if each.is_file() else b"")
            for each in [path, *sorted(path.rglob("*"))]
        }

    return of
