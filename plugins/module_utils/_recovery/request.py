# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery is asked to do, and with whose help. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.streams import Stream
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload

ORPHAN, DAMAGED, MISSING = "orphan", "damaged", "missing"
KINDS = (DAMAGED, ORPHAN, MISSING)


@dataclass(frozen=True)
class RecoveryRequest:
    """What a user asks for.

    Args:
        path: data directory.
        kinds: of what is recovered, of :data:`KINDS`.
        only: names, ``tenant/database/name``, ids of collections, or of segments (names of folders); empty for all.
        plan: a plan that was returned before, and nothing else; None to make one now.
        in_place: give the recovered collection the name of the damaged one, which is renamed.
        scratch: another directory for what is collected meanwhile; None for the data volume.
        wait: seconds that the server may be away.
    """

    path: Path
    kinds: Sequence[str] = KINDS
    only: Sequence[str] = ()
    plan: Mapping[str, Any] | None = None
    in_place: bool = False
    scratch: Path | None = None
    wait: float = 300.0


class Generation(Protocol):
    """Finds what PostgreSQL has of a collection."""

    def __call__(self, name: str, tenant: str, database: str, /) -> Stream | None:
        """Return its current generation as a source; None where there is none."""


@dataclass(frozen=True)
class Helpers:
    """Where else records may be, and where they go.

    Args:
        client: of the server; None to serve the directory with a Chroma of its own, where nobody else has it open.
        repository: opens the repository of backups; None without one.
        generation: reads the current generation in PostgreSQL; None without one.
        workload: the server on a cluster; None on a bare host.
    """

    client: ChromaClient | None = None
    repository: Callable[[], Repository] | None = None
    generation: Generation | None = None
    workload: Workload | None = None
