#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_restore_undo
short_description: Bring back what a restore of Chroma replaced
version_added: 1.2.0
description:
  - Brings the files back, byte by byte, that M(thinkube.chroma.chroma_restore) kept as a restore point before it replaced them, whatever
    state they were in.
  - What is there now becomes a restore point first. So an undo can be undone as well, by a second one.
  - It is exchanged as in a restore - whatever the moment in which it is killed, the next run completes it.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.restore
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: full
    details: [The records of each collection before and after. Records are not shown.]
options:
  path:
    description: Data directory.
    type: path
    required: true
  restore_point:
    description:
      - Id of the restore point, or V(latest), that of the last restore or undo that was done in O(path).
      - As V(latest) only those count that C(.thinkube-chroma) in O(path) knows as its own. Another one has to be named.
    type: str
    default: latest
  url:
    description: Base URL of the server, which is asked for what it serves in the end, if O(statefulset) is set.
    type: str
    required: false
seealso:
  - module: thinkube.chroma.chroma_restore
  - module: thinkube.chroma.chroma_backup_info
"""

EXAMPLES = r"""
- name: Bring back what was there before the last restore
  thinkube.chroma.chroma_restore_undo:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
"""

RETURN = r"""
backup:
  description: Id of the restore point that was brought back.
  returned: success
  type: str
  sample: 20260831T121500Z-9c03d1
kind:
  description: V(restore-point).
  returned: success
  type: str
  sample: restore-point
created:
  description: The moment in which it was taken.
  returned: success
  type: str
  sample: "2026-08-31T12:15:00Z"
note:
  description: That an interrupted attempt was completed.
  returned: success
  type: str
  sample: ""
records:
  description: Records that it holds; 0 where it could not be read.
  returned: success
  type: int
  sample: 200312
lost_records:
  description: Records that were written or deleted since, as far as the present directory says. Null where nobody can tell.
  returned: success
  type: int
  sample: 0
collections:
  description: What becomes of each collection, as M(thinkube.chroma.chroma_restore) returns it.
  returned: success
  type: list
  elements: dict
  sample:
    - label: default_tenant/default_database/books
      fate: replaced
      now: 200000
      then: 200312
      lost: 0
table:
  description: The plan as lines to read, as M(thinkube.chroma.chroma_restore) returns it.
  returned: success
  type: list
  elements: str
  sample: ["backup 20260831T121500Z-9c03d1: restore-point, of 2026-08-31T12:15:00Z, 200,312 records"]
restore_point:
  description: Id of the backup that holds what was there before the undo; another undo brings it back.
  returned: success, not in check mode
  type: str
  sample: 20260831T130000Z-0d41aa
restore_point_verified:
  description: Whether it was read back from the repository and found to be equal, byte by byte.
  returned: success, not in check mode
  type: bool
  sample: true
completed:
  description: Whether an earlier attempt had been interrupted while it exchanged the entries, and this one completed that.
  returned: success, not in check mode
  type: bool
  sample: false
served:
  description: Collections and records that the server serves in the end. Null where none was asked.
  returned: success, not in check mode
  type: dict
  sample: {collections: 1, records: 200312}
downtime_seconds:
  description: For so long the server was away. Null on a bare host.
  returned: success, not in check mode
  type: float
  sample: 9.8
seconds:
  description: That all of it took.
  returned: success, not in check mode
  type: float
  sample: 15.0
code:
  description: Stable identifier of the error, such as V(not_found), V(server_running), V(no_space) or V(swap_failed).
  returned: failure
  type: str
  sample: not_found
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: To go back to a backup, use chroma_restore (30_restore).
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.arguments import restore_spec, undo_from
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order

OWN = {
    "path": {"type": "path", "required": True},
    # Not from the environment: a server that somebody has set there need not be the one of this directory.
    "url": {"type": "str"},
    "restore_point": {"type": "str", "default": "latest"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**{**repository_spec(), **cluster_argument_spec(), **restore_spec(), **OWN}),
        supports_check_mode=True,
    )
    end_in_order()
    try:
        result = undo_from(module.params, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
