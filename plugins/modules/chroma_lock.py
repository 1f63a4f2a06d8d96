#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_lock
short_description: Take the lock of a Chroma for an operation that writes
version_added: 1.1.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Makes sure that at most one operation writes into a Chroma. The lock is a Lease that names a Job.
  - It is held until that Job and its pods have ended, however they end. Nothing gives it back, and a Job that was killed or deleted
    blocks nobody.
  - All pods of one Job hold it together; taken again by the same Job, nothing changes.
options:
  lease:
    description: Name of the Lease.
    type: str
    default: chroma-operation
  holder:
    description: Name of the Job that takes the lock. Without it, the environment variable E(CHROMA_OPERATION_JOB) is used.
    type: str
    required: true
  labels:
    description: Labels of the Lease where it is created.
    type: dict
    default: {app.kubernetes.io/managed-by: thinkube.chroma}
  wait:
    description: Seconds to wait for another holder to end.
    type: int
    default: 0
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: Says whether the lock could be taken.
    support: full
  diff_mode:
    description: Shows the holder before and afterwards.
    support: full
seealso:
  - module: thinkube.chroma.chroma_operation
"""

EXAMPLES = r"""
- name: Let nobody else write meanwhile
  thinkube.chroma.chroma_lock:
    namespace: chroma
    holder: chroma-import-x7k2m
    wait: 600
"""

RETURN = r"""
holder:
  description: The Job that holds the lock; on failure, the other one.
  returned: when the lock was looked at
  type: str
  sample: chroma-import-x7k2m
previous:
  description: The Job that the lock named before, empty for none.
  returned: success
  type: str
since:
  description: Since when the other one holds it.
  returned: when another one holds it
  type: str
code:
  description: Stable identifier of an error, V(lock_held) where another operation holds the lock.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import MANAGED_BY, OWNER, cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._lock import acquire


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "lease": {"type": "str", "default": "chroma-operation"},
            "holder": {"type": "str", "required": True, "fallback": (env_fallback, ["CHROMA_OPERATION_JOB"])},
            "labels": {"type": "dict", "default": {MANAGED_BY: OWNER}},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = acquire(
            open_session(params),
            params["namespace"],
            params["lease"],
            params["holder"],
            params["labels"],
            params["wait"],
            module.check_mode,
        )
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
