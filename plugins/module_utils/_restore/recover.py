# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation that died left on a data directory: made good before anything else is done. FOR INTERNAL COLLECTION USE ONLY.

First the swap and the repairs, then the server: it must never start on half a directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATABASE, PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import in_use
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.settle import Settled, needs_stop, unsettled
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.settle import settle as settle_repairs
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import (
    STARTS,
    STOPS,
    Pause,
    Workload,
    is_stopped,
    pause,
    resume,
    start_again,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.running import refuse_running
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap import settle
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.swap_file import REMOVED, STAGING, Swap, read_swap
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_leftovers, remove_tree


@dataclass(frozen=True)
class Recovered:
    """What was found.

    Args:
        swap: the last swap, settled; None where there never was one.
        completed: whether it was begun by an operation that died, and brought to its end now.
        resumed: what the server's annotation said; None where no operation had stopped it.
        repairs: ids of repairs and undos of repairs that were begun, and brought to their end now.
        warnings: sentences about those that can't be brought to their end.
    """

    swap: Swap | None
    completed: bool
    resumed: Pause | None
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def recover(directory: Path, workload: Workload | None, stops: float = STOPS, starts: float = STARTS, wait: bool = True) -> Recovered:
    """Bring to its end what was begun, a swap and repairs, then start a server that was stopped, then remove what died operations left.

    The first step of every operation that writes, under the lock of the directory.

    Args:
        directory: the data directory.
        workload: the server; None on a bare host, where nobody is started.
        stops, starts: seconds, see :func:`pause` and :func:`resume`.
        wait: until the server is ready; a restore does not, for that it can't be may be its reason.

    Raises:
        ChromaError: ``server_running``, ``swap_failed``, ``invalid_swap``: then the server is not started; those of :func:`resume` and
            of :func:`_repair.settle.settle`.
    """
    found = read_swap(directory)
    begun = found is not None and not found.settled
    if found is not None and begun:
        _stop(directory, workload, found.operation, stops)
        found = settle(directory)
    repairs = _settle_repairs(directory, workload, stops)
    resumed = (resume(workload, starts) if wait else start_again(workload)) if workload else None
    if (directory / PRIVATE).is_dir():
        for name in (STAGING, REMOVED):
            remove_tree(directory / PRIVATE / name)
        remove_leftovers(directory)
    return Recovered(found, begun, resumed, repairs.completed, repairs.warnings)


def _stop(directory: Path, workload: Workload | None, operation: str, stops: float) -> None:
    """Stop a server that somebody may have started by hand; refuse one that can't be stopped from here."""
    if workload is None:
        refuse_running(directory)
    elif not is_stopped(workload):
        pause(workload, operation, stops, restart=False)


def _settle_repairs(directory: Path, workload: Workload | None, stops: float) -> Settled:
    live = False
    if begun := unsettled(directory):
        for each in begun:
            if needs_stop(directory, each):
                _stop(directory, workload, each.id, stops)
        live = not is_stopped(workload) if workload is not None else in_use(directory / DATABASE)
    return settle_repairs(directory, live)
