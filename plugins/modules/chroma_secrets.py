#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_secrets
short_description: Provide the namespace, the tokens and the certificate of a Chroma release
version_added: 1.0.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Makes sure that the namespace exists, and marks it where it was created here.
  - Writes the administrator's token and name, and generates a token for each application that has none. A token that exists is kept.
  - Copies the platform's certificate into the namespace, and renews the copy whenever the source differs.
  - Reads back what it wrote. No token is in any result or difference.
options:
  namespace_labels:
    description: Labels of the namespace. Others that it has stay.
    type: dict
    default: {}
  labels:
    description:
      - Labels of both Secrets.
      - Without C(app.kubernetes.io/managed-by=thinkube.chroma), M(thinkube.chroma.chroma_rollback) keeps them.
    type: dict
    default: {}
  auth_secret:
    description: Name of the Secret with the tokens.
    type: str
    default: chroma-auth
  admin_token:
    description: The administrator's token, stored as C(auth-token).
    type: str
    required: true
  admin_username:
    description: The administrator's name, stored as C(admin-username).
    type: str
    required: true
  applications:
    description:
      - Programs that get a token of their own, stored as C(token.NAME.SCOPE).
      - A program whose scope changes keeps its token, under the new scope only.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Lower-case letters, digits and hyphens.
        type: str
        required: true
      scope:
        description: What its token permits.
        type: str
        choices: [read, write]
        required: true
  tls_source_namespace:
    description: Namespace of the platform's certificate Secret.
    type: str
    default: default
  tls_source_secret:
    description: Name of the platform's certificate Secret, which holds C(tls.crt) and C(tls.key).
    type: str
    required: true
  tls_secret:
    description: Name of its copy.
    type: str
    default: chroma-tls-secret
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
  diff_mode:
    description: Names the labels and keys that differ, and shows no value of a Secret.
    support: full
seealso:
  - module: thinkube.chroma.chroma_rollback
"""

EXAMPLES = r"""
- name: Provide namespace, tokens and certificate
  thinkube.chroma.chroma_secrets:
    kubeconfig: /home/thinkube/.kube/config
    namespace: chroma
    namespace_labels:
      thinkube.io/managed: "true"
      thinkube.io/service-type: optional
    labels:
      app.kubernetes.io/managed-by: thinkube.chroma
    admin_token: "{{ lookup('ansible.builtin.env', 'ADMIN_PASSWORD') }}"
    admin_username: tkadmin
    applications:
      - name: discovery
        scope: write
    tls_source_secret: example-com-tls
"""

RETURN = r"""
tokens:
  description: The tokens that are there, by name. The values are in the Secret only.
  returned: success
  type: list
  elements: dict
  sample:
    - name: discovery
      scope: write
      key: token.discovery.write
  contains:
    name:
      description: Who it is for; C(admin) for the administrator.
      type: str
    scope:
      description: V(read), V(write) or V(admin).
      type: str
    key:
      description: Its key in the Secret.
      type: str
code:
  description: Stable identifier of an error, for example V(certificate_missing).
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._secrets import Application, Wanted, ensure_secrets

APPLICATION = {"name": {"type": "str", "required": True}, "scope": {"type": "str", "choices": ["read", "write"], "required": True}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "namespace_labels": {"type": "dict", "default": {}},
            "labels": {"type": "dict", "default": {}},
            "auth_secret": {"type": "str", "default": "chroma-auth", "no_log": False},
            "admin_token": {"type": "str", "required": True, "no_log": True},
            "admin_username": {"type": "str", "required": True},
            "applications": {"type": "list", "elements": "dict", "default": [], "options": APPLICATION},
            "tls_source_namespace": {"type": "str", "default": "default"},
            "tls_source_secret": {"type": "str", "required": True, "no_log": False},
            "tls_secret": {"type": "str", "default": "chroma-tls-secret", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = Wanted(
        namespace=params["namespace"],
        namespace_labels={key: str(value) for key, value in params["namespace_labels"].items()},
        labels={key: str(value) for key, value in params["labels"].items()},
        auth_secret=params["auth_secret"],
        admin_token=params["admin_token"],
        admin_username=params["admin_username"],
        applications=tuple(Application(each["name"], each["scope"]) for each in params["applications"]),
        tls_source=(params["tls_source_namespace"], params["tls_source_secret"]),
        tls_secret=params["tls_secret"],
    )
    try:
        plan = ensure_secrets(open_session(params), wanted, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=bool(plan.changes), tokens=list(plan.tokens), diff=plan.diff())


if __name__ == "__main__":
    main()
