# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore drill: a backup is restored to scratch by the very code of a restore, and proven there. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import followed, read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.proving import prove
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import as_result
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import Current
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.plan import plan_restore
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import LATEST, Resolution, choose, instead, resolve
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.staging import needs_copy, stage
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.hot import check_room
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import COLLECTION, MANIFEST, new_id, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import scratch
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room


def drill(
    settings: RepositorySettings, gone: Gone, backup: str = LATEST, path: Path | None = None, scratch_path: Path | None = None
) -> dict[str, Any]:
    """Restore a backup to scratch, and prove it there; nothing else is touched.

    Args:
        settings: of the repository.
        gone: says whether a host that left a lock in the repository is gone for sure.
        backup: id, or ``latest``, that of ``path``.
        path: the data directory; None without access to it. Its ``.thinkube-chroma/scratch`` is used where there is no ``scratch_path``.
        scratch_path: another directory for what is restored; None for that of ``path``, or the system's temporary directory.

    Returns:
        ``backup`` (see :func:`catalogue.as_result`), ``proof``, ``warnings``, ``seconds``.

    Raises:
        ChromaError: ``not_found``, ``invalid_value`` (see :func:`followed`), ``broken_chain``, ``not_verified``, ``damaged_repository``,
            ``chroma_failed``, ``no_space``.
    """
    began = time.monotonic()
    for each, option in ((path, "path"), (scratch_path, "scratch_path")):
        if each and not each.is_dir():
            raise ChromaError("not_found", f"There is no directory {each}.", f"Correct {option}, or leave it out.")
    repository = open_repository(settings, gone=gone)
    catalogue = catalogue_of(repository.snapshots())
    named = catalogue.find(backup)
    # A restore of the directory refuses it, rightly.
    alone = named is not None and named.kind == COLLECTION

    def found() -> Resolution:
        mine = followed(catalogue, read_instance(path) if path else "") if backup == LATEST else catalogue
        return resolve(mine, backup)

    resolution = Resolution(named, (named,)) if named and alone else choose(repository, backup == LATEST, found)
    with _room(path, scratch_path) as room:
        proof = _drilled(repository, resolution, room, lambda each: instead(catalogue, each))
    return {
        "backup": as_result(catalogue, resolution.backup),
        "proof": proof.as_result() if proof else None,
        "warnings": [*filter(None, [unreadable(repository)]), *(proof.warnings() if proof else [])],
        "seconds": round(time.monotonic() - began, 3),
    }


def _drilled(repository: Repository, resolution: Resolution, room: Path, advice: Any) -> Proof | None:
    chosen = resolution.backup
    manifest = parse_manifest(repository.read_file(chosen.snapshot, MANIFEST), chosen.id)
    if chosen.kind == COLLECTION:
        check_room(room, 2 * (chosen.bytes or 0))
        repository.restore(chosen.snapshot, room / "tree")
        return prove(room / "tree", manifest, room, whole=True)
    plan = plan_restore(resolution, manifest, Current(False), needs_copy(manifest))
    check_room(room, plan.needed)
    staging = room / "directory"
    staging.mkdir()
    return stage(repository, plan, staging, chosen.id, advice).proof


@contextlib.contextmanager
def _room(path: Path | None, scratch_path: Path | None) -> Iterator[Path]:
    if path is None or scratch_path:
        with temporary_room("drill", scratch_path) as room:
            yield room
        return
    with scratch(path, f"drill-{new_id()}") as room:
        yield room
