# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must agree between files of one release."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_operations_run_this_release_of_the_collection() -> None:
    release = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert yaml.safe_load((ROOT / "roles" / "chroma" / "defaults" / "main.yml").read_text())["chroma_operations_version"] == release
    for page in ("docs/install.md", "images/operations/Containerfile"):
        assert f"/chroma-operations:{release}" in (ROOT / page).read_text()


def test_the_index_names_every_module_once() -> None:
    modules = (ROOT / "docs" / "README.md").read_text().partition("\n## Modules\n")[2].partition("\n\n`ansible-doc")[0]
    assert sorted(re.findall(r"`(chroma_\w+)`", modules)) == sorted(
        each.stem for each in (ROOT / "plugins" / "modules").glob("chroma_*.py")
    )


def test_no_password_is_an_argument_of_a_documented_command() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "roles" / "operations" / "vars" / "main.yml"]
    assert [each.name for each in pages if "from-literal" in each.read_text()] == []
    for name in ("docs/repository.md", "docs/restore.md", "roles/operations/vars/main.yml"):
        assert "--from-file=repository-password=" in (ROOT / name).read_text(), name


def test_what_takes_the_options_of_the_cluster_belongs_to_their_group() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert {"chroma_check_collection", "chroma_health"} <= set(groups["release"])
