#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_backup_info
short_description: List the backups of a Chroma
version_added: 1.2.0
description:
  - Lists the backups in a repository, newest first - what each holds, what it needs to be restored, and whether it was proven.
  - The newest is the one that was made last, whatever the clock said then.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes.info
options:
  backup:
    description: Id of one backup; only this one.
    type: str
  kind:
    description: Only backups of this kind.
    type: str
    choices: [full, increment, collection, restore-point]
  collection:
    description: Only backups that hold this collection, by its name or as C(tenant/database/name).
    type: str
  verified:
    description: Only backups that were read back and proven, or only those that were not.
    type: bool
  since:
    description: Only backups of this moment or later, in ISO 8601. UTC where it names no zone.
    type: str
  check:
    description:
      - Whether the whole repository is read and compared with its checksums, which takes as long as reading it does.
      - What is damaged is in RV(damage); that is no failure.
    type: bool
    default: false
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace). It says that locks in the repository are those of pods that are gone.
      - Where it is not set, no cluster is spoken to.
    type: str
seealso:
  - module: thinkube.chroma.chroma_backup
  - module: thinkube.chroma.chroma_restore
"""

EXAMPLES = r"""
- name: List all backups
  thinkube.chroma.chroma_backup_info:
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
  register: listed

- name: Print the table
  ansible.builtin.debug:
    msg: "{{ listed.table }}"

- name: Stop where nothing was proven for a day
  ansible.builtin.assert:
    that: listed.backups | selectattr('verified') | map(attribute='created') | max > '2026-08-30T12:00:00Z'
"""

RETURN = r"""
backups:
  description: The backups, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id; the time in it is UTC.
      type: str
    kind:
      description: V(full), V(increment), V(collection) or V(restore-point).
      type: str
    created:
      description: Moment of the state that it holds.
      type: str
    parent:
      description: Id of the backup that an increment follows on.
      type: str
    base:
      description: Id of the full backup that its chain begins with.
      type: str
    mode:
      description: V(hot) beside a server, V(stopped), V(cold) where the server was stopped for it, V(api).
      type: str
    pause_seconds:
      description: For so long writers waited.
      type: float
    position:
      description: The last number that the write-ahead log had given.
      type: int
    records:
      description: Records of all collections.
      type: int
    bytes:
      description: Size of what was kept.
      type: int
    added_bytes:
      description: For so much the repository grew.
      type: int
    collections:
      description: C(tenant/database/name) of the collections, at most 100.
      type: list
      elements: str
    collection_count:
      description: How many there are.
      type: int
    chroma_version:
      description: Release of the server, where somebody said it.
      type: str
    chroma_image:
      description: Image of the server, with its digest where that was known.
      type: str
    instance:
      description: Of the data directory; empty for a backup by the API. Several directories may share one repository.
      type: str
    verified:
      description: When it was proven; empty where it was not.
      type: str
    verify_seconds:
      description: Seconds that this took.
      type: float
    opened:
      description: Whether Chroma itself opened it then, and was asked. An increment is read and held against its parent only.
      type: bool
    attempts:
      description: How often it was tried until it was right.
      type: int
    undoes:
      description: Of a restore point, the backup whose restore it undoes.
      type: str
    chain:
      description: Ids of all that is needed to restore it, from the full backup on.
      type: list
      elements: str
    chain_verified:
      description: Whether all of these are there and each was proven.
      type: bool
    restorable:
      description: Whether all of these are there.
      type: bool
    missing:
      description: The one that is not.
      type: str
    damaged:
      description: Whether it, or one of its chain, is damaged. With O(check) only.
      type: bool
  sample:
    - id: 20260831T000000Z-02c41e
      kind: full
      created: "2026-08-31T00:00:00Z"
      parent: ""
      base: ""
      mode: hot
      pause_seconds: 0.42
      position: 202000
      records: 200000
      bytes: 537600000
      added_bytes: 365000000
      collections: [default_tenant/default_database/books]
      collection_count: 1
      chroma_version: 1.5.9
      chroma_image: docker.io/chromadb/chroma@sha256:0b1c…
      instance: 5d1f0c2ab94e7763
      verified: "2026-08-31T00:00:21Z"
      verify_seconds: 11.2
      opened: true
      attempts: 1
      undoes: ""
      chain: [20260831T000000Z-02c41e]
      chain_verified: true
      restorable: true
      missing: ""
newest:
  description: Id of the newest backup that was proven and whose chain is there; empty for none.
  returned: success
  type: str
  sample: 20260831T000000Z-02c41e
damage:
  description: What O(check) found - ids of C(backups), C(files) in them, C(packs) of the repository, and C(complaints) of restic.
  returned: success
  type: dict
  sample:
    backups: []
    files: []
    packs: []
    complaints: []
unreadable:
  description: Ids of the snapshots in the repository that can't be read. They may be any backup, and none is shown for them.
  returned: success
  type: list
  elements: str
  sample: []
table:
  description: All of it as lines to read.
  returned: success
  type: list
  elements: str
  sample:
    - "backup                   kind              records    added  state"
    - "20260831T000000Z-02c41e  full              200,000   365 MB  verified"
    - ""
    - 1 backup, 1 verified
    - "newest verified: 20260831T000000Z-02c41e, 3 hours old"
code:
  description: Stable identifier of the error, such as V(no_repository), V(wrong_password) or V(not_found).
  returned: failure
  type: str
  sample: no_repository
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Check the path, or bucket and prefix, and that the volume is mounted; a first backup creates it.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import parse_moment


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **repository_spec(),
            **cluster_argument_spec(),
            "backup": {"type": "str"},
            "kind": {"type": "str", "choices": ["full", "increment", "collection", "restore-point"]},
            "collection": {"type": "str"},
            "verified": {"type": "bool"},
            "since": {"type": "str"},
            "check": {"type": "bool", "default": False},
            "statefulset": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        require_data_libraries()
        wanted = Filter(
            given["backup"] or "",
            given["kind"] or "",
            given["collection"] or "",
            given["verified"],
            parse_moment(given["since"], "since") if given["since"] else None,
        )
        result = list_backups(settings_from(given), wanted, given["check"], cluster_from(given)[1])
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
