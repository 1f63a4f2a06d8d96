#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_backup
short_description: Back up a Chroma, and prove the backup
version_added: 1.2.0
description:
  - Brings a data directory of Chroma, what changed in it since the last backup, or one collection into a repository of restic.
  - The server may run. Its writers wait while the directory is copied under SQLite's write lock; none of their writes fails.
  - Each backup is read back from the repository, validated, opened by Chroma in a throw-away process, and compared with what was
    kept. One that is not right is removed and made again. Only what was proven counts as verified.
  - What an operation that was killed left behind is removed by the next one.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: full
    details: [The kind of the backup and how many records it holds. Records are not shown.]
options:
  path:
    description:
      - Data directory of a running or stopped server, or a copy of one.
      - C(.thinkube-chroma) in it holds the lock, the journal, and what is made meanwhile. Chroma leaves that alone.
    type: path
  url:
    description:
      - Base URL of a server of which one collection is backed up, where there is no access to its directory.
      - Its records are then of no single moment.
    type: str
    required: false
  kind:
    description:
      - V(full) is the whole directory.
      - V(increment) is what changed since the newest backup. Restoring it needs all of its chain, which begins with a full backup.
      - V(auto) is an increment where one is possible and no full backup is due, otherwise a full one. Where nothing has changed,
        nothing is made.
      - Where there never are increments, because the data are of another schema than this environment's Chroma or O(max_increments=0),
        V(auto) makes a full one each O(interval_hours), and nothing between them.
      - V(collection) is the one that O(collection) names, as Parquet.
    type: str
    choices: [auto, full, increment, collection]
    default: auto
  collection:
    description: Name of the collection, or C(tenant/database/name), for O(kind=collection).
    type: str
  interval_hours:
    description: After so many hours V(auto) makes a full backup.
    type: float
    default: 24.0
  max_increments:
    description: So many increments may follow one full backup. V(0) is for none.
    type: int
    default: 24
  max_retries:
    description:
      - How often a backup is tried until it is right.
      - The pauses between the attempts double, from two seconds to a minute, half of them random.
    type: int
    default: 3
  verify:
    description:
      - Whether the backup is read back and proven.
      - A backup that is not counts as unverified for good. The drill proves it, but does not mark it.
    type: bool
    default: true
  live:
    description:
      - Whether a server may be writing to the directory. If so, it is copied under SQLite's write lock.
      - Where it is not set, the lock is taken where that is possible.
      - V(false) takes no lock, and fails where somebody writes meanwhile.
    type: bool
  pause:
    description:
      - Seconds that writers may have to wait, above 0. Then the lock is released, and it is tried again.
      - Where O(pause_tries) attempts were not enough, the server is stopped and started again, if O(statefulset) is set.
    type: float
    default: 30.0
  pause_tries:
    description: How often it is tried to copy within O(pause), at least once.
    type: int
    default: 3
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), which is set to 0 replicas and back where a copy beside the writers fails.
      - Where it is not set, no cluster is spoken to.
    type: str
  chroma_version:
    description:
      - Release of the server, for the manifest. No 1.x says it by itself.
      - With O(statefulset) the tag of the running image counts, where that is a release.
    type: str
    default: ""
  chroma_image:
    description: Image of the server, for the manifest. With O(statefulset) the running one's digest counts.
    type: str
    default: ""
  scratch_path:
    description:
      - Directory for what is made meanwhile, as large as the data. C(.thinkube-chroma) in O(path) where it is not set.
      - On the data's own file system a copy needs neither room nor time, if that can share blocks.
    type: path
notes:
  - On a bare host two backups of one directory are kept apart by a lock in it. On a cluster M(thinkube.chroma.chroma_lock) comes first.
seealso:
  - module: thinkube.chroma.chroma_backup_info
  - module: thinkube.chroma.chroma_backup_prune
  - module: thinkube.chroma.chroma_restore
"""

EXAMPLES = r"""
- name: Back up what changed, or all of it where a full backup is due
  thinkube.chroma.chroma_backup:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password

- name: Back up one collection to an object store
  thinkube.chroma.chroma_backup:
    path: /data
    kind: collection
    collection: books
    repository: s3://backups/chroma
    repository_password: "{{ repository_password }}"
    s3_endpoint: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
