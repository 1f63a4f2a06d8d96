# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that embed a release of Chroma and use this collection as a library, without Ansible, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import object_store
import servers

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "playbooks" / "collections"
# 0.x needs NumPy 1, and the last pyarrow that takes it is this one.
PYARROW_0X = "23.0.1"

# Before each program: what a user would write, but for the shortened pauses.
START = """
import json, logging, os, sys
import chromadb
from chromadb.config import Settings
from ansible_collections.thinkube.chroma.plugins.module_utils.delta import ChromaError, Delta, StoreSettings

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
logging.getLogger("thinkube.chroma.delta").setLevel(logging.INFO)
arguments = json.loads(sys.argv[1])
settings = StoreSettings(endpoint=arguments["endpoint"], access_key=arguments["access_key"], secret_key=arguments["secret_key"],
                         timeout=arguments.get("timeout", 20.0))

def opened():
    return chromadb.PersistentClient(arguments["path"], settings=Settings(anonymized_telemetry=False))

def filled(client, name="books", count=1500, dimension=8):
    collection = client.get_or_create_collection(name, embedding_function=None)
    for first in range(0, count, 500):
        numbers = range(first, min(count, first + 500))
        collection.upsert(ids=[f"id-{n}" for n in numbers], documents=[f"document {n}" for n in numbers],
                          metadatas=[{"n": n} for n in numbers],
                          embeddings=[[(n * 7 + place * 3) % 101 / 101 for place in range(dimension)] for n in numbers])
    return collection
"""


def python(version: str) -> Path:
    """Return the interpreter that has a release of chromadb."""
    return servers.environment(version) / "bin" / "python"


def libraries(version: str) -> Path:
    """Return a folder with the pyarrow that fits to a release of chromadb, which has none of its own; made on first use."""
    pinned = re.search(r"^pyarrow==(\S+)", (ROOT / "requirements-data.txt").read_text(), re.MULTILINE)
    assert pinned
    pyarrow = PYARROW_0X if version.startswith("0.") else pinned[1]
    tag = python(version).resolve().name
    target = servers.environment(version).parent / f"pyarrow-{pyarrow}-{tag}"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(prefix=".pyarrow-", dir=target.parent) as scratch:
            built = Path(scratch) / "lib"
            command = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", str(python(version)), "--target", str(built)]
            subprocess.run([*command, f"pyarrow=={pyarrow}"], check=True)
            if not target.is_dir():
                built.rename(target)
    return target


def start(version: str, program: str, path: Path, store: object_store.ObjectStore, **more: Any) -> subprocess.Popen[str]:
    """Start a program that begins with :data:`START`; ``more`` are further values of its ``arguments``."""
    arguments = {"path": str(path), "endpoint": store.endpoint, "access_key": store.access_key, "secret_key": store.secret_key, **more}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")}
    environ["PYTHONPATH"] = f"{COLLECTIONS}{os.pathsep}{libraries(version)}"
    command = [str(python(version)), "-c", START + program, json.dumps(arguments)]
    return subprocess.Popen(command, env=environ, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(version: str, program: str, path: Path, store: object_store.ObjectStore, **more: Any) -> tuple[Any, str]:
    """Run such a program; return the JSON of its last line, and its log."""
    process = start(version, program, path, store, **more)
    said, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    return json.loads(said.splitlines()[-1]), log
