#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_collection_info
short_description: List collections of a Chroma server
version_added: 1.0.0
description:
  - Returns one, some or all collections of a database, with their metadata, index settings and number of records.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.attributes.info
options:
  names:
    description:
      - Only these collections. Those that do not exist are left out.
      - All of the database where it is not set.
    type: list
    elements: str
    aliases: [name]
seealso:
  - module: thinkube.chroma.chroma_collection
  - module: thinkube.chroma.chroma_query
"""

EXAMPLES = r"""
- name: Look at all collections
  thinkube.chroma.chroma_collection_info:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
  register: chroma

- name: Print how many records each has
  ansible.builtin.debug:
    msg: "{{ chroma.collections | items2dict(key_name='name', value_name='count') }}"
"""

RETURN = r"""
collections:
  description: The collections, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: UUID.
      type: str
    name:
      description: Name.
      type: str
    count:
      description: Number of records.
      type: int
    metadata:
      description: Metadata, without settings of the index.
      type: dict
    dimension:
      description: Dimension of the embeddings; null while the collection is empty.
      type: int
    space:
      description: Distance function.
      type: str
    configuration:
      description: Settings of the index, as far as the server says them.
      type: dict
    embedding_function:
      description: Name of the embedding function that other clients are told to use; empty where there is none.
      type: str
    tenant:
      description: Tenant.
      type: str
    database:
      description: Database.
      type: str
  sample:
    - id: 2701772f-0f7a-4995-88b9-7e0471e727d4
      name: books
      count: 1200
      metadata: {description: Chapters of our books}
      dimension: 384
      space: cosine
      configuration: {space: cosine, ef_construction: 100, ef_search: 100, max_neighbors: 16, resize_factor: 1.2, sync_threshold: 1000}
      embedding_function: ""
      tenant: default_tenant
      database: default_database
code:
  description: Stable identifier of the error, such as V(unauthorized), V(unreachable) or V(timeout).
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
from ansible_collections.thinkube.chroma.plugins.module_utils._collections import describe_collections
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(names={"type": "list", "elements": "str", "aliases": ["name"]}),
        supports_check_mode=True,
    )
    try:
        collections = describe_collections(client_from(module.params), module.params["names"])
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, collections=collections)


if __name__ == "__main__":
    main()
