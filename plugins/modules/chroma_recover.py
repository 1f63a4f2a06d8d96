#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_recover
short_description: Recover damaged, orphaned and missing collections of Chroma
version_added: 1.3.0
description:
  - Looks for collections that are damaged, and if asked to for folders of indexes that belong to none, and for collections that the
    newest verified backup has and the data directory has not.
  - For each of them it collects what is left - vectors from the write-ahead log, from C(data_level0.bin), from the backup and from
    PostgreSQL; documents and metadata from SQLite, the log, the backup and PostgreSQL - and says in numbers what can be recovered and
    what is lost.
  - Check mode returns that plan. Otherwise each collection comes into a new one, by the server's API, and counts once every record was
    read back equal. One that fails is removed again, and the others go on.
  - Nothing that is there is changed, unless O(in_place) is set. What was recovered once is not recovered again, as long as the collection
    that it became is there.
  - Whatever the moment in which it is killed, the next run completes what was begun.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes
attributes:
  check_mode:
    support: full
    details: [The plan is returned, and nothing is written to the data directory.]
  diff_mode:
    support: full
    details: [The collections and how many records they have. Records are not shown.]
options:
  path:
    description: Data directory, of a running or stopped server.
    type: path
    required: true
  url:
    description:
      - Base URL of the server of O(path), which takes what is recovered.
      - Where it is not set, a Chroma of this environment serves the directory meanwhile, if nobody else has it open.
    type: str
    required: false
  kinds:
    description:
      - What to recover. V(damaged) are collections with severe findings, V(orphan) are folders of indexes that belong to no collection,
        V(missing) are collections that are only in the backup.
      - Chroma leaves the folder of each collection that is deleted, and so V(orphan) and V(missing) bring back what was deleted on purpose.
        A warning says how many there are where they are left out.
      - Where C(chroma.sqlite3) is lost or can't be read, all of them are meant.
    type: list
    elements: str
    choices: [damaged, orphan, missing]
    default: [damaged]
  collections:
    description:
      - Only these. Names, C(tenant/database/name), ids of collections, or the names of folders. All of them where it is not set.
    type: list
    elements: str
  plan:
    description:
      - RV(plan) of an earlier run, as it was returned, to do just that. It is refused where it was edited, or where what it is about has
        changed since.
      - Not with O(kinds) or O(collections).
    type: dict
  in_place:
    description:
      - Whether a recovered collection gets the name of the damaged one, which is renamed to C(<name>-damaged) or a numbered name and kept.
      - Each of the two renamings is a transaction that M(thinkube.chroma.chroma_collection_undo) undoes.
    type: bool
    default: false
  repository:
    description:
      - Repository of the backups, a restic repository - a directory, or C(s3://bucket/prefix).
      - Without it there is no backup to recover from, and nothing is V(missing).
    type: str
    required: false
  postgres:
    description:
      - Whether the current generation in PostgreSQL is a source, too. How to reach it is in the environment; see
        M(thinkube.chroma.chroma_export_postgres).
    type: bool
    default: false
  backup_table:
    description: Table in PostgreSQL, C(table) or C(schema.table). The environment variable E(BACKUP_TABLE) where it is not set.
    type: str
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace), started again where an operation that died had stopped it.
      - Where it is not set, no cluster is spoken to.
    type: str
  scratch_path:
    description:
      - Directory for what is collected meanwhile. C(.thinkube-chroma) in O(path) where it is not set; in check mode the system's temporary
        directory.
    type: path
  wait:
    description: Seconds that the server may be away meanwhile.
    type: float
    default: 300.0
  timeout:
    description: Seconds to wait for one answer. A large batch takes a busy server tens of seconds.
    type: float
    default: 300.0
notes:
  - On a cluster M(thinkube.chroma.chroma_lock) comes first; on a bare host a lock in the directory keeps two operations apart.
seealso:
  - module: thinkube.chroma.chroma_validate
  - module: thinkube.chroma.chroma_restore
"""

EXAMPLES = r"""
- name: See what is damaged, and what can be recovered from what
  thinkube.chroma.chroma_recover:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
  check_mode: true
  register: recovery

- name: Do just that
  thinkube.chroma.chroma_recover:
    path: /data
    url: http://127.0.0.1:8000
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
    plan: "{{ recovery.plan }}"

- name: Recover one collection under its own name; the damaged one is kept under another
  thinkube.chroma.chroma_recover:
    path: /data
    url: http://127.0.0.1:8000
    collections: [books]
    in_place: true
"""

RETURN = r"""
plan:
  description:
    - What can be recovered from what. V(items) has for each collection V(kind), V(name), V(target), the V(sources) and what each holds,
      V(recoverable) and V(lost) in numbers, V(said) in one sentence, and V(priority).
    - V(sha256) is over its content.
  returned: success
  type: dict
  sample:
    format: thinkube.chroma/recovery-plan
    version: 1
    items: []
    sha256: 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945
done:
  description: What an earlier run recovered, and so is not in the plan - V(name) and V(target).
  returned: success
  type: list
  elements: dict
  sample: []
success:
  description: How many collections were recovered and read back.
  returned: success, and failure once it has begun
  type: int
  sample: 2
failed:
  description: How many were not.
  returned: success, and failure once it has begun
  type: int
  sample: 0
details:
  description:
    - For each collection V(target), V(success), V(records), V(lost), V(renamed) with O(in_place), V(reason) and V(code) where it failed.
  returned: success, and failure once it has begun
  type: list
  elements: dict
  sample:
    - name: books
      target: books-recovered
      success: true
      records: 19980
      lost: 20
      reason: ""
table:
  description: The plan, and what became of it, as lines to read.
  returned: success
  type: list
  elements: str
  sample: ["damaged  books -> books-recovered: 19,980 of 20,000 records"]
warnings:
  description: What else is to be said.
  returned: where there is something
  type: list
  elements: str
  sample: []
code:
  description:
    - Stable identifier of the error, such as V(stale_plan), V(recovery_failed), V(server_running), V(no_space), V(lock_held) or
      V(unreachable).
  returned: failure
  type: str
  sample: stale_plan
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Make the plan again.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.arguments import recover_from, recover_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=recover_spec(),
        mutually_exclusive=[("plan", "collections")],
        supports_check_mode=True,
    )
    end_in_order()
    try:
        result = recover_from(module.params, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
