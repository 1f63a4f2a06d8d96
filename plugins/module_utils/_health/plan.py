# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be repaired without asking anybody. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import MINOR, SEVERE, Finding, some
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.plan import REPAIRABLE

# What is repaired beside a running server: all that can be, but for what changes the files of an index in use.
AUTOMATIC = REPAIRABLE - {"CHR034", "CHR055"}
# What a deleted collection leaves: also what a database leaves that was lost, or replaced by an older or an empty one.
ORPHANS = frozenset({"CHR012", "CHR016", "CHR017", "CHR064", "CHR080"})
# Of all bytes of indexes, in orphaned folders: beyond it they are taken for a loss, and not for what deletions left.
ORPHANED_SHARE = 0.5


@dataclass(frozen=True)
class Orphaned:
    """How much of a directory belongs to nobody.

    Args:
        bytes: in folders of indexes that belong to no collection.
        all_bytes: in folders of all indexes.
    """

    bytes: int = 0
    all_bytes: int = 0

    @property
    def many(self) -> bool:
        """Whether it is more than deletions explain."""
        return self.bytes > self.all_bytes * ORPHANED_SHARE


@dataclass(frozen=True)
class RepairPlan:
    """What the hourly check may repair.

    Args:
        kinds: identifiers of findings; none are repaired where it is empty.
        withheld: why findings that could be repaired are not; empty where none is withheld.
        orphaned: whether it is because of orphans: somebody has to look at them.
    """

    kinds: tuple[str, ...] = ()
    withheld: str = ""
    orphaned: bool = False


def plan_repair(findings: Sequence[Finding], orphaned: Orphaned, enabled: bool) -> RepairPlan:
    """Decide what is repaired by itself: minor findings, in a directory without severe ones, where not too much would go.

    Args:
        findings: of a validation.
        enabled: whether it is wanted at all.
    """
    minor = sorted({each.kind.id for each in findings if each.kind.severity == MINOR} & AUTOMATIC)
    if not minor:
        return RepairPlan()
    if not enabled:
        return RepairPlan(withheld="auto_repair is off")
    if severe := sorted({each.kind.id for each in findings if each.kind.severity == SEVERE}):
        # What looks like leftovers may be what a recovery needs.
        return RepairPlan(withheld=f"nothing is repaired by itself beside severe findings ({some(severe)})")
    if orphaned.many and (orphans := [each for each in minor if each in ORPHANS]):
        withheld = (
            f"{orphaned.bytes} of {orphaned.all_bytes} bytes of indexes belong to no collection ({some(orphans)}), more than deletions"
            " explain: look whether collections are missing before you run 41_repair"
        )
        return RepairPlan(tuple(each for each in minor if each not in ORPHANS), withheld, orphaned=True)
    return RepairPlan(tuple(minor))
