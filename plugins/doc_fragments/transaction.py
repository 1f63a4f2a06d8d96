# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that delete and rename collections, and undo that."""

from __future__ import annotations


class ModuleDocFragment:
    """Where restore point and journal of a transaction are; before fragment ``repository``, whose I(repository) is required."""

    DOCUMENTATION = r"""
options:
  repository:
    description:
      - Where the restore point of a collection goes that is deleted or renamed, a restic repository - a directory, or
        C(s3://bucket/prefix). The first backup creates it.
      - It is for the backups of this collection of modules alone. A repository of something else is refused.
    type: str
    required: false
  path:
    description:
      - Data directory of the server, where it can be reached. C(.thinkube-chroma) in it has the journal and the lock.
      - It is looked into whether nothing of a deleted collection is left there.
    type: path
  journal_path:
    description:
      - Where the data directory can't be reached, another directory that takes C(.thinkube-chroma) with journal and lock.
      - It has to stay, and be the same for all who delete and rename on this server. What was interrupted is completed with it, and undone.
    type: path
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), if O(path) is its directory. It is started again where an operation that died
        had stopped it.
      - Where it is not set, no cluster is spoken to.
    type: str
  scratch_path:
    description: Directory for what is made meanwhile, instead of the data volume or the system's temporary directory.
    type: path
notes:
  - Only with O(repository) it needs restic and the data plane's Python libraries.
  - On a cluster M(thinkube.chroma.chroma_lock) comes first; on a bare host a lock in O(path) or O(journal_path) keeps two apart.
"""
