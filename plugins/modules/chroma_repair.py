#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_repair
short_description: Repair what is wrong in a data directory of Chroma, where that loses nothing
version_added: 1.3.0
description:
  - Validates a data directory as M(thinkube.chroma.chroma_validate) does, and repairs the findings that can be repaired without losing
    anything that Chroma shows - folders and rows that belong to nobody, the full-text index, the size of an index's files.
  - What is taken away is not deleted. It goes to C(.thinkube-chroma/quarantine) in the data directory, with a checksum of each file, and
    M(thinkube.chroma.chroma_repair_undo) brings it back until O(grace_days) have gone by.
  - Afterwards the directory is validated again. Where a finding is still there or a new one came up, all of it is taken back.
  - Folders and rows are repaired beside a running server, whose writers wait for moments. What changes a file that is in use needs
    the server stopped, see O(stop).
  - Severe findings are not touched, but for V(CHR066) where O(findings) names it; RV(left) says what to do about them.
  - A repair that was killed is brought to its end by the next operation that writes to the directory.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.cluster
  - thinkube.chroma.repair
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: full
    details: [The findings before and after. Rows are not shown.]
options:
  findings:
    description: Identifiers of findings, such as V(CHR017). Only these are repaired. All that can be where it is not set.
    type: list
    elements: str
  grace_days:
    description: What has been in quarantine for so many days is removed for good.
    type: float
    default: 7.0
seealso:
  - module: thinkube.chroma.chroma_repair_undo
  - module: thinkube.chroma.chroma_validate
  - name: All findings
    description: What each identifier means, how it comes about, and what to do.
    link: https://github.com/thinkube/thinkube.chroma/blob/main/docs/findings.md
"""

EXAMPLES = r"""
- name: Say what would be repaired
  thinkube.chroma.chroma_repair:
    path: /data
  check_mode: true
  diff: true
  register: planned

- name: Repair beside a running server, and leave what would need it stopped
  thinkube.chroma.chroma_repair:
    path: /data
    live: true
    stop: false

- name: Repair all that can be, with the server stopped where that is needed
  thinkube.chroma.chroma_repair:
    path: /data
    namespace: chroma
    statefulset: chroma

- name: Remove only the folders of deleted collections
  thinkube.chroma.chroma_repair:
    path: /data
    findings: [CHR017]
"""

RETURN = r"""
plan:
  description: What is to be done, one step for each finding that can be repaired.
  returned: success
  type: list
  elements: dict
  contains:
    finding:
      description: Identifier of the finding.
      type: str
    what:
      description: What is done.
      type: str
    collection:
      description: C(tenant/database/name); empty where no collection is concerned.
      type: str
    segment:
      description: Id of the segment; empty where none is concerned.
      type: str
    needs_stop:
      description: Whether it needs the server stopped.
      type: bool
  sample:
    - finding: CHR017
      what: folder 0cbc705a-ae8a-438f-9fd3-5a3f75583072 goes to quarantine
      collection: ""
      segment: ""
      needs_stop: false
repaired:
  description: The steps of RV(plan) that were done. Empty in check mode.
  returned: success
  type: list
  elements: dict
  sample: []
left:
  description: Findings that are not touched.
  returned: success
  type: list
  elements: dict
  contains:
    finding:
      description: Identifier of the finding.
      type: str
    severity:
      description: V(minor) or V(severe).
      type: str
    collection:
      description: C(tenant/database/name); empty where no collection is concerned.
      type: str
    segment:
      description: Id of the segment; empty where none is concerned.
      type: str
    reason:
      description: Why it is left.
      type: str
    do:
      description: What to do.
      type: str
  sample: []
quarantine:
  description: Id of the repair, which its undo takes; empty where nothing was repaired.
  returned: success
  type: str
  sample: 20261121T090000Z-0a1b2c
rows:
  description: Number of rows that were put into quarantine, by table.
  returned: success
  type: dict
  sample: {embedding_metadata_array: 12}
folders:
  description: Names of the folders that were put into quarantine.
  returned: success
  type: list
  elements: str
  sample: [0cbc705a-ae8a-438f-9fd3-5a3f75583072]
files:
  description: Files of indexes that were changed, relative to O(path).
  returned: success
  type: list
  elements: str
  sample: []
exact:
  description: >-
    Whether an undo with the server stopped can bring back the very bytes of before, as long as nobody writes to the database in between.
    Otherwise folders and files come back byte by byte, and the database row by row.
  returned: success
  type: bool
  sample: true
completed:
  description: Ids of repairs and undos that had been interrupted, and were brought to their end.
  returned: success
  type: list
  elements: str
  sample: []
purged:
  description: Ids of quarantines that are older than O(grace_days) and were removed.
  returned: success
  type: list
  elements: str
  sample: []
live:
  description: Whether it was done beside a server that may be writing.
  returned: success
  type: bool
  sample: false
downtime_seconds:
  description: For so long the server was away. Null where it was not stopped.
  returned: success
  type: float
  sample: 9.8
seconds:
  description: That all of it took.
  returned: success
  type: float
  sample: 1.2
table:
  description: All of it as lines to read.
  returned: success
  type: list
  elements: str
  sample: ["repaired  CHR017  folder 0cbc705a-ae8a-438f-9fd3-5a3f75583072 goes to quarantine"]
code:
  description: Stable identifier of the error, such as V(lock_held), V(server_running), V(no_space) or V(not_verified).
  returned: failure
  type: str
  sample: lock_held
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Wait until it has ended, and run this again.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.arguments import repair_from, repair_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import GRACE_DAYS
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=repair_spec(
            findings={"type": "list", "elements": "str"},
            grace_days={"type": "float", "default": GRACE_DAYS},
        ),
        supports_check_mode=True,
    )
    end_in_order()
    try:
        result = repair_from(module.params, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
