# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories in the states in which somebody restores over them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE

# More than a page of the cache is changed, so the file is written to before the commit that never comes.
DYING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE embedding_metadata SET string_value = string_value || '!'")
connection.execute("UPDATE embeddings SET created_at = created_at || '!'")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def data(pattern: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(pattern, tmp_path / "data"))


@pytest.fixture
def interrupted(data: Path) -> Path:
    """Return one whose server was killed in a transaction: its journal has to be rolled back."""
    subprocess.run([sys.executable, "-c", DYING, str(data / DATABASE)], check=False)
    assert (data / f"{DATABASE}-journal").stat().st_size > 512
    return data
