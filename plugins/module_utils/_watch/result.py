# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check shows of what it found. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._watch.plan import Fault
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.verdict import Verdict


def table(name: str, verdict: Verdict, fault: Fault | None, recovered: dict[str, Any] | None, overdue: bool) -> list[str]:
    """Return what was found and done, in lines for people."""
    lines = [f"{name}: {verdict.kind}. {verdict.reason}"]
    if fault and fault.switched:
        lines.append(
            f"Nothing is done about it: its data are in collection {fault.target}, which a check found healthy since. "
            f"Where readers do not use that yet, switch them; docs/watch.md says how."
        )
    elif recovered:
        lines.append(
            f"{recovered['records']:,} records are in collection {recovered['name']} now; docs/watch.md says how to switch readers."
        )
    elif fault and fault.recovered is not None:
        lines.append(
            f"{fault.recovered:,} records were brought back into collection {fault.target} by an earlier check; switch readers to it."
        )
    if overdue:
        lines.append("Its last export is too old: look why export_postgres fails, or does not run.")
    return lines


def shown(fault: Fault) -> dict[str, Any]:
    """Return a fault as a user is shown it."""
    return {
        "number": fault.number,
        "collection": fault.collection,
        "verdict": fault.verdict,
        "generation": fault.generation,
        "target": fault.target or None,
        "recovered": fault.recovered,
        "switched": fault.switched,
    }