"""

RETURN = r"""
backup:
  description:
    - The backup that was made, as M(thinkube.chroma.chroma_backup_info) describes it.
    - In check mode only C(kind), C(parent) and C(base). Where none was made, the newest one.
  returned: success
  type: dict
  sample:
    id: 20260831T120000Z-1f3a9c
    kind: increment
    created: "2026-08-31T12:00:00Z"
    parent: 20260831T110000Z-77d0aa
    base: 20260831T000000Z-02c41e
    mode: hot
    pause_seconds: 0.061
    position: 204000
    records: 200000
    bytes: 3400210
    added_bytes: 3100882
    collections: [default_tenant/default_database/books]
    collection_count: 1
    chroma_version: 1.5.9
    chroma_image: docker.io/chromadb/chroma@sha256:0b1c…
    instance: 5d1f0c2ab94e7763
    verified: "2026-08-31T12:00:03Z"
    verify_seconds: 1.204
    opened: false
    attempts: 1
    undoes: ""
    chain: [20260831T000000Z-02c41e, 20260831T110000Z-77d0aa, 20260831T120000Z-1f3a9c]
    chain_verified: true
    restorable: true
    missing: ""
made:
  description: Whether a backup was made. What changed may also be what RV(repaired) says.
  returned: success
  type: bool
  sample: true
repaired:
  description:
    - What an operation that died had left and was made good first - C(swap_completed), C(server_started), and C(removed) with the ids
      of backups of which something was removed.
  returned: success
  type: dict
  sample:
    swap_completed: false
    server_started: false
    removed: []
plan:
  description: Which kind was chosen, or V(nothing), and why.
  returned: success
  type: dict
  sample:
    kind: increment
    reason: It follows on 20260831T110000Z-77d0aa.
    parent: 20260831T110000Z-77d0aa
proof:
  description: >-
    What was compared: C(collections), C(records), neighbours that were asked for (C(queries)) and not found (C(missed)), and C(minor)
    findings, which the original has too. C(opened) says whether Chroma was part of it. Null in check mode and without O(verify).
  returned: success
  type: dict
  sample:
    collections: 1
    records: 200000
    queries: 20
    missed: 0
    minor: []
    seconds: 6.2
    opened: true
repository_created:
  description: Whether this was its first use. Keep its password where it survives this machine.
  returned: success
  type: bool
  sample: false
attempt:
  description: The number of the attempt that failed, with C(attempts), C(phase), C(object) and C(reason).
  returned: failure
  type: int
  sample: 3
code:
  description: Stable identifier of the error, such as V(not_verified), V(lock_held), V(no_space), V(pause_exceeded) or V(no_base).
  returned: failure
  type: str
  sample: not_verified
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Make room, or choose another place.
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.operation import backup
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import KINDS, Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import Policy
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import paused
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order

OWN = {
    "path": {"type": "path"},
    # Not from the environment: beside a path it would be a second source.
    "url": {"type": "str"},
    "kind": {"type": "str", "choices": list(KINDS), "default": "auto"},
    "collection": {"type": "str"},
    "interval_hours": {"type": "float", "default": 24.0},
    "max_increments": {"type": "int", "default": 24},
    "max_retries": {"type": "int", "default": 3},
    "verify": {"type": "bool", "default": True},
    "live": {"type": "bool"},
    "pause": {"type": "float", "default": 30.0},
    "pause_tries": {"type": "int", "default": 3},
    "statefulset": {"type": "str"},
    "chroma_version": {"type": "str", "default": ""},
    "chroma_image": {"type": "str", "default": ""},
    "scratch_path": {"type": "path"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**repository_spec(), **cluster_argument_spec(), **OWN),
        mutually_exclusive=[("path", "url")],
        required_one_of=[("path", "url")],
        supports_check_mode=True,
    )
    given = module.params
    end_in_order()
    try:
        require_data_libraries()
        workload, gone = cluster_from(given)
        source = None
        if given["path"]:
            operation = os.environ.get("CHROMA_OPERATION_JOB", "backup")
            source = Source(
                Path(given["path"]),
                given["live"],
                given["pause"],
                given["pause_tries"],
                given["chroma_version"],
                given["chroma_image"],
                (lambda: paused(workload, operation)) if workload else None,
            )
        order = Order(
            given["kind"],
            given["collection"] or "",
            source,
            client_from(given) if given["url"] else None,
            Policy(given["interval_hours"], given["max_increments"]),
            given["max_retries"],
            given["verify"],
            Path(given["scratch_path"]) if given["scratch_path"] else None,
            given["chroma_version"],
        )
        result = backup(order, settings_from(given), workload, gone, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
