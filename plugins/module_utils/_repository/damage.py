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
# Plain text between the JSON of find, and its exit code stays 0 (restic's cmd/restic/cmd_find.go).
_UNLOADED = re.compile(rf"Unable to load tree \S+\n \.\.\. which belongs to snapshot ({_ID})\n")


@dataclass(frozen=True)
class Damage:
    """What is damaged.

    Args:
        backups: ids of the backups that need it; of all where nothing says which, or nobody seems to.
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
    parts = [line for line in outcome.complaints if re.search(rf"blob {_ID}", line)]
    blobs = sorted({each for line in parts for each in re.findall(rf"blob ({_ID})", line)})
    whole = [each for each in packs if not any(f"pack {each}" in line for line in parts)]
    places = [_places(restic, kind, ids) for kind, ids in (("--blob", blobs), ("--pack", whole)) if ids]
    found = {place for each in places for place in each} if all(places) else set()
    files = tuple(sorted({path for _snapshot, path in found if path}))
    return Damage(_concerned(found, snapshots), files, tuple(packs), tuple(outcome.complaints))


def backups_of_packs(restic: Restic, packs: Sequence[str], snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Return the ids of the backups that have parts in packs; all of them where restic can't say it, or names none."""
    return _concerned(_places(restic, "--pack", packs), snapshots)


def _concerned(found: set[tuple[str, str]], snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Return the ids of the backups that are in places; of all where there are none: damage that nobody finds is no proof of none."""
    named = {snapshot for snapshot, _path in found}
    return tuple(sorted({each.backup for each in snapshots if not named or each.snapshot in named}))


def _places(restic: Restic, kind: str, ids: Iterable[str]) -> set[tuple[str, str]]:
    """Return the snapshots and paths that blobs or packs are in; none where restic can't say it.

    It looks for them in the content of files alone. A snapshot that has a folder which can't be read is in the list without a path.
    """
    # Without the cache: it may hold a folder that is damaged in the repository.
    content, outcome = restic.read(100 << 20, "find", kind, "--no-lock", "--no-cache", *ids)
    if outcome.code:
        return set()
    text = content.decode(errors="replace")
    try:
        listed = json.loads(_UNLOADED.sub("", text))
    except ValueError:
        return set()
    return {(each["snapshot"], each.get("path", "")) for each in listed} | {(snapshot, "") for snapshot in _UNLOADED.findall(text)}
