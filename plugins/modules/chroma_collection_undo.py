#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_collection_undo
short_description: Undo the deletion or renaming of a collection of Chroma
version_added: 1.3.0
description:
  - Brings a collection back that M(thinkube.chroma.chroma_collection) deleted, from its restore point and under its name, and compares
    each record. Or gives one that was renamed its old name back.
  - A collection that is restored has a new UUID. It stands under its name only when all of it is there.
  - A deletion can be undone as long as the retention keeps its restore point.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.transaction
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes
options:
  entry:
    description:
      - Number of the transaction in the journal, as RV(thinkube.chroma.chroma_collection#module:entry) says it and
        M(thinkube.chroma.chroma_journal_info) lists it.
      - The newest one that was not undone where it is not set.
    type: int
seealso:
  - module: thinkube.chroma.chroma_collection
  - module: thinkube.chroma.chroma_journal_info
  - module: thinkube.chroma.chroma_restore
"""

EXAMPLES = r"""
- name: Bring back what was deleted last
  thinkube.chroma.chroma_collection_undo:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
"""

RETURN = r"""
undone:
  description: Number of the transaction in the journal that was undone.
  returned: success
  type: int
  sample: 17
operation:
  description: What it had been, V(delete-collection) or V(rename-collection).
  returned: success
  type: str
  sample: delete-collection
entry:
  description: Number of the undo itself in the journal; null in check mode.
  returned: success
  type: int
  sample: 23
collection:
  description: The collection that is there now, as M(thinkube.chroma.chroma_collection) returns it; in check mode its name and place.
  returned: success
  type: dict
  sample: {name: books, tenant: default_tenant, database: default_database}
records:
  description: Records that it has.
  returned: success
  type: int
  sample: 20000
restore_point:
  description: Id of the backup that it came from; empty where a renaming was undone.
  returned: success
  type: str
  sample: 20260831T121500Z-9c03d1
finished:
  description: Transactions that had been interrupted, and what became of them now, as M(thinkube.chroma.chroma_collection) returns them.
  returned: success
  type: list
  elements: dict
  sample: []
code:
  description: Stable identifier of the error, such as V(not_found), V(exists) or V(lock_held).
  returned: failure
  type: str
  sample: exists
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Rename or delete the collection of that name first.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.arguments import transaction_spec, undo_from


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**transaction_spec(), entry={"type": "int"}),
        mutually_exclusive=[("path", "journal_path")],
        required_one_of=[("path", "journal_path")],
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
