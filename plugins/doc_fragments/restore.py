# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that exchange the content of a data directory."""

from __future__ import annotations


class ModuleDocFragment:
    """The server on top of that directory: how it is stopped and started, and what it can read."""

    DOCUMENTATION = r"""
options:
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), which is set to 0 replicas and back.
      - Where it is not set, no cluster is spoken to, and nobody may have the directory open.
    type: str
  chroma_version:
    description:
      - Release of the server that is to serve the data. What a newer one has written is refused.
      - Where it is not set, the release that wrote the present directory counts.
    type: str
    default: ""
  stop_timeout:
    description: Seconds that the server may take to stop.
    type: float
    default: 180.0
  start_timeout:
    description: Seconds that the server may take to become ready again.
    type: float
    default: 600.0
notes:
  - A Job whose name is in the environment variable E(CHROMA_OPERATION_JOB) does it once, in however many attempts.
"""
