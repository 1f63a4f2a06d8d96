# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving a delta that was downloaded again: by checksums, by the validation, and by Chroma itself. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.manifest import (
    BLOCK,
    MANIFEST,
    DeltaFile,
    DeltaManifest,
    invalid,
    parse,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate

# In a process of its own: Chroma keeps files open for as long as its process lives, and an index that is damaged can end it.
# Only what all releases from 0.4.24 to 1.5.9 have; list_collections() returns names in 0.6, and objects before and after.
_OPEN = """
import json, sys
import chromadb
path, expected = sys.argv[1], json.load(sys.stdin)
databases = {}
for each in expected:
    databases.setdefault((each["tenant"], each["database"]), []).append(each)
databases = databases or {("default_tenant", "default_database"): []}
for (tenant, database), wanted in databases.items():
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(path, settings=settings, tenant=tenant, database=database)
    count = client.count_collections()
    if count != len(wanted):
        sys.exit(f"database {tenant}/{database} has {count} collections instead of {len(wanted)}")
    for each in wanted:
        collection = client.get_collection(each["name"], embedding_function=None)
        seen = (str(collection.id), collection.count())
        if seen != (each["id"], each["count"]):
            sys.exit(f"collection {each['name']} has id {seen[0]} and {seen[1]} records instead of {each['id']} and {each['count']}")
        if each["count"]:
            sample = collection.get(limit=1, include=["embeddings", "documents", "metadatas"])
            vector = [float(value) for value in sample["embeddings"][0]]
            if not collection.query(query_embeddings=[vector], n_results=1)["ids"][0]:
                sys.exit(f"collection {each['name']} finds nothing near the vector of its own record {sample['ids'][0]}")
print("read", chromadb.__version__)
"""


def check_source(directory: Path, scratch: Path) -> None:
    """Refuse a directory that is damaged before it is uploaded: no attempt would make it whole.

    Raises:
        ChromaError: ``damaged``.
    """
    if found := _severe(directory, scratch):
        hint = "Run data.validate on it: it says what is lost and what to do. Nothing was uploaded."
        raise ChromaError("damaged", f"{directory} is damaged: {found}.", hint)


def check_sizes(store: Store, manifest: DeltaManifest) -> None:
    """Compare which files are in the store, and their sizes, with the manifest: one listing.

    Raises:
        ChromaError: ``invalid_delta``; what the store answers.
    """
    found = store.files()
    for each in manifest.files:
        if found.get(each.path) != each.bytes:
            seen = "is not there" if each.path not in found else f"has {found[each.path]} bytes instead of {each.bytes}"
            raise invalid(store.location, f"{each.path} {seen}")


def check_uploaded(store: Store, manifest: DeltaManifest, scratch: Path, timeout: float) -> str:
    """Download a delta, and prove what came back.

    Args:
        store: at the delta.
        manifest: what it has to be.
        scratch: empty directory for it; as much as the delta, and a little more.
        timeout: seconds for Chroma to open and read it.

    Returns:
        The release of Chroma that opened it.

    Raises:
        ChromaError: ``invalid_delta`` with file or collection and reason; ``missing_library`` without chromadb; ``no_space`` in scratch;
            what the store answers.
    """
    check_sizes(store, manifest)
    target = scratch / "delta"
    for each in manifest.files:
        _download(store, each, target / each.path)
    if found := _severe(target, scratch):
        raise invalid(store.location, found)
    with open_directory(target, scratch) as opened:
        counts = {each.id: opened.count(each) for each in opened.collections()}
    if counts != {each.id: each.count for each in manifest.collections}:
        raise invalid(store.location, "its collections are not those that were uploaded")
    return _open_with_chroma(store.location, manifest, target, timeout)


def read_manifest(store: Store) -> DeltaManifest:
    """Return the manifest of a delta.

    Raises:
        ChromaError: ``invalid_delta`` where there is none, or it cannot be used; what the store answers.
    """
    try:
        content = store.read(MANIFEST)
    except ChromaError as error:
        if _is_checksum(error):
            raise invalid(store.location, f"{MANIFEST} came back with another checksum") from error
        raise
    if content is None:
        raise invalid(store.location, f"it has no {MANIFEST}, which is written last")
    return parse(content, store.location)


def _is_checksum(error: Exception) -> bool:
    """Return whether the store kept a checksum of its own, and its client found that what came back has another."""
    return "checksum" in str(error).lower()


def _download(store: Store, file: DeltaFile, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output, store.open_input(file.path) as stream:
            while block := _block(store, file, stream):
                digest.update(block)
                size += len(block)
                output.write(block)
    except OSError as error:
        raise store_fault(f"Could not write {target}", error, local=True) from error
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise invalid(store.location, f"{file.path} came back with other content: its size or checksum differs")


def _block(store: Store, file: DeltaFile, stream: Any) -> bytes:
    try:
        block: bytes = stream.read(BLOCK)
        return block
    except (OSError, pa.ArrowException) as error:
        if _is_checksum(error):
            raise invalid(store.location, f"{file.path} came back with another checksum") from error
        raise store_fault(f"Could not read {store.location}/{file.path}", error, store.local) from error


def _severe(directory: Path, scratch: Path) -> str:
    """Return the first severe finding of a directory that stands still; nothing where there is none."""
    report = validate(directory, live=False, scratch=scratch)
    severe = [each for each in report.of_data if each.kind.severity == SEVERE]
    return f"{severe[0].kind.id} {severe[0].kind.title}: {severe[0].message.rstrip('.')}" if severe else ""


def _open_with_chroma(where: str, manifest: DeltaManifest, directory: Path, timeout: float) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHROMA")}
    # The same chromadb as here, also where it is found by a path that only this process knows.
    environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "ANONYMIZED_TELEMETRY": "FALSE"}
    wanted = json.dumps([asdict(each) for each in manifest.collections])
    command = [sys.executable, "-c", _OPEN, str(directory)]
    try:
        # Not in the caller's directory: 0.x reads a file .env from there.
        done = subprocess.run(
            command, input=wanted, env=environ, cwd=directory.parent, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise invalid(where, f"Chroma did not open and read it within {timeout:.0f} s") from error
    said = done.stdout.split()
    if done.returncode == 0 and said[-2:-1] == ["read"]:
        return said[-1]
    last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode} and said nothing"])[-1]
    if "No module named 'chromadb'" in last:
        hint = "Install chromadb for this Python, or set validate_after_upload to false."
        raise ChromaError("missing_library", "A delta is validated by opening it with Chroma, and chromadb is not installed here.", hint)
    raise invalid(where, f"Chroma could not read it: {last[:500].rstrip('.')}")
