# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of backups take from their options alike. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone, pods_gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import is_local
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload


def cluster_from(params: dict[str, Any]) -> tuple[Workload | None, Gone]:
    """Return the server on its cluster, and what says that a pod which left a lock is gone; neither without option ``statefulset``.

    Raises:
        ChromaError: see :func:`_kube.open_session`.
    """
    if not params["statefulset"]:
        return None, lambda _hostname: False
    session = open_session(params)
    gone = pods_gone(session, params["namespace"], shared=not is_local(params["repository"]))
    return Workload(session, params["namespace"], params["statefulset"]), gone
