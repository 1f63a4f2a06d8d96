# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation does what it says: every block of code is parsed, and run unless it is marked ``syntax``.

README.md, the first page, installs the release on the local cluster that the others need; CONTRIBUTING.md lists the marks.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
LANGUAGES = {"bash", "python", "yaml", "sql", "text"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence (from 1), its language, whether it runs, and its text."""

    page: Path
    line: int
    language: str
    runs: bool
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        language, *marks = match["info"].split()
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, marks != ["syntax"], match["code"]))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_of_a_known_language_and_closed(page: Path) -> None:
    blocks = blocks_of(page)
    assert {block.language for block in blocks} <= LANGUAGES
    # An indented one would be read by people, and by no test.
    assert len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) == 2 * len(blocks)


@pytest.mark.parametrize("block", of_language("bash"), ids=str)
def test_shell_can_be_parsed(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)


@pytest.mark.parametrize("block", of_language("python"), ids=str)
def test_python_can_be_parsed(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_yaml_can_be_loaded_and_a_playbook_is_one(block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.code)
    assert document
    if isinstance(document, list):
        playbook = tmp_path / "playbook.yaml"
        playbook.write_text(block.code)
        subprocess.run(["ansible-playbook", "--syntax-check", str(playbook)], check=True, cwd=ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        path, _separator, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, f"{page.name} links to {target}"


def script_of(page: Path, scratch: Path) -> str:
    """Return one shell script with the page's runnable blocks in their order; a Python block is a process of its own."""
    lines = ["set -euo pipefail", f"cd {shlex.quote(str(ROOT))}"]
    for block in blocks_of(page):
        if block.language not in ("bash", "python") or not block.runs:
            continue
        lines.append(f"printf '\\n--- %s\\n' {shlex.quote(str(block))}")
        if block.language == "bash":
            lines.append(block.code)
        else:
            program = scratch / f"line_{block.line}.py"
            program.write_text(block.code)
            lines.append(f"{shlex.quote(sys.executable)} {shlex.quote(str(program))}")
    return "\n".join(lines)


PAGES_THAT_RUN = [page for page in PAGES if any(block.runs and block.language in ("bash", "python") for block in blocks_of(page))]


@pytest.fixture
def served(page: Path) -> Iterator[None]:
    """No schedule of a page before comes in between, and the ingress knows the pod, which the page before may have replaced."""
    cluster = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma" / "cluster"
    kubectl = [str(cluster / "bin/kubectl"), f"--kubeconfig={cluster}/admin.conf", "--namespace=chroma"]
    schedules = subprocess.run([*kubectl, "get", "cronjobs", "--output=name"], check=True, capture_output=True, text=True).stdout.split()

    def suspend(value: str) -> None:
        for each in schedules:
            subprocess.run([*kubectl, "patch", each, "--patch", f'{{"spec": {{"suspend": {value}}}}}'], check=False, capture_output=True)

    # At its minute its Job would hold the lock, and the page's operation be refused.
    suspend("true")
    if page != ROOT / "README.md":
        # A pod that is ready is known to the ingress a moment later.
        patience = ["--silent", "--show-error", "--fail", "--output", os.devnull, "--retry", "120"]
        patience += ["--retry-delay", "1", "--retry-all-errors"]
        authority = str(cluster / "pki/ca.crt")
        subprocess.run(["curl", *patience, "--cacert", authority, "https://chroma.thinkube.test/api/v2/heartbeat"], check=True, timeout=600)
    yield
    suspend("false")


@pytest.mark.cluster
@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    # A user has neither of these set; blocks set what they need.
    environment = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "CHROMA_AUTH_TOKEN")}
    done = subprocess.run(
        ["bash", "-c", script_of(page, tmp_path)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1800,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"the last block that began is the one that failed:\n{done.stdout[-4000:]}"
