# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that use a repository of backups."""

from __future__ import annotations


class ModuleDocFragment:
    """Which repository, and how to open it; that of an object store takes the options of fragment ``dataset`` as well."""

    DOCUMENTATION = r"""
options:
  repository:
    description:
      - Where the backups are, a restic repository - a directory, or C(s3://bucket/prefix).
      - It is for the backups of this collection alone. A repository of something else is refused.
    type: str
    required: true
  repository_password:
    description:
      - Password of the repository. Without it no backup can be read, by anybody.
      - Taken from the environment variable E(RESTIC_PASSWORD) where neither it nor O(repository_password_file) is set.
    type: str
  repository_password_file:
    description:
      - File with the password alone, on the host where the module runs. White space around it does not count.
      - Used rather than O(repository_password) where both are set.
    type: path
  repository_lock_wait:
    description: Seconds to wait for another process that works in the repository.
    type: float
    default: 60.0
  restic_path:
    description: The program restic, a path or a name that is looked for in E(PATH). At least version 0.17.
    type: str
    default: restic
requirements:
  - restic >= 0.17
"""
