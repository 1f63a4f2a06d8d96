#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_apply
short_description: Apply the objects of a Chroma release
version_added: 1.0.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Applies Kubernetes objects server-side, in their order and over one connection, and waits for a StatefulSet.
  - With O(secrets), first makes sure of the namespace, of the Secret with the tokens and of the copy of the platform's certificate.
    A token that exists is kept, one that an application lacks is generated, and the copy is renewed whenever its source differs.
  - A PersistentVolumeClaim or Secret with tokens that others made is used and marked with the annotation
    C(thinkube.chroma/adopted=true), so that M(thinkube.chroma.chroma_rollback) keeps it.
  - No token is in any result or difference.
options:
  objects:
    description:
      - Whole objects, in the order in which they are applied. Fields that they do not name stay as they are.
      - A Secret is refused, because Ansible logs what a module is given; O(secrets) makes those of a release.
    type: list
    elements: dict
    default: []
  absent:
    description: Objects that must not be there. One that is not ours by its managed-by label, or that we may not see, is left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Its kind.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  wait_for:
    description: A StatefulSet whose newest revision must run before the module ends.
    type: str
  timeout:
    description: Seconds to wait for it.
    type: int
    default: 300
  secrets:
    description: What the namespace must hold before the objects.
    type: dict
    suboptions:
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
  require:
    description:
      - Objects that others provide.
      - Where one is absent or lacks a key, the module fails before it changes anything, and names them all.
    type: list
    elements: dict
    default: []
    version_added: 1.2.0
    suboptions:
      kind:
        description: Its kind.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      keys:
        description: Keys of its C(data) that must hold something.
        type: list
        elements: str
        default: []
      hint:
        description: What to do where it is absent.
        type: str
        default: ""
  generate:
    description:
      - Values in Secrets that are made once, for example the password of a repository. One that is there is never changed.
      - No value is in any result.
    type: list
    elements: dict
    default: []
    version_added: 1.2.0
    suboptions:
      secret:
        description: Name of the Secret, which is created where it is absent.
        type: str
        required: true
      key:
        description: Key of the value.
        type: str
        required: true
      labels:
        description: Labels of a Secret that is created.
        type: dict
        default: {}
extends_documentation_fragment:
  - thinkube.chroma.cluster
attributes:
  check_mode:
    description: The API server computes what would change, and stores nothing.
    support: full
  diff_mode:
    description: Shows the objects that differ, and a word in place of each value of a Secret.
    support: full
seealso:
  - module: thinkube.chroma.chroma_preflight
  - module: thinkube.chroma.chroma_rollback
"""

EXAMPLES = r"""
- name: Expose Chroma by Ingress, and no longer by HTTPRoute
  thinkube.chroma.chroma_apply:
    kubeconfig: /home/thinkube/.kube/config
    namespace: chroma
    objects:
      - "{{ lookup('ansible.builtin.template', 'ingress.yaml.j2') | from_yaml }}"
    absent:
      - kind: HTTPRoute
        name: chroma-route
"""

RETURN = r"""
objects:
  description: What became of each object, in the order of work.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind.
      type: str
    name:
      description: Its name.
      type: str
    action:
      description: V(created), V(changed), V(deleted) or V(unchanged).
      type: str
    uid:
      description: C(metadata.uid) of a CronJob; empty where there is none.
      type: str
    succeeded:
      description: When a Job of a CronJob was successful last; empty for never.
      type: str
tokens:
  description: With O(secrets), the tokens that are there, by name. The values are in the Secret only.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Who it is for; V(admin) for the administrator.
      type: str
    scope:
      description: V(read), V(write) or V(admin).
      type: str
    key:
      description: Its key in the Secret.
      type: str
generated:
  description: With O(generate), C(SECRET/KEY) of each value that was made now. The values are in the Secrets only.
  returned: success
  type: list
  elements: str
  sample: [chroma-backup/repository-password]
code:
  description: Stable identifier of an error, for example V(certificate_missing) or V(timeout).
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._apply import Release, ensure_release
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._prerequisites import Generated, Required
from ansible_collections.thinkube.chroma.plugins.module_utils._secrets import Application, Wanted

APPLICATION = {"name": {"type": "str", "required": True}, "scope": {"type": "str", "choices": ["read", "write"], "required": True}}
SECRETS = {
    "namespace_labels": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "auth_secret": {"type": "str", "default": "chroma-auth", "no_log": False},
    "admin_token": {"type": "str", "required": True, "no_log": True},
    "admin_username": {"type": "str", "required": True},
    "applications": {"type": "list", "elements": "dict", "default": [], "options": APPLICATION},
    "tls_source_namespace": {"type": "str", "default": "default"},
    "tls_source_secret": {"type": "str", "required": True, "no_log": False},
    "tls_secret": {"type": "str", "default": "chroma-tls-secret", "no_log": False},
}
REQUIRED = {
    "kind": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "hint": {"type": "str", "default": ""},
}
GENERATED = {
    "secret": {"type": "str", "required": True, "no_log": False},
    "key": {"type": "str", "required": True, "no_log": False},
    "labels": {"type": "dict", "default": {}},
}
ABSENT = {"kind": {"type": "str", "required": True}, "name": {"type": "str", "required": True}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **cluster_argument_spec(),
            "objects": {"type": "list", "elements": "dict", "default": []},
            "absent": {"type": "list", "elements": "dict", "default": [], "options": ABSENT},
            "wait_for": {"type": "str"},
            "timeout": {"type": "int", "default": 300},
            "secrets": {"type": "dict", "options": SECRETS, "no_log": False},
            "require": {"type": "list", "elements": "dict", "default": [], "options": REQUIRED},
            "generate": {"type": "list", "elements": "dict", "default": [], "options": GENERATED},
        },
        supports_check_mode=True,
    )
    params, secrets = module.params, module.params["secrets"]
    wanted = secrets and Wanted(
        namespace=params["namespace"],
        namespace_labels={key: str(value) for key, value in secrets["namespace_labels"].items()},
        labels={key: str(value) for key, value in secrets["labels"].items()},
        auth_secret=secrets["auth_secret"],
        admin_token=secrets["admin_token"],
        admin_username=secrets["admin_username"],
        applications=tuple(Application(each["name"], each["scope"]) for each in secrets["applications"]),
        tls_source=(secrets["tls_source_namespace"], secrets["tls_source_secret"]),
        tls_secret=secrets["tls_secret"],
    )
    release = Release(
        namespace=params["namespace"],
        secrets=wanted,
        objects=tuple(params["objects"]),
        absent=tuple(params["absent"]),
        wait_for=params["wait_for"],
        timeout=params["timeout"],
        required=tuple(Required(each["kind"], each["name"], tuple(each["keys"]), each["hint"]) for each in params["require"]),
        generated=tuple(Generated(**each) for each in params["generate"]),
    )
    try:
        result = ensure_release(open_session(params), release, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
