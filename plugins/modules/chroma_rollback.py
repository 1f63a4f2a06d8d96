#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_rollback
short_description: Remove a Chroma release and prove that it is gone
version_added: 1.0.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Deletes what this collection created, in an order that never leaves the database open, and waits until each object is gone.
  - CronJobs, Jobs and Pods of this collection are found by their label, whatever their name; operations that run are ended.
  - Objects without the label C(app.kubernetes.io/managed-by=thinkube.chroma) are kept and named, and so are those with the annotation
    C(thinkube.chroma/adopted=true), which M(thinkube.chroma.chroma_apply) gives a volume claim or tokens that others made.
  - Backups and their password stay unless O(remove_backups).
  - Without O(remove_data), the volume claim stays, and with it the namespace and the Secret with the tokens, so that a new
    installation finds the data and every application goes on with its token.
  - Works on a release that is broken or half there, and changes nothing where there is none.
options:
  names:
    description: Names of the release's objects. What is left out is not looked for.
    type: dict
    required: true
    suboptions:
      ingress:
        description: The Ingress.
        type: str
      route:
        description: The HTTPRoute. That the cluster may know no such kind is no error.
        type: str
      statefulset:
        description: The StatefulSet.
        type: str
      service:
        description: The Service.
        type: str
      headless_service:
        description: The headless Service.
        type: str
      disruption_budget:
        description: The PodDisruptionBudget.
        type: str
      network_policy:
        description: The NetworkPolicy.
        type: str
      gateway_config:
        description: The ConfigMap of the gateway.
        type: str
      discovery_config:
        description: The ConfigMap of the service discovery.
        type: str
      tls_secret:
        description: The copy of the certificate.
        type: str
      auth_secret:
        description: The Secret with the tokens.
        type: str
      pvc:
        description: The PersistentVolumeClaim.
        type: str
      operations_binding:
        description: The RoleBinding of the operations that write.
        type: str
        version_added: 1.1.0
      operations_role:
        description: Their Role.
        type: str
        version_added: 1.1.0
      operations_account:
        description: Their ServiceAccount.
        type: str
        version_added: 1.1.0
      operations_lock:
        description: The Lease that is their lock.
        type: str
        version_added: 1.1.0
      scaling_binding:
        description: The RoleBinding of the operations that may stop the server for a while.
        type: str
        version_added: 1.2.0
      scaling_role:
        description: Their Role.
        type: str
        version_added: 1.2.0
      scaling_account:
        description: Their ServiceAccount.
        type: str
        version_added: 1.2.0
      watching_binding:
        description: The RoleBinding of the operations that raise alerts.
        type: str
        version_added: 1.3.0
      watching_role:
        description: Their Role.
        type: str
        version_added: 1.3.0
      watching_account:
        description: Their ServiceAccount.
        type: str
        version_added: 1.3.0
      backup_secret:
        description: The Secret with the password of the backups.
        type: str
        version_added: 1.2.0
      backup_pvc:
        description: The PersistentVolumeClaim of the backups.
        type: str
        version_added: 1.2.0
  remove_backups:
    description:
      - Whether to remove the volume claim of the backups and the Secret with their password too, for good. Backups on S3 stay; without
        that password, which only you have then, nobody can read them.
      - As long as they are kept, so is the namespace, also with O(remove_data).
    type: bool
    default: false
    version_added: 1.2.0
  remove_data:
    description:
      - Whether to remove the volume claim and the tokens too. The data are lost for good.
      - The namespace goes with them if this collection created it and nothing of others is left in it.
    type: bool
    default: false
  timeout:
    description: Seconds that each step of the removal may take.
    type: int
    default: 300
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: Says what would be deleted.
    support: full
  diff_mode:
    description: Lists the objects before and afterwards.
    support: full
seealso:
  - module: thinkube.chroma.chroma_apply
"""

EXAMPLES = r"""
- name: Remove the release and keep its data
  thinkube.chroma.chroma_rollback:
    kubeconfig: /home/thinkube/.kube/config
    namespace: chroma
    names:
      ingress: chroma-ingress
      statefulset: chroma
      service: chromadb-svc
      headless_service: chromadb-headless
      pvc: chroma-data-pvc
      auth_secret: chroma-auth
      tls_secret: chroma-tls-secret
"""

RETURN = r"""
deleted:
  description: What was deleted, in order. On failure, what was deleted until then.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: StatefulSet
      name: chroma
  contains:
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
kept:
  description: What was found and kept.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: PersistentVolumeClaim
      name: chroma-data-pvc
      reason: it holds the data; -e remove_data=true removes it for good
  contains:
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
    reason:
      description: Why it was kept.
      type: str
code:
  description: Stable identifier of an error, for example V(timeout).
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._rollback import STAGES, Removed, roll_back


def main() -> None:
    """Run the module."""
    names = {name: {"type": "str", "no_log": False} for stage in STAGES for name, _kind in stage}
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "names": {"type": "dict", "required": True, "options": names},
            "remove_backups": {"type": "bool", "default": False},
            "remove_data": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = module.params
    removed = Removed(params["remove_data"], params["remove_backups"])
    try:
        result = roll_back(open_session(params), params["namespace"], params["names"], removed, params["timeout"], module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
