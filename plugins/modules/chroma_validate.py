#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_validate
short_description: Look for damage in a data directory of Chroma
version_added: 1.1.0
description:
  - Reads a data directory of Chroma 0.4.24 to 1.5.9 and says what is wrong with it, what is lost and what to do. Nothing is changed.
  - SQLite, the folders and files of the indexes, the label maps, the write-ahead log, the records and the file system are looked at,
    and held against each other. Neither Chroma nor its native index code is run, and no pickle is executed.
  - A stopped server's directory, a copy, or the directory of a running server.
  - The module fails where it could not look. What it finds is no failure; see RV(rc).
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.attributes.info
options:
  path:
    description:
      - The data directory, which holds C(chroma.sqlite3).
    type: path
    required: true
  collections:
    description:
      - Names of collections, or C(tenant/database/name). Only these are looked at, and what concerns no collection in particular.
      - All where it is not set.
    type: list
    elements: str
  live:
    description:
      - Whether a server may be writing to the directory.
      - If so, every lock on the database is held for less than a second, and what was seen is looked at again while nobody writes
        before it is reported. What that leaves out is in RV(unconfirmed) and RV(skipped).
      - Where it is not set, it is decided by whether another process that can be seen has the database open.
        From another pod that can't be seen.
      - A directory that changes while it is validated is validated again, as a live one.
    type: bool
  mounted:
    description:
      - Demand that the directory lies on a volume, and not on storage that ends with its container.
    type: bool
    default: false
seealso:
  - name: All findings
    description: What each identifier means, how it comes about, and what to do.
    link: https://github.com/thinkube/thinkube.chroma/blob/main/docs/findings.md
  - module: thinkube.chroma.chroma_export
"""

EXAMPLES = r"""
- name: Look at the directory of a stopped server
  thinkube.chroma.chroma_validate:
    path: /data
  register: validated

- name: Print the table
  ansible.builtin.debug:
    msg: "{{ validated.table }}"

- name: Stop where something is lost
  ansible.builtin.assert:
    that: validated.rc < 4

- name: Look at one collection of a running server
  thinkube.chroma.chroma_validate:
    path: /data
    live: true
    collections: [books]
"""

RETURN = r"""
findings:
  description: What is wrong, severe findings first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Stable identifier; C(docs/findings.md) has a section for each.
      type: str
    severity:
      description: V(minor) for what can be repaired without loss, V(severe) for what somebody has to look at.
      type: str
    title:
      description: What is wrong, in a few words.
      type: str
    collection:
      description: C(tenant/database/name); empty where no collection in particular is concerned.
      type: str
    segment:
      description: Id of the segment; empty where none is concerned.
      type: str
    message:
      description: What was seen, with numbers and examples.
      type: str
    lost:
      description: What is, or will be, lost.
      type: str
    remedy:
      description: What to do.
      type: str
  sample:
    - id: CHR017
      severity: minor
      title: A folder without segment
      collection: ""
      segment: ""
      message: Folder 0cbc705a-ae8a-438f-9fd3-5a3f75583072 (17800 bytes) belongs to no segment.
      lost: "Nothing that Chroma shows: the vectors of a deleted collection."
      remedy: A repair moves the folder to quarantine.
summary:
  description: Figures of the validation.
  returned: success
  type: dict
  sample:
    path: /data
    live: false
    healthy: false
    complete: true
    minor: 1
    severe: 0
    counts: {CHR017: 1}
    collections: 3
    segments: 6
    bytes: 407740
    seconds: 0.034
    longest_lock: 0.002
limits:
  description: What this way of looking leaves out each time, and why, such as SQLite's own check of a large live file.
  returned: success
  type: list
  elements: str
  sample: []
skipped:
  description: What could not be looked at, and why.
  returned: success
  type: list
  elements: str
  sample: []
unconfirmed:
  description: What was seen and could not be looked at again while nobody wrote, because the server wrote all the time.
  returned: success
  type: list
  elements: str
  sample: []
table:
  description: All of it as lines to read.
  returned: success
  type: list
  elements: str
  sample: ["/data: nothing found, 3 collections, 0.034 s"]
rc:
  description: >-
    V(0) where nothing was found, RV(limits) or not; V(4) where a finding is severe; otherwise V(3): all findings are minor,
    or something is in RV(skipped) or RV(unconfirmed).
  returned: success
  type: int
  sample: 3
code:
  description: Stable identifier of the error, such as V(not_chroma_directory), V(not_found) or V(busy).
  returned: failure
  type: str
  sample: not_chroma_directory
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: "Give the directory that holds chroma.sqlite3: /data in images of 1.x, /chroma/chroma in those of 0.x."
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "collections": {"type": "list", "elements": "str"},
            "live": {"type": "bool"},
            "mounted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        require_data_libraries()
        report = validate(Path(wanted["path"]), wanted["collections"], wanted["live"], wanted["mounted"], Path(module.tmpdir))
    except ChromaError as error:
        module.fail_json(**error.as_result())
    # Ansible takes an rc that is not 0 for a failure unless it is told otherwise.
    module.exit_json(changed=False, failed=False, **report.as_result())


if __name__ == "__main__":
    main()
