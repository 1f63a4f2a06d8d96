# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say of backups on a bare host, run word by word: only the places are others. Needs no cluster.

Their blocks are marked ``syntax``, because /data, a password in /etc and a service are a reader's own. Here each of these stands for
something below a scratch directory, and the commands run in the order of somebody who backs up, loses something, restores and undoes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from .test_pages import ROOT, blocks_of

DOCS = ROOT / "docs"
RECORDS = 60
PLACES = {
    "/etc/chroma-backup/password": "password",
    "/path/to/password": "password",
    "/backups/chroma": "backups",
    "/tmp/tree": "tree",
    "/data": "data",
}


def block_with(page: str, part: str) -> str:
    """Return the one block of a page that has this in it."""
    [block] = [each for each in blocks_of(DOCS / page) if part in each.code and each.language in ("bash", "python")]
    return block.code


@dataclass(frozen=True)
class Host:
    """A machine of a reader's: what stands for its places is below a scratch directory."""

    scratch: Path
    environment: Mapping[str, str]

    @property
    def data(self) -> Path:
        return self.scratch / "data"

    def run(self, code: str, instead: Mapping[str, str] = MappingProxyType({})) -> str:
        """Run a block and return what it printed.

        Args:
            instead: other things of a reader's, and what stands for them.
        """
        for reader, stands_for in instead.items():
            assert reader in code, reader
            code = code.replace(reader, stands_for)
        for place, stands_for in PLACES.items():
            # /tmp/tree/data is a place below another one.
            for before in ("=", " ", '"'):
                code = code.replace(f"{before}{place}", f"{before}{self.scratch / stands_for}")
        interpreter = [sys.executable] if code.startswith(("import ", "from ")) else ["bash", "-euo", "pipefail"]
        command = [*interpreter, "-c", code]
        done = subprocess.run(command, cwd=self.scratch, env=self.environment, capture_output=True, text=True, check=False, timeout=300)
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "password").write_text("kept in a drawer\n")
    restic = subprocess.run([sys.executable, str(ROOT / "tests/integration/restic.py")], capture_output=True, text=True, check=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "restic").symlink_to(restic.stdout.strip())
    service = programs / "systemctl"
    service.write_text("#!/bin/sh\n")
    service.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "ANSIBLE_"))}
    environment |= {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    return Host(tmp_path, environment)


def write(data: Path, statement: str) -> None:
    """Let Chroma write in a process of its own, which has nothing open any more when it has ended."""
    program = f"import chromadb; c = chromadb.PersistentClient({str(data)!r}).get_or_create_collection('docs', embedding_function=None)"
    subprocess.run([sys.executable, "-c", f"{program}; {statement}"], check=True)


def count(data: Path) -> int:
    program = f"import chromadb; print(chromadb.PersistentClient({str(data)!r}).get_collection('docs').count())"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def test_a_bare_host_is_backed_up_restored_undone_and_read_by_restic_alone_as_the_pages_say(host: Host) -> None:
    write(host.data, f"c.add([str(n) for n in range({RECORDS})], [[float(n), 1.0] for n in range({RECORDS})])")
    said = host.run(block_with("backup.md", "thinkube.chroma.data.backup "))
    assert f"{RECORDS} records" in said
    assert "1 backup, 1 verified" in said

    write(host.data, "c.delete([str(n) for n in range(40)])")
    restore, undo = (block_with("restore.md", f"thinkube.chroma.data.{name} ") for name in ("restore", "undo_restore"))
    assert "a restore point keeps what is there" in host.run(restore)
    assert count(host.data) == RECORDS
    host.run(undo)
    assert count(host.data) == RECORDS - 40

    log = block_with("journal.md", "thinkube.chroma.data.log")
    said = host.run("\n".join(line for line in log.splitlines() if "tk_ansible" not in line))
    assert [each for each in ("backup", "restore", "undo-restore", "whole") if each not in said] == []

    host.run(block_with("repository.md", "restic restore latest"))
    assert json.loads((host.scratch / "tree" / "manifest.json").read_text())["kind"] == "full"
    assert count(host.scratch / "tree" / "data") == RECORDS
