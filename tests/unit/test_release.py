# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must agree between files of one release."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_operations_run_this_release_of_the_collection() -> None:
    release = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert yaml.safe_load((ROOT / "roles" / "chroma" / "defaults" / "main.yml").read_text())["chroma_operations_version"] == release
    for page in ("docs/install.md", "images/operations/Containerfile"):
        assert f"/chroma-operations:{release}" in (ROOT / page).read_text()
