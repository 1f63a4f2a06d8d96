# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server on its cluster, as far as a backup has to do with it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload, start_again

# Of the pod, see roles/server; a gateway may stand beside it.
_CONTAINER = "chroma"
_RELEASE = re.compile(r":v?(\d+\.\d+\.\d+)$")


@contextlib.contextmanager
def served(workload: Workload | None) -> Iterator[None]:
    """See that the server is wanted again when a ``with`` block ends, however it ends.

    A pause whose answer was lost has stopped it though it failed. Only once a swap is settled: it must not start on half a directory.

    Args:
        workload: the server; None on a bare host, where nothing is done.

    Raises:
        ChromaError: what the cluster answers, where the block itself was right: a server that nobody starts is no success.
    """
    if workload is None:
        yield
        return
    try:
        yield
    except BaseException:
        # What failed first is what the caller has to know.
        with contextlib.suppress(ChromaError):
            start_again(workload)
        raise
    start_again(workload)


def running_image(workload: Workload) -> tuple[str, str]:
    """Return release and image of the server that runs, the image with its digest; empty where none runs, or its image does not say it.

    Source: ``status.containerStatuses[]`` of its pod, what the kubelet started: ``image`` has the tag, ``imageID`` the digest. No 1.x says
    its release by itself.

    Raises:
        ChromaError: those of the session.
    """
    statefulset = workload.read()
    for pod in workload.pods(statefulset) if statefulset else []:
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            if status["name"] == _CONTAINER and status.get("imageID"):
                release = _RELEASE.search(status["image"])
                return release[1] if release else "", str(status["imageID"]).rpartition("://")[2]
    return "", ""
