#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_repair_undo
short_description: Bring back what a repair of Chroma put into quarantine
version_added: 1.3.0
description:
  - Brings back the folders, rows and files that M(thinkube.chroma.chroma_repair) took away.
  - With the server stopped, and where nobody has written to the database since the repair, every file has the very bytes of before.
    Otherwise the database gets its rows back one by one, and never over a newer row - that is the error V(conflict), and nothing is
    changed.
  - A quarantine that was changed since is refused, and nothing is changed.
  - A repair that is undone is undone; running it again changes nothing. An undo that was killed is brought to its end by the next
    operation that writes to the directory.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.cluster
  - thinkube.chroma.repair
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: full
    details: [The folders, files and numbers of rows that come back. Rows are not shown.]
options:
  repair:
    description: Id of the repair, or V(latest), the newest one that is not undone.
    type: str
    default: latest
seealso:
  - module: thinkube.chroma.chroma_repair
  - module: thinkube.chroma.chroma_journal_info
"""

EXAMPLES = r"""
- name: Undo the last repair
  thinkube.chroma.chroma_repair_undo:
    path: /data

- name: Undo a repair beside a running server
  thinkube.chroma.chroma_repair_undo:
    path: /data
    repair: 20261121T090000Z-0a1b2c
    live: true
    stop: false
"""

RETURN = r"""
quarantine:
  description: Id of the repair.
  returned: success
  type: str
  sample: 20261121T090000Z-0a1b2c
exact:
  description: Whether every file has the very bytes of before.
  returned: success
  type: bool
  sample: true
note:
  description: What is to be known about it, such as why the database got its rows back one by one.
  returned: success
  type: str
  sample: ""
rows:
  description: Number of rows that come back, by table.
  returned: success
  type: dict
  sample: {embedding_metadata_array: 12}
folders:
  description: Names of the folders that come back.
  returned: success
  type: list
  elements: str
  sample: [0cbc705a-ae8a-438f-9fd3-5a3f75583072]
files:
  description: Files of indexes that come back, relative to O(path).
  returned: success
  type: list
  elements: str
  sample: []
completed:
  description: Ids of repairs and undos that had been interrupted, and were brought to their end.
  returned: success
  type: list
  elements: str
  sample: []
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
  sample: ["back  folder 0cbc705a-ae8a-438f-9fd3-5a3f75583072"]
code:
  description: Stable identifier of the error, such as V(damaged_quarantine), V(conflict), V(not_found) or V(server_running).
  returned: failure
  type: str
  sample: damaged_quarantine
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Look at the volume.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.arguments import repair_spec, undo_from
from ansible_collections.thinkube.chroma.plugins.module_utils._repair.request import LATEST
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=repair_spec(repair={"type": "str", "default": LATEST}), supports_check_mode=True)
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
