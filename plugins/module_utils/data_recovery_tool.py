# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovering collections from a data directory, for programs of your own: docs/recover.md. Needs no Ansible playbook, but pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.operation import recover_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.plan import PlanItem, RecoveryPlan, parse_plan
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.request import KINDS, Helpers, RecoveryRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

__all__ = ["ChromaError", "DataRecoveryTool", "PlanItem", "RecoveryPlan", "parse_plan"]


class DataRecoveryTool:
    """Finds what is damaged, orphaned or missing in a data directory, and recovers it into new collections.

    Args:
        path: data directory.
        url: of the server that has it open. Without one a Chroma of this environment serves the directory while it recovers, if nobody
            else has it open.
        token: that the server, or what stands before it, asks for.
        repository: opens the repository of backups; None without one.
        kinds: what to look for: ``damaged``, ``orphan``, ``missing``.

    Attributes:
        warnings: what the last call had to say beside its result.
    """

    def __init__(
        self,
        path: Path | str,
        url: str = "",
        token: str | None = None,
        repository: Callable[[], Repository] | None = None,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self._path, self._kinds = Path(path), tuple(kinds)
        client = ChromaClient(Connection(url, token=token, timeout=300.0)) if url else None
        self._helpers = Helpers(client, repository)
        self.warnings: list[str] = []

    def scan_orphaned_collections(self) -> tuple[PlanItem, ...]:
        """Return what there is to recover, the most urgent first; nothing in the directory is changed.

        Raises:
            ChromaError: see :func:`recover_collections`.
        """
        looked = self._called(RecoveryRequest(self._path, kinds=self._kinds), check=True)
        return parse_plan(looked["plan"]).items

    def generate_recovery_plan(self, orphaned_collections: Sequence[PlanItem] | None = None) -> RecoveryPlan:
        """Return a plan for some of what was found, or for all of it; false where nothing of it can be recovered.

        A plan's ``document()`` can be stored as JSON; :func:`parse_plan` reads it.
        """
        items = self.scan_orphaned_collections() if orphaned_collections is None else tuple(orphaned_collections)
        return RecoveryPlan(tuple(each for each in items if each.recoverable))

    def batch_recover_collections(self, recovery_plan: RecoveryPlan) -> dict[str, Any]:
        """Recover what a plan says, one collection after the other.

        Returns:
            ``total``, ``success`` and ``failed``, and ``details`` with ``target``, ``success``, ``records``, ``lost`` and ``reason`` of
            each.

        Raises:
            ChromaError: ``stale_plan`` and others, see :func:`recover_collections`: nothing was changed, or the next call completes it.
        """
        done = self._called(RecoveryRequest(self._path, plan=recovery_plan.document()), check=False)
        return {"total": done["success"] + done["failed"], **{key: done[key] for key in ("success", "failed", "details")}}

    def _called(self, request: RecoveryRequest, check: bool) -> dict[str, Any]:
        done = recover_collections(request, self._helpers, check)
        self.warnings = done["warnings"]
        return done
