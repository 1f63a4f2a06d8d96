#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_database
short_description: Create or delete a database of a Chroma server
version_added: 1.0.0
description:
  - Creates or deletes a database in a tenant.
  - Creates the tenant too where it is absent. No release of Chroma can remove a tenant.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.attributes
options:
  name:
    description: Name of the database in the tenant O(tenant).
    type: str
    required: true
  state:
    description:
      - V(present) makes sure that tenant and database exist.
      - V(absent) deletes the database. Chroma 0.4 and 0.5 cannot, and the module fails with the code V(unsupported) there.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Delete a database that has collections, with all their records.
    type: bool
    default: false
seealso:
  - module: thinkube.chroma.chroma_collection
"""

EXAMPLES = r"""
- name: Give a team a database of its own
  thinkube.chroma.chroma_database:
    url: https://chroma.example.com
    token: "{{ chroma_admin_token }}"
    tenant: research
    name: papers

- name: Remove it with all that is in it
  thinkube.chroma.chroma_database:
    url: https://chroma.example.com
    token: "{{ chroma_admin_token }}"
    tenant: research
    name: papers
    state: absent
    force: true
"""

RETURN = r"""
created:
  description: What was created.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [tenant, database]
collections:
  description: How many collections went with the database, or keep it from being deleted.
  returned: when O(state=absent)
  type: int
  sample: 0
code:
  description: Stable identifier of the error, such as V(not_empty), V(unsupported) or V(unauthorized).
  returned: failure
  type: str
  sample: not_empty
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Delete them first, or pass force to delete them with it.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._server import ensure_database, ensure_no_database


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(
            name={"type": "str", "required": True},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
            force={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        client = client_from(params, database=params["name"])
        if params["state"] == "present":
            result = ensure_database(client, check=module.check_mode)
        else:
            result = ensure_no_database(client, params["force"], check=module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
