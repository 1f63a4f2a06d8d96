# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small data directory for the unit tests of what copies and replaces such."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.bench import synthetic


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a healthy directory that no test changes: two collections of 60 records."""
    path = tmp_path_factory.mktemp("pattern") / "data"
    synthetic.create(path, 60, 4, collections=2)
    return path
