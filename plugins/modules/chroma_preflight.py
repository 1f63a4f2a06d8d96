#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_preflight
short_description: Find everything that stands in the way of an installation of Chroma
version_added: 1.0.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Judges the settings of a release first, and names every problem at once.
  - Where they are right, it looks in one session at the cluster; at our rights, the Kubernetes version, the StorageClass, the
    ingress class or Gateway, the certificate, the images and the free capacity, and at what has the names of ours already; whose it
    is, whether Kubernetes can change it, and which version had the data.
  - Changes nothing.
options:
  settings:
    description:
      - The platform's variables and those of role P(thinkube.chroma.chroma#role), without secrets.
      - What is undefined is left out, null or empty.
    type: dict
    required: true
  admin_password:
    description: The administrator's token. It is only judged; no message repeats it.
    type: str
    default: ""
  defined:
    description: Names of all variables that begin with C(chroma_) and are defined.
    type: list
    elements: str
    default: []
  known:
    description: Names of all variables that begin with C(chroma_) and exist. A defined one that is not among them is a mistake.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: Runs as usual, because it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
seealso:
  - module: thinkube.chroma.chroma_apply
"""

EXAMPLES = r"""
- name: Look before anything is changed
  thinkube.chroma.chroma_preflight:
    kubeconfig: /home/thinkube/.kube/config
    namespace: chroma
    admin_password: "{{ lookup('ansible.builtin.env', 'ADMIN_PASSWORD') }}"
    settings:
      domain_name: example.com
      admin_username: tkadmin
      primary_ingress_class: nginx
      kubeconfig: /home/thinkube/.kube/config
      harbor_registry: registry.example.com
      chroma_hostname: chroma.example.com
      chroma_version: 1.5.9
      chroma_capacity: 10Gi
"""

RETURN = r"""
checks:
  description: What was looked at, also when the module fails.
  returned: always
  type: list
  elements: dict
  sample:
    - name: StorageClass k8s-hostpath
      ok: true
      expected: present
      seen: present
      hint: ""
      warning: false
  contains:
    name:
      description: What was looked at.
      type: str
    ok:
      description: Whether it is as expected.
      type: bool
    expected:
      description: What it must be.
      type: str
    seen:
      description: What it is.
      type: str
    hint:
      description: What to do where it is not ok.
      type: str
    warning:
      description: Whether it could not be verified.
      type: bool
code:
  description: V(invalid_settings), V(cluster_not_ready), or why the cluster could not be asked.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.check import require_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._readiness import check_cluster, report


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "settings": {"type": "dict", "required": True},
            "admin_password": {"type": "str", "default": "", "no_log": True},
            "defined": {"type": "list", "elements": "str", "default": []},
            "known": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        settings = {**params["settings"], "chroma_namespace": params["namespace"]}
        require_settings(settings, params["admin_password"], params["defined"], params["known"])
        result = report(check_cluster(open_session(params), settings))
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
