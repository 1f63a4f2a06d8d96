# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operation "backup" returns. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import BackupPlan
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof

NO_REPAIRS: dict[str, Any] = {"swap_completed": False, "server_started": False, "removed": []}


def planned(plan: BackupPlan) -> dict[str, Any]:
    """Return what is known of a backup that would be made."""
    parent = plan.parent
    return {"id": "", "kind": plan.kind, "parent": parent.id if parent else "", "base": (parent.base or parent.id) if parent else ""}


def outcome(
    made: bool,
    backup: dict[str, Any],
    plan: BackupPlan,
    warnings: Sequence[str] = (),
    proof: Proof | None = None,
    created: bool = False,
    repairs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the result of the operation.

    Args:
        made: whether a backup was made, or would be.
        backup: that, or the newest one, see :func:`views.as_result`.
        proof: that it is right; None where it was not read back.
        created: whether the repository was.
        repairs: what an operation that died had left, see :func:`leftovers.repairs`.
    """
    after = {key: backup.get(key) for key in ("kind", "parent", "records")} if made else {}
    return {
        "changed": made or any((repairs or NO_REPAIRS).values()),
        "made": made,
        "backup": backup,
        "plan": {"kind": plan.kind, "reason": plan.reason, "parent": plan.parent.id if plan.parent else ""},
        "proof": proof.as_result() if proof else None,
        "repaired": repairs or NO_REPAIRS,
        "repository_created": created,
        "diff": {"before": {}, "after": after},
        "warnings": [*warnings, *(proof.warnings() if proof else [])],
    }
