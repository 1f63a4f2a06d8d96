# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backups that died or failed left in the repository. FOR INTERNAL COLLECTION USE ONLY.

The journal says which there are: it has each of them, and the lock of the directory is held here, so nobody works on them any more. Of a
copy of the directory, which has the journal too, the original may be at work. One that failed may have been unable to tidy up, as it would
where the object store was away, or was told to end (SIGTERM) before it could.
Their scratch is removed by :func:`_restore.recover.recover`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.instance import read_instance
from ansible_collections.thinkube.chroma.plugins.module_utils._directory_lock import is_held
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Entry, Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.recover import Recovered
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import read_swap

# Those that this package writes. A restore that died is for the restore.
OPERATIONS = ("backup", "prune")


@dataclass(frozen=True)
class History:
    """What the journal of a directory says of backups.

    Args:
        begun: those that were begun, by id: what they began with, see :func:`whose`.
        done: ids of those that came to their end.
        repositories: instance and location of the repositories that they went to which did.
        untidy: see :attr:`Settled.untidy`.
        removing: ids of backups that prunes which died or failed were to remove, since the last that came to its end.
    """

    begun: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    repositories: frozenset[tuple[str, str]] = frozenset()
    untidy: bool = False
    removing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settled:
    """What was found.

    Args:
        catalogue: of what is left.
        removed: ids of backups of which something was removed that their operation left; all of it, or twins.
        untidy: whether an operation has died or failed since the last prune that came to its end: it may have left what nobody needs.
    """

    catalogue: Catalogue
    removed: tuple[str, ...] = ()
    untidy: bool = False


def settle(directory: Path, history: History, repository: Repository, workload: Workload | None) -> Settled:
    """Remove the backups that were never proven because their operation died or failed, and end in the journal those that died.

    One that was proven before its operation ended is a backup like any other.

    Args:
        directory: its lock is held.
        history: of it.
        workload: the server on a cluster; None on a bare host.

    Raises:
        ChromaError: see :class:`Repository` and :class:`Journal`.
    """
    catalogue = catalogue_of(repository.snapshots())
    left = _unproven(directory, history, catalogue, workload)
    for name, snapshots in left.items():
        repository.forget(snapshots)
        emit("message", message=f"Backup {name} was left unfinished by its operation, which failed or died; it was removed.")
    journal = Journal.of(directory)
    for entry in _dead(journal):
        journal.end(entry, "interrupted", removed=len(left.get(str(entry.facts.get("id", "")), ())))
    return Settled(catalogue_of(repository.snapshots()) if left else catalogue, tuple(left), history.untidy)


def left_over(directory: Path, catalogue: Catalogue, workload: Workload | None) -> bool:
    """Return whether an operation that died or failed left something which the next one makes good; for check mode, nothing is changed.

    Args:
        catalogue: of the repository.
        workload: see :func:`settle`.
    """
    swap = read_swap(directory)
    if swap and not swap.settled:
        return True
    # What an operation that is at work has not ended is not left over.
    return not is_held(directory) and bool(_unproven(directory, read_history(directory), catalogue, workload))


def whose(directory: Path, instance: str, workload: Workload | None) -> dict[str, str]:
    """Return what an entry of the journal says of whose a backup is: a pod has another name each time, a server's stays."""
    host = f"{workload.namespace}/{workload.name}" if workload else socket.gethostname()
    return {"instance": instance, "host": host, "path": str(directory.resolve())}


def repairs(recovered: Recovered | None, settled: Settled | None) -> dict[str, Any]:
    """Return what was made good as the modules return it: ``swap_completed``, ``server_started``, ``removed`` (ids)."""
    return {
        "swap_completed": bool(recovered and recovered.completed),
        "server_started": bool(recovered and recovered.resumed),
        "removed": list(settled.removed) if settled else [],
    }


def _dead(journal: Journal) -> list[Entry]:
    return [each for each in journal.open_entries() if each.operation in OPERATIONS]


def read_history(directory: Path) -> History:
    """Return what the journal of a directory says of backups.

    Raises:
        ChromaError: see :class:`Journal`.
    """
    begun: dict[str, Mapping[str, Any]] = {}
    names: dict[int, str] = {}
    done: set[str] = set()
    removing: set[str] = set()
    untidy, working = False, False
    for line in Journal.of(directory).lines():
        if line.operation not in OPERATIONS:
            continue
        if line.event == "begin":
            # What is begun before another one has ended died: the lock of the directory keeps them apart.
            untidy, working = untidy or working, True
            if line.operation == "prune":
                removing.update(line.facts.get("removes", ()))
            if name := str(line.facts.get("id", "")):
                begun[name], names[line.n] = line.facts, name
        elif line.event == "end":
            working = False
            untidy = line.name != "done" or (untidy and line.operation != "prune")
            if line.name == "done" and line.operation == "prune":
                removing.clear()
            if line.name == "done" and line.entry in names:
                done.add(names[line.entry])
    went = {(str(begun[name].get("instance", "")), str(begun[name].get("repository", ""))) for name in done}
    return History(begun, frozenset(done), frozenset(went), untidy or working, frozenset(removing))


def _unproven(directory: Path, history: History, catalogue: Catalogue, workload: Workload | None) -> dict[str, tuple[str, ...]]:
    """Return the snapshots that operations left which count for nothing, by the id of the backup."""
    mine = whose(directory, read_instance(directory), workload)
    found: dict[str, tuple[str, ...]] = {}
    for each in catalogue.backups:
        facts = history.begun.get(each.id)
        if facts is None or each.id in history.done or not (each.pending or each.twins):
            continue
        if {key: facts.get(key) for key in mine} == mine:
            found[each.id] = each.snapshots if each.pending else each.twins
    return found
