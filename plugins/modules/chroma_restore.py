#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_restore
short_description: Restore a backup of Chroma
version_added: 1.2.0
description:
  - Replaces the content of a data directory by a backup - the newest, one by its id, or the newest one that is not later than a time.
    Or brings one collection of a backup into a running server, beside what it serves.
  - A whole directory is brought onto the data volume first, its increments are replayed there, and it is validated, opened by Chroma and
    compared with what was kept, while the server still runs. Then the server is stopped, what is there goes into the repository as a
    restore point, the entries are exchanged, and the server is started.
  - Whatever the moment in which it is killed, either the old data are served, or the next run completes the exchange before the server
    is started.
  - Check mode returns what would be replaced, and how many records would be lost.
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
    description:
      - Data directory. It may be empty, damaged, or served by the server that O(statefulset) names.
      - Beside O(collection), where what is brought meanwhile lies, and whose backups V(latest) and O(as_of) mean.
    type: path
  backup:
    description: Id of the backup, or V(latest).
    type: str
    default: latest
  as_of:
    description:
      - A time in ISO 8601, C(2026-08-31T14:00:00Z) for example, instead of O(backup). UTC where it names no zone.
      - The newest backup whose state is not later is restored; RV(note) says which that is.
    type: str
  collection:
    description:
      - Only this collection, by its name or C(tenant/database/name) in the backup. It goes to O(tenant) and O(database) of O(url).
      - Without O(backup) and O(as_of), the newest backup that holds it counts, those of one collection among them.
      - Where the repository holds backups of several data directories, O(path) has to say which is meant, and a backup by the API, which
        does not say of which server it is, has to be named by its id.
    type: str
  new_name:
    description: Name of the restored O(collection). Its name in the backup where it is not set. There must be none of that name.
    type: str
  url:
    description:
      - Base URL of the server.
      - Without O(collection), it is asked for what it serves in the end, if O(statefulset) is set.
    type: str
    required: false
  create_database:
    description: Whether O(tenant) and O(database) are created where they do not exist. No release can remove a tenant.
    type: bool
    default: false
  scratch_path:
    description: Directory for what is brought for O(collection), instead of the data volume.
    type: path
  timeout:
    description: Seconds to wait for one answer. A large batch takes a busy server tens of seconds.
    type: float
    default: 300.0
notes:
  - A whole directory needs as much room on its own volume as the backup has, beside what is there.
  - On a cluster M(thinkube.chroma.chroma_lock) comes first; on a bare host a lock in the directory keeps two operations apart.
  - What was not Chroma's in the directory stays where it is.
seealso:
  - module: thinkube.chroma.chroma_restore_undo
  - module: thinkube.chroma.chroma_backup
  - module: thinkube.chroma.chroma_backup_info
"""

EXAMPLES = r"""
- name: See what restoring the newest backup would replace, and what would be lost
  thinkube.chroma.chroma_restore:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
  check_mode: true

- name: Go back to two o'clock
  thinkube.chroma.chroma_restore:
    path: /data
    as_of: "2026-08-31T14:00:00Z"
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password

- name: Bring yesterday's books back beside those of today, while the server runs
  thinkube.chroma.chroma_restore:
    collection: books
    new_name: books-yesterday
    backup: 20260830T120000Z-1f3a9c
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    repository: s3://backups/chroma
    repository_password: "{{ repository_password }}"
    s3_endpoint: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
"""

RETURN = r"""
backup:
  description: Id of the backup.
  returned: success
  type: str
  sample: 20260831T120000Z-1f3a9c
kind:
  description: V(full), V(increment), V(collection) or V(restore-point).
  returned: success
  type: str
  sample: increment
created:
  description: The moment of the state that was restored.
  returned: success
  type: str
  sample: "2026-08-31T12:00:00Z"
chain:
  description: All backups that were needed, the full one first.
  returned: success
  type: list
  elements: str
  sample: [20260831T000000Z-02c41e, 20260831T120000Z-1f3a9c]
note:
  description: Why this backup, where O(as_of) was given; or that an interrupted attempt was completed, or had done all of it.
  returned: success
  type: str
  sample: ""
records:
  description: Records of the backup.
  returned: without O(collection)
  type: int
  sample: 200000
lost_records:
  description:
    - Records that were written or deleted since the backup, as far as the present directory says. Null where it can't be read, or is
      written all the while.
    - The restore point has them.
  returned: without O(collection)
  type: int
  sample: 312
