# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the modules that repair to what they ask for. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import RepairRequest, UndoRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.run import repair
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.undo import undo
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import STARTS, STOPS, Workload


def repair_spec(**own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that both modules share, and those of one."""
    return {
        **cluster_argument_spec(),
        "path": {"type": "path", "required": True},
        "live": {"type": "bool"},
        "stop": {"type": "bool", "default": True},
        "statefulset": {"type": "str"},
        "stop_timeout": {"type": "float", "default": STOPS},
        "start_timeout": {"type": "float", "default": STARTS},
        **own,
    }


def repair_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_repair`` ask for; see :func:`repair`."""
    request = RepairRequest(**_shared(params), findings=tuple(params["findings"] or ()), grace_days=params["grace_days"])
    return repair(request, _workload(params), check)


def undo_from(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options of ``chroma_repair_undo`` ask for; see :func:`undo`."""
    return undo(UndoRequest(**_shared(params), repair=params["repair"]), _workload(params), check)


def _shared(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": Path(params["path"]),
        "live": params["live"],
        "stop": params["stop"],
        "stops": params["stop_timeout"],
        "starts": params["start_timeout"],
    }


def _workload(params: Mapping[str, Any]) -> Workload | None:
    if not params["statefulset"]:
        return None
    return Workload(open_session(dict(params)), params["namespace"], params["statefulset"])
