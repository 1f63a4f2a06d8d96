# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing backups that nobody wants to keep. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of, rfc3339
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.leftovers import left_over, read_history, repairs, settle
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.outcome import NO_REPAIRS
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention, Verdict, plan_prune, plan_removal
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.table import render_plan
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.ticking import ticking
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import held
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository, open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import refuse_unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.conclude import conclude_left
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import recover
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import SWAPPED, UNSETTLED, read_swap
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.place import points_in_use


def prune(
    settings: RepositorySettings,
    gone: Gone,
    retention: Retention,
    names: Sequence[str] = (),
    path: Path | None = None,
    workload: Workload | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Remove backups.

    Args:
        settings: of the repository.
        gone: says whether a host that left a lock in the repository is gone for sure.
        retention: what is kept.
        names: remove these and no others instead.
        path: data directory whose backups they are: its lock keeps a backup from following on one that goes meanwhile.
        workload: the server on a cluster; None on a bare host.
        check: return the plan and change nothing.

    Returns:
        ``changed``, ``repaired`` (see :func:`leftovers.repairs`), ``backups`` [{``id``, ``kind``, ``created``, ``keep``, ``reason``}]
        newest first, ``removed`` (ids), ``table``, ``diff``, ``warnings`` (of what died and can't be concluded yet).

    Raises:
        ChromaError: ``invalid_value``, ``not_found``, ``in_use``, ``lock_held``; ``damaged_repository`` where a snapshot can't be read;
            see :func:`open_repository`.
    """
    retention.check()
    if path and not path.is_dir():
        raise ChromaError("not_found", f"There is no directory {path}.", "Correct the path.")
    if check:
        repository = open_repository(settings, gone=gone)
        catalogue = catalogue_of(repository.snapshots())
        verdicts = _plan(repository, catalogue, retention, names, path)
        return _result(verdicts, bool(_goes(verdicts)) or bool(path and left_over(path, catalogue, workload)))
    if path is None:
        repository = open_repository(settings, gone=gone)
        verdicts = _plan(repository, catalogue_of(repository.snapshots()), retention, names, path)
        return _result(verdicts, _apply(repository, verdicts))
    with held(path, "prune"):
        # Before the repository: whatever that is like, the server has to be there.
        recovered = recover(path, workload)
        repository = open_repository(settings, gone=gone)
        left = " ".join(filter(None, [conclude_left(repository, path), *recovered.warnings]))
        journal = Journal.of(path)
        history = read_history(path)
        settled = settle(path, history, repository, workload)
        # What an attempt that died has removed already is not there to be named again.
        verdicts = _plan(repository, settled.catalogue, retention, names, path, history.removing)
        mended = repairs(recovered, settled)
        goes = [each.backup.id for each in verdicts if not each.keep]
        with journal.recorded("prune", removes=goes, repository=settings.location) if goes or settled.untidy else contextlib.nullcontext():
            changed = _apply(repository, verdicts, settled.untidy)
        return _result(verdicts, changed or any(mended.values()), mended, left)


def _plan(
    repository: Repository,
    catalogue: Catalogue,
    retention: Retention,
    names: Sequence[str],
    path: Path | None,
    removing: Collection[str] = (),
) -> tuple[Verdict, ...]:
    # It may be what follows on a backup that nobody else needs.
    refuse_unreadable(repository, "What the others are needed for is not known for sure: nothing was removed.")
    swap = read_swap(path) if path else None
    # Until a restore is finished, both what it brings in and what was there before may be needed once more.
    in_use = {swap.backup, swap.restore_point} if swap and swap.state in (*UNSETTLED, SWAPPED) else set()
    in_use |= points_in_use(path) if path else set()
    if names:
        there = {each.id for each in catalogue.backups}
        return plan_removal(catalogue, [name for name in names if name in there or name not in removing], in_use)
    return plan_prune(catalogue, retention, datetime.now(UTC), in_use)


def _goes(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the snapshots that go; increments before what they follow on, so that nothing that is left lacks its base at any moment."""
    goes = [snapshot for each in reversed(verdicts) if not each.keep for snapshot in each.backup.snapshots]
    return goes + [twin for each in verdicts if each.keep for twin in each.backup.twins]


def _apply(repository: Repository, verdicts: Sequence[Verdict], untidy: bool = False) -> bool:
    """Remove what goes, and give its room back.

    Args:
        untidy: see :attr:`leftovers.Settled.untidy`.

    Returns:
        Whether anything went.
    """
    goes = _goes(verdicts)
    # Nobody else can work in the repository while it is tidied up: not for nothing.
    if goes or untidy:
        with ticking("prune"):
            repository.forget(goes)
            repository.prune()
    return bool(goes)


def _result(verdicts: Sequence[Verdict], changed: bool, repaired: dict[str, Any] | None = None, left: str = "") -> dict[str, Any]:
    goes = [each.backup.id for each in verdicts if not each.keep]
    return {
        "changed": changed,
        "repaired": repaired or NO_REPAIRS,
        "warnings": [left] if left else [],
        "backups": [
            {
                "id": each.backup.id,
                "kind": each.backup.kind,
                "created": rfc3339(each.backup.created),
                "keep": each.keep,
                "reason": each.reason,
            }
            for each in reversed(verdicts)
        ],
        "removed": goes,
        "table": render_plan(verdicts),
        "diff": {
            "before": {"backups": [each.backup.id for each in verdicts]},
            "after": {"backups": [each.backup.id for each in verdicts if each.keep]},
        },
    }
