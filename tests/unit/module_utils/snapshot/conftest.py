# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small data directories for the unit tests of snapshots."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def directory(pattern: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(pattern, tmp_path / "data"))
