#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_server_info
short_description: Look at a Chroma server and at whether it demands a token
version_added: 1.0.0
description:
  - Asks a Chroma server for its version, its clock and its limits, as somebody with the token O(token).
  - Measures with a request that carries no token whether the server refuses it.
    Chroma 1.x demands none by itself, whatever its configuration says.
  - Can wait until the server answers.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.attributes.info
options:
  wait:
    description:
      - Seconds to repeat until the server answers a request with the token.
      - A refused token is waited for too, because a gateway learns a new token after some seconds.
      - O(retries) does not count meanwhile.
    type: float
    default: 0.0
seealso:
  - module: thinkube.chroma.chroma_collection_info
"""

EXAMPLES = r"""
- name: Wait until Chroma answers
  thinkube.chroma.chroma_server_info:
    url: https://chroma.example.com
    token: "{{ chroma_admin_token }}"
    ca_path: /etc/ssl/certs/example-ca.pem
    wait: 120
  register: chroma_server

- name: Refuse to go on with an open database
  ansible.builtin.assert:
    that: chroma_server.auth_enforced
"""

RETURN = r"""
version:
  description: What the server calls itself. Every release 1.x says V(1.0.0); only its image identifies it.
  returned: success
  type: str
  sample: 1.0.0
api_version:
  description: The API that is spoken with it.
  returned: success
  type: str
  sample: v2
max_batch_size:
  description: How many records the server takes in one request.
  returned: success
  type: int
  sample: 5461
heartbeat:
  description: The clock of the server in nanoseconds since 1970.
  returned: success
  type: int
  sample: 1795228328123258774
auth_enforced:
  description: Whether the server refused to list collections to a request without a token.
  returned: success
  type: bool
  sample: true
attempts:
  description: How often it was tried.
  returned: failure to answer
  type: int
  sample: 12
waited:
  description: Seconds that passed.
  returned: failure to answer
  type: float
  sample: 120.0
code:
  description: Stable identifier of the error, such as V(unauthorized), V(unreachable), V(tls), V(timeout) or V(not_chroma).
  returned: failure
  type: str
  sample: unauthorized
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Pass the right token, and the header that the server reads it from (token, token_header).
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._server import wait_for_server


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=connection_spec(wait={"type": "float", "default": 0.0}), supports_check_mode=True)
    wait = module.params["wait"]
    try:
        result = wait_for_server(client_from(module.params, **({"retries": 0} if wait else {})), wait)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
