#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_backup_prune
short_description: Remove old backups of a Chroma
version_added: 1.2.0
description:
  - Removes the backups that neither O(retention_days) nor O(retention_count) keeps, and gives their room back.
  - The newest backup that was verified, the restore point of the last restore, and all that a kept increment needs stay in any case.
  - Where several data directories share the repository, this is done for each by itself.
  - A backup whose time is still to come, because the clock was set back, stays. One that was never verified, because its operation
    died, goes after a day.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes
options:
  retention_days:
    description: Backups that are younger are kept.
    type: int
    default: 30
  retention_count:
    description: So many of the newest full backups are kept, and so many of each collection that was backed up alone.
    type: int
    default: 10
  backups:
    description:
      - Ids of backups to remove, instead of those that retention would.
      - What cannot be restored without them has to be named as well.
    type: list
    elements: str
  path:
    description:
      - Data directory whose backups they are.
      - Its lock keeps a backup from following on one that goes meanwhile, and its journal says what was removed.
    type: path
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), which is started again if an operation that died had stopped it.
      - Where it is not set, no cluster is spoken to.
    type: str
seealso:
  - module: thinkube.chroma.chroma_backup
  - module: thinkube.chroma.chroma_backup_info
"""

EXAMPLES = r"""
- name: Say what would be removed, and why
  thinkube.chroma.chroma_backup_prune:
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
  check_mode: true
  register: planned

- name: Print the plan
  ansible.builtin.debug:
    msg: "{{ planned.table }}"

- name: Keep a week, and three full backups at least
  thinkube.chroma.chroma_backup_prune:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
    retention_days: 7
    retention_count: 3
"""

RETURN = r"""
backups:
  description: What becomes of each backup, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
      type: str
    kind:
      description: V(full), V(increment), V(collection) or V(restore-point).
      type: str
    created:
      description: Moment of the state that it holds.
      type: str
    keep:
      description: Whether it stays.
      type: bool
    reason:
      description: Why.
      type: str
  sample:
    - id: 20260831T000000Z-02c41e
      kind: full
      created: "2026-08-31T00:00:00Z"
      keep: true
      reason: the newest one that was verified
repaired:
  description: What an operation that died had left and was made good first, see M(thinkube.chroma.chroma_backup).
  returned: success
  type: dict
  sample:
    swap_completed: false
    server_started: false
    removed: []
removed:
  description: Ids of those that were removed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: []
table:
  description: The plan as lines to read.
  returned: success
  type: list
  elements: str
  sample:
    - keep    20260831T000000Z-02c41e  the newest one that was verified
    - ""
    - 0 of 1 backup to remove
code:
  description: Stable identifier of the error, such as V(invalid_value), V(in_use), V(lock_held) or V(no_repository).
  returned: failure
  type: str
  sample: in_use
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Make another one first.
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **repository_spec(),
            **cluster_argument_spec(),
            "retention_days": {"type": "int", "default": 30},
            "retention_count": {"type": "int", "default": 10},
            "backups": {"type": "list", "elements": "str"},
            "path": {"type": "path"},
            "statefulset": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    end_in_order()
    try:
        require_data_libraries()
        workload, gone = cluster_from(given)
        result = prune(
            settings_from(given),
            gone,
            Retention(given["retention_days"], given["retention_count"]),
            given["backups"] or (),
            Path(given["path"]) if given["path"] else None,
            workload,
            module.check_mode,
        )
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
