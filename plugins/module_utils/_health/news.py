# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told what: once of a set of troubles, again when it changes, and when it is over. FOR INTERNAL COLLECTION USE ONLY.

What each channel was told is in the newest report; so one that could not be reached is told by the next check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE, SHOWN, Finding
from ansible_collections.thinkube.chroma.plugins.module_utils._health.plan import RepairPlan
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Alert, Channel, send

UNHEALTHY, HEALTHY, REPAIRED = "DataUnhealthy", "DataHealthy", "DataRepaired"
# Minor, but nothing here can mend it, and what it leads to is severe.
_SERIOUS = frozenset({"CHR102"})
_NEXT = (
    "None of this was touched. 40_validate shows more, docs/findings.md says what each means and what to do;"
    " 42_recover and 30_restore bring data back."
)
Told = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Troubles:
    """What somebody has to know of.

    Args:
        texts: by a key that stays the same as long as the trouble is the same.
        decided: whether everything was looked at; otherwise what was found before may still be there.
        facts: for programs.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    decided: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


def troubles(findings: Sequence[Finding], decided: bool, plan: RepairPlan, failures: Mapping[str, str]) -> Troubles:
    """Return what somebody has to know of.

    Args:
        findings: that are left.
        decided: whether everything was looked at.
        plan: what was repaired, and what withheld.
        failures: of the check itself and of the repair, by a key.
    """
    serious = [each for each in findings if each.kind.severity == SEVERE or each.kind.id in _SERIOUS]
    texts = {"/".join(each.key): f"{each.kind.id} {each.collection}: {each.kind.title}".replace(" :", ":") for each in serious}
    if plan.orphaned:
        texts["orphaned"] = plan.withheld
    return Troubles({**texts, **failures}, decided, {"findings": [each.as_result() for each in serious[:20]]})


def plan_alert(told: Iterable[str], now: Troubles, path: str) -> tuple[Alert | None, tuple[str, ...]]:
    """Decide what a channel is told.

    Args:
        told: keys of the troubles that it was told of last.
        path: of the data directory.

    Returns:
        The alert, None for none, and the keys that it was told of afterwards.
    """
    before, keys = set(told), set(now.texts)
    if not now.decided:
        # What could not be looked at this time is not over.
        keys |= before
    after = tuple(sorted(keys))
    if keys == before:
        return None, after
    if not keys:
        return Alert(HEALTHY, f"{path} is healthy again.", warning=False, facts={"path": path, **now.facts}), after
    texts = sorted(now.texts.values())
    listed = "; ".join(texts[:SHOWN]) + (f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
    return Alert(UNHEALTHY, f"{path}: {listed}. {_NEXT}", facts={"path": path, **now.facts}), after


def tell(told: Told, now: Troubles, path: str, channels: Sequence[Channel]) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Tell each channel what is new to it.

    Args:
        told: keys by name of the channel, from the newest report.

    Returns:
        The same afterwards; reasons of the alerts that were sent; why some were not delivered.
    """
    after: dict[str, list[str]] = {}
    sent: list[str] = []
    failures: list[str] = []
    for channel in channels:
        name = type(channel).__name__
        alert, keys = plan_alert(told.get(name, ()), now, path)
        if alert is not None:
            failed = send(alert, [channel])
            failures += failed
            if failed:
                after[name] = sorted(told.get(name, ()))
                continue
            sent.append(alert.reason)
        after[name] = list(keys)
    return after, sorted(set(sent)), failures


def repaired_alert(path: str, kinds: Sequence[str], quarantine: str) -> Alert:
    """Return the good news that something was repaired, and how to take it back."""
    message = f"{path}: {', '.join(kinds)} repaired. What was taken away is in quarantine {quarantine}; 49_undo_repair brings it back."
    return Alert(REPAIRED, message, warning=False, facts={"path": path, "repaired": list(kinds), "quarantine": quarantine})
