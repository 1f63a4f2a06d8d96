#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_selftest
short_description: Test an installed Chroma as its users meet it
version_added: 1.0.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Runs one group of checks and returns what was expected and seen of each. A check that fails does not fail the module.
  - It writes into collections of its own, whose names begin with C(thinkube-selftest-) and O(run_id). Always run the group
    V(cleanup) at the end.
options:
  group:
    description:
      - V(objects) looks at the objects of the release.
      - V(access) tries to get in with no, a wrong and the right token, and with the token in a wrong header; from here, and from a
        short-lived pod through the Service and the pod's address.
      - V(data) creates a collection, writes, queries, reads and deletes, and compares the neighbours with those computed here.
      - V(persistence) deletes the server's pod and reads the data back. Requests that come meanwhile fail.
      - V(client) does the same as V(data) with the Python package C(chromadb), and is skipped where that can't be imported.
      - V(cleanup) removes the collections and the pod of this run, and looks whether they are gone.
    type: str
    choices: [objects, access, data, persistence, client, cleanup]
    required: true
  names:
    description: Names of the release's objects.
    type: dict
    required: true
    suboptions:
      statefulset:
        description: The StatefulSet.
        type: str
        required: true
      service:
        description: The Service.
        type: str
        required: true
      headless_service:
        description: The headless Service.
        type: str
        required: true
      pvc:
        description: The PersistentVolumeClaim.
        type: str
        required: true
      auth_secret:
        description: The Secret with the tokens.
        type: str
        required: true
      tls_secret:
        description: The copy of the certificate.
        type: str
        required: true
      ingress:
        description: The Ingress.
        type: str
        required: true
      route:
        description: The HTTPRoute.
        type: str
        required: true
  url:
    description: Address from outside, without C(/api).
    type: str
    required: true
  token:
    description: The administrator's token.
    type: str
    required: true
  ca_path:
    description: File of the authority that signed the certificate. The system's store where it is not set.
    type: path
  exposure:
    description: Way in from outside.
    type: str
    choices: [ingress, gateway]
    default: ingress
  ingress_class:
    description: Class that the Ingress must have.
    type: str
    default: nginx
  image:
    description: Image with a shell and curl, for the pod that tries from inside; the gateway's.
    type: str
    required: true
  image_pull_policy:
    description: When that image is pulled.
    type: str
    choices: [Always, IfNotPresent, Never]
    default: IfNotPresent
  image_pull_secrets:
    description: Secrets for its registry, each as Kubernetes writes them.
    type: list
    elements: dict
    default: []
  run_as_user:
    description: User of that pod.
    type: int
    default: 1000
  labels:
    description: Labels of that pod.
    type: dict
    default: {}
  port:
    description: Port of the gateway in the server's pod.
    type: int
    default: 8000
  server_port:
    description: Port of Chroma itself, which must refuse from everywhere but its own pod.
    type: int
    default: 8001
  run_id:
    description: Lower-case letters and digits that make the names of this run its own. The same for all groups of a run.
    type: str
    required: true
  timeout:
    description: Seconds that each wait may take.
    type: int
    default: 180
  earlier:
    description: RV(checks) of the groups run before. A group that builds on a failed check of them is not run, and says so.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without changing it.
    details:
      - Skips every group but V(objects), because the others write.
    support: partial
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: See who gets in
  thinkube.chroma.chroma_selftest:
    group: access
    kubeconfig: /home/thinkube/.kube/config
    url: https://chroma.example.com
    token: "{{ lookup('ansible.builtin.env', 'ADMIN_PASSWORD') }}"
    image: registry.example.com/library/chroma-gateway:1.22
    run_id: a1b2c3
    names:
      statefulset: chroma
      service: chromadb-svc
      headless_service: chromadb-headless
      pvc: chroma-data-pvc
      auth_secret: chroma-auth
      tls_secret: chroma-tls-secret
      ingress: chroma-ingress
      route: chroma-route
"""

RETURN = r"""
checks:
  description: The checks of the group.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What was tried.
      type: str
      sample: no token from outside
    expected:
      description: What must come back.
      type: str
      sample: "401"
    seen:
      description: What came back.
      type: str
      sample: "401"
    ok:
      description: Whether they agree.
      type: bool
    skipped:
      description: Whether it was not tried; RV(checks[].seen) says why.
      type: bool
    line:
      description: The check as a person reads it.
      type: str
      sample: "PASS  no token from outside: expected 401, seen 401"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest import Release
from ansible_collections.thinkube.chroma.plugins.module_utils._selftest_groups import GROUPS, run_group

NAMES = ("statefulset", "service", "headless_service", "pvc", "auth_secret", "tls_secret", "ingress", "route")


def main() -> None:
    """Run the module."""
    names = {name: {"type": "str", "required": True, "no_log": False} for name in NAMES}
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "group": {"type": "str", "choices": list(GROUPS), "required": True},
            "names": {"type": "dict", "required": True, "options": names},
            "url": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "ca_path": {"type": "path"},
            "exposure": {"type": "str", "choices": ["ingress", "gateway"], "default": "ingress"},
            "ingress_class": {"type": "str", "default": "nginx"},
            "image": {"type": "str", "required": True},
            "image_pull_policy": {"type": "str", "choices": ["Always", "IfNotPresent", "Never"], "default": "IfNotPresent"},
            "image_pull_secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "run_as_user": {"type": "int", "default": 1000},
            "labels": {"type": "dict", "default": {}},
            "port": {"type": "int", "default": 8000},
            "server_port": {"type": "int", "default": 8001},
            "run_id": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 180},
            "earlier": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    values = {name: value for name, value in module.params.items() if name in Release.__dataclass_fields__}
    values["image_pull_secrets"] = tuple(values["image_pull_secrets"])
    group = module.params["group"]
    if module.check_mode and group != "objects":
        module.exit_json(changed=False, checks=[])
    try:
        checks = run_group(group, open_session(module.params), Release(**values), module.params["earlier"])
    except ChromaError as error:
        module.fail_json(**error.as_result())
    # What the test writes, it removes again: the release is afterwards as it was.
    module.exit_json(changed=False, checks=[check.as_result() for check in checks])


if __name__ == "__main__":
    main()
