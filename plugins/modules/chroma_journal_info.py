#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_journal_info
short_description: Read the journal of what was done to a data directory of Chroma
version_added: 1.2.0
description:
  - Every operation of this collection that writes to a data directory, or makes a backup of it, leaves its beginning, its steps and its
    end in a journal beside the data. This module reads it.
  - The lines of the journal are a chain. Each time it is looked at whether all of them are what was written and none is gone;
    see RV(verified).
  - A broken journal is no failure of this module.
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
  operations:
    description:
      - Names of operations, such as V(backup), V(prune), V(restore) or V(undo-restore). Only these are returned.
      - All where it is not set.
    type: list
    elements: str
  statuses:
    description:
      - Only operations that ended so, such as V(done), V(failed) or V(interrupted).
      - V(open) means those without an end, which run or were killed.
      - All where it is not set.
    type: list
    elements: str
  since:
    description:
      - A date or time of ISO 8601, UTC where it names no zone. Operations that had ended before are left out.
    type: str
  limit:
    description: At most so many operations are returned, the newest.
    type: int
    default: 100
seealso:
  - name: The journal
    description: What is in it, and what to do where it is broken.
    link: https://github.com/thinkube/thinkube.chroma/blob/main/docs/journal.md
"""

EXAMPLES = r"""
- name: Read what was done
  thinkube.chroma.chroma_journal_info:
    path: /data
  register: journal

- name: Print the table
  ansible.builtin.debug:
    msg: "{{ journal.table }}"

- name: Look for restores that never ended
  thinkube.chroma.chroma_journal_info:
    path: /data
    operations: [restore]
    statuses: [open]
    since: "2026-11-01"

- name: Stop where somebody changed the journal
  ansible.builtin.assert:
    that: journal.verified.intact
"""

RETURN = r"""
path:
  description: The journal's file.
  returned: success
  type: str
  sample: /data/.thinkube-chroma/journal.jsonl
operations:
  description: The operations, in the order in which they began.
  returned: success
  type: list
  elements: dict
  contains:
    n:
      description: Number of its first line; it names the operation in the journal.
      type: int
    operation:
      description: What was done.
      type: str
    began:
      description: When, UTC.
      type: str
    ended:
      description: When, UTC; empty while it has no end.
      type: str
    status:
      description: V(open), or how it ended.
      type: str
    seconds:
      description: How long it took, by a clock that nobody sets back; null where that is not known.
      type: float
    facts:
      description: What it began with.
      type: dict
    steps:
      description: The last 20 steps, each with C(time), C(name) and C(facts).
      type: list
      elements: dict
    result:
      description: What it said at its end.
      type: dict
  sample:
    - n: 1
      operation: backup
      began: "2026-11-21T09:00:00.123Z"
      ended: "2026-11-21T09:00:04.200Z"
      status: done
      seconds: 4.077
      facts: {kind: full}
      steps: []
      result: {id: 20261121T090000Z-0a1b2c}
verified:
  description: Whether the journal is whole.
  returned: success
  type: dict
  contains:
    intact:
      description: Whether every line is what was written and none is gone.
      type: bool
    lines:
      description: How many lines there are, up to the first broken one.
      type: int
    broken_line:
      description: Place of the first broken line in the file; V(0) where there is none.
      type: int
    reason:
      description: What is wrong with it.
      type: str
    torn_bytes:
      description: Bytes of a last line whose writer was killed. That is no damage.
      type: int
    head:
      description: SHA-256 of the last line. Kept elsewhere, it proves later that nothing up to this line was changed.
      type: str
    clock_set_back:
      description: Number of the first line whose time is before that of the line before it; V(0) where there is none.
      type: int
  sample:
    intact: true
    lines: 2
    broken_line: 0
    reason: ""
    torn_bytes: 0
    head: 7a9a44dc81f8291677c4f12166a738477e4e210eeedf9404659552699537d59b
    clock_set_back: 0
table:
  description: All of it as lines to read.
  returned: success
  type: list
  elements: str
  sample: ["/data/.thinkube-chroma/journal.jsonl: whole, 2 lines"]
code:
  description: Stable identifier of the error, such as V(not_found), V(invalid_value) or V(forbidden).
  returned: failure
  type: str
  sample: not_found
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Give Chroma's data directory.
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.report import Wanted, parse_since, read_journal


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "operations": {"type": "list", "elements": "str"},
            "statuses": {"type": "list", "elements": "str"},
            "since": {"type": "str"},
            "limit": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        since = parse_since(options["since"]) if options["since"] else None
        wanted = Wanted(options["operations"] or (), options["statuses"] or (), since, options["limit"])
        result = read_journal(Path(options["path"]), wanted)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
