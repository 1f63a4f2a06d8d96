# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of the test and what each builds on. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Session
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Check, Release, check_objects
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_access import RIGHT_TOKEN, check_access
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_data import (
    DATA_KEPT,
    check_client,
    check_data,
    check_persistence,
    clean_up,
)

GROUPS: dict[str, Callable[[Session, Release], Iterator[Check]]] = {
    "objects": check_objects,
    "access": check_access,
    "data": check_data,
    "persistence": check_persistence,
    "client": check_client,
    "cleanup": clean_up,
}

# group: the check of an earlier group without which it can't succeed.
BUILDS_ON = {"data": RIGHT_TOKEN, "persistence": DATA_KEPT, "client": RIGHT_TOKEN}


def run_group(group: str, session: Session, release: Release, earlier: Sequence[dict[str, Any]] = ()) -> list[Check]:
    """Run one group of checks to its end; an error in the middle becomes its last check.

    Args:
        group: a key of ``GROUPS``.
        session: the cluster.
        release: what is tested.
        earlier: results of the groups run before, as plain values; a group that builds on a failed one is not run.
    """
    needed = BUILDS_ON.get(group)
    if needed and earlier and not any(check["name"] == needed and check["ok"] for check in earlier):
        return [Check(f"group {group}", "", f"not run because of {needed!r}, on which it builds", None)]
    checks: list[Check] = []
    try:
        for check in GROUPS[group](session, release):
            checks.append(check)
    except ChromaError as error:
        checks.append(Check(f"group {group}", "to run to its end", f"{error.message} {error.hint}".strip(), False))
    return checks
