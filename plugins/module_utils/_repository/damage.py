# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a damage of a repository concerns. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Outcome
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot

_ID = r"[0-9a-f]{64}"


@dataclass(frozen=True)
class Damage:
    """What is damaged.

    Args:
        backups: ids of the backups that need it; of all where nothing says which.
        files: paths in them.
        packs: files of the repository, by their ids.
        complaints: what restic said, line by line.
    """

    backups: tuple[str, ...]
    files: tuple[str, ...]
    packs: tuple[str, ...]
    complaints: tuple[str, ...]


def find_damage(restic: Restic, outcome: Outcome, snapshots: Sequence[Snapshot]) -> Damage:
    """Return what a check that found something means for these backups.

    Args:
        outcome: of ``restic check``.
        snapshots: the repository's.
    """
    named = {each for line in outcome.complaints for each in re.findall(rf"pack ({_ID})", line)}
    packs = sorted(named | set(outcome.summary.get("broken_packs") or ()))
    # A pack holds parts of several backups, and where single parts of it are known to be broken, only they count.
    blobs = sorted({each for line in outcome.complaints for each in re.findall(rf"blob ({_ID})", line)})
    found = _places(restic, "--blob", blobs) if blobs else _places(restic, "--pack", packs) if packs else None
    if found is None:
        return Damage(tuple(sorted({each.backup for each in snapshots})), (), tuple(packs), tuple(outcome.complaints))
    ids = {each.snapshot: each.backup for each in snapshots}
    concerned = sorted({ids[snapshot] for snapshot, _path in found if snapshot in ids})
    return Damage(tuple(concerned), tuple(sorted({path for _snapshot, path in found if path})), tuple(packs), tuple(outcome.complaints))


def backups_of_packs(restic: Restic, packs: Sequence[str], snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Return the ids of the backups that have parts in packs; all of them where restic can't say it."""
    found = _places(restic, "--pack", packs)
    concerned = snapshots if found is None else [each for each in snapshots if each.snapshot in {snapshot for snapshot, _path in found}]
    return tuple(sorted({each.backup for each in concerned}))


def _places(restic: Restic, kind: str, ids: Iterable[str]) -> set[tuple[str, str]] | None:
    """Return the snapshots and paths that blobs or packs are in; None where restic can't say it."""
    content, outcome = restic.read(100 << 20, "find", kind, "--no-lock", *ids)
    if outcome.code:
        return None
    return {
        (found["snapshot"], found.get("path", ""))
        for line in content.splitlines()
        if line.startswith(b"[")
        for found in json.loads(line)
        if "snapshot" in found
    }
