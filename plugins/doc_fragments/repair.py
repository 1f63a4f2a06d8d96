# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that repair a data directory, and undo that."""

from __future__ import annotations


class ModuleDocFragment:
    """The directory, and the server on top of it."""

    DOCUMENTATION = r"""
options:
  path:
    description: The data directory, which holds C(chroma.sqlite3).
    type: path
    required: true
  live:
    description:
      - Whether a server may be writing to the directory.
      - Where it is not set, it is found out by O(statefulset), or by whether another process that can be seen has the database open.
        A server in another pod can't be seen.
    type: bool
  stop:
    description:
      - Whether the server is stopped and started again where that is needed, if O(statefulset) is set. On a bare host stop it first.
      - With V(false) nobody is stopped, and what would need it is left.
    type: bool
    default: true
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), which is set to 0 replicas and back.
      - Where it is not set, no cluster is spoken to.
    type: str
  stop_timeout:
    description: Seconds that the server may take to stop.
    type: float
    default: 180.0
  start_timeout:
    description: Seconds that the server may take to become ready again.
    type: float
    default: 600.0
"""
