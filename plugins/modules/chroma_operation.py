#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_operation
short_description: Run an operation on the data as a Job and follow it
version_added: 1.1.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Starts a Kubernetes Job that runs one data playbook of this collection, or follows one that was started before, and returns what
    came of it.
  - Shows its progress, on a terminal as a bar with rate and remaining time, elsewhere as a line every ten percent.
  - Ctrl-C, a lost connection or a closed terminal leave the Job running; O(follow) finds it again.
  - An operation that failed fails the task, with the error that the operation itself gave. One that only found something does not fail it,
    RV(rc) says what was found.
  - The action plugin of this name runs on the controller and calls the module of this name, on the host of the play, once for
    every look at the Job.
options:
  job:
    description: The Job to start. Its C(metadata.generateName) becomes a name.
    type: dict
  follow:
    description: Name of the Job to follow.
    type: str
  start_timeout:
    description: Seconds that the Job's first pod may take to start, before the task fails and says what holds it up.
    type: int
    default: 300
  reconnect_timeout:
    description: Seconds without an answer from the cluster after which the task gives up following.
    type: int
    default: 300
  seconds:
    description: How long one look collects; set by the action plugin.
    type: float
    default: 0
  cursor:
    description: How far the logs were read; set by the action plugin.
    type: dict
    default: {}
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: The API server checks the Job and stores nothing.
    support: full
  diff_mode:
    description: Shows the Job.
    support: full
seealso:
  - module: thinkube.chroma.chroma_lock
"""

EXAMPLES = r"""
- name: Follow an operation that was started before
  thinkube.chroma.chroma_operation:
    kubeconfig: /home/thinkube/.kube/config
    namespace: chroma
    follow: chroma-export-x7k2m
  register: operation
"""

RETURN = r"""
job:
  description: Name of the Job.
  returned: always
  type: str
  sample: chroma-export-x7k2m
operation:
  description: What it does.
  returned: when a Job was followed
  type: str
  sample: export
rc:
  description:
    - Exit code of the operation. 0 done, 2 failed, 3 minor findings, 4 severe findings, 5 bad input, 6 another operation holds the lock,
      7 a server could not be reached, or something else that may pass.
  returned: when the Job ended
  type: int
meaning:
  description: The exit code in words.
  returned: when the Job ended
  type: str
result:
  description: The result document; with several parts, that of the first. The task has changed something where any part has.
  returned: when there is one
  type: dict
results:
  description: The result documents of all parts.
  returned: when the Job ended
  type: list
  elements: dict
attempts:
  description: The pods of the Job, oldest first.
  returned: when a Job was followed
  type: list
  elements: dict
code:
  description: Stable identifier of an error; that of the operation where it gave one.
  returned: failure
  type: str
hint:
  description: What to do next.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_job import look, start


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "job": {"type": "dict"},
            "follow": {"type": "str"},
            "start_timeout": {"type": "int", "default": 300},
            "reconnect_timeout": {"type": "int", "default": 300},
            "seconds": {"type": "float", "default": 0},
            "cursor": {"type": "dict", "default": {}},
        },
        mutually_exclusive=[("job", "follow")],
        required_one_of=[("job", "follow")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        session = open_session(params)
        if params["job"]:
            result = start(session, params["namespace"], params["job"], module.check_mode)
        else:
            result = {"changed": False, "look": look(session, params["namespace"], params["follow"], params["cursor"], params["seconds"])}
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