collections:
  description:
    - What becomes of each collection. V(fate) is V(replaced), V(created), or V(removed) where the backup does not have it.
    - V(now) and V(then) are its records, V(lost) as RV(lost_records).
  returned: without O(collection)
  type: list
  elements: dict
  sample:
    - label: default_tenant/default_database/books
      fate: replaced
      now: 200312
      then: 200000
      lost: 312
current:
  description: What the directory is - V(present), V(empty) or V(damaged), and then RV(damaged) says why.
  returned: without O(collection)
  type: str
  sample: present
damaged:
  description: Why the present directory can't be read.
  returned: without O(collection)
  type: str
  sample: ""
table:
  description: The plan as lines to read.
  returned: success
  type: list
  elements: str
  sample:
    - "backup 20260831T120000Z-1f3a9c: increment, of 2026-08-31T12:00:00Z, 200,000 records"
    - ""
    - "collection                                  before        after       lost"
    - "default_tenant/default_database/books      200,312      200,000        312  replaced"
needed_bytes:
  description: Bytes that have to be free on the data volume.
  returned: without O(collection)
  type: int
  sample: 610000000
restore_point:
  description:
    - Id of the backup that holds what was there before; empty where nothing was.
    - M(thinkube.chroma.chroma_restore_undo) brings it back.
  returned: without O(collection), not in check mode
  type: str
  sample: 20260831T121500Z-9c03d1
restore_point_verified:
  description: Whether it was read back from the repository and found to be equal, byte by byte.
  returned: without O(collection), not in check mode
  type: bool
  sample: true
completed:
  description: Whether an earlier attempt had been interrupted while it exchanged the entries, and this one completed that.
  returned: without O(collection), not in check mode
  type: bool
  sample: false
proof:
  description: What was proven before anything was replaced - collections, records, queries. Null of a restore point.
  returned: without O(collection), not in check mode
  type: dict
  sample: {collections: 1, records: 200000, queries: 20, missed: 0, minor: [], seconds: 6.1}
rounded:
  description: Records that increments brought with a float in their metadata of which Chroma keeps a neighbour (docs/increments.md).
  returned: without O(collection), not in check mode
  type: int
  sample: 0
served:
  description: Collections and records that the server serves in the end. Null where none was asked.
  returned: without O(collection), not in check mode
  type: dict
  sample: {collections: 1, records: 200000}
downtime_seconds:
  description: For so long the server was away. Null on a bare host.
  returned: without O(collection), not in check mode
  type: float
  sample: 14.2
seconds:
  description: That all of it took.
  returned: without O(collection), not in check mode
  type: float
  sample: 31.0
collection:
  description:
    - The restored collection - V(id), V(name), V(tenant), V(database), its V(source) in the backup, V(records), and how many of them
      were V(verified) by reading them back.
  returned: with O(collection)
  type: dict
  sample:
    id: 2701772f-0f7a-4995-88b9-7e0471e727d4
    name: books-yesterday
    tenant: default_tenant
    database: default_database
    source: default_tenant/default_database/books
    records: 1200
    verified: 1200
    differs: []
    rounded: 0
code:
  description:
    - Stable identifier of the error, such as V(not_found), V(broken_chain), V(newer_backup), V(server_running), V(no_space),
      V(wrong_password), V(exists), V(not_verified) or V(swap_failed).
  returned: failure
  type: str
  sample: broken_chain
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: The newest one before it that can be restored is 20260831T110000Z-77d0aa (2026-08-31T11:00:00Z, 199480 records).
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.arguments import restore_from, restore_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order

OWN = {
    # Not from the environment: a server that somebody has set there need not be the one of this directory.
    "url": {"type": "str"},
    "backup": {"type": "str", "default": "latest"},
    "as_of": {"type": "str"},
    "collection": {"type": "str"},
    "new_name": {"type": "str"},
    "create_database": {"type": "bool", "default": False},
    "scratch_path": {"type": "path"},
    "timeout": {"type": "float", "default": 300.0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**repository_spec(), **cluster_argument_spec(), **restore_spec(), **OWN),
        required_one_of=[("path", "collection")],
        required_by={"collection": ("url",), "new_name": ("collection",)},
        supports_check_mode=True,
    )
    end_in_order()
    try:
        result = restore_from(module.params, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
